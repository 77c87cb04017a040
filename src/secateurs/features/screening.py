"""Score each column's association with y, in one blockwise pass.

    x <- normal scores of the ranks of a column;  T_c <- transforms of y, standardised
    Z[j, c, k] = n^(-1/2) sum_i T_c(i) h_k(x_ij),   k <= 3                            (1)
    z* <- Z on the scale of a standard normal, by its distribution on noise           (2)
    J = { j : max |z*| > Phi^-1(1 - alpha / (2 d C K)) }                              (3)

Here h_k = he_k / sqrt(k!).  If T is y itself and the inputs are Gaussian, (1) is the gradient of
the correlation loss at a neuron that starts at +-e_j, split into even and odd Hermite parts.

Source: derived from the pruning of Vural & Erdogdu (COLT 2024), whose own Algorithm 1 is in
`published_pruning`.  Ranks and the other transforms are additions: sign(he_3), for example, has
information exponent 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from secateurs.core.parameters import Shown, bad_value, check_integer, check_real
from secateurs.core.solution import Progress, ProgressCallback
from secateurs.data.columns import Columns, columns_of
from secateurs.features.copies import distinct_rows, on_rows
from secateurs.features.few_values import TOGETHER, FewValues, looks_few
from secateurs.features.null_scores import NullTable, binned, normal_threshold, null_table
from secateurs.features.ranks import (
    NARROW,
    FloatArray,
    IntArray,
    SingleArray,
    normal_scores,
    rank_block,
    require_finite,
    standardised,
    untied_scores,
)
from secateurs.features.tied_columns import TiedColumns
from secateurs.features.unranked import TILE, unranked_by_rows, unranked_statistics

MAX_DEGREE = 3  # of the Hermite polynomials
FEWEST_ROWS = 8  # of a target that is to be transformed
SAME = 0.999  # transforms with a larger correlation count as one
CONSTANT = 1e-6  # a standardised value with a smaller standard deviation counts as constant


@dataclass(frozen=True, eq=False)
class Screen:
    """Scores of all columns.

    Attributes
    ----------
    z : float32 array [d, C, K]
        Normal scores for transform c of y and Hermite degree k + 1.
    transforms : tuple of str
        Names of the C transforms.
    threshold : float
        Threshold (3) of max |z|.
    alpha : float
        Level of the threshold.
    n : int
        Rows that were counted: of rows that are copies of each other, one.
    """

    z: SingleArray
    transforms: tuple[str, ...]
    threshold: float
    alpha: float
    n: int

    @property
    def scores(self) -> FloatArray:
        """Max |z| of every column, [d]."""
        return np.asarray(np.abs(self.z).max(axis=(1, 2)), dtype=np.float64)

    @property
    def p_values(self) -> FloatArray:
        """P-value of every column, with a Bonferroni correction for its C K statistics, [d]."""
        cells = self.z.shape[1] * self.z.shape[2]
        return np.asarray(np.minimum(1.0, 2.0 * cells * ndtr(-self.scores)))

    @property
    def selected(self) -> IntArray:
        """Columns above the threshold, increasing: the family-wise error is at most alpha."""
        return np.flatnonzero(self.scores > self.threshold)

    def discoveries(self, rate: float = 0.1) -> IntArray:
        """Columns at a false discovery rate (Benjamini & Hochberg 1995), increasing."""
        p = self.p_values
        order = np.argsort(p, kind="stable")
        passed = np.flatnonzero(p[order] <= rate * np.arange(1, len(p) + 1) / len(p))
        return np.sort(order[: passed[-1] + 1]) if len(passed) else np.empty(0, dtype=np.int64)

    @property
    def channel(self) -> tuple[int, int]:
        """(c, k - 1) with the largest sum of (z^2 - threshold^2)_+, or if all are 0, of max |z|."""
        excess = np.maximum(self.z.astype(np.float64) ** 2 - self.threshold**2, 0.0).sum(axis=0)
        if not excess.any():
            excess = np.abs(self.z).max(axis=0)
        c, k = np.unravel_index(int(np.argmax(excess)), excess.shape)
        return int(c), int(k)


def screen(
    X: Any,
    y: NDArray[Any] | None = None,
    *,
    labels: tuple[FloatArray, tuple[str, ...]] | None = None,
    degrees: int = 3,
    alpha: float = 0.1,
    ranked: bool = True,
    progress: ProgressCallback | None = None,
) -> Screen:
    """Score every column of X against y.

    Parameters
    ----------
    X : anything that `columns_of` reads, [n, d]
        Numeric columns without missing values.
    y : array [n], optional
        Target; it is transformed by `label_transforms(y, ranked)`.  Of rows that are copies of each
        other in X and y, one is used; `secateurs.features.copies` says how copies are recognised.
    labels : (array [n, C], names), optional
        Transforms with mean 0 and variance 1, instead of `y`.  All rows are used.
    degrees : int
        Largest Hermite degree K, from 1 to 3.
    alpha : float
        Under pure noise, the probability that any column passes.
    ranked : bool
        False: columns are standardised but not ranked, and (2) is left out.  The threshold is then
        right only if columns and y have light tails.
    progress : callable, optional
        Called after each block; its step is the number of columns done.

    Returns
    -------
    Screen
        Scores and p-values of all columns, the threshold, and the columns above it.

    Raises
    ------
    ValueError
        Shapes do not match, values are infinite or missing, or a number is out of range.

    Notes
    -----
    O(n d (log n + C K)) time, one pass; memory of one block and 4 d C K bytes.  Equal values share
    their middle rank, and h_k of a column with ties is standardised on that column; a constant
    column scores 0.  The large statistics of a column with ties, those that could make it pass, are
    put on the scale of a standard normal by the distribution of its own values; its small ones stay
    as they are.  The result does not depend on how the columns are cut into blocks.
    """
    source = columns_of(X)
    check_integer("degrees", degrees, 1, MAX_DEGREE)
    check_real("alpha", alpha, above=0, below=1)
    if labels is None:
        if y is None:
            raise bad_value("y", None, "y or labels")
        y = check_target(y, source.n, FEWEST_ROWS)
        rows = distinct_rows(source, y)
        if rows is not None:
            source, y = on_rows(source, rows), y[rows]
        labels = label_transforms(y, ranked)
    T, names = labels
    if len(T) != source.n:
        raise bad_value("y", Shown(f"{len(T)} values"), f"{source.n}, one for each row of X")
    Z = np.empty((source.d, T.shape[1], degrees), dtype=np.float32)
    threshold = normal_threshold(alpha, Z.size)
    single = np.ascontiguousarray(T, dtype=np.float32)
    if not ranked and source.rows is not None:
        unranked_by_rows(Z, single, source)
        return Screen(Z, names, threshold, alpha, source.n)
    calibrated = _RankedStatistics(T, degrees, threshold) if ranked else None
    for start, block in source.blocks():
        width = NARROW if ranked else max(1, TILE // source.n)
        if ranked and looks_few(block):
            width = TOGETHER
        for a in range(0, block.shape[1], width):
            part, at = block[:, a : a + width], start + a
            out = Z[at : at + part.shape[1]]
            if calibrated is None:
                out[...] = unranked_statistics(part, single, degrees, source, at)
            else:
                calibrated.fill(out, part, source, at)
        if calibrated is not None:
            calibrated.finish(Z[start : start + block.shape[1]])
        if progress is not None:
            done = start + block.shape[1]
            progress(Progress(done, source.d, float(np.abs(Z[:done]).max()), 0))
    return Screen(Z, names, threshold, alpha, source.n)


def check_target(y: Any, n: int | None = None, least: int = 1) -> FloatArray:
    """Return y as floats; raise ValueError unless it is n finite numbers that are not all equal."""
    values = np.asarray(y)
    if values.ndim != 1 or values.dtype.kind not in "fiub":
        shown = Shown(f"shape {values.shape} and dtype {values.dtype}")
        raise bad_value("y", shown, "numbers of shape [n]")
    if n is not None and len(values) != n:
        raise bad_value("y", Shown(f"{len(values)} values"), f"{n}, one for each row of X")
    if len(values) < least:
        raise bad_value("y", Shown(f"{len(values)} rows"), f"at least {least}")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise bad_value("y", Shown("infinite or missing values"), "finite numbers")
    if values.min() == values.max():
        raise bad_value("y", Shown("a constant"), "at least two different values")
    return values


def label_transforms(y: NDArray[Any], ranked: bool = True) -> tuple[FloatArray, tuple[str, ...]]:
    """Return transforms of y with mean 0 and variance 1, [n, C], and their names.

    With ranks they are the normal scores g of y, he2(g), |g| and sign g; a transform that is
    constant, or the same as an earlier one, is left out.  Without ranks there is one, y itself.
    """
    values = check_target(y, least=FEWEST_ROWS)
    if not ranked:
        return standardised(values)[:, None], ("y",)
    g = normal_scores(values)
    kept: list[FloatArray] = []
    names = []
    for name, t in (("g", g), ("he2(g)", g**2), ("|g|", np.abs(g)), ("sign g", np.sign(g))):
        if t.std() < CONSTANT:
            continue
        t = standardised(t)
        if all(abs(float(t @ other)) < SAME * len(t) for other in kept):
            kept.append(t)
            names.append(name)
    return np.stack(kept, axis=1), tuple(names)


class _RankedStatistics:
    """Normal scores (2) of blocks of columns."""

    def __init__(self, T: FloatArray, degrees: int, threshold: float) -> None:
        self.T = np.ascontiguousarray(T, dtype=np.float32)
        self.degrees = degrees
        self.tied = TiedColumns(T, threshold)
        self._tables = _untied_tables(T, degrees)
        self._tied: list[NDArray[np.bool_]] = []

    def fill(self, Z: SingleArray, block: NDArray[Any], source: Columns, at: int) -> None:
        """Fill Z [B, C, K] for a part of a block of columns, [n, B], with (1)."""
        if block.dtype.kind == "f":
            with np.errstate(invalid="ignore", over="ignore"):
                require_finite(np.isfinite(block.sum(axis=0, dtype=np.float64)), source, at)
        few = FewValues.of(block)
        if few is not None:
            tied = np.ones(block.shape[1], dtype=bool)
            Z[...] = few.statistics(self.T, self.degrees)
            self._tied.append(tied)
            self.tied.collect(Z, few.column, tied)
            return
        x, tied = rank_block(block)
        Z[...] = statistics(x, tied, self.T, self.degrees)
        self._tied.append(tied)
        if tied.any():
            self.tied.collect(Z, lambda j: np.unique(x[j], return_counts=True), tied)

    def finish(self, Z: SingleArray) -> None:
        """Apply (2) to all columns filled since the last call."""
        untied = np.flatnonzero(~np.concatenate(self._tied))
        self._tied = []
        for c, row in enumerate(self._tables):
            for k, table in enumerate(row):
                Z[untied, c, k] = table(Z[untied, c, k])
        self.tied.replace()


def statistics(
    x: SingleArray, tied: NDArray[np.bool_], T: SingleArray, degrees: int
) -> SingleArray:
    """Return (1) for the normal scores x [B, n] of columns, [B, C, K]."""
    scale = _untied_scales(len(T), degrees)
    Z = _products(x, T, degrees)
    if not tied.any():
        return np.asarray(Z * scale, dtype=np.float32)
    scales = np.broadcast_to(scale, (len(x), degrees)).copy()
    scales[tied] = _hermite_scales(x[tied].astype(np.float64), degrees)
    return np.asarray(Z * scales[:, None, :], dtype=np.float32)


def _products(x: SingleArray, T: SingleArray, degrees: int) -> SingleArray:
    """Return sum_i T_c(i) he_k(x_ij), [B, C, K]; constants drop out because T has mean 0."""
    Z = np.empty((len(x), T.shape[1], degrees), dtype=np.float32)
    Z[:, :, 0] = x @ T
    if degrees > 1:
        power = x * x
        Z[:, :, 1] = power @ T
    if degrees > 2:
        power *= x
        Z[:, :, 2] = power @ T - 3.0 * Z[:, :, 0]
    return Z


def _hermite_scales(x: FloatArray, degrees: int) -> FloatArray:
    """Return 1 / (sqrt(n) std he_k) for each row of [B, n], 0 where he_k is constant, [B, K]."""
    square = x * x
    hermite = (x, square, (square - 3.0) * x)  # up to constants, which do not change their spread
    deviation = np.stack([h.std(axis=1) for h in hermite[:degrees]], axis=1)
    varies = deviation > CONSTANT
    return np.where(varies, 1.0 / np.where(varies, deviation, 1.0), 0.0) / math.sqrt(x.shape[1])


@lru_cache(maxsize=8)
def _untied_scales(n: int, degrees: int) -> FloatArray:
    """Return `_hermite_scales` of a column without ties."""
    return np.asarray(_hermite_scales(untied_scores(n)[None], degrees)[0])


def _untied_tables(T: FloatArray, degrees: int) -> list[list[NullTable]]:
    """Return the table of (2) for columns without ties, for every transform and degree."""
    n = len(T)
    x = untied_scores(n)
    hermite = [binned(h) for h in (x, x**2, x**3 - 3 * x)[:degrees]]
    return [[null_table(binned(t), h, n) for h in hermite] for t in T.T]
