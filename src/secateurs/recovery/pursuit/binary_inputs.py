"""ReLU neurons from the sign-free form where every input is 0 or 1.

There an entry u_k that is at least the sum N of the opposite ones decides its gate alone, and

    |x.(u + t e_k)| = |x.u| + t x_k   for u_k, u_k + t >= N > 0                                 (1)

leaves it free.  At the least it may be, u_k = N, what it lacks is a linear term w_k x_k with
w_k >= 0, which any ReLU neuron that k switches on takes at no cost.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

FloatArray = NDArray[np.float64]


def lower_centres(
    U: sparse.csr_array[np.float64], beta: FloatArray, height: FloatArray
) -> tuple[sparse.csr_array[np.float64], FloatArray]:
    """The same function by (1) with every free entry at its least.

    Parameters
    ----------
    U : CSR array [p, d]
    beta : array [d]
    height : array [d]
        What inputs are where they are not 0.

    Returns
    -------
    CSR array [p, d], array [d]
        O(nnz).  Source: derived.
    """
    U, beta = U.copy(), beta.copy()
    for j in range(U.shape[0]):
        row = slice(U.indptr[j], U.indptr[j + 1])
        k = U.indices[row]
        u = U.data[row] * height[k]
        for sign in (1.0, -1.0):
            least = float(np.maximum(-sign * u, 0.0).sum())
            free = (sign * u >= least * (1.0 - 1e-9)) & (least > 0.0)
            if free.any():
                fall = np.where(free, sign * u - least, 0.0) / height[k]
                U.data[row] -= sign * fall
                np.add.at(beta, k, fall)
                break
    return U, beta


def absorb_linear(
    W: sparse.csr_array[np.float64], w: FloatArray, height: FloatArray
) -> sparse.csr_array[np.float64]:
    """relu(W x) + relu(w.x), w >= 0, with the entries of w where they cost no weight.

    A neuron with W_jk > 0, at least the sum of its negative entries, takes w_k by (1).  The other
    entries of w are a row of their own.
    """
    W, w = W.copy(), w.copy()
    for j in range(W.shape[0]):
        row = slice(W.indptr[j], W.indptr[j + 1])
        k = W.indices[row]
        v = W.data[row] * height[k]
        free = v >= np.maximum(-v, 0.0).sum() * (1.0 - 1e-9)
        W.data[row] += np.where(free, w[k], 0.0)
        w[k[free]] = 0.0
    return sparse.csr_array(sparse.vstack([W, sparse.csr_array(w[None, :])])) if w.any() else W
