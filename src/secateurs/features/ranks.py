"""Standardised columns, and columns replaced by the normal scores of their ranks.

The normal score of rank r among n values is Phi^-1((r - 1/2) / n).  A statistic of normal scores
has the same distribution on noise for every distribution of the values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri

from secateurs.data.columns import Columns, not_finite

FloatArray = NDArray[np.float64]
SingleArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

NARROW = 64  # columns that are ranked at once, so that they stay in the cache
KEPT_ELEMENTS = 1 << 26  # up to this many numbers (256 MB), ranked columns are kept in memory


def standardised(values: FloatArray) -> FloatArray:
    """Return values with mean 0 and variance 1 along the first axis; a constant becomes zeros."""
    values = values * _unit_power(values)
    values = values - values.mean(axis=0)
    scale = values.std(axis=0)
    return np.asarray(values / np.where(scale > 0, scale, 1.0))


def _unit_power(values: FloatArray) -> FloatArray:
    """Return for each column the power of two that brings it to unit size, so that squares exist.

    The product is exact, so results of ordinary columns stay the same bit for bit.
    """
    _, exponent = np.frexp(np.abs(values).max(axis=0))
    power: FloatArray = np.ldexp(1.0, np.clip(-exponent, -1000, 1000))
    return power


def center_and_scale(X: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation of each column; the scale of a constant column is 1."""
    power = _unit_power(X)
    unit = X * power
    scale = unit.std(axis=0)
    return unit.mean(axis=0) / power, np.where(scale > 0, scale / power, 1.0)


def normal_scores(values: NDArray[Any]) -> FloatArray:
    """Return the standardised normal scores [n] of values; equal values share their middle rank."""
    return np.asarray(_scores(np.asarray(values, dtype=np.float64)[None])[0][0])


@lru_cache(maxsize=8)
def untied_scores(n: int) -> FloatArray:
    """Return the standardised normal scores of ranks 1 to n."""
    return np.asarray(standardised(ndtri((np.arange(n) + 0.5) / n)))


def rank_block(block: NDArray[Any]) -> tuple[SingleArray, NDArray[np.bool_]]:
    """Return the normal scores [B, n] of a block of columns [n, B], and which columns have ties."""
    columns = np.ascontiguousarray(block.T)
    if columns.dtype.kind != "f" or columns.dtype.itemsize < 4:
        # integers of up to 24 bits are exact in float32
        wide = columns.dtype.kind in "iu" and columns.dtype.itemsize > 2
        columns = columns.astype(np.float64 if wide else np.float32)
    scores, tied = _scores(columns)
    return scores.astype(np.float32, copy=False), tied


def ranked_blocks(source: Columns) -> Iterator[tuple[int, SingleArray]]:
    """Yield the first column and the normal scores [<= 64, n] of one block after another."""
    for start, block in source.blocks():
        for a in range(0, block.shape[1], NARROW):
            yield start + a, rank_block(block[:, a : a + NARROW])[0]


def ranked_matrix(source: Columns) -> SingleArray:
    """Return the normal scores of all columns, [d, n]."""
    x = np.empty((source.d, source.n), dtype=np.float32)
    for start, part in ranked_blocks(source):
        x[start : start + len(part)] = part
    return x


def require_finite(finite: NDArray[np.bool_], source: Columns, at: int) -> None:
    """Raise ValueError that names the first column, counted from `at`, that is not finite."""
    if not finite.all():
        raise not_finite(source.label(at + int(np.flatnonzero(~finite)[0])))


