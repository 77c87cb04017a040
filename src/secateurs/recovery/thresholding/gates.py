"""Activation patterns and support columns of y = sum_j D_j X w_j, one chunk of rows at a time.

The inputs are kept features first, in chunks ``X_c`` [d, c], so that every product streams
over contiguous runs and a chunk stays in cache.  Gates are never stored for all neurons:
a block of neurons yields ``Z`` [b, c], open where Z > 0, recomputed chunk by chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from secateurs.core.group import ALONE, Group
from secateurs.sparse.matrix import SparseMatrix
from secateurs.sparse.stack import Generators

CHUNK_ELEMENTS = 1 << 19  # rows of a chunk times its widest array: what a cache holds
CHUNK_ROWS = (256, 4096)  # at least, at most
BLOCK = 1024  # neurons of a block, and columns kept; memory is O(n * BLOCK + d * BLOCK)
GRAM = 64  # supports up to this size use their Gram matrix


@dataclass(frozen=True)
class Chunks:
    """The data, features first: ``X[i]`` [d, c] and ``y[i]`` [c] of chunk i.

    `store` holds one array a chunk for the support columns, made once and written again every
    step: fresh pages cost more than the columns themselves.  `group`: the processes that share
    the rows; a sum over the chunks is a sum over all rows once it went through ``group.sum_``.
    """

    X: list[Tensor]
    y: list[Tensor]
    n: int
    d: int
    group: Group = ALONE
    store: list[Tensor] = field(default_factory=list, repr=False)

    @classmethod
    def of(cls, X: Tensor, y: Tensor, width: int, group: Group = ALONE) -> Chunks:
        """Split X [n, d] and y [n]; a copy of the data in the layout every product wants.

        `width` is the number of rows (neurons, support entries) of the arrays it will meet.
        """
        n, d = X.shape
        c = min(max(CHUNK_ELEMENTS // max(d, width), CHUNK_ROWS[0]), CHUNK_ROWS[1])
        return cls(
            [X[a : a + c].t().contiguous() for a in range(0, n, c)],
            [y[a : a + c].contiguous() for a in range(0, n, c)],
            n,
            d,
            group,
        )

    def stored(self, i: int, rows: int) -> Tensor:
        """The array of chunk i, [rows, c], with whatever was in it."""
        if len(self.store) <= i:
            self.store.append(self.X[i].new_empty(rows, len(self.y[i])))
        elif len(self.store[i]) < rows:
            self.store[i] = self.X[i].new_empty(rows, len(self.y[i]))
        array: Tensor = self.store[i][:rows]
        return array

    @property
    def dtype(self) -> torch.dtype:
        """Of the inputs, the targets and all that is computed."""
        return self.y[0].dtype

    @property
    def device(self) -> torch.device:
        """Where they live."""
        return self.y[0].device


@dataclass(frozen=True)
class Weights:
    """Sparse W: sorted keys ``j * d + k`` and their values (which may be zero)."""

    keys: Tensor
    values: Tensor
    d: int

    @property
    def neurons(self) -> Tensor:
        """Neurons with an entry, increasing."""
        found: Tensor = torch.unique_consecutive(self.rows)
        return found

    @property
    def rows(self) -> Tensor:
        """Neuron of each entry."""
        return torch.div(self.keys, self.d, rounding_mode="floor")

    def slice_of(self, neurons: Tensor) -> slice:
        """Entries of a run of neurons, ``neurons[0]`` to ``neurons[-1]``."""
        ends = torch.stack([neurons[0], neurons[-1] + 1]) * self.d
        first, last = torch.searchsorted(self.keys, ends).tolist()
        return slice(first, last)

    def matrix(self, neurons: Tensor, values: Tensor | None = None) -> SparseMatrix:
        """Rows `neurons` as a [len(neurons), d] matrix; entries of other neurons left out."""
        here = self.slice_of(neurons)
        rows = self.rows[here]
        at = torch.searchsorted(neurons, rows)
        kept = neurons[at] == rows
        counts = torch.bincount(at[kept], minlength=len(neurons))
        crow = torch.zeros(len(neurons) + 1, dtype=torch.int32, device=self.keys.device)
        torch.cumsum(counts, 0, out=crow[1:])
        col = (self.keys[here] - rows * self.d)[kept].int()
        v = (self.values if values is None else values)[here][kept]
        return SparseMatrix(crow, col, v, (len(neurons), self.d))

    def nonzero(self) -> Weights:
        """Without the entries that are zero."""
        kept = self.values != 0
        return Weights(self.keys[kept], self.values[kept], self.d)


class Block(Protocol):
    """Gates of some neurons."""

    @property
    def neurons(self) -> Tensor:
        """Which, increasing."""
        ...

    def gate(self, i: int) -> Tensor:
        """Z [b, c] of chunk i: the gates are open where it is positive."""
        ...


class Gates(Protocol):
    """Gates of all neurons that can receive a weight."""

    def neurons(self) -> Tensor:
        """Those neurons, increasing."""
        ...

    def block(self, neurons: Tensor) -> Block:
        """Gates of at most `BLOCK` of them."""
        ...

    def representatives(self, neurons: Tensor) -> Tensor:
        """For each, a neuron known to have the same pattern: itself, or an earlier one."""
        ...


@dataclass(frozen=True)
class _SparseBlock:
    data: Chunks
    neurons: Tensor
    H: SparseMatrix

    def gate(self, i: int) -> Tensor:
        return self.H.product(self.data.X[i])


@dataclass(frozen=True)
class _DenseBlock:
    data: Chunks
    neurons: Tensor
    H: Tensor

    def gate(self, i: int) -> Tensor:
        return self.H @ self.data.X[i]


@dataclass(frozen=True)
class _StoredBlock:
    data: Chunks
    neurons: Tensor
    masks: list[Tensor]
    at: Tensor | None

    def gate(self, i: int) -> Tensor:
        mask = self.masks[i] if self.at is None else self.masks[i][self.at]
        return mask.to(self.data.dtype)


class OwnGates:
    """h_j = w_j: a neuron without weights is closed everywhere and never comes back."""

    def __init__(self, data: Chunks, weights: Weights) -> None:
        self.data, self.weights = data, weights

    def neurons(self) -> Tensor:
        """Neurons with weights."""
        return self.weights.neurons

    def block(self, neurons: Tensor) -> Block:
        """One sparse product a chunk: 2 * nnz * c flops."""
        return _SparseBlock(self.data, neurons, self.weights.matrix(neurons))

    def representatives(self, neurons: Tensor) -> Tensor:
        """Neurons with one weight on the same input and of the same sign open together."""
        w = self.weights
        if not len(w.keys):
            return neurons
        everyone: Tensor
        everyone, row, counts = torch.unique_consecutive(
            w.rows, return_inverse=True, return_counts=True
        )
        single = (counts[row] == 1) & (w.values != 0)  # at zero the gate is closed
        pattern = 2 * (w.keys - w.rows * w.d) + (w.values < 0)
        first = torch.full((2 * w.d,), int(everyone[-1]) + 1, device=w.keys.device)
        first.scatter_reduce_(0, pattern[single], w.rows[single], "amin")
        same = everyone.clone()
        same[row[single]] = first[pattern[single]]
        return same[torch.searchsorted(everyone, neurons)]


class FixedGates:
    """Gates of given or seeded generators.

    Up to `BLOCK` generators, the patterns are kept as bytes (n * BLOCK of them at most);
    beyond, they are recomputed, 2 * d * c flops a neuron and chunk.
    """

    def __init__(self, data: Chunks, generators: Generators) -> None:
        self.data, self.generators = data, generators
        self._masks: list[Tensor] | None = None
        if generators.count <= BLOCK:
            H = self._rows(self.neurons())
            self._masks = [H @ X > 0 for X in data.X]

    def neurons(self) -> Tensor:
        """All of them."""
        return torch.arange(self.generators.count, device=self.data.device)

    def block(self, neurons: Tensor) -> Block:
        """Stored patterns where there are few generators, dense rows otherwise."""
        if self._masks is not None:
            whole = len(neurons) == self.generators.count
            return _StoredBlock(self.data, neurons, self._masks, None if whole else neurons)
        return _DenseBlock(self.data, neurons, self._rows(neurons))

    def representatives(self, neurons: Tensor) -> Tensor:
        """Themselves: random patterns differ."""
        return neurons

    def _rows(self, neurons: Tensor) -> Tensor:
        return self.generators.rows(neurons, self.data.dtype, self.data.device)


def blocks(gates: Gates, neurons: Tensor | None = None) -> Iterator[Block]:
    """Gates of `neurons` (all that can receive a weight), `BLOCK` at a time."""
    neurons = gates.neurons() if neurons is None else neurons
    for part in torch.split(neurons, BLOCK):
        if len(part):
            yield gates.block(part)


def open_where(values: Tensor, Z: Tensor, out: Tensor | None = None) -> Tensor:
    """``values`` where Z > 0, else 0: one fused pass; `values` broadcasts against Z."""
    mask = torch.ops.aten.threshold_backward
    result: Tensor = mask(values, Z, 0.0) if out is None else mask(values, Z, 0.0, grad_input=out)
    return result


class SupportColumns:
    """The columns a_e = D_j x_k of a support, e = (j, k): A_S, by chunks of rows.

    Up to `BLOCK` columns are kept (n * s numbers), equal ones once; more are recomputed from the
    gates in every product.  Both ways cost 4 * n * s flops a product with A_S^T A_S.

    Parameters
    ----------
    data : Chunks
    gates : Gates
    weights : Weights
        Its keys are the support.

    Attributes
    ----------
    gradient : Tensor, shape [s]
        A^T (A x - y) at the values x of `weights`.
    """

    def __init__(self, data: Chunks, gates: Gates, weights: Weights) -> None:
        self.data, self.weights = data, weights
        self._kept: list[Tensor] | None = None
        self._gram: Tensor | None = None
        rows, s = weights.rows, len(weights.keys)
        if s > BLOCK:
            self._blocks = list(blocks(gates, weights.neurons))
            self._same = torch.arange(s, device=data.device)
            self.gradient = self._normal(weights.values, subtract=True)[1]
            return
        # columns with the same pattern and input are equal: keep one of each
        cols = weights.keys - rows * data.d
        keys, self._same = torch.unique(
            gates.representatives(rows) * data.d + cols, return_inverse=True
        )
        self.gradient = self._keep(gates, keys)

    def _keep(self, gates: Gates, keys: Tensor) -> Tensor:
        """Store the columns `keys` by chunks, [u, c]; the gradient while they are in cache."""
        rows = torch.div(keys, self.data.d, rounding_mode="floor")
        neurons, at = torch.unique_consecutive(rows, return_inverse=True)
        cols = keys - rows * self.data.d
        x = self._merged(self.weights.values, len(keys))
        gradient = torch.zeros_like(x)
        if len(x) <= GRAM:
            self._gram = x.new_zeros(len(x), len(x))
        parts = list(blocks(gates, neurons))
        self._kept = []
        for i, (X, y) in enumerate(zip(self.data.X, self.data.y, strict=True)):
            B = self.data.stored(i, len(x))
            torch.index_select(X, 0, cols, out=B)
            Z = parts[0].gate(i) if len(parts) == 1 else torch.cat([b.gate(i) for b in parts])
            open_where(B, Z[at], out=B)
            gradient.addmv_(B, x @ B - y)
            if self._gram is not None:
                self._gram.addmm_(B, B.t())
            self._kept.append(B)
        sums = (gradient,) if self._gram is None else (gradient, self._gram)
        self.data.group.sum_together_(*sums)
        return gradient[self._same]

    def _merged(self, p: Tensor, count: int) -> Tensor:
        """Coefficients of the columns kept: equal columns add up."""
        return p.new_zeros(count).index_add_(0, self._same, p)

    def curvature(self, p: Tensor, *, image: bool = True) -> tuple[float, Tensor]:
        """||A p||^2, and A^T A p unless `image` is False (then zeros)."""
        if self._gram is not None:
            merged = self._merged(p, len(self._gram))
            Qp = self._gram @ merged
            return float(merged @ Qp), Qp[self._same]
        return self._normal(p, subtract=False, image=image)

    def _normal(self, p: Tensor, *, subtract: bool, image: bool = True) -> tuple[float, Tensor]:
        square = torch.zeros((), dtype=torch.float64, device=p.device)
        if self._kept is None:
            total = torch.zeros_like(p)
            matrices = [(b, self.weights.matrix(b.neurons, p)) for b in self._blocks]
            for i, y in enumerate(self.data.y):
                u = sum_over(matrices, self.data, i)
                if subtract:
                    u -= y
                square += u @ u
                if image:
                    total += adjoint(matrices, self.data, i, u)
        else:
            merged = self._merged(p, len(self._kept[0]))
            total = torch.zeros_like(merged)
            for B in self._kept:
                u = merged @ B
                square += u @ u
                if image:
                    total.addmv_(B, u)
        self.data.group.sum_together_(*((square, total) if image else (square,)))
        return float(square), total if self._kept is None else total[self._same]


def sum_over(matrices: list[tuple[Block, SparseMatrix]], data: Chunks, i: int) -> Tensor:
    """sum_j D_j X w_j on chunk i, shape [c]."""
    u = torch.zeros_like(data.y[i])
    for block, P in matrices:
        u += open_where(P.product(data.X[i]), block.gate(i)).sum(0)
    return u


def adjoint(matrices: list[tuple[Block, SparseMatrix]], data: Chunks, i: int, u: Tensor) -> Tensor:
    """a_e^T u of every support entry on chunk i, shape [s]."""
    return torch.cat(
        [P.sampled_product(open_where(u, block.gate(i)), data.X[i]) for block, P in matrices]
    )
