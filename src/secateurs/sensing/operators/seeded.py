"""Random measurements that are drawn again in every pass, so that no matrix is stored."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from secateurs.core.parameters import check_choice, check_counts
from secateurs.sensing.operators.base import Array, symmetric_dtype
from secateurs.sensing.operators.dense import PackedMeasurements, packed_size

KINDS = ("rademacher", "gaussian")
CHUNK = 1 << 17  # numbers that one generator draws; another value would change the measurements


class Seeded(PackedMeasurements):
    """Packed rows of independent signs or standard normal entries, from a seed.

    Parameters
    ----------
    n, d : int
        Number of measurements, and size of the matrix.
    kind : {"rademacher", "gaussian"}
        Entries of the packed rows: +1 or -1 with equal chances, or standard normal.
    random_state : int
        The rows depend only on this, d, the kind and the type: every pass draws the same rows.
    dtype : float32 or float64
        Type of the entries and of the measurements.

    Notes
    -----
    <A_i, M> is the inner product of row i with M packed as by `dense.pack`, so that
    mean <A_i, M>^2 = ||M||_F^2.  A pass draws n d (d + 1) / 2 numbers (signs take one bit each)
    and holds one block of 131,072 numbers or of one row.
    """

    def __init__(
        self,
        n: int,
        d: int,
        *,
        kind: str = "rademacher",
        random_state: int = 0,
        dtype: type = np.float64,
    ) -> None:
        check_counts(n=n, d=d)
        self.kind = check_choice("kind", kind, KINDS)
        super().__init__(int(n), int(d), symmetric_dtype(dtype, "dtype"))
        self.random_state = int(random_state)
        self._size = packed_size(d)
        self.block = max(1, CHUNK // self._size)
        values = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
        self._signs_of_byte = (2.0 * values - 1).astype(self.dtype)

    def rows(self, start: int, stop: int) -> Array:
        """Draw packed rows.

        Parameters
        ----------
        start, stop : int
            The first row, and the row after the last; 0 <= start < stop <= n.

        Returns
        -------
        array, shape [stop - start, d (d + 1) / 2]
            The same rows at every call.
        """
        first, last = start // self.block, -(-stop // self.block)
        drawn = [self._chunk(index) for index in range(first, last)]
        whole = drawn[0] if len(drawn) == 1 else np.concatenate(drawn)
        return whole[start - first * self.block : stop - first * self.block]

    def _chunk(self, index: int) -> Array:
        """Draw the rows of one generator."""
        rng = np.random.Generator(np.random.SFC64([self.random_state, index]))
        shape = (self.block, self._size)
        if self.kind == "gaussian":
            return rng.standard_normal(shape, dtype=self.dtype.type)
        count = self.block * self._size
        drawn = np.frombuffer(rng.bytes(-(-count // 8)), dtype=np.uint8)
        return np.take(self._signs_of_byte, drawn, axis=0).reshape(-1)[:count].reshape(shape)

    def _blocks(self) -> Iterator[tuple[slice, Array]]:
        for start in range(0, self.shape[0], self.block):
            stop = min(start + self.block, self.shape[0])
            yield slice(start, stop), self.rows(start, stop)
