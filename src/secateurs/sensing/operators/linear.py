"""Measurements by any scipy LinearOperator on flattened symmetric matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from secateurs.core.parameters import bad_value
from secateurs.sensing.operators.base import (
    Array,
    SensingOperator,
    product,
    residuals,
    shape_of,
    symmetric_dtype,
)


class Flattened(SensingOperator):
    """Measurements by a linear operator [n, d^2] that acts on M.ravel().

    Parameters
    ----------
    operator : LinearOperator, array or sparse matrix, shape [n, d * d]
        Real, with `matvec` and `rmatvec`.  It need not be symmetric: a symmetric M measures only
        its symmetric part.

    Notes
    -----
    A pass is one `matvec` (two for a line) or one `rmatvec`; it forms d x d matrices.
    """

    dense_adjoint = True

    def __init__(self, operator: Any) -> None:
        linear: LinearOperator = aslinearoperator(operator)
        n, size = linear.shape
        d = math.isqrt(size)
        if d * d != size or not n or not d:
            raise bad_value("operator", shape_of(linear), "[n, d * d]")
        self.linear = linear
        self.shape = (int(n), d)
        dtype = np.float64 if linear.dtype is None else linear.dtype
        self.dtype = symmetric_dtype(dtype, "operator")

    def _inner(self, pairs: list[tuple[Array, Array]], signs: Array | None) -> list[Array]:
        return [self._times(product(U, V, signs)) for U, V in pairs]

    def adjoint(self, residual: Array) -> Array:
        """Compute the symmetric part of the linear operator's adjoint at the residual."""
        d = self.shape[1]
        M = np.asarray(self.linear.rmatvec(residuals(self, residual))).reshape(d, d)
        return np.asarray((M + M.T) / 2, dtype=self.dtype)

    def _times(self, M: Array) -> Array:
        return np.asarray(self.linear.matvec(M.ravel()), dtype=self.dtype).reshape(-1)
