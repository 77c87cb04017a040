"""Prepare the data of the pursuit: checked arrays, useful columns, samples of rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from secateurs.core.parameters import Shown, bad_value
from secateurs.recovery.pursuit.relu_rows import (
    FloatArray,
    HeldRows,
    IntArray,
    NeuronSum,
    StreamedRows,
    linear_only,
    neuron_sum,
)

DUPLICATE = 1e-12  # relative distance below which two columns count as equal
SAME_MARK = 1e-9  # difference of two weighted sums, over sqrt(n), that calls for a comparison
CHUNK = 4096  # rows read at a time


@dataclass(frozen=True, eq=False)
class UsefulColumns:
    """The columns of X that are neither zero nor a multiple of an earlier one, each scaled.

    The scale is the root mean square, and negative where the column is, so that no scaled column is
    <= 0.  Where a scaled column is never negative, relu(w x) is linear or zero.  With `signs` every
    column has exactly the two values +1 and -1, and the sign-free form needs a constant, because
    |u x_k| is one.
    """

    index: IntArray
    scale: FloatArray
    nonnegative: NDArray[np.bool_]
    intercept: bool
    signs: bool = False

    @property
    def d(self) -> int:
        """Number of columns that are kept."""
        return len(self.index)

    def constants(self) -> IntArray:
        """Return the coordinate of the constant, if there is one."""
        return np.full(int(self.intercept), self.d, dtype=np.intp)

    def nothing(self) -> NeuronSum:
        """Return the ReLU network without neurons."""
        return linear_only(self.constants())

    def sample(
        self, X: FloatArray, y: FloatArray, n_rows: int, rng: np.random.Generator
    ) -> HeldRows:
        """Return a random sample of the rows in memory, or all rows in order if n_rows = n."""
        if n_rows < len(y):
            chosen = np.sort(rng.choice(len(y), n_rows, replace=False))
            X, y = X[chosen], y[chosen]
        constant = self.intercept or self.signs
        XT = np.ones((self.d + constant, len(y)))
        np.divide(X.T[self.index], self.scale[:, None], out=XT[: self.d])
        return HeldRows(y, self.d, constant, "abs", XT, self.signs)

    def stream(
        self, X: FloatArray, y: FloatArray, net: NeuronSum
    ) -> tuple[StreamedRows, NeuronSum, IntArray]:
        """Return all rows of the columns used by a ReLU network, the network on them, and which."""
        live, coordinate = np.unique(net.coordinate, return_inverse=True)
        d = len(live)
        rows = StreamedRows(y, d, self.intercept, "relu", X, self.index[live], self.scale[live])
        linear = np.full(len(net.linear), d, dtype=np.intp)
        return rows, neuron_sum(net.neuron, coordinate, net.value, linear, net.beta), live

    def stream_all(self, X: FloatArray, y: FloatArray) -> StreamedRows:
        """Return all rows and columns, for a ReLU network."""
        return StreamedRows(y, self.d, self.intercept, "relu", X, self.index, self.scale)


def useful_columns(X: FloatArray, *, fit_intercept: bool) -> UsefulColumns:
    """Find scales, signs and duplicates of the columns; O(n d) time, O(d) memory."""
    n, d = X.shape
    low, high = X.min(axis=0), X.max(axis=0)
    largest = np.maximum(np.abs(low), np.abs(high))
    divisor = np.where(largest > 0, largest, 1.0)
    # weighted sums of two columns agree up to sign only for multiples (almost surely)
    weights = np.asarray(np.random.default_rng(0).standard_normal(n))
    square, mark = np.zeros(d), np.zeros(d)
    for start in range(0, n, CHUNK):
        block = X[start : start + CHUNK] / divisor
        square += np.einsum("ij,ij->j", block, block)
        mark += weights[start : start + CHUNK] @ block
    rms = np.sqrt(square / n)
    scale = np.where(high <= 0, -1.0, 1.0) * rms * divisor
    keep = largest > 0
    mark = np.abs(np.divide(mark, rms, out=np.zeros(d), where=keep))
    order = np.lexsort((np.arange(d), mark))
    order = order[keep[order]]
    for i in range(1, len(order)):
        j, k = order[i - 1], order[i]
        if mark[k] - mark[j] > SAME_MARK * np.sqrt(n):
            continue
        a, b = X[:, j] / scale[j], X[:, k] / scale[k]
        if min(np.abs(a - b).max(), np.abs(a + b).max()) <= DUPLICATE * max(1.0, np.abs(a).max()):
            keep[max(j, k)] = False
            order[i] = min(j, k)
    index = np.flatnonzero(keep).astype(np.intp)
    nonnegative = (low >= 0) | (high <= 0)
    signs = len(index) > 0 and all(
        low[k] == -high[k] and bool((np.abs(X[:, k]) == high[k]).all()) for k in index
    )
    if signs:  # exactly +-1 after the division
        scale = high
    return UsefulColumns(index, scale[index], nonnegative[index], fit_intercept, signs)


def check_data(X: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return X [n, d] and y [n] as finite float64, or raise ValueError."""
    if sparse.issparse(X):
        raise bad_value("X", Shown("a sparse matrix"), "a dense array [n, d]", "use X.toarray()")
    X, y = _as_float("X", X), _as_float("y", y)
    if X.ndim != 2 or 0 in X.shape:
        raise bad_value("X", Shown(f"shape {X.shape}"), "shape [n, d] with n, d >= 1")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.shape != (len(X),):
        expected = f"one target for each of the {len(X)} rows"
        raise bad_value("y", Shown(f"shape {y.shape}"), expected)
    return X, y


def _as_float(name: str, values: ArrayLike) -> FloatArray:
    try:
        array = np.asarray(values)
        if array.dtype.kind == "c":
            raise ValueError("complex numbers")
        array = array.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        shown = Shown(f"values that cannot be converted ({error})")
        raise bad_value(name, shown, "real numbers", "encode categories as numbers") from error
    if not np.isfinite(array).all():
        bad = int(np.size(array) - np.isfinite(array).sum())
        shown = Shown(f"{bad} missing or infinite values")
        raise bad_value(name, shown, "finite numbers", "impute or drop them")
    return array
