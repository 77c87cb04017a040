"""The screening statistic of columns of few small integers, such as genotypes, without sorting.

    counts[j, v] = rows of column j with the value v
    x_v <- normal score of the middle rank of the rows with value v, standardised           (1)
    Z[j, c, k] = n^(-1/2) sum_v h_k(x_v) sum_i T_c(i) 1(x_ij = v) / std h_k                 (2)

The sum over i is a matrix product for each value.  The result is that of ranked columns, up to
rounding, in about a tenth of the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from secateurs.features.ranks import FloatArray, SingleArray, middle_scores_of_counts

MOST_VALUES = 4  # different values of a block
CONSTANT = 1e-6  # a standardised value with a smaller standard deviation counts as constant
TOGETHER = 512  # columns that are scored at once


@dataclass(frozen=True, eq=False)
class FewValues:
    """A block of columns [n, B] with at most four different small integers."""

    block: NDArray[np.int8]
    values: list[int]  # increasing
    counts: NDArray[np.int64]  # [B, V]
    scores: FloatArray  # x_v, 0 where there is no such value, [B, V]

    @classmethod
    def of(cls, block: NDArray[Any]) -> Self | None:
        """Return the columns, or None if the block is not of this kind."""
        if not looks_few(block):
            return None
        with np.errstate(invalid="ignore"):
            small = block.astype(np.int8)
        if block.dtype.kind == "f" and not (small == block).all():
            return None
        low, high = int(small.min()), int(small.max())
        if low < 0 or high - low >= MOST_VALUES:
            return None
        values = list(range(low, high + 1))
        rest = [np.count_nonzero(small == v, axis=0) for v in values[1:]]
        first = (
            len(small) - np.sum(rest, axis=0, initial=0)
            if rest
            else np.full(small.shape[1], len(small))
        )
        counts = np.stack([first, *rest], axis=1).astype(np.int64)
        return cls(small, values, counts, middle_scores_of_counts(counts))

    def column(self, j: int) -> tuple[FloatArray, NDArray[np.int64]]:
        """Return the scores of the values of a column, increasing, and how often each occurs."""
        there = self.counts[j] > 0
        return self.scores[j, there], self.counts[j, there]

    def statistics(self, T: SingleArray, degrees: int) -> SingleArray:
        """Return (2) for T [n, C] with mean 0, [B, C, K]."""
        x, n = self.scores, len(T)
        hermite = np.stack([x, x**2, (x**2 - 3.0) * x][:degrees])  # up to constants, [K, B, V]
        share = self.counts / n
        middle = (share * hermite).sum(axis=2, keepdims=True)
        deviation = np.sqrt((share * (hermite - middle) ** 2).sum(axis=2, keepdims=True))
        varies = deviation > CONSTANT
        h = np.where(varies, (hermite - middle) / np.where(varies, deviation, 1.0), 0.0)
        Z = np.einsum("kbv,bcv->bck", h, self._sums(T) / np.sqrt(n))
        return np.asarray(Z, dtype=np.float32)

    def products(self, R: SingleArray) -> SingleArray:
        """Return the normal scores times R [n, C] with mean 0, [B, C]."""
        Z = np.einsum("bv,bcv->bc", self.scores, self._sums(R))
        return np.asarray(Z, dtype=np.float32)

    def _sums(self, T: SingleArray) -> FloatArray:
        """Return sum_i T_c(i) 1(x_ij = v), [B, C, V]."""
        columns = self.block.T
        parts = [(columns == v).astype(np.float32) @ T for v in self.values[1:]]
        first = -np.sum(parts, axis=0) if parts else np.zeros((len(columns), T.shape[1]))
        return np.asarray(np.stack([first, *parts], axis=2), dtype=np.float64)


def looks_few(block: NDArray[Any]) -> bool:
    """Return whether the type of a block, or else its first row, allows few small integers."""
    if block.dtype.kind in "iub":
        return block.dtype.itemsize == 1
    return bool(np.isin(block[0], np.arange(MOST_VALUES)).all())
