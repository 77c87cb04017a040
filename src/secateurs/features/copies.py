"""Rows that are copies of each other, of which a screen may use only one.

    group the rows by X, a block of columns after another, as long as rows with the same y agree;
    numbers that are equal up to rounding agree (`secateurs.core.near_copies`)
    if every group of rows equal in X and y has a multiple of k >= 2 rows: keep 1 / k of each  (1)
    C = pairs of rows equal in X and y;  P = pairs equal in X;  q = share of pairs equal in y
    E = n (n - 1) / 2  prod_j q_j,   q_j the share of pairs that are equal in column j
    E <- q E  if  P < E / 3
    if  C > 3 E + 3  and  P - C < (1 - q) P / 2:  keep one row of each group                   (2)

Copies are not independent, and a screen that counts them finds columns in noise.  But rows can be
equal by chance: five 0/1 columns have only 32 different rows.  The first condition of (2) asks for
far more equal rows than the frequencies of the single columns explain; where they explain more
than there are, as for the columns of one category, y must agree by chance as well.  The second
condition asks that rows equal in X agree in y more often than halfway between chance and always.
This protects tables whose columns depend on each other, where E is too small.  Rows that are equal
by chance do not satisfy (1) if there are at least 10 groups.

Source: derived.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.core.near_copies import near_groups, without_row_numbers
from secateurs.data.columns import Columns
from secateurs.features.ranks import FloatArray, IntArray

FIRST = 64  # columns that are compared first
TIMES, MORE = 3.0, 3.0  # of (2)
FEWEST_GROUPS = 10  # of (1)
FEWEST_DISTINCT = 8  # rows that must be left by (2)


def distinct_rows(source: Columns, y: NDArray[Any]) -> IntArray | None:
    """Return the rows that are left without copies, increasing; None if there are no copies.

    Parameters
    ----------
    source : Columns
    y : array [n]

    Notes
    -----
    O(n log n) if y has no ties.  Else the rows are compared on 64 columns, and on all columns only
    if rows with the same y agree on these: O(n d) time.
    """
    n = len(y)
    labels = near_groups(np.zeros(n, dtype=np.int64), [y[:, None]])
    counts = np.bincount(labels)
    if len(counts) == n:
        return None
    same_label = _pairs(counts) / (n * (n - 1) / 2.0)
    first = np.asarray(source.read(slice(0, min(source.d, FIRST))))
    units = near_groups(np.zeros(n, dtype=np.int64), [without_row_numbers(first)])
    if _pairs_of(_joint(units, labels)) == 0:
        return None
    other = np.random.default_rng(0).permutation(n)  # each row is compared with another
    log_chance = 0.0
    for _, block in source.blocks():
        units = near_groups(units, [without_row_numbers(block)])
        if _pairs_of(_joint(units, labels)) == 0:
            return None
        agree = (block == block[other])[other != np.arange(n)].mean(axis=0)
        log_chance += float(np.log(np.maximum(agree, 1.0 / n)).sum())
    both = _joint(units, labels)
    sizes = np.bincount(both)
    k = int(np.gcd.reduce(sizes))
    if k > 1 and len(sizes) >= FEWEST_GROUPS:
        return np.flatnonzero(_rank_in_group(both) < sizes[both] // k)
    if not _more_than_chance(n, units, both, same_label, float(np.exp(log_chance))):
        return None
    rows = np.flatnonzero(_rank_in_group(both) == 0)
    return rows if len(rows) >= FEWEST_DISTINCT else None


def _more_than_chance(
    n: int, units: IntArray, both: IntArray, same_label: float, chance: float
) -> bool:
    """Apply the conditions of (2); `chance` is the product of q_j."""
    equal, in_x = _pairs_of(both), _pairs_of(units)
    by_chance = n * (n - 1) / 2.0 * chance
    if in_x < by_chance / TIMES:
        by_chance *= same_label
    differ = in_x - equal
    return equal > TIMES * by_chance + MORE and differ < (1.0 - same_label) * in_x / 2.0


def _rank_in_group(groups: IntArray) -> IntArray:
    """Return how many earlier rows are in the group of each row."""
    order = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups)
    rank = np.empty(len(groups), dtype=np.int64)
    rank[order] = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rank


def on_rows(source: Columns, rows: IntArray) -> Columns:
    """Return the same columns with these rows only."""
    return replace(source, n=len(rows), read=lambda c: source.read(c)[rows], rows=None)


def _joint(units: IntArray, labels: IntArray) -> IntArray:
    """Number the groups of rows that are equal in both."""
    keys = units.astype(np.int64) * (int(labels.max()) + 1) + labels
    return _numbered(keys)


def _numbered(keys: NDArray[Any]) -> IntArray:
    """Number the distinct keys, and return the number of every key."""
    return np.asarray(np.unique(keys, return_inverse=True)[1], dtype=np.int64).reshape(-1)


def _pairs(counts: NDArray[Any]) -> float:
    """Return the number of pairs within groups of so many rows."""
    sizes: FloatArray = np.asarray(counts, dtype=np.float64)
    return float(sizes @ (sizes - 1.0)) / 2.0


def _pairs_of(units: IntArray) -> float:
    return _pairs(np.bincount(units))
