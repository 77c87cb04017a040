"""Rank-one measurements <x_i x_i^T, M> = x_i^T M x_i; the matrices x_i x_i^T are never formed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from secateurs.sensing.operators.base import Array, Plain, factors, residuals
from secateurs.sensing.operators.rows import Rows, as_array


class RankOne(Plain):
    """Measurements by x_i x_i^T, the quadratic network's.

    Parameters
    ----------
    X : array, memmap or Tensor, shape [n, d]
        float32 or float64; never copied.

    Notes
    -----
    A pass reads X once and costs 2 n d r flops (forward) or 4 n d k (N times k vectors).

    All x_i x_i^T share the mean C = E x x^T, along which the measurements only see tr(C M):
    centre them for the solvers (`operators.projected.centred`), where the stable step
    doubles and the spectrum of N shows the components.
    """

    def __init__(self, X: NDArray[np.floating] | Tensor) -> None:
        self.rows = Rows(X, "X")
        self.shape = self.rows.shape
        self.dtype = self.rows.dtype

    def forward_factors(self, U: Array, signs: Array | None = None) -> Array:
        """sum_k s_k (x_i . u_k)^2; one pass."""
        U = factors(self, U)
        W, s = self.rows.like(U.T.copy()), self.rows.like(self._signs(U, signs))
        found = np.empty(self.shape[0], dtype=self.dtype)
        for block in self.rows.blocks():
            Z = self.rows.read(block) @ W
            found[block] = as_array((Z * Z) @ s)
        return found

    def forward_line(self, U: Array, P: Array, signs: Array | None = None) -> tuple[Array, Array]:
        """First and second order terms of y(U + t P); one pass."""
        U, P = factors(self, U), factors(self, P)
        r = len(U)
        W, s = self.rows.like(np.vstack([U, P]).T.copy()), self.rows.like(self._signs(U, signs))
        first, second = (np.empty(self.shape[0], dtype=self.dtype) for _ in range(2))
        for block in self.rows.blocks():
            Z = self.rows.read(block) @ W
            first[block] = as_array((Z[:, :r] * Z[:, r:]) @ s)
            second[block] = as_array((Z[:, r:] * Z[:, r:]) @ s)
        return first, second

    def adjoint(self, residual: Array) -> Array:
        """X^T diag(residual) X; 2 n d^2 flops."""
        r = residuals(self, residual)
        total: Any = 0
        for block in self.rows.blocks():
            part = self.rows.read(block)
            total = total + part.T @ (self.rows.like(r[block])[:, None] * part)
        return as_array(total)

    def adjoint_times(self, residual: Array, V: Array) -> Array:
        """X^T (residual o (X V)); one pass."""
        r, right = residuals(self, residual), self.rows.like(factors(self, V.T).T.copy())
        total: Any = 0
        for block in self.rows.blocks():
            part = self.rows.read(block)
            total = total + part.T @ (self.rows.like(r[block])[:, None] * (part @ right))
        return as_array(total)

    def _signs(self, U: Array, signs: Array | None) -> Array:
        return np.ones(len(U), self.dtype) if signs is None else signs.astype(self.dtype)
