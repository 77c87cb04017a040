"""An exact fit on the distinct rows of its data, and rows whose inputs are drawn one by one.

Two networks that agree on the rows of a fit are told apart by other rows.  Their inputs are drawn
independently from the values of each column.  A column that has values of one sign only may have
the other sign on other rows, unless its values show an end at zero, and a column that is constant
may have other values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from secateurs.core.splits import row_keys

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]

MARGIN = 10.0  # a fit with few rows beyond its unknowns hides most of its error
ROUNDING = 1e-14  # relative error of the outputs of a network that fits
DRAWN = 512  # rows whose inputs are drawn one by one
LARGE_BLOCK = 2048  # rows of a cheap pass
NEGLIGIBLE = 1e-9  # largest contribution of a weight that counts as unused, relative to the largest
PARALLEL = 1e-9  # difference of two directions that are the same
NEAREST, NEVER = 30, 10.0  # values nearest to zero, and expected on its other side, if there is one


@dataclass(frozen=True, eq=False)
class FittedRows:
    """A network W [p, q] on the columns `used` of distinct rows X, each divided by its scale.

    Parallel neurons are one neuron, and weights that contribute nothing are left out, so that
    `n_left` weights and `n_spare` neurons of the budget are unused.  `residual` is the norm of
    what the fit leaves on all rows.
    """

    X: FloatArray
    used: IntArray
    scale: FloatArray
    W: sparse.csr_array[np.float64]
    n_left: int
    n_spare: int
    intercept: bool
    residual: float = 0.0

    @cached_property
    def neuron(self) -> IntArray:
        """Neuron of each weight."""
        return np.repeat(np.arange(self.W.shape[0]), self.counts)

    @property
    def counts(self) -> IntArray:
        """Number of weights of each neuron."""
        return np.diff(self.W.indptr).astype(np.intp)

    @cached_property
    def inputs(self) -> FloatArray:
        """The used inputs, transposed [q, n]."""
        return np.ascontiguousarray((self.X[:, self.used] / self.scale).T)

    @cached_property
    def pre(self) -> FloatArray:
        """The values w_j.x [p, n]."""
        return np.asarray(self.W @ self.inputs)

    @cached_property
    def size(self) -> float:
        """Norm of the outputs of the neurons."""
        outputs = np.maximum(self.pre, 0.0).sum(axis=0)
        return self.peak * float(np.linalg.norm(outputs / (self.peak or 1.0)))

    @cached_property
    def peak(self) -> float:
        """Largest output of the neurons."""
        return float(np.maximum(self.pre, 0.0).sum(axis=0).max(initial=0.0))

    @property
    def slack(self) -> float:
        """Norm of a change of the outputs on the rows that the residual and rounding leave open."""
        return MARGIN * self.residual + ROUNDING * self.size

    def support(self, j: int) -> IntArray:
        """Used inputs of neuron j."""
        return self.W.indices[self.W.indptr[j] : self.W.indptr[j + 1]].astype(np.intp)

    def values(self, j: int) -> FloatArray:
        """Weights of neuron j."""
        return np.asarray(self.W.data[self.W.indptr[j] : self.W.indptr[j + 1]])

    def blocks(self, size: int) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Yield blocks of rows: all inputs [b, d], and the used ones, transposed [q, b]."""
        for start in range(0, len(self.X), size):
            yield self.X[start : start + size], self.inputs[:, start : start + size]

    def name(self, entry: int) -> str:
        """Return the name of a weight for a message."""
        j, k = int(self.neuron[entry]), int(self.used[self.W.indices[entry]])
        return f"the weight of input {k} in neuron {j}"

    def n_possible(self, enough: int) -> int:
        """Count the possible distinct rows of the used inputs, up to `enough`."""
        number = 1
        for column in self.used:
            number *= len(np.unique(self.X[:, column]))
            if number >= enough:
                break
        return number

    def all_seen(self, columns: IntArray) -> bool:
        """Whether the rows have every combination of the values of these columns."""
        possible = 1
        for column in columns:
            possible *= len(np.unique(self.X[:, column]))
            if possible > len(self.X):
                return False
        return len(np.unique(self.X[:, columns], axis=0)) == possible

    @cached_property
    def constant(self) -> BoolArray:
        """Columns [d] with one value."""
        return np.asarray(self.X.min(axis=0) == self.X.max(axis=0))

    @cached_property
    def unsettled(self) -> BoolArray:
        """Columns [d] with values of one sign whose other sign is not ruled out."""
        low, high = self.X.min(axis=0), self.X.max(axis=0)
        found = np.zeros(self.X.shape[1], dtype=bool)
        for k in np.flatnonzero((low >= 0.0) | (high <= 0.0)):
            found[k] = not ends_at_zero(np.abs(self.X[:, k]))
        return found

    @cached_property
    def drawn(self) -> FloatArray:
        """Inputs [d, DRAWN], each drawn alone: any of its values, one not 0, or an extreme."""
        rng = np.random.default_rng(0)
        D = np.zeros((self.X.shape[1], DRAWN))
        for k in range(len(D)):
            values = self.X[:, k]
            not_zero = values[values != 0.0]
            if not len(not_zero):
                D[k] = rng.standard_normal(DRAWN)
                continue
            smallest = not_zero[np.argmin(np.abs(not_zero))]
            kinds = [values, not_zero, np.array([values.min(), values.max(), smallest])]
            if len(np.unique(values)) > len(values) // 10:  # others come closer to zero
                kinds.append(smallest * np.array([0.3, 0.1, 0.03]))
            if self.unsettled[k]:
                kinds += [-values, -values]
            if self.constant[k]:
                kinds += [np.array([0.0]), 2.0 * not_zero]
            draws = np.array([kind[rng.integers(len(kind), size=DRAWN)] for kind in kinds])
            D[k] = draws[rng.integers(len(kinds), size=DRAWN), np.arange(DRAWN)]
        return D

    @cached_property
    def elsewhere(self) -> FloatArray:
        """The used inputs of the drawn rows [q, DRAWN]."""
        return np.asarray(self.drawn[self.used] / self.scale[:, None])