@dataclass(frozen=True, eq=False)
class RankedColumns:
    """Normal scores of all columns: kept in memory when they are few, else computed on demand."""

    source: Columns
    kept: SingleArray | None  # [d, n]

    @classmethod
    def of(cls, source: Columns) -> Self:
        """Rank all columns, and keep the result if it takes at most 256 MB."""
        few = source.n * source.d <= KEPT_ELEMENTS
        return cls(source, ranked_matrix(source) if few else None)

    def take(self, columns: IntArray) -> FloatArray:
        """Return the normal scores of some columns, [n, k]."""
        if self.kept is not None:
            return self.kept[columns].T.astype(np.float64)
        return rank_block(self.source.read(columns))[0].T.astype(np.float64)

    def products(self, R: FloatArray) -> FloatArray:
        """Return X^T R / sqrt n for all columns, [d, c], in one pass."""
        single = np.ascontiguousarray(R, dtype=np.float32) / np.float32(np.sqrt(self.source.n))
        if self.kept is not None:
            return (self.kept @ single).astype(np.float64)
        out = np.empty((self.source.d, single.shape[1]))
        for start, x in ranked_blocks(self.source):
            out[start : start + len(x)] = x @ single
        return out


def _scores(columns: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the normal scores of each row of [B, n] in its own type, and which rows have ties."""
    order, tied = _order(columns)
    n = columns.shape[1]
    x = torch.empty(
        columns.shape, dtype=torch.float32 if columns.dtype == np.float32 else torch.float64
    )
    table = torch.from_numpy(untied_scores(n)).to(x.dtype)
    x.scatter_(1, torch.from_numpy(order), table.expand(len(order), n))
    scores: NDArray[Any] = x.numpy()
    if tied.any():
        by_size = np.take_along_axis(columns[tied], order[tied], axis=1)
        middle = _middle_scores(by_size)
        part = np.empty_like(columns[tied])
        np.put_along_axis(part, order[tied], middle.astype(part.dtype), axis=1)
        scores[tied] = part
    return scores, tied


def _order(columns: NDArray[Any]) -> tuple[IntArray, NDArray[np.bool_]]:
    """Return the argsort of each row of [B, n], and which rows have equal values.

    A float32 value is turned into an integer of the same order and put with its position into one
    64-bit key; sorting these keys takes a third of the time of an argsort.
    """
    n = columns.shape[1]
    if columns.dtype != np.float32:
        order = np.argsort(columns, axis=1)
        by_size = np.take_along_axis(columns, order, axis=1)
        return order, (by_size[:, 1:] == by_size[:, :-1]).any(axis=1)
    bits = (columns + np.float32(0)).view(np.int32)  # the sum turns -0 into 0
    bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)
    keys = bits.astype(np.int64)
    keys <<= 32
    keys |= np.arange(n)
    keys.sort(axis=1)
    high = keys >> 32
    tied = (high[:, 1:] == high[:, :-1]).any(axis=1)
    keys &= 0xFFFFFFFF
    return keys, tied


def middle_scores_of_counts(counts: IntArray) -> FloatArray:
    """Return the standardised scores of values that occur so often, [B, V], 0 where none does.

    `counts` [B, V] belong to increasing values, and each row has the same sum.
    """
    n = int(counts[0].sum())
    ends = np.cumsum(counts, axis=1)
    twice = np.clip(2 * ends - counts - 1, 0, 2 * n - 2)  # twice the middle rank
    v = ndtri((twice + 1.0) / (2 * n))
    share = counts / n
    v = v - (share * v).sum(axis=1, keepdims=True)
    scale = np.sqrt((share * v**2).sum(axis=1, keepdims=True))
    return np.where((counts > 0) & (scale > 0), v / np.where(scale > 0, scale, 1.0), 0.0)


def _middle_scores(by_size: NDArray[Any]) -> FloatArray:
    """Return standardised scores of rows [B, n] sorted by value; ties take their middle rank."""
    n = by_size.shape[1]
    place = np.broadcast_to(np.arange(n), by_size.shape)
    new = np.ones(by_size.shape, dtype=bool)
    new[:, 1:] = by_size[:, 1:] != by_size[:, :-1]
    first = np.maximum.accumulate(np.where(new, place, 0), axis=1)
    ends = np.ones(by_size.shape, dtype=bool)
    ends[:, :-1] = new[:, 1:]
    last = np.minimum.accumulate(np.where(ends, place, n)[:, ::-1], axis=1)[:, ::-1]
    half = ndtri((np.arange(2 * n - 1) + 1.0) / (2 * n))  # index: twice the middle rank
    return standardised(half[first + last].T).T
