"""From the sign-free form back to ReLU neurons.

relu(w.x) = x.u + |x.u| with u = w/2, so sum_j relu(w_j.x) = x.beta + sum_j |x.u_j| with
beta = sum_j sigma_j u_j and sigma_j = +-1 the sign in which u_j was found.  A neuron with
|sigma_j| < 1 stands for two: (1 + sigma_j) u_j and -(1 - sigma_j) u_j.                        (1)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

FloatArray = NDArray[np.float64]

MILP_SECONDS = 20.0
SNAP = 1e-5  # |sigma| closer to 1 than this is 1 (an exact fit has about 1e-9)


def resolve_signs(
    U: sparse.csr_array[np.float64],
    beta: FloatArray,
    *,
    tolerance: float = SNAP,
    exhaustive: bool = True,
) -> FloatArray:
    """Signs sigma in [-1, 1] with U^T sigma = beta and the fewest split weights.

    Parameters
    ----------
    U : CSR array [p, d]
    beta : array [d]
    tolerance : float
        How far |sigma| may be from 1 and count as 1.
    exhaustive : bool
        Whether the mixed-integer programme may be used.

    Returns
    -------
    sigma : array [p]
        The nearest in the sense of least squares, clipped, where there is no exact one.

    Notes
    -----
    Least squares decides where U has full row rank, O(p^2 d).  Otherwise a mixed-integer
    programme, min sum_j nnz_j [neuron j split], exact but exponential at worst (20 s at most).
    Source: derived.
    """
    p = U.shape[0]
    if p == 0:
        return np.zeros(0)
    counts = np.diff(U.indptr)
    A = U.T.toarray()  # [d, p]
    norm = np.linalg.norm(A, axis=0)
    A = A / norm  # unknowns sigma_j ||u_j||: the rank does not depend on their scales
    solution, _, rank, _ = np.linalg.lstsq(A, beta, rcond=1e-10)
    sigma = solution / norm
    off = np.abs(np.abs(sigma) - 1.0) > tolerance
    outside = np.abs(sigma) > 1.0 + tolerance
    if exhaustive and (rank < p or (off & (counts > 1)).any() or outside.any()):
        found = _milp_signs(U, beta, counts)
        if found is not None:
            sigma = found
            off = np.abs(np.abs(sigma) - 1.0) > tolerance
    return np.asarray(np.where(off, np.clip(sigma, -1.0, 1.0), np.sign(sigma)))


def _milp_signs(
    U: sparse.csr_array[np.float64], beta: FloatArray, counts: NDArray[np.int_]
) -> FloatArray | None:
    """sigma_j = 2 b_j - 1 + t_j, b_j and [t_j != 0] binary; None if there is no solution."""
    p, d = U.shape
    scale = np.abs(beta).max(initial=0.0) + np.abs(U.data).max(initial=0.0)
    # variables: sigma [p], b [p], split [p]
    identity = sparse.eye_array(p)
    none = sparse.csr_array((d, p))
    equal = sparse.hstack([U.T / scale, none, none])
    upper = sparse.hstack([identity, -2 * identity, -2 * identity])  # sigma <= 2b - 1 + 2 split
    lower = sparse.hstack([identity, -2 * identity, 2 * identity])  # sigma >= 2b - 1 - 2 split
    slack = 1e-8
    result = optimize.milp(
        c=np.concatenate([np.zeros(2 * p), counts]),
        constraints=[
            optimize.LinearConstraint(equal, beta / scale - slack, beta / scale + slack),
            optimize.LinearConstraint(upper, -np.inf, -np.ones(p)),
            optimize.LinearConstraint(lower, -np.ones(p), np.inf),
        ],
        bounds=optimize.Bounds(np.concatenate([-np.ones(p), np.zeros(2 * p)]), np.ones(3 * p)),
        integrality=np.concatenate([np.zeros(p), np.ones(2 * p)]),
        options={"time_limit": MILP_SECONDS},
    )
    if result.x is None:
        return None
    sigma = np.asarray(result.x[:p])
    sign = np.where(result.x[p : 2 * p] > 0.5, 1.0, -1.0)
    split = result.x[2 * p :] > 0.5
    return np.where(split, sigma, sign)


def relu_neurons(
    U: sparse.csr_array[np.float64], sigma: FloatArray
) -> sparse.csr_array[np.float64]:
    """The ReLU weights (1): each neuron as one or two rows, rows of zeros left out."""
    plus = sparse.diags_array(1.0 + sigma) @ U
    minus = sparse.diags_array(sigma - 1.0) @ U
    W = sparse.csr_array(sparse.vstack([plus, minus]))
    W.eliminate_zeros()
    return sparse.csr_array(W[np.diff(W.indptr) > 0])
