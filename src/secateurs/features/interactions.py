"""Products of two or three columns that tell of the labels when no single column does.

    H[i, j] = n^(-1/2) sum_t T(t) x_i(t) x_j(t),  i < j           one GEMM a label transform  (1)
    row norm r_i = ( sum_j H_ij^2 1{|H_ij| > threshold} )^(1/2)                               (2)
    n^(-1/2) sum_t T(t) x_i(t) x_j(t) x_k(t),  i < j < k          GEMMs over pairs            (3)

With symmetric binary inputs x_1 x_2 and x_1 x_2 x_3 are invisible in every single column.  The
plain row norm carries sqrt(d / n) of noise, so entries are thresholded first: derived from the
multi-index case k* = 2 of Vural & Erdogdu (COLT 2024), and measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri

from secateurs.data.columns import Columns
from secateurs.features.null_scores import Binned, NullTable, binned, null_table, product
from secateurs.features.screening import NARROW, SingleArray, rank_block, standardised

FloatArray = NDArray[np.float64]

TILE = 512  # columns of a block of (1)
SAMPLE = 1 << 14  # values that the distribution of the inputs is read from
HITS = 4096  # most products kept


@dataclass(frozen=True, eq=False)
class Interactions:
    """Products above the threshold.

    Attributes
    ----------
    columns : int array [p, 2] or [p, 3]
        Ascending in each row; strongest product first, equal ones by column.
    z : float array [p]
        Normal scores.
    row_norms : float array [d]
        (2) of every column, over normal scores.
    threshold : float
    alpha : float
    """

    columns: NDArray[np.int64]
    z: FloatArray
    row_norms: FloatArray
    threshold: float
    alpha: float

    @property
    def selected(self) -> NDArray[np.int64]:
        """Columns in some product, ascending."""
        return np.unique(self.columns)

    @property
    def p_value(self) -> float:
        """Chance that noise has a product as strong as the strongest, Bonferroni."""
        if not len(self.z):
            return 1.0
        log = log_ndtr(-float(np.abs(self.z).max())) - log_ndtr(-self.threshold)
        return float(self.alpha * np.exp(log))


def pair_cost(n: int, d: int, n_labels: int) -> float:
    """Multiply-adds of (1)."""
    return n * d * d / 2 * n_labels


def triple_cost(n: int, d: int) -> float:
    """Multiply-adds of (3)."""
    return n * d**3 / 6


def ranked_matrix(source: Columns) -> SingleArray:
    """Normal scores of all columns, standardised, [d, n] float32."""
    x = np.empty((source.d, source.n), dtype=np.float32)
    for start, block in source.blocks():
        for a in range(0, block.shape[1], NARROW):
            part, _ = rank_block(block[:, a : a + NARROW])
            x[start + a : start + a + len(part)] = part
    return x


def pair_screen(x: SingleArray, T: FloatArray, alpha: float = 0.1) -> Interactions:
    """Screen all pairs of columns (1), (2).

    Parameters
    ----------
    x : float32 array [d, n]
        Standardised columns, as `ranked_matrix` gives them.
    T : array [n, C]
        Label transforms of mean 0 and variance 1.
    alpha : float
        Chance of any false pair.

    Returns
    -------
    Interactions
        At most 4096 pairs, the strongest.

    Notes
    -----
    C n d^2 / 2 multiply-adds, memory n d + 512^2.
    """
    d, n = x.shape
    threshold = float(-ndtri(alpha / (max(1, d * (d - 1)) * T.shape[1])))
    inputs = _inputs(x)
    tables = [null_table(binned(t), product(inputs, inputs), n) for t in T.T]
    cuts = [_raw_threshold(table, threshold) for table in tables]
    found: list[tuple[float, tuple[int, ...]]] = []
    squares = np.zeros(d)
    for a in range(0, d, TILE):
        for t, table, cut in zip(T.T, tables, cuts, strict=True):
            weighted = x[a : a + TILE] * (t / np.sqrt(n)).astype(np.float32)
            for b in range(a, d, TILE):
                H = weighted @ x[b : b + TILE].T
                if a == b:
                    H[np.tril_indices(len(H))] = 0.0
                i, j = np.nonzero(np.abs(H) > cut)
                z = table(H[i, j])
                np.add.at(squares, a + i, z**2)
                np.add.at(squares, b + j, z**2)
                found += [
                    (float(v), (int(a + p), int(b + q))) for v, p, q in zip(z, i, j, strict=True)
                ]
                found = _strongest(found)
    return _result(found, 2, np.sqrt(squares), threshold, alpha)


def triple_screen(x: SingleArray, t: FloatArray, alpha: float = 0.1) -> Interactions:
    """Screen all products of three columns against one label transform (3).

    n d^3 / 6 multiply-adds: meant for a few hundred columns.  Parameters and result as
    `pair_screen`, with `t` of shape [n].
    """
    d, n = x.shape
    threshold = float(-ndtri(alpha / max(1.0, d * (d - 1) * (d - 2) / 3)))
    inputs = _inputs(x)
    table = null_table(binned(t), product(product(inputs, inputs), inputs), n)
    cut = _raw_threshold(table, threshold)
    label = (t / np.sqrt(n)).astype(np.float32)
    found: list[tuple[float, tuple[int, ...]]] = []
    squares = np.zeros(d)
    for i in range(d - 2):
        rest = x[i + 1 :]
        weighted = rest * (label * x[i])
        for a in range(0, len(rest), TILE):
            H = weighted[a : a + TILE] @ rest[a:].T
            H[np.tril_indices(len(H), m=H.shape[1])] = 0.0
            j, k = np.nonzero(np.abs(H) > cut)
            z = table(H[j, k])
            for v, p, q in zip(z, j, k, strict=True):
                at = (i, int(i + 1 + a + p), int(i + 1 + a + q))
                squares[list(at)] += v**2
                found.append((float(v), at))
        found = _strongest(found)
    return _result(found, 3, np.sqrt(squares), threshold, alpha)


def _inputs(x: SingleArray) -> Binned:
    """Distribution of the values of all columns together, from evenly spaced ones."""
    flat = x.ravel()
    return binned(standardised(flat[:: max(1, len(flat) // SAMPLE)].astype(np.float64)))


def _raw_threshold(table: NullTable, score: float) -> float:
    """Smallest statistic worth `score` on either side."""
    smallest = [float(np.interp(score, s, z)) for z, s in zip(table.z, table.score, strict=True)]
    return min(smallest)


def _strongest(
    found: list[tuple[float, tuple[int, ...]]],
) -> list[tuple[float, tuple[int, ...]]]:
    if len(found) <= 2 * HITS:
        return found
    return sorted(found, key=lambda hit: (-abs(hit[0]), hit[1]))[:HITS]


def _result(
    found: list[tuple[float, tuple[int, ...]]],
    size: int,
    row_norms: FloatArray,
    threshold: float,
    alpha: float,
) -> Interactions:
    best: dict[tuple[int, ...], float] = {}
    for z, at in found:
        if abs(z) > max(threshold, abs(best.get(at, 0.0))):
            best[at] = z
    order = sorted(best, key=lambda at: (-abs(best[at]), at))[:HITS]
    columns = np.asarray(order, dtype=np.int64).reshape(-1, size)
    return Interactions(
        columns, np.asarray([best[at] for at in order]), row_norms, threshold, alpha
    )
