"""What the pursuit computes on: checked data, useful columns at unit scale, samples of rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from secateurs.recovery.pursuit.levenberg_marquardt import (
    FloatArray,
    HeldRows,
    IntArray,
    Network,
    StreamedRows,
    network,
)

DUPLICATE = 1e-12  # relative distance of two columns taken for one
CHUNK = 4096  # rows read at a time


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns of X that carry information, each divided by its scale.

    Attributes
    ----------
    index : int array [d]
        Columns of X that are neither zero nor a multiple of an earlier one.
    scale : float array [d]
        Root mean square; negative where the column is, so that no kept column is <= 0.
    nonnegative : bool array [d]
        The scaled column is never negative: relu(w x) is then linear or zero.
    intercept : bool
        Whether the network has a constant.
    signs : bool
        Every kept column has the values +1 and -1 alone, both of them.  The sign-free form then
        needs a constant: |u x_k| is one.
    """

    index: IntArray
    scale: FloatArray
    nonnegative: NDArray[np.bool_]
    intercept: bool
    signs: bool = False

    @property
    def d(self) -> int:
        """Columns kept."""
        return len(self.index)

    def nothing(self) -> Network:
        """The ReLU network without neurons."""
        none = np.empty(0, dtype=np.intp)
        linear = np.full(int(self.intercept), self.d, dtype=np.intp)
        return network(linear, np.zeros(len(linear)), none, none, np.empty(0))

    def sample(
        self, X: FloatArray, y: FloatArray, n_rows: int, rng: np.random.Generator
    ) -> HeldRows:
        """A random sample of the rows, held in memory; all of them in order if n_rows = n."""
        if n_rows < len(y):
            chosen = np.sort(rng.choice(len(y), n_rows, replace=False))
            X, y = X[chosen], y[chosen]
        constant = self.intercept or self.signs
        XT = np.ones((self.d + constant, len(y)))
        np.divide(X.T[self.index], self.scale[:, None], out=XT[: self.d])
        return HeldRows(y, self.d, constant, "abs", XT, self.signs)

    def stream(
        self, X: FloatArray, y: FloatArray, net: Network
    ) -> tuple[StreamedRows, Network, IntArray]:
        """All rows of the columns that a ReLU network uses, the network on them, and which."""
        live, coordinate = np.unique(net.coordinate, return_inverse=True)
        d = len(live)
        rows = StreamedRows(y, d, self.intercept, "relu", X, self.index[live], self.scale[live])
        linear = np.full(len(net.linear), d, dtype=np.intp)
        return rows, network(linear, net.beta, net.neuron, coordinate, net.value), live

    def stream_all(self, X: FloatArray, y: FloatArray) -> StreamedRows:
        """All rows and columns, for a ReLU network."""
        return StreamedRows(y, self.d, self.intercept, "relu", X, self.index, self.scale)


def useful_columns(X: FloatArray, fit_intercept: bool) -> Columns:
    """Scales, signs and duplicates of the columns; O(n d) time, O(d) memory."""
    n, d = X.shape
    low, high = X.min(axis=0), X.max(axis=0)
    largest = np.maximum(np.abs(low), np.abs(high))
    divisor = np.where(largest > 0, largest, 1.0)
    # weighted sums tell the columns apart: equal up to sign only for multiples (almost surely)
    weights = np.asarray(np.random.default_rng(0).standard_normal(n))
    square, mark = np.zeros(d), np.zeros(d)
    for start in range(0, n, CHUNK):
        block = X[start : start + CHUNK] / divisor
        square += np.einsum("ij,ij->j", block, block)
        mark += weights[start : start + CHUNK] @ block
    rms = np.sqrt(square / n)
    sign = np.where(high <= 0, -1.0, 1.0)
    scale = sign * rms * divisor
    keep = largest > 0
    mark = np.abs(np.divide(mark, rms, out=np.zeros(d), where=keep))
    order = np.lexsort((np.arange(d), mark))
    order = order[keep[order]]
    for i in range(1, len(order)):
        j, k = order[i - 1], order[i]
        if mark[k] - mark[j] > 1e-9 * np.sqrt(n):
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
    return Columns(index, scale[index], nonnegative[index], fit_intercept, signs)


def check_data(X: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """X [n, d] and y [n] as finite float64, or a ValueError that says what to do."""
    if sparse.issparse(X):
        raise ValueError("X is a sparse matrix: expected a dense array [n, d]; use X.toarray()")
    X, y = _as_float("X", X), _as_float("y", y)
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(f"X has shape {X.shape}: expected [n, d] with n, d >= 1")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.shape != (len(X),):
        raise ValueError(f"y has shape {y.shape}: expected one target for each of {len(X)} rows")
    return X, y


def _as_float(name: str, values: ArrayLike) -> FloatArray:
    try:
        array = np.asarray(values)
        if array.dtype.kind == "c":
            raise ValueError("complex numbers")
        array = array.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be read as real numbers ({error}); encode it") from error
    if not np.isfinite(array).all():
        bad = int(np.size(array) - np.isfinite(array).sum())
        raise ValueError(f"{name} has {bad} missing or infinite values; impute or drop them")
    return array
