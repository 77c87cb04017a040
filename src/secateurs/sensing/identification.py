"""Decide whether measurements identify a matrix, or another of its rank fits as well.

Six questions, the cheap ones first.  M is the fit, of rank r.

1. Are there more distinct measurements than degrees of freedom?
2. Is every row of M in some measurement?
3. Is the map from the tangent space at M to the measurements injective (`tangent`)?  A null vector
   is a direction in which M moves and no measurement changes.
4. Do the measurements connect all nonzero rows of M?  If no A_i joins two groups of rows, the sign
   of one group against the other is free.
5. Do the measurements determine the column space?  Weights w with J^T w = 0 give matrices
   Z = sum_i w_i A_i with Z M = 0.  If M is in general position, every other matrix with the same
   measurements has Z M' = 0 too.  So if the common kernel of the Z is the column space of M, then
   M' is in that space, and question 3 excludes it.
6. Does the same fit from random starts end at another matrix?  Where the residual is zero, that
   matrix must have the same measurements.  Where it is not, it counts if its loss is not much
   larger: the noise then decides which of the two is found, and nothing about the fit is known.

Sources: 2, 3 and 4 derived; 5 is the argument of Gortler, Healy & Thurston, "Characterizing generic
global rigidity" (2010), for measurements of distances, carried over to any linear ones (derived).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse.csgraph import connected_components

from secateurs.core.certificate import Check, Verdict
from secateurs.core.solution import Status
from secateurs.sensing.descent import descend
from secateurs.sensing.factored import Factors, Point, Sensed, rounding
from secateurs.sensing.measurement_count import distinct_measurements, random_factors
from secateurs.sensing.operators.base import Array, SensingOperator, real_dtype
from secateurs.sensing.tangent import Tangent

INJECTIVE = 1e-6  # smallest over largest singular value, from which a map counts as injective
WORST_ERROR = 1e-3  # relative error that rounding may cause in an identified matrix
ZERO_ROW = 1e-9  # share of the largest row norm below which a row of M is zero
ZERO_ENTRY, ZERO_ENTRY_SINGLE = 1e-12, 1e-6  # the same for entries of sum_i g_i A_i, by type
DIFFERENT = 1e-3  # relative distance from which a second solution is another matrix
STRESSES = 3  # matrices Z of question 5
NO_STRESS = 1e-9  # relative size below which Z is rounding
STARTS, START_STEPS = 2, 300  # of question 6, where the residual is zero
NOISY_STARTS, NOISY_ACCURACY = 4, 1e-2  # of question 6, where it is not
AS_GOOD = 1.5  # loss over that of the fit, up to which a fit from a random start is as good
APART = 0.5  # distance, in weakest eigenvalues of the fit, from which two fits are not the same
MOST_DENSE = 3000  # largest d for which d x d matrices are formed here
SOURCE = (
    "derived; the determined column space: Gortler, Healy & Thurston (2010), for a matrix in "
    "general position"
)


@dataclass(frozen=True)
class Identification:
    """The answer, and what it rests on.

    Attributes
    ----------
    verdict : {"holds", "fails", "unknown"}
        "fails" where another matrix was found, "unknown" where one may exist.
    reason : str
        A clause that says what was found.
    ratio : float or None
        Smallest over largest singular value of the measurements on the tangent space.
    """

    verdict: Verdict
    reason: str
    ratio: float | None = None

    @property
    def status(self) -> Status:
        """How a fit ended whose residual is zero to rounding."""
        return "exact" if self.verdict == "holds" else "converged"

    def check(self, threshold: float) -> Check:
        """The check of a certificate."""
        return Check(
            "identification",
            f"no other matrix of this rank has the same measurements: {self.reason}",
            self.verdict,
            self.ratio,
            threshold,
            SOURCE,
        )


def injective_from(operator: SensingOperator) -> float:
    """Ratio of singular values from which the rounding of a residual hardly moves the matrix."""
    return max(INJECTIVE, rounding(operator) / WORST_ERROR)


def identify(
    sensed: Sensed,
    factors: Factors,
    *,
    tangent: Tangent | None = None,
    exact: bool = True,
    random_state: int = 0,
) -> Identification:
    """Look for another matrix of the same rank with the same measurements.

    Parameters
    ----------
    sensed : Sensed
    factors : Factors
        The fit.  For no factors the question is whether a matrix of rank one can have no
        measurement but zeros; it is asked of a random one.
    tangent : Tangent, optional
        The tangent space at the fit, if it was made before.
    exact : bool
        The residual is zero to rounding.  If it is not, question 5 is left out, and question 6
        looks for another fit that is about as good.
    random_state : int

    Returns
    -------
    Identification

    Notes
    -----
    About as much as a few passes over the data where the map is formed (`Tangent.dense`), else
    some hundred passes; question 6 takes up to 600 steps of descent, under noise usually 50 to 100.
    d x d matrices are formed.
    """
    operator = sensed.operator
    rng = np.random.default_rng(random_state)
    r = len(factors.components)
    U = factors.components if r else random_factors(operator, 1, rng)
    tangent = tangent if r and tangent is not None else Tangent(operator, U)
    failed = _too_few(operator, tangent, rng, n_factors=r) or _unseen_rows(operator, rng)
    if failed:
        return Identification("fails", failed)
    found = _locally(operator, tangent)
    if found.verdict != "holds" or not r:
        return found
    apart = _rows_apart(operator, U, rng)
    if apart:
        return Identification("fails", apart, found.ratio)
    doubt = _kernel_too_large(operator, tangent, rng) if exact else _as_good(sensed, factors, rng)
    if doubt:
        return Identification("unknown", doubt, found.ratio)
    other = _another_fit(sensed, factors, found.ratio, rng) if exact else ""
    return Identification("fails", other, found.ratio) if other else found


def _too_few(
    operator: SensingOperator, tangent: Tangent, rng: np.random.Generator, *, n_factors: int
) -> str:
    """Question 1; an empty string where there are enough measurements."""
    n, d = operator.shape
    n_distinct = distinct_measurements(operator, int(rng.integers(1 << 31)))
    free = n_distinct - operator.n_nuisance
    unknowns = tangent.n_coordinates if n_factors else 0
    whole = n_factors == d  # every symmetric matrix has this rank, so the problem is linear
    if free > unknowns or (whole and free == unknowns):
        return ""
    beside = f" beside {operator.n_nuisance} nuisance terms" if operator.n_nuisance else ""
    return (
        f"{n_distinct} of the {n} measurements are distinct, and the matrix has {unknowns} degrees "
        f"of freedom{beside}; more measurements than that are required"
    )


def _unseen_rows(operator: SensingOperator, rng: np.random.Generator) -> str:
    """Question 2; an empty string where every row is in some measurement."""
    n, d = operator.shape
    V = random_factors(operator, 1, rng).T.astype(operator.dtype)
    values = np.abs(operator.adjoint_times(rng.standard_normal(n), V))[:, 0]
    unseen = np.flatnonzero(values <= _zero_entry(operator) * values.max())
    return f"no measurement contains rows {_some(unseen)} of the {d}" if len(unseen) else ""


def _locally(operator: SensingOperator, tangent: Tangent) -> Identification:
    """Question 3."""
    ends = tangent.extremes()
    threshold = injective_from(operator)
    if ends.ratio is None:
        return Identification(
            "unknown", "the smallest singular value on the tangent space did not converge"
        )
    measured = (
        f"on the {tangent.n_coordinates} directions in which it can move, the smallest singular "
        f"value of the measurements is {ends.smallest:.3g} and the largest {ends.largest:.3g}; a "
        f"ratio of at least {threshold:.3g} is required"
    )
    return Identification("holds" if ends.ratio >= threshold else "fails", measured, ends.ratio)


def _rows_apart(operator: SensingOperator, U: Array, rng: np.random.Generator) -> str:
    """Question 4; an empty string where all rows are connected."""
    n, d = operator.shape
    if d > MOST_DENSE or (d > 1 and not operator.dense_adjoint and n * d * d > 1e11):
        return ""
    pattern = np.abs(operator.adjoint(rng.standard_normal(n)))
    sizes = np.linalg.norm(U, axis=0)
    rows = np.flatnonzero(sizes > ZERO_ROW * sizes.max())
    joined = sp.csr_array(pattern[np.ix_(rows, rows)] > _zero_entry(operator) * pattern.max())
    count, labels = connected_components(joined, directed=False)
    if count == 1:
        return ""
    apart = rows[labels != labels[0]]
    return (
        f"no measurement joins rows {_some(rows[labels == labels[0]])} with rows {_some(apart)}, "
        "so the sign of one part against the other is free"
    )


def _kernel_too_large(operator: SensingOperator, tangent: Tangent, rng: np.random.Generator) -> str:
    """Question 5; an empty string where the column space is determined."""
    n, d = operator.shape
    W = tangent.W
    if not len(W) or d > MOST_DENSE:
        return ""
    n_stresses = STRESSES if tangent.dense is not None else 1
    free = operator.project(rng.standard_normal((n, n_stresses)))
    total: Array = np.zeros((len(W), len(W)), dtype=W.dtype)
    usual = float(np.linalg.norm(operator.adjoint(free[:, 0] / np.linalg.norm(free[:, 0]))))
    for w in tangent.off(free).T:
        Z = W.conj() @ operator.adjoint(w / np.linalg.norm(w)) @ W.T
        if np.linalg.norm(Z) <= NO_STRESS * usual:
            return "no measurement is left over to determine its column space"
        total = total + Z @ Z.conj().T
    values: Array = eigh(total, eigvals_only=True, check_finite=False)
    least = injective_from(operator)
    ratio = float(np.sqrt(max(values[0], 0.0) / values[-1])) if values[-1] > 0 else 0.0
    if ratio >= least:
        return ""
    return (
        "the measurements do not determine its column space (smallest over largest singular value "
        f"{ratio:.3g}, at least {least:.3g} is required), so a second matrix far away may exist"
    )


def _another_fit(
    sensed: Sensed, factors: Factors, ratio: float | None, rng: np.random.Generator
) -> str:
    """Question 6; an empty string where no start found another matrix."""
    curvature = _curvature(sensed, factors)
    small = rounding(sensed.operator)
    floor, zero = small**2 * sensed.power, (16 * small) ** 2 * sensed.power
    least = max(DIFFERENT, 100 * small / (ratio or 1.0))
    for _ in range(STARTS):
        start = _random_start(sensed, factors, rng)
        end = descend(start, curvature=curvature, n_steps=START_STEPS, tolerance=0.0, floor=floor)
        distance = _distance(end.factors(), factors)
        if end.loss <= zero and distance > least:
            return (
                "another matrix of the same rank, found from a random start, has the same "
                f"measurements to rounding; it differs by {distance:.0%} of the Frobenius norm"
            )
    return ""


def _as_good(sensed: Sensed, factors: Factors, rng: np.random.Generator) -> str:
    """Question 6 under noise; an empty string where all starts end at the fit, or are worse."""
    fit = Point.at(sensed, factors.components, factors.signs)
    curvature = _curvature(sensed, factors)
    sizes = np.linalg.norm(factors.components, axis=1) ** 2
    apart = APART * float(sizes.min()) / float(np.linalg.norm(sizes))
    for _ in range(NOISY_STARTS):
        end = descend(
            _random_start(sensed, factors, rng),
            curvature=curvature,
            n_steps=START_STEPS,
            tolerance=NOISY_ACCURACY,
        )
        distance = _distance(end.factors(), factors)
        if end.loss <= AS_GOOD * fit.loss and distance > apart:
            return (
                "another matrix of the same rank, found from a random start, fits about as well "
                f"(its loss is {end.loss / fit.loss:.3g} times as large); it differs by "
                f"{distance:.0%} of the Frobenius norm"
            )
    return ""


def _random_start(sensed: Sensed, factors: Factors, rng: np.random.Generator) -> Point:
    """Random directions with the norms and the signs of the factors."""
    U = random_factors(sensed.operator, len(factors.signs), rng)
    U *= (np.linalg.norm(factors.components, axis=1) / np.linalg.norm(U, axis=1))[:, None]
    return Point.at(sensed, U, factors.signs)


def _curvature(sensed: Sensed, factors: Factors) -> float:
    """Mean of <A_i, M>^2 over ||M||_F^2."""
    gram = factors.components.conj() @ factors.components.T
    size = float(factors.signs @ (np.abs(gram) ** 2) @ factors.signs)
    return sensed.power / size if size > 0 else 1.0


def _distance(a: Factors, b: Factors) -> float:
    """Frobenius norm of the difference over that of b, without d x d matrices."""
    both = np.vstack([a.components, b.components])
    triangle: Array = np.linalg.qr(both.T)[1]
    weights = np.concatenate([a.signs, -b.signs])
    kept = np.concatenate([np.zeros(len(a.signs)), b.signs])
    difference = np.linalg.norm((triangle * weights) @ triangle.conj().T)
    return float(difference / np.linalg.norm((triangle * kept) @ triangle.conj().T))


def _zero_entry(operator: SensingOperator) -> float:
    """Relative size below which an entry of sum_i g_i A_i is zero."""
    return ZERO_ENTRY if real_dtype(operator.dtype) == np.float64 else ZERO_ENTRY_SINGLE


def _some(rows: NDArray[np.int64], most: int = 5) -> str:
    shown = ", ".join(str(row) for row in rows[:most])
    return shown + (", ..." if len(rows) > most else "")
