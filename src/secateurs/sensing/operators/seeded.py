"""Random measurements that are drawn again at every pass: no memory for the matrices."""

from __future__ import annotations

import numpy as np

from secateurs.sensing.operators.base import (
    Array,
    Plain,
    factors,
    product,
    residuals,
    symmetric_dtype,
)
from secateurs.sensing.operators.dense import Packing, packed_size

KINDS = ("rademacher", "gaussian")
CHUNK = 1 << 17  # numbers that one generator draws; a part of what the seed means


class Seeded(Plain):
    """Packed rows of independent signs or standard normal entries, from a seed.

    Parameters
    ----------
    n, d : int
    kind : {"rademacher", "gaussian"}
    random_state : int
        The rows depend on this, d, the kind and the type only: every pass draws the same.
    dtype : float32 or float64

    Notes
    -----
    <A_i, M> is the inner product of row i with M packed as by `dense.pack`, so that
    mean <A_i, M>^2 = ||M||_F^2.  A pass draws n d (d + 1) / 2 numbers, for signs a bit each, and
    holds one block of 131,072 or of one row.
    """

    dense_adjoint = True

    def __init__(
        self,
        n: int,
        d: int,
        *,
        kind: str = "rademacher",
        random_state: int = 0,
        dtype: type = np.float64,
    ) -> None:
        if n < 1 or d < 1:
            raise ValueError(f"got n={n} and d={d}; expected both >= 1")
        if kind not in KINDS:
            raise ValueError(f"got kind={kind!r}; expected one of {KINDS}")
        self.shape = (int(n), int(d))
        self.kind, self.random_state = kind, int(random_state)
        self.dtype = symmetric_dtype(dtype, "seeded measurements")
        self._packing = Packing(d, self.dtype)
        self._size = packed_size(d)
        self.block = max(1, CHUNK // self._size)
        values = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
        self._signs = (2.0 * values - 1).astype(self.dtype)

    def rows(self, start: int, stop: int) -> Array:
        """Packed rows start to stop."""
        first, last = start // self.block, -(-stop // self.block)
        drawn = [self._chunk(index) for index in range(first, last)]
        whole = drawn[0] if len(drawn) == 1 else np.concatenate(drawn)
        return whole[start - first * self.block : stop - first * self.block]

    def _chunk(self, index: int) -> Array:
        """The rows that one generator draws."""
        rng = np.random.Generator(np.random.SFC64([self.random_state, index]))
        shape = (self.block, self._size)
        if self.kind == "gaussian":
            return rng.standard_normal(shape, dtype=self.dtype.type)
        count = self.block * self._size
        drawn = np.frombuffer(rng.bytes(-(-count // 8)), dtype=np.uint8)
        return np.take(self._signs, drawn, axis=0).reshape(-1)[:count].reshape(shape)

    def forward_factors(self, U: Array, signs: Array | None = None) -> Array:
        """<A_i, sum_k s_k u_k u_k^T>."""
        U = factors(self, U)
        return self._times([product(U, U, signs)])[0]

    def forward_line(self, U: Array, P: Array, signs: Array | None = None) -> tuple[Array, Array]:
        """First and second order terms of y(U + t P)."""
        U, P = factors(self, U), factors(self, P)
        first, second = self._times([product(U, P, signs), product(P, P, signs)])
        return first, second

    def adjoint(self, residual: Array) -> Array:
        """sum_i residual_i A_i."""
        r = residuals(self, residual)
        total = np.zeros(self._size, dtype=self.dtype)
        for a in range(0, self.shape[0], self.block):
            b = min(a + self.block, self.shape[0])
            total += r[a:b] @ self.rows(a, b)
        return self._packing.unpack(total)

    def adjoint_times(self, residual: Array, V: Array) -> Array:
        """(sum_i residual_i A_i) V."""
        return np.asarray(self.adjoint(residual) @ factors(self, V.T).T)

    def _times(self, matrices: list[Array]) -> list[Array]:
        packed = [self._packing.pack(M) for M in matrices]
        found = [np.empty(self.shape[0], dtype=self.dtype) for _ in matrices]
        for a in range(0, self.shape[0], self.block):
            b = min(a + self.block, self.shape[0])
            rows = self.rows(a, b)
            for values, row in zip(found, packed, strict=True):
                values[a:b] = rows @ row
        return found
