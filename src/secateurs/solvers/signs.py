"""From the sign-free form back to ReLU neurons.

relu(w.x) = x.u + |x.u| with u = w/2, so sum_j relu(w_j.x) = x.beta + sum_j |x.u_j| with
beta = sum_j sigma_j u_j and sigma_j = +-1 the sign in which u_j was found.  A neuron with
|sigma_j| < 1 stands for two: (1 + sigma_j) u_j and -(1 - sigma_j) u_j.                        (1)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

FloatArray = NDArray[np.float64]
SparseMatrix = Any

MILP_SECONDS = 20.0
SNAP = 1e-5  # |sigma| closer to 1 than this is 1 (an exact fit has about 1e-9)
STANDARD_ERRORS = 4.0  # by which |sigma| may miss 1 under noise
HARD = 1e-8  # relative error of beta up to which U^T sigma = beta is a constraint


def resolve_signs(
    U: sparse.csr_array[np.float64],
    beta: FloatArray,
    *,
    error: float = 0.0,
    exhaustive: bool = True,
) -> FloatArray:
    """Signs sigma in [-1, 1] with U^T sigma = beta and the fewest split weights.

    Parameters
    ----------
    U : CSR array [p, d]
    beta : array [d]
    error : float
        Standard error of an entry of beta.
    exhaustive : bool
        Whether the mixed-integer programme may be used.

    Returns
    -------
    sigma : array [p]
        Clipped least squares where no exact solution was found.

    Notes
    -----
    Least squares decides where it gives signs, O(p^2 d).  Otherwise a mixed-integer programme,
    min sum_j nnz_j [neuron j split] (+ the misfit in standard errors), exact but exponential
    at worst: 20 s at most.
    Source: derived.
    """
    p = U.shape[0]
    if p == 0:
        return np.zeros(0)
    counts = np.diff(U.indptr)
    A = U.T.toarray()  # [d, p]
    norm = np.linalg.norm(A, axis=0)
    # unknowns sigma_j ||u_j||: the rank does not depend on their scales
    solution, _, rank, _ = np.linalg.lstsq(A / norm, beta, rcond=1e-10)
    sigma = solution / norm
    tolerance = np.minimum(np.maximum(SNAP, STANDARD_ERRORS * error / norm), 0.5)
    unclear = (np.abs(sigma) < 1.0 - tolerance) & (counts > 1)
    unclear |= np.abs(sigma) > 1.0 + tolerance
    if exhaustive and (rank < p or unclear.any()):
        found = _milp_signs(U, beta, counts, error)
        sigma = sigma if found is None else found
    off = np.abs(sigma) < 1.0 - tolerance
    return np.asarray(np.where(off, sigma, np.sign(sigma)))


def _milp_signs(
    U: sparse.csr_array[np.float64], beta: FloatArray, counts: NDArray[np.int_], error: float
) -> FloatArray | None:
    """Signs by mixed-integer programming; None if there are none or time is up.

    sigma_j = 2 b_j - 1 unless split_j, both binary; |U^T sigma - beta| <= misfit, which is 0
    for exact data.
    """
    p, d = U.shape
    scale = float(np.abs(beta).max(initial=0.0) + np.abs(U.data).max(initial=0.0))
    exact = error <= HARD * scale
    slack = HARD if exact else np.inf
    price = 0.0 if exact else scale / (STANDARD_ERRORS * error)
    # variables: sigma [p], b [p], split [p], misfit [d]
    one, eye_d = sparse.eye_array(p), sparse.eye_array(d)
    none, wide = sparse.csr_array((d, p)), sparse.csr_array((p, d))
    above: SparseMatrix = sparse.hstack(
        [U.T / scale, none, none, eye_d]
    )  # U^T sigma + misfit >= beta
    below: SparseMatrix = sparse.hstack([U.T / scale, none, none, -eye_d])
    upper = sparse.hstack([one, -2 * one, -2 * one, wide])  # sigma <= 2b - 1 + 2 split
    lower = sparse.hstack([one, -2 * one, 2 * one, wide])  # sigma >= 2b - 1 - 2 split
    result = optimize.milp(
        c=np.concatenate([np.zeros(2 * p), counts, np.full(d, price)]),
        constraints=[
            optimize.LinearConstraint(above, beta / scale, np.inf),
            optimize.LinearConstraint(below, -np.inf, beta / scale),
            optimize.LinearConstraint(upper, -np.inf, -np.ones(p)),
            optimize.LinearConstraint(lower, -np.ones(p), np.inf),
        ],
        bounds=optimize.Bounds(
            np.concatenate([-np.ones(p), np.zeros(2 * p + d)]),
            np.concatenate([np.ones(3 * p), np.full(d, slack)]),
        ),
        integrality=np.concatenate([np.zeros(p), np.ones(2 * p), np.zeros(d)]),
        options={"time_limit": MILP_SECONDS},
    )
    if result.x is None:
        return None
    sigma = np.asarray(result.x[:p])
    sign = np.where(result.x[p : 2 * p] > 0.5, 1.0, -1.0)
    split = result.x[2 * p : 3 * p] > 0.5
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
