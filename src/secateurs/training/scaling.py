"""The scaling of the inputs: one robust rule for each column, for dense and sparse matrices alike.

The network reads ``(x - shift) * scale``.  The statistics come from the training rows alone, and
are computed in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from secateurs.core.group import ALONE, Group
from secateurs.core.parameters import Shown, bad_value
from secateurs.training.moments import Scaling, column_moments, is_sparse

FloatArray = NDArray[np.float64]

SHARING = 0.25  # columns share a factor if at least this share of their entries is 0,
LEAVE = 0.25  # and if at most this share of them needs a scale of its own
WIDE, NARROW, FAR = 4.0, 16.0, 10.0  # a column needs its own if its sd or its mean is so far off
LEAST_DENSITY = 0.1  # with fewer nonzero entries the factor no longer grows
FENCE = 5.0  # entries so many ranges (5 to 95 %) outside of the range are left out of the scale
TAIL = 0.05
ENOUGH, EXCESS = 20, 3.0  # entries of a sample, and an excess of sd, that show outliers elsewhere
SAMPLE_ROWS, SAMPLE_ENTRIES = 2000, 1 << 21
SUSPECT = 1e-12  # a smaller deviation, as a share of |mean|, may be a rounding error
LARGEST, SMALLEST = 1e300, 1e-305  # entries beyond are refused, or count as 0
_SQUARED = 1e-140  # entries below are scaled by a power of two before they are squared


FAR_ENTRY, MOST_FAR = 100.0, 0.01  # scaled entries beyond, in at most this share of the rows


@dataclass(frozen=True)
class ColumnStatistics:
    """Mean and standard deviation of each column without outliers, and its share of zeros, [d].

    A constant column has the deviation 0.
    """

    mean: FloatArray
    deviation: FloatArray
    zeros: FloatArray


def input_scaling(X: Any, rows: NDArray[np.int64] | None = None, group: Group = ALONE) -> Scaling:
    """Return the scaling that brings the inputs to unit size.

    By default every column is centred and divided by its standard deviation.  Columns with many
    zeros, such as pixels, counts or one-hot codes, share one factor and are not centred, so that
    their sizes stay comparable.  Of these, a column with a much larger or smaller deviation, or
    with a mean far from 0, still gets a scale of its own; where a quarter of them would, all do.

    Parameters
    ----------
    X : array [n, d] or scipy CSR
    rows : array of int64, optional
        Rows to use; all by default.
    group : Group
        Processes whose rows are used too.

    Returns
    -------
    Scaling
        A constant column gets the scale 0, because the bias already does its work.

    Raises
    ------
    ValueError
        An entry is beyond 1e300.

    Notes
    -----
    One pass over the rows for the moments, and a sort of at most 2000 of them.  Means and
    deviations do not count entries that are far outside of the bulk of their column, such as a
    9999 among measurements; the network still reads these entries as they are.
    Source: derived; thresholds from `benchmarks.training.scalings`.
    """
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        found = column_statistics(X, rows, group)
        mean, deviation = found.mean, found.deviation
        scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
        varies = scale > 0
        own = _needs_own_scale(found) if varies.any() else np.zeros(len(mean), dtype=bool)
        if own is None:
            return Scaling(mean, scale, varies.astype(np.float64))
        if varies.any():
            scale[~own & varies] = 1.0 / _common_size(found, own)
        shift = np.where(own, mean, 0.0) if own.any() else None
        variance = (deviation * scale) ** 2
    if shift is None:
        # a column of zeros can keep the factor, and one factor for all columns is faster
        scale[found.zeros == 1] = scale.max()
    return Scaling(shift, scale, variance)


def _common_size(found: ColumnStatistics, own: NDArray[np.bool_]) -> float:
    """Return the root mean square of the columns that share a factor; columns of zeros count."""
    sharing = ~own & ((found.deviation > 0) | (found.zeros == 1))
    mean, deviation = found.mean[sharing], found.deviation[sharing]
    unit = float(deviation.max())  # so that no square underflows
    square = ((deviation / unit) ** 2 + (mean / unit) ** 2).mean()
    density = 1 - found.zeros[sharing].mean()
    return unit * math.sqrt(square * max(1.0, LEAST_DENSITY / max(density, 1e-9)))


def near_rows(X: Any, scaling: Scaling, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows without an entry 100 deviations from the mean, such as a 9999.

    A single such row decides the slope of a line.  All rows are returned if more than 1 % of them
    have such an entry, because it is then not a mistake.
    """
    is_near = np.ones(len(rows), dtype=bool)
    step = max(1, SAMPLE_ENTRIES // max(1, X.shape[1]))
    for start in range(0, len(rows), step):
        part = X[rows[start : start + step]]
        Z = np.array(part.toarray() if is_sparse(part) else part, dtype=np.float64)
        if scaling.shift is not None:
            Z -= scaling.shift
        is_near[start : start + step] = (np.abs(Z * scaling.scale) <= FAR_ENTRY).all(axis=1)
    return rows[is_near] if (~is_near).sum() <= MOST_FAR * len(rows) else rows


def _needs_own_scale(found: ColumnStatistics) -> NDArray[np.bool_] | None:
    """Mark the columns that cannot share a factor; None if all columns are standardised."""
    varies = found.deviation > 0
    if found.zeros[varies].mean() < SHARING:
        return None
    typical = np.median(found.deviation[varies])
    own: NDArray[np.bool_] = varies & (
        (found.deviation > WIDE * typical)
        | ((found.deviation < typical / NARROW) & (found.zeros < 0.5))
        | (np.abs(found.mean) > FAR * found.deviation)
    )
    return None if own.sum() > LEAVE * varies.sum() else own


def column_statistics(
    X: Any, rows: NDArray[np.int64] | None = None, group: Group = ALONE
) -> ColumnStatistics:
    """Return the robust statistics of each column over the rows of all processes.

    Parameters are those of `input_scaling`.  Very large and very small columns are multiplied by
    an exact power of two before they are squared.
    """
    mean, variance = column_moments(X, rows, group)
    power = _powers(X, rows, group, mean, variance)
    if power is not None:
        mean, variance = column_moments(X, rows, group, power)
    sample = _sample(X, rows)
    bulk = _Bulk.of(sample if power is None else _times(sample, power))
    bulk = bulk.pooled(sample.shape[0], group)
    deviation = np.sqrt(variance)
    hidden = (bulk.count >= ENOUGH) & (deviation > EXCESS * np.sqrt(bulk.variance))
    robust = bulk.outliers | hidden
    mean = np.where(robust, bulk.mean, mean)
    deviation = np.where(robust, np.sqrt(bulk.variance), deviation)
    suspect = np.flatnonzero((deviation > 0) & (deviation <= SUSPECT * np.abs(mean)))
    deviation[suspect[_constant(X, rows, suspect, group)]] = 0.0
    if power is not None:
        mean, deviation = mean / power, deviation / power
        deviation[deviation < SMALLEST] = 0.0
    zeros = bulk.zeros
    zeros[(deviation > 0) & (zeros == 1)] = 1 - 1 / SAMPLE_ROWS  # not all zeros beyond the sample
    zeros[(deviation == 0) & (mean != 0)] = 0.0
    return ColumnStatistics(mean, deviation, zeros)


def _constant(
    X: Any, rows: NDArray[np.int64] | None, columns: NDArray[np.int64], group: Group
) -> NDArray[np.bool_]:
    """Tell which of these columns have one value in all rows of all processes."""
    if not len(columns):
        return np.empty(0, dtype=bool)
    part = X[:, columns] if rows is None else X[rows][:, columns]
    part = part.toarray() if is_sparse(part) else np.asarray(part)
    ends = group.gather([part.min(axis=0).tolist(), part.max(axis=0).tolist()])
    least, most = (
        np.min([low for low, _ in ends], axis=0),
        np.max([high for _, high in ends], axis=0),
    )
    return np.asarray(least == most)


def _powers(
    X: Any, rows: Any, group: Group, mean: FloatArray, variance: FloatArray
) -> FloatArray | None:
    """Return the power of two for each column whose squares leave float64; None if none does."""
    bad = ~np.isfinite(variance) | ((np.abs(mean) < _SQUARED) & (variance < _SQUARED**2))
    bad &= (mean != 0) | (variance != 0)
    if not bad.any():
        return None
    used = X if rows is None else X[rows]
    peaks = np.asarray(
        abs(used).max(axis=0).toarray() if is_sparse(X) else np.abs(used).max(axis=0)
    )
    peak = np.max(group.gather(peaks.ravel().astype(np.float64).tolist()), axis=0)
    if peak.max() > LARGEST:
        got = Shown(f"{peak.max():.3g} in column {int(peak.argmax())}, too large for float64")
        raise bad_value("X", got, f"entries up to {LARGEST:g}", "rescale X")
    power: FloatArray = np.where(bad & (peak > 0), np.ldexp(1.0, -np.frexp(peak)[1]), 1.0)
    return power


def _times(sample: Any, power: FloatArray) -> Any:
    return sparse.csr_array(sample.multiply(power)) if is_sparse(sample) else sample * power


def _sample(X: Any, rows: NDArray[np.int64] | None) -> Any:
    """Return some rows, evenly spaced, in float64."""
    n = X.shape[0] if rows is None else len(rows)
    width = X.nnz // max(1, X.shape[0]) if is_sparse(X) else X.shape[1]
    most = min(n, SAMPLE_ROWS, max(200, SAMPLE_ENTRIES // max(1, width)))
    at = np.linspace(0, n - 1, most).astype(np.int64) if most else np.empty(0, np.int64)
    part = X[at if rows is None else rows[at]]
    return sparse.csr_array(part).astype(np.float64) if is_sparse(X) else part.astype(np.float64)


@dataclass(frozen=True)
class _Bulk:
    """Statistics of the rows of a sample, with entries moved to the fence of their column, [d].

    `count` is the number of entries that differ from the median, and `outliers` marks columns
    with entries outside of the fence.
    """

    mean: FloatArray
    variance: FloatArray
    zeros: FloatArray
    count: FloatArray
    outliers: NDArray[np.bool_]

    @classmethod
    def of(cls, sample: Any) -> _Bulk:
        """Compute the statistics of a sample, dense or CSR."""
        if not is_sparse(sample):
            return cls._of_dense(sample)
        columns = sparse.csc_array(sample)
        columns.eliminate_zeros()
        found = cls._of_sparse(columns)
        full = np.flatnonzero(2 * np.diff(columns.indptr) >= columns.shape[0])
        if len(full):  # a column with few zeros has another median
            dense = cls._of_dense(columns[:, full].toarray())
            for name in ("mean", "variance", "zeros", "count", "outliers"):
                getattr(found, name)[full] = getattr(dense, name)
        return found

    @classmethod
    def _of_dense(cls, sample: FloatArray) -> _Bulk:
        n, d = sample.shape
        ordered = np.sort(sample, axis=0).T.copy()
        middle = ordered[:, n // 2]
        off = ordered != middle[:, None]
        count = off.sum(axis=1)
        low, high = _fence(ordered[off], count, middle)
        clipped = np.clip(ordered, low[:, None], high[:, None])
        mean = clipped.mean(axis=1)
        variance = np.square(clipped - mean[:, None]).mean(axis=1)
        outliers = (ordered[:, 0] < low) | (ordered[:, -1] > high)
        zeros = (ordered == 0).mean(axis=1) if n else np.zeros(d)
        return cls(mean, variance, zeros, count.astype(np.float64), outliers)

    @classmethod
    def _of_sparse(cls, columns: sparse.csc_array) -> _Bulk:
        n, d = columns.shape
        count = np.diff(columns.indptr)
        at = np.repeat(np.arange(d), count)
        values = columns.data[np.lexsort((columns.data, at))]
        low, high = _fence(values, count, np.zeros(d))
        clipped = np.clip(values, low[at], high[at])
        mean = np.bincount(at, clipped, minlength=d) / n
        variance = np.bincount(at, np.square(clipped - mean[at]), minlength=d) / n
        variance += (1 - count / n) * mean**2
        outliers = np.bincount(at, clipped != values, minlength=d) > 0
        return cls(mean, variance, 1 - count / n, count.astype(np.float64), outliers)

    def pooled(self, n: int, group: Group) -> _Bulk:
        """Combine the samples of several processes."""
        if group.size == 1:
            return self
        weight = n / group.total(n)

        def average(values: FloatArray) -> FloatArray:
            return np.asarray(group.sum_(torch.from_numpy(values * weight)).numpy())

        mean = average(self.mean)
        variance = average(self.variance + (self.mean - mean) ** 2)
        outliers = group.sum_(torch.from_numpy(self.outliers.astype(np.float64))).numpy() > 0
        count = group.sum_(torch.from_numpy(self.count.copy())).numpy()
        return _Bulk(mean, variance, average(self.zeros), count, outliers)


def _fence(
    values: FloatArray, count: NDArray[np.int64], middle: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the bounds outside of which an entry is far from the bulk of its column.

    Parameters
    ----------
    values : array
        The entries that differ from the median, sorted within each column, one column after the
        other.
    count : array, shape [d]
        Their number in each column.
    middle : array, shape [d]
        The medians.
    """
    low, high = middle.copy(), middle.copy()
    some = np.flatnonzero(count)
    first = (np.cumsum(count) - count)[some]
    last = count[some] - 1
    cut = np.minimum(np.ceil(TAIL * last).astype(np.int64), last // 4)
    low[some] = np.minimum(low[some], values[first + cut])
    high[some] = np.maximum(high[some], values[first + last - cut])
    width = FENCE * (high - low)
    return low - width, high + width
