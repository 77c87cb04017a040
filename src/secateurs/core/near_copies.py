"""Rows that are equal up to rounding: a copy in float32, or one with a little noise.

    t_j <- arcsinh of column j, in its median deviation from the median
    u, v <- two random combinations of the t_j
    sort the rows of a group by u;  neighbours that differ in u and v by at most 1e-6 stay together

A copy that was rounded to float32 differs by some 1e-7.  A column that numbers the rows makes no
row different from its copy, and is not compared where another column tells rows apart: beside
columns of few values it may be the time that all depends on.  Two different rows are taken for
copies only if they happen to agree in both combinations; for n independent rows of two or more
columns with many values, about n^2 / 10^12 pairs do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

IntArray = NDArray[np.int64]

NEAR = 1e-6  # difference up to which rows are copies
LONGEST = 3e-6  # difference between the first and the last of several copies
WIDTH = 64  # columns that are compared at once
COMBINATIONS = 2
FEWEST_NUMBERED = 20  # rows, from which evenly spaced numbers are no accident
EVEN = 1e-3  # difference from an even place, in steps
MOST_COPIES = 10  # rows for each value of another column, for equal rows to be no accident


def near_groups(groups: IntArray, blocks: Iterable[NDArray[Any]]) -> IntArray:
    """Split groups of rows into those whose values are equal up to rounding.

    Parameters
    ----------
    groups : int64 array [n]
        A number for each row; only rows with the same number are compared.
    blocks : iterable of arrays [n, b]
        Blocks of columns of numbers; those that are not finite count as zero.

    Returns
    -------
    int64 array [n]
        Numbers from 0 on.

    Notes
    -----
    O(n log n) for each block, until no two rows are together.
    """
    groups = np.unique(groups, return_inverse=True)[1].reshape(-1).astype(np.int64)
    for block in blocks:
        shared = np.flatnonzero(np.bincount(groups)[groups] > 1)
        if not len(shared):
            break
        values = _combinations(block, shared)
        own = groups[shared]
        order = np.lexsort((*values.T[::-1], own))
        new = _starts(values[order], own[order])
        out = groups.copy()
        out[shared[order]] = np.cumsum(new) - 1
        alone = np.setdiff1d(np.arange(len(groups)), shared)
        out[alone] = int(new.sum()) + np.arange(len(alone))
        groups = out
    return groups


def _starts(values: NDArray[np.float64], own: IntArray) -> NDArray[np.bool_]:
    """Tell which of the sorted rows begins a group of copies.

    Many rows of one column may lie so dense that each is near the next one.  They are no copies:
    where a chain is longer than a few roundings, only equal rows stay together.
    """
    step = np.abs(np.diff(values, axis=0)).max(axis=1)
    new = np.r_[True, (step > NEAR) | (np.diff(own) != 0)]
    first = np.flatnonzero(new)
    span = np.maximum.reduceat(values, first) - np.minimum.reduceat(values, first)
    is_chain = (span.max(axis=1) > LONGEST)[np.cumsum(new) - 1]
    return np.asarray(new | (is_chain & np.r_[True, step > 0]))


def column_blocks(X: Any) -> Iterator[NDArray[Any]]:
    """Yield the columns of a dense or sparse matrix for `near_groups`.

    A sparse matrix gives one block: a few random combinations of its columns.
    """
    if not bool(sparse.issparse(X)):
        n_blocks = -(-X.shape[1] // WIDTH)
        for first in range(n_blocks):
            block = X[:, first::n_blocks]  # neighbouring pixels, for one, are often all zero
            yield block if X.shape[1] == 1 else without_row_numbers(block)
        return
    X = X.tocsr().astype(np.float64)
    largest = np.asarray(abs(X).max(axis=0).todense(), dtype=np.float64).reshape(-1)
    weights = np.random.default_rng(0).standard_normal((X.shape[1], 2 * COMBINATIONS))
    yield X @ (weights / np.where(largest > 0, largest, 1.0)[:, None])


def without_row_numbers(block: NDArray[Any]) -> NDArray[Any]:
    """Leave out the columns that number the rows: evenly spaced numbers, in any order.

    They stay where no other column has many values: rows would agree by accident then.
    """
    if len(block) < FEWEST_NUMBERED:
        return block
    numbered = [j for j in range(block.shape[1]) if _is_numbering(block[:, j])]
    if not numbered:
        return block
    others = np.delete(block, numbered, axis=1)
    tell_apart = any(len(np.unique(column)) * MOST_COPIES >= len(block) for column in others.T)
    return others if tell_apart else block


def _is_numbering(column: NDArray[Any]) -> bool:
    first = np.asarray(column[:FEWEST_NUMBERED], dtype=np.float64)
    if len(np.unique(first)) < len(first) or not np.isfinite(first).all():
        return False
    values = np.asarray(column, dtype=np.float64)
    low, high = float(values.min()), float(values.max())
    place = (values - low) / (high - low) * (len(values) - 1)
    if not (np.abs(place[:FEWEST_NUMBERED] - np.rint(place[:FEWEST_NUMBERED])) < EVEN).all():
        return False
    return bool((np.abs(np.sort(place) - np.arange(len(values))) < EVEN).all())


def _combinations(block: NDArray[Any], rows: IntArray) -> NDArray[np.float64]:
    """Return the random combinations of the columns, of these rows [k, 2]."""
    values = np.nan_to_num(np.asarray(block[rows], dtype=np.float64), posinf=0.0, neginf=0.0)
    if not values.shape[1]:
        return np.zeros((len(rows), COMBINATIONS))
    largest = np.abs(values).max(axis=0)
    values = values / np.where(largest > 0, largest, 1.0)
    values = values - np.median(values, axis=0)
    size = np.sort(np.abs(values), axis=0)
    half = (len(size) + (size == 0).sum(axis=0)) // 2  # the median of those that are not zero
    spread = np.take_along_axis(size, np.minimum(half, len(size) - 1)[None], axis=0)
    values = np.arcsinh(
        values / np.where(spread > 0, spread, 1.0)
    )  # an outlier does not set the unit
    weights = np.random.default_rng(1).standard_normal((block.shape[1], COMBINATIONS))
    return np.asarray(values @ (weights / np.sqrt(block.shape[1])))
