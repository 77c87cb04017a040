"""Fit a quadratic function of few directions by least squares, with a linear part.

f(x) = b + w . (x - c) + sum_k s_k (u_k . (x - c))^2

whiten x with a shrunk covariance, z = W (x - c)
project [1, z] (without fit_linear: only 1) out of y and of the measurements z z^T
components = group lasso path, or a given number of them
if rows are held out: drop the weakest components that do not lower the held-out error
b, w by least squares on the rest
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf

from secateurs.core.parameters import Shown, bad_value
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.sensing.factored import Factors, scale_of
from secateurs.sensing.fixed_rank import fit_rank
from secateurs.sensing.identification import Identification
from secateurs.sensing.operators.base import SensingOperator
from secateurs.sensing.operators.projected import Projected
from secateurs.sensing.operators.rank_one import RankOne
from secateurs.sensing.regularisation_path import group_lasso_path

Vector = NDArray[np.float64]
TRIED = 1e-2  # tolerance of the fits whose number of components is only tried
CONSTANT = 1e-13  # a column whose deviation is below this share of its largest entry is constant
LEAST_VARIANCE = 1e-10  # of the largest; directions of x with less variance are constant
DEPENDENT = 1e-10  # relative singular value below which columns depend on each other
CANDIDATES = 400  # pairs whose effect is measured
BLOCK = 1 << 22  # numbers of products held at once
FLAT = 1e-6  # relative size below which the part beyond a linear function is rounding


@dataclass(frozen=True)
class Quadratic:
    """f(x) = intercept + coef . (x - centre) + sum_k signs_k (components_k . (x - centre))^2.

    Attributes
    ----------
    centre, coef : arrays, shape [d]
    intercept : float
    components : array, shape [r, d]
    signs : array, shape [r]
    """

    centre: Vector
    coef: Vector
    intercept: float
    components: Vector
    signs: Vector

    def predict(self, X: Vector) -> Vector:
        """Values at rows X [n, d], shape [n]; 2 n d (r + 1) flops.  Each row by itself."""
        Z = np.ascontiguousarray(X - self.centre, dtype=np.float64)
        squares = RankOne(Z).evaluate(self.components, self.signs)
        return np.asarray(self.intercept + (Z * self.coef).sum(axis=1) + squares)

    def times(self, scale: float) -> Quadratic:
        """The function times a power of four."""
        U = self.components * math.sqrt(scale)
        return Quadratic(self.centre, self.coef * scale, self.intercept * scale, U, self.signs)


@dataclass(frozen=True)
class QuadraticFit:
    """A fitted function and its sensing problem.

    Attributes
    ----------
    function : Quadratic
    factors : Factors
        Its squares, in whitened inputs z.
    operator : SensingOperator
        Measurements by z z^T with the linear part projected out, for a certificate.
    """

    function: Quadratic
    factors: Factors
    operator: SensingOperator


def fit_quadratic(
    X: Vector,
    y: Vector,
    *,
    X_held_out: Vector | None = None,
    y_held_out: Vector | None = None,
    n_components: int | None = None,
    signed: bool = True,
    fit_linear: bool = True,
    criterion: str = "certificate",
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> Solution[QuadraticFit]:
    """Fit a quadratic function with as few directions as the data need.

    Parameters
    ----------
    X : array of float64, shape [n, d]
        Training rows; a constant column gets no coefficient.
    y : array of float64, shape [n]
        Their targets.
    X_held_out, y_held_out : arrays, optional
        Held-out rows.  Components are kept only if they lower the error on these rows by more than
        one standard error.
    n_components : int, optional
        Number of directions; by default the path decides.
    signed : bool
        Allow squares of both signs.  If False, only positive ones.
    fit_linear : bool
        Fit w and b.  If False, only b.
    criterion : {"certificate", "bic"}
        Where the path stops, see `group_lasso_path`.
    random_state : int
        Random seed of all draws of the fit.
    progress : callable, optional
        Called with a `Progress` after each stage of the path.

    Returns
    -------
    Solution of QuadraticFit
        History of the path.  Status and identification of the returned function: those of the
        path, or of the last fit if the held-out rows dropped components.  Measured also has
        n_found, the number of components before the held-out rows decide, held_out_errors, the
        mean squared errors of 0 to n_found components, and scale (see `group_lasso_path`; the
        errors are for y / scale).

    Raises
    ------
    ValueError
        There are not more rows than linear terms, or the values cannot be fitted.

    Notes
    -----
    O(n d^2) for the covariance, O(n d) a pass; the d^2 measurements are never formed.
    """
    scale = scale_of(y)
    y = y / scale
    centre = X.mean(axis=0)
    whitening = _whitening(X - centre)
    Z = (X - centre) @ whitening
    measurements = RankOne(Z)
    nuisance = _checked_nuisance(Z, fit_linear=fit_linear)
    operator = Projected(measurements, nuisance)
    inverse = np.linalg.pinv(nuisance)

    def function_of(factors: Factors) -> Quadratic:
        """Fit b and w to the rest that these components leave."""
        found = inverse @ (y - measurements.forward_factors(factors.components, factors.signs))
        w = found[1:] if fit_linear else np.zeros(Z.shape[1])
        U = factors.components @ whitening.T
        return Quadratic(centre, whitening @ w, float(found[0]), U, factors.signs)

    if n_components is None:
        path = partial(group_lasso_path, criterion=criterion, progress=progress)
        solution = path(operator, y, signed=signed, random_state=random_state)
    else:
        solution = fit_rank(operator, y, n_components, signed=signed, random_state=random_state)
    factors, status = solution.value, solution.status
    n_found = len(factors.signs)
    measured = {**solution.measured, "n_found": n_found, "scale": scale}
    if n_components is None and X_held_out is not None and y_held_out is not None:
        candidates = _of_fewer(operator, y, factors, signed=signed)
        wanted = y_held_out / scale
        squares = [(wanted - function_of(c).predict(X_held_out)) ** 2 for c in candidates]
        measured["held_out_errors"] = [float(np.mean(each)) for each in squares]
        kept = _fewest(squares)
        if kept < n_found:
            refit = partial(fit_rank, start=candidates[kept], random_state=random_state)
            last = refit(operator, y, kept, signed=signed)
            factors = last.value
            status = status if status == "interrupted" else last.status
            measured["identification"] = last.measured["identification"]
    dependent = _dependent(Z, X.shape[1])
    if dependent:
        measured["identification"] = Identification("fails", dependent)
        status = "converged" if status == "exact" else status
    in_units = Factors(factors.components * math.sqrt(scale), factors.signs)
    fit = QuadraticFit(function_of(factors).times(scale), in_units, operator)
    return Solution(fit, status, solution.history, measured)


def _of_fewer(
    operator: SensingOperator, y: Vector, factors: Factors, *, signed: bool
) -> list[Factors]:
    """Fits of 0, 1, ... components, each from the next larger one; the last is `factors`."""
    found = [factors]
    for k in reversed(range(len(factors.signs))):
        less = fit_rank(operator, y, k, signed=signed, start=found[0], tolerance=TRIED)
        found.insert(0, less.value)
    return found


def _checked_nuisance(Z: Vector, *, fit_linear: bool) -> Vector:
    """The columns of the linear part; ValueError unless there are more rows than linear terms."""
    ones = np.ones((len(Z), 1))
    nuisance = np.hstack([ones, Z]) if fit_linear else ones
    n_linear = int(np.linalg.matrix_rank(nuisance, rtol=DEPENDENT))
    if len(nuisance) <= n_linear:
        raise bad_value(
            "X",
            Shown(f"{len(nuisance)} training rows for a function with {n_linear} linear terms"),
            "more training rows than linear terms",
            "add rows, drop columns, hold out fewer rows or set fit_linear=False",
        )
    return nuisance


def _dependent(Z: Vector, d: int) -> str:
    """Say which columns of the d leave coefficients free; an empty string where none do."""
    rank = int(np.linalg.matrix_rank(Z, rtol=DEPENDENT))
    if rank == d:
        return ""
    return (
        f"the {d} columns have {rank} independent ones, because some are constant or sums of "
        "others (as where every category has a column), so different coefficients give the "
        "same values"
    )


def _fewest(squares: list[Vector]) -> int:
    """Find the fewest components that do as well as the best number, to one standard error.

    Each array has the squared errors of the same rows; the standard error is that of the paired
    differences.
    """
    best = min(squares, key=np.mean)
    excess = (each - best for each in squares)
    return next(k for k, e in enumerate(excess) if e.mean() <= e.std() / np.sqrt(len(e)))


def strongest_pairs(
    function: Quadratic, X: Vector, n_pairs: int = 50
) -> tuple[NDArray[np.int64], Vector]:
    """Find the products of two inputs that matter most to a function.

    Parameters
    ----------
    function : Quadratic
    X : array, shape [n, d]
        Rows on which the effects are measured.
    n_pairs : int

    Returns
    -------
    pairs : int array, shape [k, 2]
        Inputs i <= j, strongest first, ties by position; k <= n_pairs.
    effects : array, shape [k]
        Standard deviation, over the rows, of the part that the product adds to a linear function
        of all inputs, with the sign of its coefficient.  The square of a two-valued input adds
        nothing, and neither does the product of two categories of one column.

    Notes
    -----
    O(n d) for each of the `CANDIDATES` pairs of largest coefficient, in standard deviations.
    """
    Z = X - function.centre
    M = (function.components.T * function.signs) @ function.components
    spread = Z.std(axis=0)
    i, j = np.triu_indices(len(M))
    coefficients = np.where(i == j, 1.0, 2.0) * M[i, j]
    crude = np.abs(coefficients) * spread[i] * spread[j]
    candidates = np.argsort(-crude, kind="stable")[:CANDIDATES]
    candidates = np.sort(candidates[crude[candidates] > 0])
    scaled = Z / np.where(spread > 0, spread, 1.0)
    basis: Vector = np.linalg.qr(np.hstack([np.ones((len(Z), 1)), scaled]))[0]
    effects = np.empty(len(candidates))
    block = max(1, BLOCK // len(Z))
    for at in range(0, len(candidates), block):
        part = candidates[at : at + block]
        products = Z[:, i[part]] * Z[:, j[part]]
        beyond = products - basis @ (basis.T @ products)
        size = np.sqrt(np.mean(beyond**2, axis=0))
        size[size <= FLAT * np.sqrt(np.mean(products**2, axis=0))] = 0.0
        effects[at : at + block] = coefficients[part] * size
    order = np.argsort(-np.abs(effects), kind="stable")[:n_pairs]
    order = order[effects[order] != 0]
    return np.stack([i, j], axis=1)[candidates[order]].astype(np.int64), effects[order]


def _whitening(Z: Vector) -> Vector:
    """W [d, p] with cov(Z W) about the identity; constant directions are left out.

    Columns are first scaled to unit variance, so that their units do not matter.  The covariance
    is then shrunk towards a multiple of the identity (Ledoit & Wolf 2004), so that few rows do
    not magnify directions of little variance.
    """
    spread = Z.std(axis=0)
    constant = spread <= CONSTANT * np.abs(Z).max(initial=0.0, axis=0)
    scale = np.where(constant, 0.0, 1 / np.where(constant, 1.0, spread))
    covariance, _ = ledoit_wolf(Z * scale, assume_centered=True)
    values, vectors = np.linalg.eigh(covariance)
    kept = values > LEAST_VARIANCE * values[-1]
    return np.asarray(scale[:, None] * vectors[:, kept] / np.sqrt(values[kept]))
