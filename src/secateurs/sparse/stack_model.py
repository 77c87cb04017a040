"""A sparse ReLU network on data in chunks: residuals, products with its Jacobian J, and J^T J.

J = df / dw on the support is never stored: J p and J^T u are sparse products, one chunk of rows at
a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.core.parameters import Shown, bad_value
from secateurs.sparse.matrix import SparseMatrix
from secateurs.sparse.stack import ReLUStack

CHUNK_ELEMENTS = 1 << 20  # rows of a chunk times units
CHUNK_ROWS = 64  # least rows of a chunk
KEPT_ELEMENTS = 1 << 24  # most activations that are kept between passes (128 MB)


@dataclass(frozen=True)
class StackProblem:
    """Data by chunks, features first, and the supports of the layers without unused units."""

    X: list[Tensor]
    y: list[Tensor]
    crows: list[Tensor]
    cols: list[Tensor]
    shapes: list[tuple[int, int]]
    fused: bool

    @property
    def scale(self) -> float:
        """Norm of the targets."""
        return math.sqrt(sum(float(y.square().sum()) for y in self.y))

    def at(self, values: Tensor) -> StackModel:
        """Return the network with these values."""
        return StackModel(self, values)

    def matrices(self, values: Tensor) -> list[SparseMatrix]:
        """Return the layers with these values."""
        parts = torch.split(values, [len(c) for c in self.cols])
        return [
            SparseMatrix(crow, col, v, shape)
            for crow, col, v, shape in zip(self.crows, self.cols, parts, self.shapes, strict=True)
        ]


class StackModel:
    """The network with some values: residuals, J p and J^T u."""

    def __init__(self, problem: StackProblem, values: Tensor) -> None:
        self.problem, self.values = problem, values
        self.layers = problem.matrices(values)
        units = sum(W.shape[0] for W in self.layers)
        n = sum(y.shape[-1] for y in problem.y)
        self._kept: list[list[Tensor]] | None = [] if units * n <= KEPT_ELEMENTS else None

    def _forward(self, i: int) -> list[Tensor]:
        """Return Z, before the ReLU, of every layer on chunk i."""
        if self._kept is not None and len(self._kept) > i:
            return self._kept[i]
        Zs: list[Tensor] = []
        for layer, W in enumerate(self.layers):
            Zs.append(W.product(self.problem.X[i] if layer == 0 else Zs[-1].clamp_min(0)))
        if self._kept is not None:
            self._kept.append(Zs)
        return Zs

    def _input(self, i: int, layer: int, Zs: list[Tensor]) -> Tensor:
        return self.problem.X[i] if layer == 0 else Zs[layer - 1].clamp_min(0)

    def residual(self) -> list[Tensor]:
        """Return f(w) - y of every chunk."""
        found = []
        for i, y in enumerate(self.problem.y):
            Z = self._forward(i)[-1]
            found.append((Z.clamp_min(0).sum(0) if self.problem.fused else Z) - y)
        return found

    def square(self) -> float:
        """Return the squared norm of the residual."""
        return float(sum(float(r.square().sum()) for r in self.residual()))

    def forward_derivative(self, p: Tensor) -> list[Tensor]:
        """Return J p of every chunk."""
        P = self.problem.matrices(p)
        found = []
        for i in range(len(self.problem.X)):
            Zs = self._forward(i)
            dH: Tensor | None = None
            for layer, W in enumerate(self.layers):
                dZ = P[layer].product(self._input(i, layer, Zs))
                if dH is not None:
                    dZ += W.product(dH)
                linear = layer == len(self.layers) - 1 and not self.problem.fused
                dH = dZ if linear else open_where(dZ, Zs[layer])
            assert dH is not None
            found.append(dH.sum(0) if self.problem.fused else dH)
        return found

    def adjoint(self, u: Sequence[Tensor]) -> Tensor:
        """Return J^T u."""
        total = torch.zeros_like(self.values)
        for i, part in enumerate(u):
            total += self._backward(i, part, squared=False)
        return total

    def column_squares(self) -> Tensor:
        """Return the squared norms of the columns of J; one backward pass for each output."""
        total = torch.zeros_like(self.values)
        for i in range(len(self.problem.y)):
            for unit in self._unit_outputs(i):
                total += self._backward(i, unit, squared=True)
        return total

    def gram(self) -> Tensor:
        """Return J^T J; n k p^2 flops for p weights and k outputs."""
        p = len(self.values)
        total = torch.zeros(p, p, dtype=self.values.dtype, device=self.values.device)
        rows = [
            torch.repeat_interleave(torch.arange(len(crow) - 1, device=crow.device), crow.diff())
            for crow in self.problem.crows
        ]
        for i in range(len(self.problem.y)):
            Zs = self._forward(i)
            for unit in self._unit_outputs(i):
                columns = [
                    D[row] * self._input(i, layer, Zs)[col.long()]
                    for layer, (D, row, col) in enumerate(
                        zip(self.deltas(i, unit), rows, self.problem.cols, strict=True)
                    )
                ]
                J = torch.cat(columns)
                total.addmm_(J, J.t())
        return total

    def deltas(self, i: int, u: Tensor) -> list[Tensor]:
        """Return the derivatives of <u, f> by Z of every layer on chunk i."""
        Zs = self._forward(i)
        D = open_where(u, Zs[-1]) if self.problem.fused else u
        found = [D]
        for layer in range(len(self.layers) - 1, 0, -1):
            D = open_where(self.layers[layer].transpose_product(D), Zs[layer - 1])
            found.append(D)
        return found[::-1]

    def squared_deltas(self, i: int) -> list[Tensor]:
        """Return the squared derivatives of f by Z of every layer, summed over the outputs."""
        totals: list[Tensor] | None = None
        for unit in self._unit_outputs(i):
            squares = [D.square() for D in self.deltas(i, unit)]
            totals = (
                squares if totals is None else [a + b for a, b in zip(totals, squares, strict=True)]
            )
        assert totals is not None
        return totals

    def activations(self, i: int) -> list[Tensor]:
        """Return the outputs of the hidden layers on chunk i."""
        Zs = self._forward(i)
        return [Z.clamp_min(0) for Z in (Zs if self.problem.fused else Zs[:-1])]

    def _unit_outputs(self, i: int) -> Iterator[Tensor]:
        y = self.problem.y[i]
        if self.problem.fused:
            yield torch.ones_like(y)
            return
        for k in range(len(y)):
            unit = torch.zeros_like(y)
            unit[k] = 1.0
            yield unit

    def _backward(self, i: int, u: Tensor, *, squared: bool) -> Tensor:
        Zs, grads = self._forward(i), []
        for layer, (W, D) in enumerate(zip(self.layers, self.deltas(i, u), strict=True)):
            H = self._input(i, layer, Zs)
            factors = (D.square(), H.square()) if squared else (D, H)
            grads.append(W.sampled_product(*factors).clone())
        return torch.cat(grads)


def model_of(
    X: Tensor, y: Tensor, start: ReLUStack, device: torch.device | None = None
) -> tuple[StackModel, list[sp.csr_array], list[NDArray[np.intp]]]:
    """Leave out unused units and weights, and cut the data into chunks.

    Returns
    -------
    StackModel
    list of csr_array
        The layers without the weights that cannot change an output, in full shape.
    list of arrays
        The units that are used, inputs first.
    """
    device = X.device if device is None else device
    k = start.layers[-1].shape[0]
    expected = (len(X),) if start.fused else (len(X), k)
    if X.ndim != 2 or X.shape[1] != start.layers[0].shape[1] or tuple(y.shape) != expected:
        shown = Shown(f"shapes {tuple(X.shape)} and {tuple(y.shape)}")
        outputs = "[n]" if start.fused else f"[n, {k}]"
        raise bad_value("X and y", shown, f"shapes [n, {start.layers[0].shape[1]}] and {outputs}")
    live = _live(start)
    inputs = np.unique(live[0].indices).astype(np.intp)
    units: list[NDArray[np.intp]] = [inputs, *(np.flatnonzero(np.diff(W.indptr)) for W in live)]
    if not start.fused:
        units[-1] = np.arange(k)
    compact = [W[rows][:, cols] for W, (cols, rows) in zip(live, pairwise(units), strict=True)]
    c = max(CHUNK_ROWS, CHUNK_ELEMENTS // max(1, sum(len(u) for u in units)))
    columns = torch.from_numpy(inputs).to(X.device)
    chunks = [
        X[a : a + c].index_select(1, columns).to(device, torch.float64).t().contiguous()
        for a in range(0, len(X), c)
    ]
    targets = [
        y[a : a + c].detach().to(device, torch.float64).t().contiguous()
        for a in range(0, len(X), c)
    ]
    int32 = [[torch.from_numpy(v.astype(np.int32)).to(device) for v in (W.indptr, W.indices)]
             for W in compact]  # fmt: skip
    shapes = [(int(W.shape[0]), int(W.shape[1])) for W in compact]
    crows, cols = [c for c, _ in int32], [c for _, c in int32]
    problem = StackProblem(chunks, targets, crows, cols, shapes, start.fused)
    values = torch.from_numpy(np.concatenate([W.data for W in live])).to(device)
    return problem.at(values), live, units


def stack_of(
    live: list[sp.csr_array],
    values: NDArray[np.float64],
    *,
    fused: bool,
    kept: NDArray[np.bool_] | None = None,
) -> ReLUStack:
    """Return the network with these values of all weights, or only of those that are kept."""
    layers, at = [], 0
    for W in live:
        here = slice(at, at + W.nnz)
        layer = sp.csr_array((values[here], W.indices, W.indptr), shape=W.shape)
        layers.append(layer if kept is None else keep_entries(layer, entries=kept[here]))
        at += W.nnz
    return ReLUStack(tuple(layers), fused)


def _live(stack: ReLUStack) -> list[sp.csr_array]:
    """Return the layers without the weights that cannot change an output, columns sorted."""
    layers = [sp.csr_array(W).astype(np.float64) for W in stack.layers]
    while True:
        before = sum(W.nnz for W in layers)
        for layer in range(len(layers) - 1):
            fed = np.diff(layers[layer].indptr) > 0  # units with an input
            layers[layer + 1] = keep_entries(layers[layer + 1], columns=fed)
            read = np.zeros(len(fed), dtype=bool)  # units with an output
            read[layers[layer + 1].indices] = True
            layers[layer] = keep_entries(layers[layer], rows=read)
        if sum(W.nnz for W in layers) == before:
            break
    for W in layers:
        W.sort_indices()
    return layers


def keep_entries(
    W: sp.csr_array,
    *,
    rows: NDArray[np.bool_] | None = None,
    columns: NDArray[np.bool_] | None = None,
    entries: NDArray[np.bool_] | None = None,
) -> sp.csr_array:
    """Return the entries that are marked, by rows, columns or one by one."""
    coo = W.tocoo()
    row, col = coo.coords
    kept = np.ones(len(row), dtype=bool) if entries is None else entries
    if rows is not None:
        kept &= rows[row]
    if columns is not None:
        kept &= columns[col]
    return sp.csr_array((coo.data[kept], (row[kept], col[kept])), shape=W.shape)


def open_where(values: Tensor, Z: Tensor, out: Tensor | None = None) -> Tensor:
    """Return `values` where Z > 0, else 0, in one fused pass; `values` broadcasts against Z."""
    mask = torch.ops.aten.threshold_backward
    result: Tensor = mask(values, Z, 0.0) if out is None else mask(values, Z, 0.0, grad_input=out)
    return result
