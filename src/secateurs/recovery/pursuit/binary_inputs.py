"""ReLU neurons from the sign-free form where every input is 0 or 1.

There an entry u_k that is at least the sum N of the opposite entries decides its gate alone, and

    |x.(u + t e_k)| = |x.u| + t x_k   for u_k, u_k + t >= N > 0                                 (1)

does not determine it.  At its least value u_k = N the difference is a linear term w_k x_k with
w_k >= 0.  A ReLU neuron that k switches on can take this term without a further weight.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from secateurs.recovery.pursuit.relu_rows import FloatArray

AS_LARGE = 1.0 - 1e-9  # share of the opposite entries that an entry must reach to decide its gate


def lower_centres(
    U: sparse.csr_array[np.float64], beta: FloatArray, height: FloatArray
) -> tuple[sparse.csr_array[np.float64], FloatArray]:
    """Return U and beta of the same function with every entry that (1) leaves free at its least.

    `height` [d] is the value of each input where it is not 0.  O(nnz).  Source: derived.
    """
    U, beta = U.copy(), beta.copy()
    for j in range(U.shape[0]):
        row = slice(U.indptr[j], U.indptr[j + 1])
        k = U.indices[row]
        u = U.data[row] * height[k]
        for sign in (1.0, -1.0):
            least = float(np.maximum(-sign * u, 0.0).sum())
            free = (sign * u >= least * AS_LARGE) & (least > 0.0)
            if free.any():
                fall = np.where(free, sign * u - least, 0.0) / height[k]
                U.data[row] -= sign * fall
                np.add.at(beta, k, fall)
                break
    return U, beta


def absorb_linear(
    W: sparse.csr_array[np.float64], w: FloatArray, height: FloatArray
) -> sparse.csr_array[np.float64]:
    """Return relu(W x) + relu(w.x), w >= 0, with entries of w added to W where that is free.

    By (1) a neuron takes w_k where W_jk > 0 is at least the sum of its negative entries.  The
    other entries of w become a row of their own.
    """
    W, w = W.copy(), w.copy()
    for j in range(W.shape[0]):
        row = slice(W.indptr[j], W.indptr[j + 1])
        k = W.indices[row]
        v = W.data[row] * height[k]
        free = v >= np.maximum(-v, 0.0).sum() * AS_LARGE
        W.data[row] += np.where(free, w[k], 0.0)
        w[k[free]] = 0.0
    return sparse.csr_array(sparse.vstack([W, sparse.csr_array(w[None, :])])) if w.any() else W
