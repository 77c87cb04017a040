"""Activation patterns and support columns of y = sum_j D_j X w_j, one chunk of rows at a time.

The inputs are stored features first, in chunks ``X_c`` [d, c].  Every product then reads
contiguous memory, and a chunk stays in the cache.  Gates are never stored for all neurons: a
block of neurons computes ``Z`` [b, c] chunk by chunk, and a gate is open where Z > 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from secateurs.core.group import ALONE, Group
from secateurs.sparse.matrix import SparseMatrix
from secateurs.sparse.stack import Generators
from secateurs.sparse.stack_model import open_where

CHUNK_ELEMENTS = 1 << 19  # rows of a chunk times its widest array; fits in a cache
CHUNK_ROWS = (256, 4096)  # least and most rows of a chunk
BLOCK = 1024  # neurons of a block, and columns that are kept
GRAM = 64  # largest support that uses its Gram matrix


@dataclass(frozen=True)
class Chunks:
    """The data, features first: ``X[i]`` [d, c] and ``y[i]`` [c] of chunk i.

    `store` holds one array for each chunk, which the support columns reuse in every step, because
    new memory pages cost more than the columns themselves.  `group` has the processes that share
    the rows: a sum over the chunks becomes a sum over all rows by ``group.sum_``.
    """

    X: list[Tensor]
    y: list[Tensor]
    n: int
    d: int
    group: Group = ALONE
    store: list[Tensor] = field(default_factory=list, repr=False)

    @classmethod
    def of(cls, X: Tensor, y: Tensor, width: int, group: Group = ALONE) -> Chunks:
        """Copy X [n, d] and y [n] into chunks.

        `width` is the number of rows (neurons, support entries) of the arrays that will be
        multiplied with a chunk.
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
        """Return the array of chunk i, [rows, c], with old content."""
        if len(self.store) <= i:
            self.store.append(self.X[i].new_empty(rows, len(self.y[i])))
        elif len(self.store[i]) < rows:
            self.store[i] = self.X[i].new_empty(rows, len(self.y[i]))
        array: Tensor = self.store[i][:rows]
        return array

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the inputs, the targets and all results."""
        return self.y[0].dtype

    @property
    def device(self) -> torch.device:
        """Device of the data."""
        return self.y[0].device


@dataclass(frozen=True)
class KeyedWeights:
    """Sparse W: sorted keys ``j * d + k`` and their values, which may be zero."""

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
        """The neuron of each entry."""
        return torch.div(self.keys, self.d, rounding_mode="floor")

    def slice_of(self, neurons: Tensor) -> slice:
        """Return the entries of the neurons from ``neurons[0]`` to ``neurons[-1]``."""
        ends = torch.stack([neurons[0], neurons[-1] + 1]) * self.d
        first, last = torch.searchsorted(self.keys, ends).tolist()
        return slice(first, last)

    def matrix(self, neurons: Tensor, values: Tensor | None = None) -> SparseMatrix:
        """Return the rows `neurons` as a matrix [len(neurons), d]."""
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

    def nonzero(self) -> KeyedWeights:
        """Return the weights without the entries that are zero."""
        kept = self.values != 0
        return KeyedWeights(self.keys[kept], self.values[kept], self.d)


@dataclass(frozen=True)
class Block:
    """Gates of some neurons: `gate` returns Z [b, c] of chunk i, positive where they are open."""

    neurons: Tensor  # increasing
    gate: Callable[[int], Tensor]


class OwnGates:
    """Gates h_j = w_j: a neuron without weights is closed everywhere and never opens again."""

    def __init__(self, data: Chunks, weights: KeyedWeights) -> None:
        self.data, self.weights = data, weights

    def neurons(self) -> Tensor:
        """Return the neurons with weights, increasing: no other can receive a weight."""
        return self.weights.neurons

    def block(self, neurons: Tensor) -> Block:
        """Return the gates of at most `BLOCK` neurons; 2 * nnz * c flops for each chunk."""
        H = self.weights.matrix(neurons)
        return Block(neurons, lambda i: H.product(self.data.X[i]))

    def representatives(self, neurons: Tensor) -> Tensor:
        """Return for each neuron one with the same pattern: itself or an earlier one.

        Neurons with a single weight of the same sign on the same input open together.
        """
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
    """Gates of generators, which are given or drawn from a seed.

    The patterns of up to `BLOCK` generators are stored as bytes, at most n * BLOCK of them.  Those
    of more generators are recomputed, which costs 2 * d * c flops for each neuron and chunk.
    """

    def __init__(self, data: Chunks, generators: Generators) -> None:
        self.data, self.generators = data, generators
        self._masks: list[Tensor] | None = None
        if generators.count <= BLOCK:
            H = self._rows(self.neurons())
            self._masks = [H @ X > 0 for X in data.X]

    def neurons(self) -> Tensor:
        """Return all neurons."""
        return torch.arange(self.generators.count, device=self.data.device)

    def block(self, neurons: Tensor) -> Block:
        """Return the gates of at most `BLOCK` neurons, stored or recomputed."""
        if self._masks is None:
            H = self._rows(neurons)
            return Block(neurons, lambda i: H @ self.data.X[i])
        masks, whole = self._masks, len(neurons) == self.generators.count
        return Block(
            neurons, lambda i: (masks[i] if whole else masks[i][neurons]).to(self.data.dtype)
        )

    def representatives(self, neurons: Tensor) -> Tensor:
        """Return the neurons themselves, because random patterns differ."""
        return neurons

    def _rows(self, neurons: Tensor) -> Tensor:
        return self.generators.rows(neurons, self.data.dtype, self.data.device)


Gates = OwnGates | FixedGates


def blocks(gates: Gates, neurons: Tensor | None = None) -> Iterator[Block]:
    """Yield the gates of `neurons` (by default all that can receive a weight) in blocks."""
    neurons = gates.neurons() if neurons is None else neurons
    for part in torch.split(neurons, BLOCK):
        if len(part):
            yield gates.block(part)


class SupportColumns:
    """The columns a_e = D_j x_k of a support, e = (j, k): A_S, by chunks of rows.

    Up to `BLOCK` columns are stored (n * s numbers), equal ones once.  More columns are recomputed
    from the gates in every product.  A product with A_S^T A_S costs 4 * n * s flops in both cases.

    The keys of `weights` are the support.  `gradient` is A^T (A x - y) at their values x.
    """

    def __init__(self, data: Chunks, gates: Gates, weights: KeyedWeights) -> None:
        self.data, self.weights = data, weights
        self._kept: list[Tensor] | None = None
        self._gram: Tensor | None = None
        rows, s = weights.rows, len(weights.keys)
        if s > BLOCK:
            self._blocks = list(blocks(gates, weights.neurons))
            self._same = torch.arange(s, device=data.device)
            self.gradient = self._normal(weights.values, subtract=True)[1]
            return
        # columns with the same pattern and input are equal: store one of each
        cols = weights.keys - rows * data.d
        keys, self._same = torch.unique(
            gates.representatives(rows) * data.d + cols, return_inverse=True
        )
        self.gradient = self._keep(gates, keys)

    def _keep(self, gates: Gates, keys: Tensor) -> Tensor:
        """Store the columns `keys` by chunks, [u, c]; return the gradient."""
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
        """Return the coefficients of the stored columns: those of equal columns add up."""
        return p.new_zeros(count).index_add_(0, self._same, p)

    def curvature(self, p: Tensor, *, image: bool = True) -> tuple[float, Tensor]:
        """Return ||A p||^2, and A^T A p unless `image` is False, which gives zeros."""
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
    """Return sum_j D_j X w_j on chunk i, shape [c]."""
    u = torch.zeros_like(data.y[i])
    for block, P in matrices:
        u += open_where(P.product(data.X[i]), block.gate(i)).sum(0)
    return u


def adjoint(matrices: list[tuple[Block, SparseMatrix]], data: Chunks, i: int, u: Tensor) -> Tensor:
    """Return a_e^T u of every support entry on chunk i, shape [s]."""
    return torch.cat(
        [P.sampled_product(open_where(u, block.gate(i)), data.X[i]) for block, P in matrices]
    )
