"""Symmetric matrices A_i stored as rows: the upper triangle, off-diagonal entries times sqrt(2).

<A_i, M> is then the plain inner product of two packed rows, and half of the bytes are saved.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from secateurs.sensing.operators.base import Array, Plain, factors, product, residuals
from secateurs.sensing.operators.rows import Rows, as_array


def packed_size(d: int) -> int:
    """Entries of a packed symmetric d x d matrix."""
    return d * (d + 1) // 2


def dimension_of(size: int) -> int:
    """The d whose packed size this is."""
    d = int((np.sqrt(8 * size + 1) - 1) / 2)
    if packed_size(d) != size:
        raise ValueError(
            f"got packed rows of {size} entries; expected d (d + 1) / 2 for some d: the upper "
            "triangle row by row, as pack() gives it"
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
        """Packed M [d, d], or rows of several M [n, d, d]."""
        flat = M.reshape(*M.shape[:-2], self.d * self.d)
        return np.asarray(flat[..., self.flat] * self._scale)

    def unpack(self, row: Array) -> Array:
        """The symmetric matrix of a packed row."""
        M = np.empty(self.d * self.d, dtype=row.dtype)
        M[self.flat] = M[self._mirror] = row * self._inverse
        return M.reshape(self.d, self.d)


def pack(matrices: Array) -> Array:
    """Pack symmetric matrices [n, d, d] (or one, [d, d]) for `PackedDense`; type is kept."""
    matrices = np.asarray(matrices)
    d = matrices.shape[-1]
    if matrices.ndim not in (2, 3) or matrices.shape[-2] != d:
        raise ValueError(f"got matrices of shape {matrices.shape}; expected [n, d, d] or [d, d]")
    return Packing(d, matrices.dtype).pack(matrices)


class PackedDense(Plain):
    """Measurements by stored symmetric matrices.

    Parameters
    ----------
    data : array, memmap or Tensor, shape [n, d (d + 1) / 2]
        Packed rows (see `pack`), float32 or float64; never copied.  Independent standard normal
        entries are the Gaussian ensemble, for which mean <A_i, M>^2 = ||M||_F^2.

    Notes
    -----
    A pass reads the data once, by blocks of a few megabytes: n d^2 bytes in float32 (halved by
    the packing, doubled by its four bytes), n d^2 flops a matrix.
    """

    dense_adjoint = True

    def __init__(self, data: NDArray[np.floating] | Tensor) -> None:
        self.rows = Rows(data, "packed measurement matrices")
        d = dimension_of(self.rows.shape[1])
        self.shape = (self.rows.shape[0], d)
        self.dtype = self.rows.dtype
        self._packing = Packing(d, self.dtype)

    def forward_factors(self, U: Array, signs: Array | None = None) -> Array:
        """<A_i, sum_k s_k u_k u_k^T>; one pass."""
        U = factors(self, U)
        return self._times([product(U, U, signs)])[0]

    def forward_line(self, U: Array, P: Array, signs: Array | None = None) -> tuple[Array, Array]:
        """First and second order terms of y(U + t P); one pass."""
        U, P = factors(self, U), factors(self, P)
        first, second = self._times([product(U, P, signs), product(P, P, signs)])
        return first, second

    def adjoint(self, residual: Array) -> Array:
        """sum_i residual_i A_i; one pass."""
        r = residuals(self, residual)
        total: Any = 0
        for block in self.rows.blocks():
            total = total + self.rows.read(block).T @ self.rows.like(r[block])
        return self._packing.unpack(as_array(total))

    def adjoint_times(self, residual: Array, V: Array) -> Array:
        """(sum_i residual_i A_i) V; one pass, for the matrix is small beside the data."""
        return np.asarray(self.adjoint(residual) @ factors(self, V.T).T)

    def _times(self, matrices: list[Array]) -> list[Array]:
        packed = [self.rows.like(self._packing.pack(M)) for M in matrices]
        found = [np.empty(self.shape[0], dtype=self.dtype) for _ in matrices]
        for block in self.rows.blocks():
            part = self.rows.read(block)
            for values, row in zip(found, packed, strict=True):  # the second reads from cache
                values[block] = as_array(part @ row)
        return found
