"""Return from the sign-free form to ReLU neurons.

relu(w.x) = x.u + |x.u| with u = w/2.  So sum_j relu(w_j.x) = x.beta + sum_j |x.u_j| with
beta = sum_j sigma_j u_j, where sigma_j = +-1 is the sign with which u_j was found.  A neuron with
|sigma_j| < 1 stands for two: (1 + sigma_j) u_j and -(1 - sigma_j) u_j.                        (1)

Where inputs are never negative, relu(w.x) with w >= 0 is linear, and beta = U^T sigma + w.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from secateurs.recovery.programme import Programme, chosen_signs
from secateurs.recovery.pursuit.relu_rows import FloatArray, IntArray

SLACKS = (1e-8, 1e-6, 1e-4)  # relative errors of beta allowed in turn, for nearly parallel neurons
SNAP = 1e-5  # distance of |sigma| from 1 that counts as rounding (an exact fit has about 1e-9)
MAX_SNAP = 0.5  # the largest such distance that noise may explain
STANDARD_ERRORS = 4.0  # distance of |sigma| from 1 that noise explains
HARD = 1e-8  # relative error of beta up to which U^T sigma = beta is a constraint
SAME_DIRECTION = 1e-10  # relative singular value below which neurons are linearly dependent


def resolve_signs(
    U: sparse.csr_array[np.float64],
    beta: FloatArray,
    *,
    nonnegative: NDArray[np.bool_] | None = None,
    error: float = 0.0,
    exhaustive: bool = True,
) -> tuple[FloatArray, FloatArray]:
    """Find signs sigma in [-1, 1] and w >= 0 with U^T sigma + w = beta and the fewest weights.

    w may differ from zero where `nonnegative`, and `error` is the standard error of an entry of
    beta.  sigma is clipped least squares where no exact solution was found.

    Least squares decides where it gives signs, O(p^2 d).  Otherwise a mixed-integer programme
    minimises sum_j nnz_j [neuron j is split] + nnz(w), plus the error in units of its standard
    error, if `exhaustive`.  It is exact, but exponential in the worst case, and ends after 20 s.
    Source: derived.
    """
    p = U.shape[0]
    free = np.zeros(U.shape[1], dtype=bool) if nonnegative is None else nonnegative
    if p == 0:
        return np.zeros(0), np.where(free, np.maximum(beta, 0.0), 0.0)
    counts = np.diff(U.indptr)
    A = U.T.toarray()  # [d, p]
    norm = np.linalg.norm(A, axis=0)
    # with the unknowns sigma_j ||u_j|| the rank does not depend on the norms
    solution, _, rank, _ = np.linalg.lstsq(A / norm, beta, rcond=SAME_DIRECTION)
    sigma = solution / norm
    tolerance = np.minimum(np.maximum(SNAP, STANDARD_ERRORS * error / norm), MAX_SNAP)
    unclear = (np.abs(sigma) < 1.0 - tolerance) & (counts > 1)
    unclear |= np.abs(sigma) > 1.0 + tolerance
    if exhaustive and (rank < p or unclear.any() or free.any()):
        for slack in SLACKS:
            found = _signs_of_fewest_weights(U, beta, counts, free, error, slack)
            if found is not None:
                sigma = found
                break
    off = np.abs(sigma) < 1.0 - tolerance
    sigma = np.where(off, sigma, np.sign(sigma))
    w = np.where(free, beta - U.T @ sigma, 0.0)
    least = max(HARD * float(np.abs(beta).max(initial=0.0)), STANDARD_ERRORS * error)
    return sigma, np.where(w > least, w, 0.0)


def _signs_of_fewest_weights(
    U: sparse.csr_array[np.float64],
    beta: FloatArray,
    counts: IntArray,
    free: NDArray[np.bool_],
    error: float,
    slack: float,
) -> FloatArray | None:
    """Find signs by a mixed-integer programme; None without a solution or in case of a timeout.

    |U^T sigma + w - beta| <= misfit, which is at most `slack` for exact data; w_k = 0 unless
    used_k.
    """
    d = U.shape[1]
    scale = float(np.abs(beta).max(initial=0.0) + np.abs(U.data).max(initial=0.0))
    exact = error <= HARD * scale
    unit = scale if exact else STANDARD_ERRORS * error  # of the misfit
    at = np.flatnonzero(free)
    reach = (np.abs(beta) + abs(U).sum(axis=0))[at] / scale  # upper bound of w
    W = sparse.csr_array((np.ones(len(at)), (at, np.arange(len(at)))), shape=(d, len(at)))
    equations = {"sigma": U.T / unit, "w": W * (scale / unit)}
    misfit = sparse.eye_array(d)

    programme = Programme()
    programme.sign_variables(counts)
    programme.variables("w", len(at), high=reach)
    programme.variables("used", len(at), cost=1.0, integer=True)
    programme.variables("misfit", d, high=slack if exact else np.inf, cost=0.0 if exact else 1.0)
    programme.constrain(beta / unit, np.inf, **equations, misfit=misfit)
    programme.constrain(-np.inf, beta / unit, **equations, misfit=-misfit)
    programme.link_signs()
    only_used = {"w": sparse.eye_array(len(at)), "used": -sparse.diags_array(reach)}
    programme.constrain(-np.inf, 0.0, **only_used)
    solution = programme.solve()
    return None if solution is None else chosen_signs(solution)


def relu_neurons(
    U: sparse.csr_array[np.float64], sigma: FloatArray, w: FloatArray
) -> sparse.csr_array[np.float64]:
    """Return the ReLU weights (1): one or two rows for each neuron and one for w, if not zero."""
    plus = sparse.diags_array(1.0 + sigma) @ U
    minus = sparse.diags_array(sigma - 1.0) @ U
    W = sparse.csr_array(sparse.vstack([plus, minus, sparse.csr_array(w[None, :])]))
    W.eliminate_zeros()
    return sparse.csr_array(W[np.diff(W.indptr) > 0])
