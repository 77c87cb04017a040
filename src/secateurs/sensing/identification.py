"""Decide whether measurements identify a matrix, or another of its rank fits as well.

Seven questions, the cheap ones first.  M is the fit, of rank r.

1. Are there more distinct measurements than degrees of freedom?
2. Is every row of M in some measurement?
3. Is the map from the tangent space at M to the measurements injective (`tangent`)?  A null vector
   is a direction in which M moves and no measurement changes.
4. Do the measurements connect all nonzero rows of M?  If no A_i joins two groups of rows, the sign
   of one group against the other is free.
5. Is the matrix in general position, or are there three times as many measurements as degrees of
   freedom?  Different measurements with equal values show that it is not.
6. Do the measurements determine the column space?  Weights w with J^T w = 0 give matrices
   Z = sum_i w_i A_i with Z M = 0.  If M is in general position, every other matrix with the same
   measurements has Z M' = 0 too.  So if the common kernel of the Z is the column space of M, then
   M' is in that space, and question 3 excludes it.
7. Does the same fit from random starts end at another matrix (`other_fits`)?  Where the residual
   is zero, that matrix must have the same measurements.  Where it is not, it counts if its loss is
   not much larger: the noise then decides which of the two is found, and nothing about the fit is
   known.

Sources: 2, 3 and 4 derived; the number three of 5 measured; 6 is the argument of Gortler, Healy &
Thurston, "Characterizing generic global rigidity" (2010), for measurements of distances, carried
over to any linear ones (derived).
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
from secateurs.sensing.factored import Factors, Sensed, rounding
from secateurs.sensing.measurement_count import distinct_measurements, random_factors
from secateurs.sensing.operators.base import Array, SensingOperator, method, real_dtype
from secateurs.sensing.other_fits import as_good_fit, same_measurements
from secateurs.sensing.tangent import Tangent

INJECTIVE = 1e-6  # smallest over largest singular value, from which a map counts as injective
WORST_ERROR = 1e-3  # relative error that rounding may cause in an identified matrix
ZERO_ROW = 1e-9  # share of the largest row norm below which a row of M is zero
ZERO_ENTRY, ZERO_ENTRY_SINGLE = 1e-12, 1e-6  # the same for entries of sum_i g_i A_i, by type
STRESSES = 3  # matrices Z of question 6
FEW_STRESSES = 100  # largest d for which there are so many; above it there is one
NO_STRESS = 1e-9  # relative size below which Z is rounding
COINCIDENCE = 1e-12  # share of the largest value, up to which two values are equal
MANY = 3.0  # measurements for each degree of freedom, from which equal values do not matter
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
        The residual is zero to rounding.  If it is not, questions 5 and 6 are left out, and
        question 7 looks for another fit that is about as good.
    random_state : int

    Returns
    -------
    Identification

    Notes
    -----
    About as much as a few passes over the data where the map is formed (`Tangent.dense`), else
    some hundred passes; question 7 takes some hundred steps of descent.
    d x d matrices are formed.
    """
    operator = sensed.operator
    rng = np.random.default_rng(random_state)
    r = len(factors.components)
    U = factors.components if r else random_factors(operator, 1, rng)
    tangent = tangent if r and tangent is not None else Tangent(operator, U)
    n_distinct = distinct_measurements(operator, int(rng.integers(1 << 31)))
    failed = _too_few(operator, tangent, n_distinct, n_factors=r) or _unseen_rows(operator, rng)
    if failed:
        return Identification("fails", failed)
    found = _locally(operator, tangent)
    if found.verdict != "holds" or not r:
        return found
    apart = _rows_apart(operator, U, rng)
    if apart:
        return Identification("fails", apart, found.ratio)
    if exact:
        doubt = _coincidences(sensed, tangent, n_distinct)
        doubt = doubt or _kernel_too_large(operator, tangent, rng)
    else:
        doubt = as_good_fit(sensed, factors, rng)
    if doubt:
        return Identification("unknown", doubt, found.ratio)
    other = same_measurements(sensed, factors, found.ratio, rng) if exact else ""
    return Identification("fails", other, found.ratio) if other else found


def _too_few(
    operator: SensingOperator, tangent: Tangent, n_distinct: int, *, n_factors: int
) -> str:
    """Question 1; an empty string where there are enough measurements."""
    n, d = operator.shape
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


def _coincidences(sensed: Sensed, tangent: Tangent, n_distinct: int) -> str:
    """Question 5; an empty string where the matrix may be in general position, or n is large."""
    values = np.sort(sensed.y)
    equal = np.diff(values) <= COINCIDENCE * np.abs(values).max()
    n_values = len(values) - int(equal.sum())
    free = n_distinct - sensed.operator.n_nuisance
    if n_values >= n_distinct or free >= MANY * tangent.n_coordinates:
        return ""
    return (
        f"{n_distinct} distinct measurements have {n_values} distinct values, so the matrix is not "
        f"in general position, and fewer than {MANY:g} measurements for each of its "
        f"{tangent.n_coordinates} degrees of freedom do not exclude a second matrix far away"
    )


def _kernel_too_large(operator: SensingOperator, tangent: Tangent, rng: np.random.Generator) -> str:
    """Question 6; an empty string where the column space is determined."""
    n, d = operator.shape
    V = tangent.V
    if len(V) == d or d > MOST_DENSE:
        return ""
    n_stresses = STRESSES if tangent.dense is not None and d <= FEW_STRESSES else 1
    free = operator.project(rng.standard_normal((n, n_stresses)))
    total: Array = np.zeros((d, d), dtype=V.dtype)
    usual = _usual_size(operator, free[:, 0])
    for w in tangent.off(free).T:
        Z = operator.adjoint(w / np.linalg.norm(w)).astype(V.dtype)
        Z = Z - V.T @ (V.conj() @ Z)
        Z = Z - (Z @ V.T) @ V.conj()
        if np.linalg.norm(Z) <= NO_STRESS * usual:
            return "no measurement is left over to determine its column space"
        total = total + Z @ Z.conj().T if n_stresses > 1 else Z
    values: Array = np.abs(eigh(total, eigvals_only=True, check_finite=False))
    values = np.sort(values if n_stresses == 1 else np.sqrt(values))[len(V) :]
    least = injective_from(operator)
    ratio = float(values[0] / values[-1]) if values[-1] > 0 else 0.0
    if ratio >= least:
        return ""
    return (
        "the measurements do not determine its column space (smallest over largest singular value "
        f"{ratio:.3g}, at least {least:.3g} is required), so a second matrix far away may exist"
    )


def _usual_size(operator: SensingOperator, weights: Array) -> float:
    """Frobenius norm of a random combination of the A_i whose weights have norm 1, roughly."""
    if getattr(operator, "row_products", False):  # the sizes cost less than the matrix
        sizes = np.asarray(method(operator, "sizes")(), dtype=np.float64)
        return float(np.sqrt(np.mean(sizes**2)))
    return float(np.linalg.norm(operator.adjoint(weights / np.linalg.norm(weights))))


def _zero_entry(operator: SensingOperator) -> float:
    """Relative size below which an entry of sum_i g_i A_i is zero."""
    return ZERO_ENTRY if real_dtype(operator.dtype) == np.float64 else ZERO_ENTRY_SINGLE


def _some(rows: NDArray[np.int64], most: int = 5) -> str:
    shown = ", ".join(str(row) for row in rows[:most])
    return shown + (", ..." if len(rows) > most else "")
