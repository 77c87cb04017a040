"""Which rows certify: simple random samples of the distinct rows and of the rows, drawn once.

Rows that are equal in X and y may be one observation that was written down several times.  Then
they are a unit, and a held-out copy of a training row proves nothing.  Or they are observations
that happen to be equal, such as rows of zeros.  Then a sample of distinct rows proves little: the
equal rows may be half of all rows, and all be in the training rows.  The data cannot tell.  So
there are two samples, and a statement must hold on both:

    whole <- a share of the units, drawn with all their rows                           (1)
    drawn <- rows of whole units that stand once, and a share of the other rows        (2)
    train <- the rows in neither

A caller who knows of dependent rows names them by `groups`.  Each group is a unit, and there is
only the first sample.

One process draws the units by their order, so that changes in the last digit of a number do not
change the split.  Several processes, which do not see each other's rows, draw each unit by a key
that is computed from its content: all copies of a row get the same answer everywhere.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

IntArray = NDArray[np.int64]
Words = NDArray[np.uint64]

BLOCK = 1 << 20  # entries that are hashed at once
FEWEST_UNITS = 10  # that have a common multiple of rows, before it counts as no accident
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, eq=False)
class HeldOutRows:
    """Held-out rows as two samples: of units, and of rows that count one by one.

    Attributes
    ----------
    units : int64 or uint64 array [m]
        The unit of each row.
    whole : array of bool [m]
        Rows of the sample of units.
    blocks : int64 array [m]
        What counts as one row in the sample of rows.
    drawn : array of bool [m]
        Rows of the sample of rows.
    grouped : bool
        The units are groups that the caller named, and only the sample of units says something.
    """

    units: NDArray[Any]
    whole: NDArray[np.bool_]
    blocks: NDArray[Any]
    drawn: NDArray[np.bool_]
    grouped: bool = False

    def taken(self, rows: IntArray) -> HeldOutRows:
        """Return some of the rows."""
        return HeldOutRows(
            self.units[rows], self.whole[rows], self.blocks[rows], self.drawn[rows], self.grouped
        )

    def samples(self, values: NDArray[Any]) -> tuple[NDArray[np.float64], ...]:
        """Average values of the rows within each unit of the first sample, and of the second.

        Parameters
        ----------
        values : array [m] or [m, k]

        Returns
        -------
        tuple of float64 arrays, [number of units] or [number of units, k]
            One array for each sample; one alone if both are the same, or if there are groups.
        """
        first = unit_averages(values[self.whole], self.units[self.whole])
        same = np.array_equal(self.whole, self.drawn)
        if self.grouped or (same and len(np.unique(self.blocks[self.drawn])) == len(first)):
            return (first,)
        return first, unit_averages(values[self.drawn], self.blocks[self.drawn])


def no_rows() -> HeldOutRows:
    """Return samples without rows."""
    number, truth = np.empty(0, dtype=np.int64), np.empty(0, dtype=bool)
    return HeldOutRows(number, truth, number, truth)


def unit_averages(values: NDArray[Any], units: NDArray[Any]) -> NDArray[np.float64]:
    """Average values [m] or [m, k] of rows within each unit, in the order of the sorted units."""
    _, unit, counts = np.unique(units, return_inverse=True, return_counts=True)
    columns = (
        np.asarray(values, dtype=np.float64).reshape(len(values), math.prod(values.shape[1:])).T
    )
    sums = [np.bincount(unit.reshape(-1), weights=c, minlength=len(counts)) for c in columns]
    return np.asarray((np.array(sums).T / counts[:, None]).reshape(len(counts), *values.shape[1:]))


@dataclass(frozen=True, eq=False)
class Split:
    """Rows to fit on and rows held out.

    Attributes
    ----------
    train, held_out : int64 arrays, increasing
        Numbers of the rows.
    units : int64 array [n]
        The unit of each row; equal rows have the same one.
    keys : uint64 array [n]
        The key of the unit of each row, the same on every process.
    whole, drawn : arrays of bool [n]
        The two samples of the text of this module.
    blocks : int64 array [n]
        What counts as one row in the second sample: one row, or the copies of one where every
        row of the table stands equally often.
    grouped : bool
    contents : uint64 array [n]
        Key of the content of each row, which with groups is not that of its unit.
    """

    train: IntArray
    held_out: IntArray
    units: IntArray
    keys: Words
    whole: NDArray[np.bool_] = field(repr=False)
    drawn: NDArray[np.bool_] = field(repr=False)
    blocks: IntArray = field(repr=False)
    grouped: bool
    contents: Words = field(repr=False)

    @property
    def digest(self) -> str:
        """Identify the held-out rows: splits with the same digest hold out equal rows.

        With groups, the names of the held-out groups and the contents of their rows count.
        """
        rows = np.stack([self.keys, self.contents], axis=1)[self.held_out]
        rows = rows[np.lexsort(rows.T)]
        return hashlib.blake2b(rows.tobytes(), digest_size=16).hexdigest()

    def one_each(self, rows: IntArray) -> IntArray:
        """Positions in `rows` of one row of each unit, increasing: the first by row number."""
        _, first = np.unique(self.units[rows], return_index=True)
        return np.sort(first)

    def held_out_rows(self) -> HeldOutRows:
        """The held-out rows as samples."""
        every = HeldOutRows(self.units, self.whole, self.blocks, self.drawn, self.grouped)
        return every.taken(self.held_out)


def row_keys(X: Any, y: NDArray[Any]) -> Words:
    """Hash every row to 64 bits; equal rows have equal keys.

    Parameters
    ----------
    X : array [n, d] or scipy CSR
        Numbers.  An explicit zero of a sparse matrix counts as a zero.
    y : array [n] or [n, k]
        Numbers.

    Returns
    -------
    uint64 array [n]
        Exact integer arithmetic, so that the key of a row does not depend on its place.  Two
        different rows have the same key with probability about 2^-64.

    Notes
    -----
    One pass over the entries.
    """
    targets = y[:, None] if y.ndim == 1 else y
    d = X.shape[1]
    factors = _factors(d + targets.shape[1])
    keys = _sparse_sums(X, factors[:d]) if sparse.issparse(X) else _dense_sums(X, factors[:d])
    with np.errstate(over="ignore"):
        keys += _dense_sums(targets, factors[d:])
    return _mixed(keys)


def hold_out(
    keys: Words,
    fraction: float,
    seed: int,
    *,
    exact: bool = True,
    by_row: bool = False,
    contents: Words | None = None,
) -> Split:
    """Hold out a simple random sample of the units, and with `by_row` one of the rows, too.

    Parameters
    ----------
    keys : uint64 array [n]
        Key of the unit of each row, from `row_keys` or `group_keys`.
    fraction : float in [0, 1)
        Share of the units to hold out.
    seed : int
    exact : bool
        Hold out exactly ``floor(fraction * number of units)`` units, drawn by the order of the
        rows.  Without, each unit is held out on its own with this probability, by its content, so
        that several processes need not communicate.
    by_row : bool
        Also draw the second sample: each row of a unit of several rows with this probability.
    contents : uint64 array [n], optional
        Key of the content of each row, if `keys` are those of groups.

    Returns
    -------
    Split
    """
    distinct, first, units, sizes = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    units = np.asarray(units, dtype=np.int64).reshape(-1)
    if exact:
        by_order = np.argsort(first)
        drawn = np.random.default_rng(seed).permutation(len(distinct))
        chosen = np.zeros(len(distinct), dtype=bool)
        chosen[by_order[drawn[: int(fraction * len(distinct))]]] = True
    else:
        with np.errstate(over="ignore"):
            draws = _mixed(distinct + _GOLDEN * np.uint64(seed + 1))
        chosen = draws < np.uint64(min(fraction * 2.0**64, 2.0**64 - 2048))
    whole = chosen[units]
    rows, blocks = whole, units
    if by_row and contents is None and len(distinct) < len(keys):
        rows, blocks = _rows_drawn(units, sizes, whole, fraction, seed)
    out = whole | rows
    known = keys if contents is None else contents
    return Split(
        np.flatnonzero(~out), np.flatnonzero(out), units, keys, whole, rows, blocks,
        contents is not None, known,
    )  # fmt: skip


def _rows_drawn(
    units: IntArray, sizes: IntArray, whole: NDArray[np.bool_], fraction: float, seed: int
) -> tuple[NDArray[np.bool_], IntArray]:
    """Draw the sample of rows (2); where all units have a multiple of k rows, k rows are one.

    A row that stands once is in both samples or in none, so that few rows are lost for training.
    """
    k = int(np.gcd.reduce(sizes)) if len(sizes) >= FEWEST_UNITS else 1
    order = np.argsort(units, kind="stable")
    starts = np.cumsum(sizes) - sizes
    number = np.empty(len(units), dtype=np.int64)  # of a row within its unit
    number[order] = np.arange(len(units)) - np.repeat(starts, sizes)
    blocks = starts[units] + number // k
    _, first, block = np.unique(blocks, return_index=True, return_inverse=True)
    coins = np.empty(len(first))  # in the order of the rows, not of the keys
    coins[np.argsort(first)] = np.random.default_rng([seed, 1]).random(len(first))
    drawn = np.where(sizes[units] > k, coins[block.reshape(-1)] < fraction, whole)
    return (whole if (whole | drawn).all() else drawn), blocks


def group_keys(groups: Any) -> Words:
    """Hash the group of every row to 64 bits; a group is any number or string."""
    labels = np.asarray(groups)
    if labels.dtype.kind in "biuf":
        return _mixed(_bits(labels[:, None])[:, 0])
    texts = np.array([str(label) for label in labels.tolist()])
    codes = texts.view(np.uint32).reshape(len(texts), -1) if texts.itemsize else texts[:, None]
    return _mixed(_dense_sums(codes.astype(np.float64), _factors(codes.shape[1])))


def combined_keys(first: Words, second: Words) -> Words:
    """Key of two parts of a row that were hashed apart."""
    with np.errstate(over="ignore"):
        return _mixed(first + _GOLDEN * second)


def _factors(size: int) -> Words:
    """Random odd multipliers, the same in every process."""
    factors = np.random.default_rng(0).integers(1, 1 << 63, size, np.uint64)
    return factors | np.uint64(1)


def _bits(values: NDArray[Any]) -> Words:
    """Bit patterns of numbers as float64, with -0 as 0 and so every zero as 0."""
    return (np.ascontiguousarray(values, dtype=np.float64) + 0.0).view(np.uint64)


def _dense_sums(values: NDArray[Any], factors: Words) -> Words:
    """sum_j bits(value_ij) factor_j modulo 2^64 for every row."""
    n, d = values.shape
    keys = np.empty(n, dtype=np.uint64)
    step = max(1, BLOCK // max(d, 1))
    with np.errstate(over="ignore"):
        for start in range(0, n, step):
            words = _spread(_bits(values[start : start + step]))
            keys[start : start + step] = (words * factors).sum(axis=1, dtype=np.uint64)
    return keys


def _sparse_sums(X: Any, factors: Words) -> Words:
    """The same for a sparse matrix; entries that are zero add nothing, as in a dense one."""
    X = sparse.csr_array(X)
    with np.errstate(over="ignore"):
        terms = _spread(_bits(X.data)) * factors[X.indices]
        total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
        return np.asarray(total[X.indptr[1:]] - total[X.indptr[:-1]])


def _spread(words: Words) -> Words:
    """Move the high bits down; small integers as float64 differ in their high bits only."""
    return words ^ (words >> np.uint64(29))


def _mixed(words: Words) -> Words:
    """Mix 64 bits (the finaliser of SplitMix64, Steele, Lea & Flood 2014)."""
    with np.errstate(over="ignore"):
        words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def shared_digest(digests: list[str]) -> str:
    """Identify the splits of all processes of a fit together; one alone keeps its digest."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.blake2b("".join(digests).encode(), digest_size=16).hexdigest()
