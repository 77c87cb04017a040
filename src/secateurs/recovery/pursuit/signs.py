"""From the sign-free form back to ReLU neurons.

relu(w.x) = x.u + |x.u| with u = w/2, so sum_j relu(w_j.x) = x.beta + sum_j |x.u_j| with
beta = sum_j sigma_j u_j and sigma_j = +-1 the sign in which u_j was found.  A neuron with
|sigma_j| < 1 stands for two: (1 + sigma_j) u_j and -(1 - sigma_j) u_j.                        (1)

Where inputs are never negative, relu(w.x) with w >= 0 is linear: beta = U^T sigma + w.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

FloatArray = NDArray[np.float64]
SparseMatrix = Any

MILP_SECONDS = 20.0
SLACKS = (1e-8, 1e-6, 1e-4)  # relative misfits of beta, for nearly parallel neurons
SNAP = 1e-5  # |sigma| closer to 1 than this is 1 (an exact fit has about 1e-9)
STANDARD_ERRORS = 4.0  # by which |sigma| may miss 1 under noise
HARD = 1e-8  # relative error of beta up to which U^T sigma = beta is a constraint


def resolve_signs(
    U: sparse.csr_array[np.float64],
    beta: FloatArray,
    *,
    nonnegative: NDArray[np.bool_] | None = None,
    error: float = 0.0,
    exhaustive: bool = True,
) -> tuple[FloatArray, FloatArray]:
    """Signs sigma in [-1, 1] and w >= 0 with U^T sigma + w = beta and the fewest weights.

    Parameters
    ----------
    U : CSR array [p, d]
    beta : array [d]
    nonnegative : bool array [d], optional
        Where w may differ from zero, default nowhere.
    error : float
        Standard error of an entry of beta.
    exhaustive : bool
        Whether the mixed-integer programme may be used.

    Returns
    -------
    sigma : array [p]
        Clipped least squares where no exact solution was found.
    w : array [d]

    Notes
    -----
    Least squares decides where it gives signs, O(p^2 d).  Otherwise a mixed-integer programme,
    min sum_j nnz_j [neuron j split] + nnz(w) (+ the misfit in standard errors), exact but
    exponential at worst: 20 s at most.
    Source: derived.
    """
    p = U.shape[0]
    free = np.zeros(U.shape[1], dtype=bool) if nonnegative is None else nonnegative
    if p == 0:
        return np.zeros(0), np.where(free, np.maximum(beta, 0.0), 0.0)
    counts = np.diff(U.indptr)
    A = U.T.toarray()  # [d, p]
    norm = np.linalg.norm(A, axis=0)
    # unknowns sigma_j ||u_j||: the rank does not depend on their scales
    solution, _, rank, _ = np.linalg.lstsq(A / norm, beta, rcond=1e-10)
    sigma = solution / norm
    tolerance = np.minimum(np.maximum(SNAP, STANDARD_ERRORS * error / norm), 0.5)
    unclear = (np.abs(sigma) < 1.0 - tolerance) & (counts > 1)
    unclear |= np.abs(sigma) > 1.0 + tolerance
    if exhaustive and (rank < p or unclear.any() or free.any()):
        for slack in SLACKS:
            found = _milp_signs(U, beta, counts, free, error, slack)
            if found is not None:
                break
        sigma = sigma if found is None else found
    off = np.abs(sigma) < 1.0 - tolerance
    sigma = np.where(off, sigma, np.sign(sigma))
    w = np.where(free, beta - U.T @ sigma, 0.0)
    least = max(HARD * float(np.abs(beta).max(initial=0.0)), STANDARD_ERRORS * error)
    return sigma, np.where(w > least, w, 0.0)


def _milp_signs(
    U: sparse.csr_array[np.float64],
    beta: FloatArray,
    counts: NDArray[np.int_],
    free: NDArray[np.bool_],
    error: float,
    slack: float,
) -> FloatArray | None:
    """Signs by mixed-integer programming; None if there are none or time is up.

    sigma_j = 2 b_j - 1 unless split_j, both binary; |U^T sigma + w - beta| <= misfit, which is
    0 for exact data; w_k = 0 unless used_k, binary.
    """
    p, d = U.shape
    scale = float(np.abs(beta).max(initial=0.0) + np.abs(U.data).max(initial=0.0))
    exact = error <= HARD * scale
    unit = scale if exact else STANDARD_ERRORS * error  # of a misfit
    slack, price = (slack, 0.0) if exact else (np.inf, 1.0)
    at = np.flatnonzero(free)
    f = len(at)
    # variables: sigma [p], b [p], split [p], w [f], used [f], misfit [d]
    P, F, D = sparse.eye_array(p), sparse.eye_array(f), sparse.eye_array(d)
    W = sparse.csr_array((np.ones(f), (at, np.arange(f))), shape=(d, f))
    reach = (np.abs(beta) + abs(U).sum(axis=0))[at] / scale  # the largest w may be

    def block(*parts: SparseMatrix | None) -> SparseMatrix:
        widths = (p, p, p, f, f, d)
        height = next(part.shape[0] for part in parts if part is not None)
        return sparse.hstack(
            [
                sparse.csr_array((height, n)) if part is None else part
                for part, n in zip(parts, widths, strict=True)
            ]
        )

    rows: list[tuple[tuple[SparseMatrix | None, ...], Any, Any]] = [
        ((U.T / unit, None, None, W * (scale / unit), None, D), beta / unit, np.inf),
        ((U.T / unit, None, None, W * (scale / unit), None, -D), -np.inf, beta / unit),
        ((P, -2 * P, -2 * P, None, None, None), -np.inf, -np.ones(p)),
        ((P, -2 * P, 2 * P, None, None, None), -np.ones(p), np.inf),
        ((None, None, None, F, -sparse.diags_array(reach), None), -np.inf, np.zeros(f)),
    ]
    result = optimize.milp(
        c=np.concatenate([np.zeros(2 * p), counts, np.zeros(f), np.ones(f), np.full(d, price)]),
        constraints=[
            optimize.LinearConstraint(block(*row), low, high)
            for row, low, high in (rows if f else rows[:-1])
        ],
        bounds=optimize.Bounds(
            np.concatenate([-np.ones(p), np.zeros(2 * p + 2 * f + d)]),
            np.concatenate([np.ones(3 * p), reach, np.ones(f), np.full(d, slack)]),
        ),
        integrality=np.concatenate(
            [np.zeros(p), np.ones(2 * p), np.zeros(f), np.ones(f), np.zeros(d)]
        ),
        options={"time_limit": MILP_SECONDS},
    )
    if result.x is None:
        return None
    sigma = np.asarray(result.x[:p])
    sign = np.where(result.x[p : 2 * p] > 0.5, 1.0, -1.0)
    split = result.x[2 * p : 3 * p] > 0.5
    return np.where(split, sigma, sign)


def relu_neurons(
    U: sparse.csr_array[np.float64], sigma: FloatArray, w: FloatArray
) -> sparse.csr_array[np.float64]:
    """The ReLU weights (1): each neuron as one or two rows, w as one, rows of zeros left out."""
    plus = sparse.diags_array(1.0 + sigma) @ U
    minus = sparse.diags_array(sigma - 1.0) @ U
    W = sparse.csr_array(sparse.vstack([plus, minus, sparse.csr_array(w[None, :])]))
    W.eliminate_zeros()
    return sparse.csr_array(W[np.diff(W.indptr) > 0])
