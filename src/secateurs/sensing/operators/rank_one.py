"""Rank-one measurements <x_i x_i^T, M> = x_i^T M x_i; the matrices x_i x_i^T are never formed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from secateurs.sensing.operators.base import Array, SensingOperator, factors, residuals
from secateurs.sensing.operators.rows import BlockedRows, as_array


class RankOne(SensingOperator):
    """Measurements by x_i x_i^T, as a quadratic network makes them.

    Parameters
    ----------
    X : array, memmap or Tensor, shape [n, d]
        Rows x_i, float32 or float64; never copied.

    Notes
    -----
    A pass reads X once and costs 2 n d r flops (forward) or 4 n d k (N times k vectors).

    All x_i x_i^T share the mean C = E x x^T.  Along C the measurements depend only on tr(C M).
    Centre them for the solvers (`operators.projected.centred`): the largest stable step then
    doubles, and the spectrum of N shows the components.
    """

    row_products = True

    def __init__(self, X: NDArray[np.floating] | Tensor) -> None:
        self.rows = BlockedRows(X, "X")
        self.shape = self.rows.shape
        self.dtype = self.rows.dtype

    def _inner(self, pairs: list[tuple[Array, Array]], signs: Array | None) -> list[Array]:
        """sum_k s_k (x_i . u_k) (x_i . v_k) for the pairs (U, U), or (U, P) and (P, P)."""
        U, P = pairs[0]
        r = len(U)
        both = U if U is P else np.vstack([U, P])
        s = np.ones(r, self.dtype) if signs is None else signs.astype(self.dtype)
        W, s = self.rows.like(both.T.copy()), self.rows.like(s)
        found = [np.empty(self.shape[0], dtype=self.dtype) for _ in pairs]
        for block, part in self.rows.blocks():
            Z = part @ W
            for values, first in zip(found, (Z[:, :r], Z[:, -r:]), strict=False):
                values[block] = as_array((first * Z[:, -r:]) @ s)
        return found

    def adjoint(self, residual: Array) -> Array:
        """Compute X^T diag(residual) X; 2 n d^2 flops."""
        r = residuals(self, residual)
        total: Any = 0
        for block, part in self.rows.blocks():
            total = total + part.T @ (self.rows.like(r[block])[:, None] * part)
        return as_array(total)

    def adjoint_times(self, residual: Array, V: Array) -> Array:
        """Compute X^T (residual o (X V)); one pass."""
        return self._columns(residuals(self, residual)[:, None], V)

    def adjoint_columns(self, residuals: Array, V: Array) -> Array:
        """Compute X^T (residuals o (X V)), a residual for each column; one pass."""
        return self._columns(np.ascontiguousarray(residuals, dtype=self.dtype), V)

    def inner_products(self, u: Array) -> Array:
        """Compute the inner products x_i . u; one pass.

        Parameters
        ----------
        u : array, shape [d]
            A vector.

        Returns
        -------
        array, shape [n]
            The products, in the type of X.
        """
        right = self.rows.like(np.ascontiguousarray(u, dtype=self.dtype))
        found = np.empty(self.shape[0], dtype=self.dtype)
        for block, part in self.rows.blocks():
            found[block] = as_array(part @ right)
        return found

    def weighted_sum(self, weights: Array) -> Array:
        """Compute sum_i weights_i x_i; one pass.

        Parameters
        ----------
        weights : array, shape [n]
            The weight of each row.

        Returns
        -------
        array, shape [d]
            The sum, in the type of X.
        """
        w = np.ascontiguousarray(weights, dtype=self.dtype)
        total: Any = 0
        for block, part in self.rows.blocks():
            total = total + part.T @ self.rows.like(w[block])
        return as_array(total)

    def sizes(self) -> Array:
        """Compute the squared lengths of the x_i; one pass."""
        found = np.empty(self.shape[0])
        for block, part in self.rows.wide_blocks():
            found[block] = (part * part).sum(axis=1)
        return found

    def tangent_map(self, V: Array) -> Array:
        """Compute all x_i (x_i . v_k); one pass."""
        right = self.rows.like(factors(self, V).T.copy())
        found = np.empty((self.shape[0], len(V), self.shape[1]), dtype=self.dtype)
        for block, part in self.rows.blocks():
            found[block] = as_array((part @ right)[:, :, None] * part[:, None, :])
        return found

    def evaluate(self, U: Array, signs: Array | None = None) -> Array:
        """Compute x_i^T M x_i in float64, each row by itself."""
        s = np.ones(len(U)) if signs is None else signs
        found = np.zeros(self.shape[0])
        for block, part in self.rows.wide_blocks():
            for u, sign in zip(np.asarray(U, dtype=np.float64), s, strict=True):
                found[block] += sign * (part * u).sum(axis=1) ** 2
        return found

    def _columns(self, r: Array, V: Array) -> Array:
        right = self.rows.like(factors(self, V.T).T.copy())
        total: Any = 0
        for block, part in self.rows.blocks():
            total = total + part.T @ (self.rows.like(r[block]) * (part @ right))
        return as_array(total)
