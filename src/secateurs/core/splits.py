"""Which rows certify: a simple random sample of the distinct rows, drawn once for a run.

Rows that are equal in X and y are copies of one observation.  They form a unit, and a unit is
never cut: a held-out copy of a training row would prove nothing.  A caller who knows of other
dependent rows names them by `groups`, and each group is a unit.

One process draws the units by their order, so that changes in the last digit of a number do not
change the split.  Several processes, which do not see each other's rows, draw each unit by a key
that is computed from its content: all copies of a row get the same answer everywhere.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

IntArray = NDArray[np.int64]
Words = NDArray[np.uint64]

BLOCK = 1 << 20  # entries that are hashed at once
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


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
    """

    train: IntArray
    held_out: IntArray
    units: IntArray
    keys: Words

    @property
    def digest(self) -> str:
        """Identify the held-out units: two splits with the same digest hold out the same."""
        held_out = np.unique(self.keys[self.held_out])
        return hashlib.blake2b(held_out.tobytes(), digest_size=16).hexdigest()

    def one_each(self, rows: IntArray) -> IntArray:
        """Positions in `rows` of one row of each unit, increasing: the first by row number."""
        _, first = np.unique(self.units[rows], return_index=True)
        return np.sort(first)


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


def hold_out(keys: Words, fraction: float, seed: int, *, exact: bool = True) -> Split:
    """Hold out a simple random sample of the units.

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

    Returns
    -------
    Split
    """
    distinct, first, units = np.unique(keys, return_index=True, return_inverse=True)
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
    out = chosen[units]
    return Split(np.flatnonzero(~out), np.flatnonzero(out), units, keys)


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