def distinct_rows(X: NDArray[Any]) -> NDArray[Any]:
    """Return the rows [n, d] without copies of earlier ones, in their order."""
    parts = np.array_split(X, 1 + len(X) // LARGE_BLOCK)  # to need little memory
    keys = np.concatenate([row_keys(part, np.empty((len(part), 0))) for part in parts])
    _, first = np.unique(keys, return_index=True)
    return X if len(first) == len(X) else X[np.sort(first)]


def fitted_rows(
    X: FloatArray,
    weights: sparse.csr_array[np.float64],
    n_nonzero: int,
    *,
    intercept: bool,
    residual: float = 0.0,
) -> FittedRows:
    """Prepare a fit: distinct rows, scaled columns, no parallel neurons and no idle weights."""
    X = distinct_rows(X)
    W = sparse.csr_array(weights[np.diff(weights.indptr) > 0])
    largest = largest_inputs(X)
    share = np.abs(W.data) * largest[W.indices]
    W.data[share <= NEGLIGIBLE * share.max(initial=0.0)] = 0.0
    W.eliminate_zeros()
    W = _merged(sparse.csr_array(W[np.diff(W.indptr) > 0]), largest)
    used, local = np.unique(W.indices, return_inverse=True)
    scale = largest[used]
    scaled = sparse.csr_array((W.data * scale[local], local, W.indptr), (W.shape[0], len(used)))
    n_spare = weights.shape[0] - W.shape[0]
    return FittedRows(
        X,
        used.astype(np.intp),
        scale,
        scaled,
        n_nonzero - W.nnz,
        n_spare,
        bool(intercept),
        residual,
    )


def largest_inputs(X: FloatArray) -> FloatArray:
    """Return the largest absolute value of each column, or the least positive number."""
    return np.asarray(np.maximum(np.maximum(X.max(axis=0), -X.min(axis=0)), np.finfo(float).tiny))


def _merged(W: sparse.csr_array[np.float64], scale: FloatArray) -> sparse.csr_array[np.float64]:
    """Add up the neurons that point the same way: relu(a z) + relu(b z) = relu((a + b) z)."""
    W.sort_indices()
    groups: dict[bytes, list[tuple[FloatArray, FloatArray]]] = {}
    for a, b in zip(W.indptr[:-1], W.indptr[1:], strict=True):
        columns, values = W.indices[a:b].astype(np.int64), W.data[a:b]
        size = np.abs(values * scale[columns]).max()
        direction = values * scale[columns] / size
        members = groups.setdefault(columns.tobytes(), [])
        for i, (known, total) in enumerate(members):
            if np.abs(known - direction).max() <= PARALLEL:
                members[i] = (known, total + values)
                break
        else:
            members.append((direction, values))
    indices = [np.frombuffer(key, np.int64) for key, members in groups.items() for _ in members]
    data = [values for members in groups.values() for _, values in members]
    if not data:
        return W
    indptr = np.concatenate([[0], np.cumsum([len(values) for values in data])])
    return sparse.csr_array(
        (np.concatenate(data), np.concatenate(indices), indptr), (len(data), W.shape[1])
    )


def ends_at_zero(values: FloatArray) -> bool:
    """Whether values >= 0 show that there are none below zero.

    Let n_1 be the number of values in (0, q], for the q that makes it 30 or a quarter of them, and
    n_2 that in (q, 2 q].
    Where the density goes on below zero and n_1 falls behind n_2, it goes on to fall.  So about
    n_1 (n_1 / n_2)^2 values are expected in [-q, 0), where none is.  Their absence is no accident
    if that is 10 or more.  Values that occur often are judged by their ranks, as counts are.
    """
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) == 1:
        return False
    if len(distinct) <= len(values) // 10:
        if len(distinct) == 2 and distinct[0] == 0.0:
            return bool(counts.min() >= NEVER)
        skipped = int(distinct[0] == 0.0)
        return all(
            counts[i] * min(1.0, counts[i] / counts[i + 1]) ** 2 >= NEVER for i in {0, skipped}
        )
    not_zero = np.sort(values[values > 0.0])
    n_near = min(NEAREST, len(not_zero) // 4)
    if n_near == 0:
        return False
    q = not_zero[n_near - 1]
    n_next = int(np.searchsorted(not_zero, 2.0 * q, side="right")) - n_near
    return bool(n_near * min(1.0, n_near / max(n_next, 1)) ** 2 >= NEVER)
