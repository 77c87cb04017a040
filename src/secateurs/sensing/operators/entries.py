"""Entries of a symmetric matrix: matrix completion.

A rectangular matrix L R^T [p, q] of rank r is a block of the positive semidefinite matrix
[L; R] [L; R]^T, which has size p + q and the same rank.  Its entry (i, j) is entry (i, p + j).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from secateurs.sensing.operators.base import (
    BLOCK_BYTES,
    Array,
    SensingOperator,
    factors,
    index_arrays,
    residuals,
    symmetric_dtype,
)


class Entries(SensingOperator):
    """Measurements M[i, j] at given positions.

    Parameters
    ----------
    d : int
        Size of the matrix.
    rows, columns : int arrays, shape [n]
        Positions; (i, j) and (j, i) are the same entry.  For a rectangular [p, q] matrix
        d = p + q, rows are in [0, p) and columns in [p, p + q).
    dtype : float32 or float64
        Type of the factors and of the measurements.

    Notes
    -----
    A pass costs O(n r); A_i = (e_i e_j^T + e_j e_i^T) / 2.
    """

    def __init__(
        self, d: int, rows: ArrayLike, columns: ArrayLike, dtype: type = np.float64
    ) -> None:
        self.positions = index_arrays(rows, columns, "rows and columns", int(d))
        self.shape = (len(self.positions[0]), int(d))
        self.dtype = symmetric_dtype(dtype, "dtype")

    def adjoint(self, residual: Array) -> Array:
        """Compute sum_i residual_i A_i as a dense matrix."""
        return np.asarray(self._sparse(residual).toarray())

    def adjoint_times(self, residual: Array, V: Array) -> Array:
        """Compute (sum_i residual_i A_i) V by a sparse product."""
        return np.asarray(self._sparse(residual) @ factors(self, V.T).T)

    def tangent_map(self, V: Array) -> Array:
        """Compute all A_i v_k; each has at most two entries of v_k."""
        (i, j), V = self.positions, factors(self, V)
        found = np.zeros((self.shape[0], len(V), self.shape[1]), dtype=self.dtype)
        at = np.arange(len(i))
        found[at, :, i] += V[:, j].T / 2
        found[at, :, j] += V[:, i].T / 2
        return found

    def sizes(self) -> Array:
        """Return the norms of the A_i: 1 on the diagonal, otherwise sqrt(1 / 2)."""
        i, j = self.positions
        return np.where(i == j, 1.0, np.sqrt(0.5))

    def evaluate(self, U: Array, signs: Array | None = None) -> Array:
        """Compute M[i, j] in float64, each entry by itself."""
        i, j = self.positions
        s = np.ones(len(U)) if signs is None else signs
        found = np.zeros(self.shape[0])
        for u, sign in zip(np.asarray(U, dtype=np.float64), s, strict=True):
            found += sign * u[i] * u[j]
        return found

    def _sparse(self, residual: Array) -> sp.csr_array:
        r, d = residuals(self, residual) / 2, self.shape[1]
        i, j = self.positions
        pairs = (np.concatenate([i, j]), np.concatenate([j, i]))
        return sp.csr_array((np.concatenate([r, r]), pairs), shape=(d, d))

    def _inner(self, pairs: list[tuple[Array, Array]], signs: Array | None) -> list[Array]:
        return [
            self._times(U, U, signs)
            if U is V
            else (self._times(U, V, signs) + self._times(V, U, signs)) / 2
            for U, V in pairs
        ]

    def _times(self, U: Array, V: Array, signs: Array | None) -> Array:
        """sum_k s_k u_k[i] v_k[j]."""
        i, j = self.positions
        left = np.ascontiguousarray((U if signs is None else U * signs.astype(U.dtype)[:, None]).T)
        right = np.ascontiguousarray(V.T)
        found = np.empty(self.shape[0], dtype=self.dtype)
        block = max(1, BLOCK_BYTES // max(1, len(U) * self.dtype.itemsize))
        for a in range(0, len(i), block):
            part = slice(a, a + block)
            found[part] = np.einsum("nk,nk->n", left[i[part]], right[j[part]])
        return found
