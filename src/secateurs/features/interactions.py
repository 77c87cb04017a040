"""Find products of two or three columns that are associated with y.

    H[i, j] = n^(-1/2) sum_t T(t) x_i(t) x_j(t),  i < j        one GEMM for each transform of y  (1)
    n^(-1/2) sum_t T(t) x_i(t) x_j(t) x_k(t),  i < j < k       GEMMs over pairs                  (2)

If the inputs are symmetric and binary, x_1 x_2 and x_1 x_2 x_3 show in no single column.  Entries
are compared with a threshold one by one: the row norms of H carry noise of size sqrt(d / n).
Candidates are found by the distribution of the values of all columns together.  Each of them is
then scored again on the distribution of its own product, whose mean and variance are not those of
independent columns.

Source: derived from the multi-index case k* = 2 of Vural & Erdogdu (COLT 2024), and measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr

from secateurs.features.null_scores import (
    Binned,
    NullTable,
    binned,
    normal_threshold,
    null_table,
    product,
)
from secateurs.features.ranks import FloatArray, IntArray, SingleArray, standardised
from secateurs.features.tail_scores import Cell, Values, tail_scores

TILE = 512  # columns of a block of (1)
SAMPLE = 1 << 14  # values from which the distribution of the inputs is estimated
MOST_PRODUCTS = 4096  # products that are returned

Hit = tuple[float, tuple[int, ...], int]  # normal score, columns, transform of y


@dataclass(frozen=True, eq=False)
class Interactions:
    """Products above the threshold; the strongest is first, equal ones are sorted by column."""

    columns: IntArray  # increasing in each row, [p, 2] or [p, 3]
    z: FloatArray  # normal scores, [p]
    threshold: float
    alpha: float

    @property
    def p_value(self) -> float:
        """Probability that noise gives a product as strong as the strongest, by Bonferroni."""
        if not len(self.z):
            return 1.0
        log = log_ndtr(-float(np.abs(self.z).max())) - log_ndtr(-self.threshold)
        return float(self.alpha * np.exp(log))


def pair_cost(n: int, d: int, n_transforms: int) -> float:
    """Return the multiply-adds of (1)."""
    return n * d * d / 2 * n_transforms


def triple_cost(n: int, d: int) -> float:
    """Return the multiply-adds of (2)."""
    return n * d**3 / 6


def pair_screen(x: SingleArray, T: FloatArray, alpha: float = 0.1) -> Interactions:
    """Screen all pairs of standardised columns (1), and return the strongest, at most 4096.

    `x` [d, n] are the columns, `T` [n, C] the transforms of y, and `alpha` is the probability that
    any pair passes under pure noise.  C n d^2 / 2 multiply-adds; memory n d + 512^2 numbers.
    """
    d, n = x.shape
    threshold = normal_threshold(alpha, max(1, d * (d - 1)) * T.shape[1] / 2)
    inputs = _distribution(x)
    tables = [null_table(binned(t), product(inputs, inputs), n) for t in T.T]
    cuts = [_smallest_statistic(table, threshold) for table in tables]
    found: list[Hit] = []
    for a in range(0, d, TILE):
        for c, (t, table, cut) in enumerate(zip(T.T, tables, cuts, strict=True)):
            weighted = x[a : a + TILE] * (t / np.sqrt(n)).astype(np.float32)
            for b in range(a, d, TILE):
                H = weighted @ x[b : b + TILE].T
                if a == b:
                    H[np.tril_indices(len(H))] = 0.0
                i, j = np.nonzero(np.abs(H) > cut)
                z = table(H[i, j])
                found += [
                    (float(v), (int(a + p), int(b + q)), c) for v, p, q in zip(z, i, j, strict=True)
                ]
                found = _pruned(found)
    return _interactions(_on_own_nulls(found, x, T, threshold), 2, threshold, alpha)


def triple_screen(x: SingleArray, t: FloatArray, alpha: float = 0.1) -> Interactions:
    """Screen all products of three columns against one transform `t` [n] of y (2).

    Otherwise as `pair_screen`.  n d^3 / 6 multiply-adds, so it is meant for a few hundred columns.
    """
    d, n = x.shape
    threshold = normal_threshold(alpha, max(1.0, d * (d - 1) * (d - 2) / 3) / 2)
    inputs = _distribution(x)
    table = null_table(binned(t), product(product(inputs, inputs), inputs), n)
    cut = _smallest_statistic(table, threshold)
    label = (t / np.sqrt(n)).astype(np.float32)
    found: list[Hit] = []
    for i in range(d - 2):
        rest = x[i + 1 :]
        weighted = rest * (label * x[i])
        for a in range(0, len(rest), TILE):
            H = weighted[a : a + TILE] @ rest[a:].T
            H[np.tril_indices(len(H), m=H.shape[1])] = 0.0
            j, k = np.nonzero(np.abs(H) > cut)
            first = i + 1 + a
            found += [
                (float(v), (i, int(first + p), int(first + q)), 0)
                for v, p, q in zip(table(H[j, k]), j, k, strict=True)
            ]
        found = _pruned(found)
    return _interactions(_on_own_nulls(found, x, t[:, None], threshold), 3, threshold, alpha)


def _distribution(x: SingleArray) -> Binned:
    """Return the distribution of the values of all columns together, from an even sample."""
    flat = x.ravel()
    return binned(standardised(flat[:: max(1, len(flat) // SAMPLE)].astype(np.float64)))


def _smallest_statistic(table: NullTable, score: float) -> float:
    """Return the smallest statistic that corresponds to the score `score`, on either side."""
    return min(float(np.interp(score, s, z)) for z, s in zip(table.z, table.score, strict=True))


def _by_strength(hit: Hit) -> tuple[float, tuple[int, ...]]:
    return -abs(hit[0]), hit[1]


def _on_own_nulls(found: list[Hit], x: SingleArray, T: FloatArray, threshold: float) -> list[Hit]:
    """Score the strongest candidates again, each on the distribution of its own product."""
    n = len(T)
    found = sorted(found, key=_by_strength)[:MOST_PRODUCTS]
    labels = [Values.of(t, np.ones(n, dtype=np.int64)) for t in T.T]
    cells = []
    for _, at, c in found:
        h = standardised(np.prod(x[list(at)].astype(np.float64), axis=0))
        column = Values.of(*np.unique(h, return_counts=True))
        cells.append(Cell(labels[c], column, float(T[:, c] @ h) / np.sqrt(n)))
    scores = tail_scores(cells, n, threshold)
    return [(float(z), at, c) for z, (_, at, c) in zip(scores, found, strict=True)]


def _pruned(found: list[Hit]) -> list[Hit]:
    """Drop the weakest products once there are twice as many as can be returned."""
    if len(found) <= 2 * MOST_PRODUCTS:
        return found
    return sorted(found, key=_by_strength)[:MOST_PRODUCTS]


def _interactions(found: list[Hit], size: int, threshold: float, alpha: float) -> Interactions:
    """Collect the products above the threshold, each with its largest score."""
    best: dict[tuple[int, ...], float] = {}
    for z, at, _ in found:
        if abs(z) > max(threshold, abs(best.get(at, 0.0))):
            best[at] = z
    hits = sorted(((z, at, 0) for at, z in best.items()), key=_by_strength)[:MOST_PRODUCTS]
    columns = np.asarray([at for _, at, _ in hits], dtype=np.int64).reshape(-1, size)
    return Interactions(columns, np.asarray([z for z, _, _ in hits]), threshold, alpha)
