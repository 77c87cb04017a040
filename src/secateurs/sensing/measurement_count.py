"""How many measurements are distinct, and how many are linearly independent."""

from __future__ import annotations

import numpy as np

from secateurs.sensing.operators.base import Array, SensingOperator, real_dtype
from secateurs.sensing.tangent import Tangent, degrees_of_freedom

PROBES = 3  # random matrices by whose measurements equal A_i are found
SAME, SAME_SINGLE = 1e-9, 1e-4  # relative difference below which two measurements are equal
DEPENDENT = 1e-6  # relative singular value below which measurements are dependent


def distinct_measurements(operator: SensingOperator, random_state: int = 0) -> int:
    """Number of distinct measurements: equal A_i, and multiples of one, count once.

    Two A_i are taken as equal if their values on random matrices agree to rounding.  Measurements
    that are zero on all of them are not counted.  A few passes, O(n log n).
    """
    rng = np.random.default_rng(random_state)
    probes = [random_factors(operator, 2, rng) for _ in range(PROBES)]
    signs = np.array([1.0, -1.0])
    values = np.stack([operator.forward_factors(U, signs) for U in probes], axis=1)
    values = values.astype(np.float64)
    sizes = np.linalg.norm(values, axis=1)
    coarse = SAME if real_dtype(operator.dtype) == np.float64 else SAME_SINGLE
    values = values[sizes > coarse * sizes.max(initial=0.0)]
    if not len(values):
        return 0
    values /= np.linalg.norm(values, axis=1)[:, None]
    leading = np.abs(values).argmax(axis=1)
    values *= np.sign(values[np.arange(len(values)), leading])[:, None]
    # neighbours in the order of a random projection are compared, so no grid cuts equal values
    order = np.argsort(values @ rng.standard_normal(PROBES), kind="stable")
    gaps = np.abs(np.diff(values[order], axis=0)).max(axis=1)
    return 1 + int(np.sum(gaps > coarse))


def independent_measurements(
    operator: SensingOperator, wanted: float, random_state: int = 0
) -> tuple[int, int]:
    """Count distinct measurements, and linearly independent ones.

    Parameters
    ----------
    operator : SensingOperator
    wanted : float
        The number that matters to the caller.
    random_state : int

    Returns
    -------
    n_distinct : int
    n_independent : int
        The rank of the measurements where it is below `wanted` and below the dimension of all
        matrices; otherwise `n_distinct`.  Measurements too large for a look (`Tangent.dense`) count
        as independent.

    Notes
    -----
    The rank is that of the measurements on the tangent space of a random matrix, of a rank at which
    that space has `wanted` dimensions: the rank of all measurements, or that dimension, whichever
    is smaller (with probability 1).  A few passes, O(n wanted^2).
    """
    rng = np.random.default_rng(random_state)
    n_distinct = distinct_measurements(operator, random_state)
    d, is_complex = operator.shape[1], operator.dtype.kind == "c"
    q = 1
    while q < d and degrees_of_freedom(d, q, complex_=is_complex) < wanted:
        q += 1
    tangent = Tangent(operator, random_factors(operator, q, rng))
    rank = tangent.rank(DEPENDENT)
    most = min(tangent.n_coordinates, n_distinct - operator.n_nuisance)
    return n_distinct, n_distinct if rank is None or rank >= most else rank


def random_factors(operator: SensingOperator, r: int, rng: np.random.Generator) -> Array:
    """Draw factors [r, d] with standard normal entries in the type of the operator."""
    U: Array = rng.standard_normal((r, operator.shape[1]))
    if operator.dtype.kind == "c":
        U = U + 1j * rng.standard_normal(U.shape)
    return U
