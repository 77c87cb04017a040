"""Symmetric matrices A_i as packed rows: the upper triangle, off-diagonal entries times sqrt(2).

<A_i, M> is the inner product of two packed rows, and packing saves half of the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from secateurs.core.parameters import Shown, bad_value
from secateurs.sensing.operators.base import (
    BLOCK_BYTES,
    Array,
    SensingOperator,
    factors,
    product,
    residuals,
    shape_of,
)
from secateurs.sensing.operators.rows import BlockedRows, as_array


def packed_size(d: int) -> int:
    """Entries of a packed symmetric d x d matrix."""
    return d * (d + 1) // 2


def dimension_of(size: int) -> int:
    """Return the d with this packed size."""
    d = int((np.sqrt(8 * size + 1) - 1) / 2)
    if packed_size(d) != size:
        raise bad_value(
            "packed rows",
            Shown(f"{size} entries"),
            "d (d + 1) / 2 for some d: the upper triangle row by row",
            "make them with pack()",
        )
    return d


class Packing:
    """The map between symmetric matrices and packed rows, for one d.

    Entries are read at `flat` (positions of the upper triangle) and scaled by 1 or sqrt(2).
    """

    def __init__(self, d: int, dtype: np.dtype[Any]) -> None:
        self.d = d
        i, j = np.triu_indices(d)
        self.flat = i * d + j
        self._mirror = j * d + i
        self._scale = np.where(i == j, 1.0, np.sqrt(2.0)).astype(dtype)
        self._inverse = np.where(i == j, 1.0, np.sqrt(0.5)).astype(dtype)

    def pack(self, M: Array) -> Array:
        """Pack M [d, d], or several M [n, d, d] into rows."""
        flat = M.reshape(*M.shape[:-2], self.d * self.d)
        return np.asarray(flat[..., self.flat] * self._scale)

    def unpack(self, rows: Array) -> Array:
        """Return the symmetric matrix of a packed row, or those of several rows [n, ...]."""
        M = np.empty((*rows.shape[:-1], self.d * self.d), dtype=rows.dtype)
        M[..., self.flat] = M[..., self._mirror] = rows * self._inverse
        return M.reshape(*rows.shape[:-1], self.d, self.d)


def pack(matrices: Array) -> Array:
    """Pack symmetric matrices for `PackedDense`.

    A packed row is the upper triangle row by row, with entries off the diagonal times sqrt(2).  The
    inner product of two rows is then that of the matrices.

    Parameters
    ----------
    matrices : array, shape [n, d, d] or [d, d]
        Symmetric matrices; only the upper triangles are read.

    Returns
    -------
    array, shape [n, d (d + 1) / 2] or [d (d + 1) / 2]
        Packed rows, in the type of the matrices.
    """
    matrices = np.asarray(matrices)
    d = matrices.shape[-1]
    if matrices.ndim not in (2, 3) or matrices.shape[-2] != d:
        raise bad_value("matrices", shape_of(matrices), "[n, d, d] or [d, d]")
    return Packing(d, matrices.dtype).pack(matrices)


class PackedMeasurements(SensingOperator):
    """Base of operators with packed rows, stored or drawn."""

    dense_adjoint = True

    def __init__(self, n: int, d: int, dtype: np.dtype[Any]) -> None:
        self.shape = (n, d)
        self.dtype = dtype
        self._packing = Packing(d, dtype)

    def _blocks(self) -> Iterator[tuple[slice, Any]]:
        """Yield blocks of packed rows: positions, and an array or a tensor."""
        raise NotImplementedError

    def _like(self, small: Array) -> Any:
        """Return a small array in the form of the rows."""
        return small

    def _inner(self, pairs: list[tuple[Array, Array]], signs: Array | None) -> list[Array]:
        packed = [self._like(self._packing.pack(product(U, V, signs))) for U, V in pairs]
        found = [np.empty(self.shape[0], dtype=self.dtype) for _ in pairs]
        for block, part in self._blocks():
            for values, row in zip(found, packed, strict=True):  # the second product is cached
                values[block] = as_array(part @ row)
        return found

    def evaluate(self, U: Array, signs: Array | None = None) -> Array:
        """Compute <A_i, M> in float64, each row by itself."""
        U = np.asarray(U, dtype=np.float64)
        packed = Packing(self.shape[1], np.dtype(np.float64)).pack(product(U, U, signs))
        found = np.empty(self.shape[0])
        for block, part in self._blocks():
            rows = np.ascontiguousarray(as_array(part), dtype=np.float64)
            found[block] = (rows * packed).sum(axis=1)
        return found

    def adjoint_stack(self, residuals: Array) -> Array:
        """Compute the matrices sum_i residuals_ib A_i; one pass."""
        r = np.ascontiguousarray(residuals, dtype=self.dtype)
        total: Any = 0
        for block, part in self._blocks():
            total = total + part.T @ self._like(r[block])
        return self._packing.unpack(np.ascontiguousarray(as_array(total).T))

    def sizes(self) -> Array:
        """Compute the norms of the packed rows; one pass."""
        found = np.empty(self.shape[0])
        for block, part in self._blocks():
            rows = np.asarray(as_array(part), dtype=np.float64)
            found[block] = np.linalg.norm(rows, axis=1)
        return found

    def tangent_map(self, V: Array) -> Array:
        """Compute all A_i v_k; one pass, in blocks of full matrices."""
        n, d = self.shape
        right = factors(self, V).T
        found = np.empty((n, len(V), d), dtype=self.dtype)
        step = max(1, BLOCK_BYTES // (d * d * self.dtype.itemsize))
        for block, part in self._blocks():
            rows = as_array(part)
            for start in range(0, len(rows), step):
                full = self._packing.unpack(rows[start : start + step])
                first = block.start + start
                found[first : first + len(full)] = (full @ right).transpose(0, 2, 1)
        return found

    def adjoint(self, residual: Array) -> Array:
        """Compute sum_i residual_i A_i; one pass."""
        r = residuals(self, residual)
        total: Any = 0
        for block, part in self._blocks():
            total = total + part.T @ self._like(r[block])
        return self._packing.unpack(as_array(total))


class PackedDense(PackedMeasurements):
    """Measurements by stored symmetric matrices.

    Parameters
    ----------
    data : array, memmap or Tensor, shape [n, d (d + 1) / 2]
        Packed rows (see `pack`), float32 or float64; never copied.  Independent standard normal
        entries are the Gaussian ensemble, for which mean <A_i, M>^2 = ||M||_F^2.

    Notes
    -----
    A pass reads the data once, in blocks of a few megabytes.  It reads n d^2 bytes in float32
    (the packing halves them, the four bytes double them) and makes n d^2 flops a matrix.
    """

    def __init__(self, data: NDArray[np.floating] | Tensor) -> None:
        self.rows = BlockedRows(data, "packed measurement matrices")
        super().__init__(self.rows.shape[0], dimension_of(self.rows.shape[1]), self.rows.dtype)

    def _blocks(self) -> Iterator[tuple[slice, Any]]:
        return self.rows.blocks()

    def _like(self, small: Array) -> Any:
        return self.rows.like(small)
