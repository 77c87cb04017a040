"""Measurements given as any scipy LinearOperator on flattened symmetric matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from secateurs.sensing.operators.base import (
    Array,
    Plain,
    factors,
    product,
    residuals,
    symmetric_dtype,
)


class Flattened(Plain):
    """Measurements by a linear operator [n, d^2] that acts on M.ravel().

    Parameters
    ----------
    operator : LinearOperator, array or sparse matrix, shape [n, d * d]
        Real, with `matvec` and `rmatvec`.  It need not be symmetric: only its symmetric part
        is seen by symmetric M.

    Notes
    -----
    A pass is one `matvec` (two in a line) or one `rmatvec`; d x d matrices are formed.
    """

    dense_adjoint = True

    def __init__(self, operator: Any) -> None:
        linear: LinearOperator = aslinearoperator(operator)
        n, size = linear.shape
        d = math.isqrt(size)
        if d * d != size or not n or not d:
            raise ValueError(f"got an operator of shape {linear.shape}; expected [n, d * d]")
        self.linear = linear
        self.shape = (int(n), d)
        self.dtype = symmetric_dtype(
            np.float64 if linear.dtype is None else linear.dtype, "an operator"
        )

    def forward_factors(self, U: Array, signs: Array | None = None) -> Array:
        """<A_i, sum_k s_k u_k u_k^T>."""
        U = factors(self, U)
        return self._times(product(U, U, signs))

    def forward_line(self, U: Array, P: Array, signs: Array | None = None) -> tuple[Array, Array]:
        """First and second order terms of y(U + t P)."""
        U, P = factors(self, U), factors(self, P)
        return self._times(product(U, P, signs)), self._times(product(P, P, signs))

    def adjoint(self, residual: Array) -> Array:
        """Symmetric part of the adjoint at the residual."""
        d = self.shape[1]
        M = np.asarray(self.linear.rmatvec(residuals(self, residual))).reshape(d, d)
        return np.asarray((M + M.T) / 2, dtype=self.dtype)

    def adjoint_times(self, residual: Array, V: Array) -> Array:
        """(sum_i residual_i A_i) V."""
        return np.asarray(self.adjoint(residual) @ factors(self, V.T).T)

    def _times(self, M: Array) -> Array:
        return np.asarray(self.linear.matvec(M.ravel()), dtype=self.dtype).reshape(-1)
