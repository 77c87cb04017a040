"""Entries of a symmetric matrix: matrix completion.

A rectangular matrix [p, q] of rank r is the block M_12 of the positive semidefinite matrix
[L; R] [L; R]^T of size p + q and the same rank: entry (i, j) is asked for as (i, p + j).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from secateurs.sensing.operators.base import (
    BLOCK_BYTES,
    Array,
    Plain,
    factors,
    residuals,
    symmetric_dtype,
)


class Entries(Plain):
    """Measurements M[i, j] at given places.

    Parameters
    ----------
    d : int
    rows, columns : int arrays, shape [n]
        Places; (i, j) and (j, i) are the same entry.  For a rectangular [p, q] matrix d = p + q,
        rows in [0, p) and columns in [p, p + q).
    dtype : float32 or float64

    Notes
    -----
    A pass costs O(n r); A_i = (e_i e_j^T + e_j e_i^T) / 2.
    """

    def __init__(
        self, d: int, rows: ArrayLike, columns: ArrayLike, dtype: type = np.float64
    ) -> None:
        i, j = np.asarray(rows), np.asarray(columns)
        if i.ndim != 1 or i.shape != j.shape or not len(i):
            raise ValueError(
                f"got rows of shape {i.shape} and columns of shape {j.shape}; expected [n] both"
            )
        if i.dtype.kind not in "iu" or j.dtype.kind not in "iu":
            raise ValueError(f"got places of type {i.dtype} and {j.dtype}; expected integers")
        if min(i.min(), j.min()) < 0 or max(i.max(), j.max()) >= d:
            raise ValueError(f"got places outside 0 to {d - 1}; expected entries of a {d} x {d}")
        self.shape = (len(i), int(d))
        self.dtype = symmetric_dtype(dtype, "entries")
        self.places = i.astype(np.int64), j.astype(np.int64)

    def forward_factors(self, U: Array, signs: Array | None = None) -> Array:
        """sum_k s_k u_k[i] u_k[j]."""
        U = factors(self, U)
        return self._times(U, U, signs)

    def forward_line(self, U: Array, P: Array, signs: Array | None = None) -> tuple[Array, Array]:
        """First and second order terms of y(U + t P)."""
        U, P = factors(self, U), factors(self, P)
        mixed = self._times(U, P, signs) + self._times(P, U, signs)
        return mixed / 2, self._times(P, P, signs)

    def adjoint(self, residual: Array) -> Array:
        """sum_i residual_i A_i, dense."""
        return np.asarray(self._sparse(residual).toarray())

    def adjoint_times(self, residual: Array, V: Array) -> Array:
        """(sum_i residual_i A_i) V, a sparse product."""
        return np.asarray(self._sparse(residual) @ factors(self, V.T).T)

    def _sparse(self, residual: Array) -> sp.csr_array:
        r, d = residuals(self, residual) / 2, self.shape[1]
        i, j = self.places
        pairs = (np.concatenate([i, j]), np.concatenate([j, i]))
        return sp.csr_array((np.concatenate([r, r]), pairs), shape=(d, d))

    def _times(self, U: Array, V: Array, signs: Array | None) -> Array:
        i, j = self.places
        left = np.ascontiguousarray((U if signs is None else U * signs.astype(U.dtype)[:, None]).T)
        right = np.ascontiguousarray(V.T)
        found = np.empty(self.shape[0], dtype=self.dtype)
        block = max(1, BLOCK_BYTES // max(1, len(U) * self.dtype.itemsize))
        for a in range(0, len(i), block):
            part = slice(a, a + block)
            found[part] = np.einsum("nk,nk->n", left[i[part]], right[j[part]])
        return found
