"""Measure activation patterns: how many rows separate every two, and how many open each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from torch import Tensor

from secateurs.core.parameters import Shown, bad_value
from secateurs.recovery.fitted_rows import distinct_rows

BLOCK = 512  # patterns compared at once
ROWS = 4096  # rows compared at once; partial sums stay exact in float32

Array = NDArray[np.floating]
BoolArray = NDArray[np.bool_]
Vectors = Array | Tensor | sp.csr_array  # one in each row


@dataclass(frozen=True)
class PatternStatistics:
    """Measurements of p patterns on n rows.

    Parameters
    ----------
    n_patterns, n_rows : int
        With X, its distinct rows; with patterns, all rows that are given.
    n_distinct : int
        Rows that are different for certain.  With X all of them, because equal rows count once.
        With patterns only those that open different patterns, because other rows may be copies.
    min_separation : float
        Smallest Hamming distance of two patterns over n; nan with fewer than two.
    closest : (int, int)
        The first pair with this distance in index order; (-1, -1) with fewer than two.
    min_trace : float
        Smallest share of open rows of a pattern.
    emptiest : int
        The pattern with this share.
    traces : array, shape [p]
        The share of open rows of each pattern.
    n_duplicates : int
        Patterns that are equal to an earlier one.
    """

    n_patterns: int
    n_rows: int
    n_distinct: int
    min_separation: float
    closest: tuple[int, int]
    min_trace: float
    emptiest: int
    traces: Array
    n_duplicates: int


def pattern_statistics(
    patterns: NDArray[np.generic] | None = None,
    *,
    X: Array | None = None,
    generators: Vectors | None = None,
) -> PatternStatistics:
    """Measure Hamming distances, traces and duplicates of activation patterns, by blocks.

    Parameters
    ----------
    patterns : array of bool, shape [p, n], optional
        Row j is the diagonal of D_j.
    X : array, shape [n, d], optional
        Instead of patterns, with generators: D_j = 1{X h_j > 0}.  Equal rows count once.
    generators : array, Tensor or csr_array, shape [p, d], optional
        The vectors h_j, one in each row.

    Returns
    -------
    PatternStatistics
        The measurements, with the closest pair and the emptiest pattern.

    Notes
    -----
    p^2 n flops and memory O(512 n).  With S of +-1 entries Hamming / n = (n - S S^T) / (2 n), in
    exact integers in float32.
    """
    read, p, n, n_distinct = _reader(patterns, X, generators)
    traces = np.zeros(p)
    best, closest = math.inf, (-1, -1)
    duplicate = np.zeros(p, dtype=bool)
    for a in range(0, p, BLOCK):
        first = read(a, min(a + BLOCK, p))
        traces[a : a + BLOCK] = first.mean(1)
        for b in range(a, p, BLOCK):
            second = first if a == b else read(b, min(b + BLOCK, p))
            distance = _hamming(first, second)
            later = np.arange(b, b + len(second)) > np.arange(a, a + len(first))[:, None]
            duplicate[b : b + BLOCK] |= ((distance == 0) & later).any(0)
            distance[~later] = math.inf
            i, j = divmod(int(distance.argmin()), len(second))
            # ties go to the first pair in index order
            if (distance[i, j], (a + i, b + j)) < (best, closest) and later[i, j]:
                best, closest = float(distance[i, j]), (a + i, b + j)
    return PatternStatistics(
        p,
        n,
        n_distinct,
        best / n if p > 1 else math.nan,
        closest,
        float(traces.min()),
        int(traces.argmin()),
        traces,
        int(duplicate.sum()),
    )


def _hamming(first: BoolArray, second: BoolArray) -> Array:
    """Return Hamming distances [a, b], from S S^T by chunks of rows."""
    product = np.zeros((len(first), len(second)))
    n = first.shape[1]
    for r in range(0, n, ROWS):
        left = 2 * first[:, r : r + ROWS].astype(np.float32) - 1
        right = 2 * second[:, r : r + ROWS].astype(np.float32) - 1
        product += left @ right.T
    return np.asarray((n - product) / 2)


def _reader(
    patterns: NDArray[np.generic] | None, X: Array | None, generators: Vectors | None
) -> tuple[Callable[[int, int], BoolArray], int, int, int]:
    """Return a function that returns patterns a to b, and how many patterns and rows there are.

    The last number counts the rows that are different for certain.
    """
    both = X is not None and generators is not None
    if patterns is not None and not both:
        given = np.asarray(patterns)
        if given.ndim != 2 or not given.size:
            raise bad_value("patterns", Shown(f"shape {given.shape}"), "shape [p, n], not empty")
        if not np.isin(np.unique(given), (0, 1)).all():
            raise bad_value("patterns", Shown("values other than 0 and 1"), "booleans")
        n_distinct = len(distinct_rows(given.T))
        return lambda a, b: given[a:b] > 0, given.shape[0], given.shape[1], n_distinct
    if patterns is not None or X is None or generators is None:
        names = {"patterns": patterns, "X": X, "generators": generators}
        found = " and ".join(name for name, value in names.items() if value is not None)
        expected = "either patterns [p, n], or both X [n, d] and generators [p, d]"
        raise bad_value("patterns", Shown(found or "nothing"), expected)
    H = generators.detach().cpu().numpy() if isinstance(generators, Tensor) else generators
    if X.ndim != 2 or H.ndim != 2 or X.shape[1] != H.shape[1] or not len(X) or not H.shape[0]:
        shown = Shown(f"shapes {X.shape} and {H.shape}")
        raise bad_value("X and generators", shown, "shapes [n, d] and [p, d], not empty")
    rows = distinct_rows(X)
    return (
        lambda a, b: np.asarray(H[a:b] @ rows.T > 0, dtype=bool),
        H.shape[0],
        len(rows),
        len(rows),
    )
