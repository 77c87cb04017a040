"""Add the absent weights and new neurons that promise the largest fall of the loss.

An absent weight e has the score g_e^2 / ||J_e||^2, with g = J^T r.  This is the fall of the loss in
a quadratic model.  A new neuron relu(+-h_k) with one outgoing weight is scored in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.sparse.stack import ReLUStack
from secateurs.sparse.stack_model import StackModel, model_of
from secateurs.sparse.topk import StreamingTopK

BLOCK = 1024  # units, and inputs, whose absent weights are scored at once
NEW_SHARE = 4  # at most every fourth of the added weights is a new neuron
VANISHING = 1e-12  # squared norm of a column that counts as zero, relative to the largest
TINY = 1e-300  # avoids a division by zero

Array = NDArray[np.floating]
Entry = tuple[NDArray[Any], NDArray[Any], Array]  # rows, columns, values


@dataclass(frozen=True)
class _Layer:
    """A layer on all rows: inputs H [n_in, n], D [n_out, n] and squared D, of units in use."""

    H: Tensor
    H_units: NDArray[np.intp]
    D: Tensor
    D_squared: Tensor
    D_units: NDArray[np.intp]


def grow(X: Tensor, y: Tensor, net: ReLUStack, q: int) -> ReLUStack:
    """Return `net` with the q most promising absent weights, at zero, and new neurons."""
    model, live, units = model_of(X, y, net)
    layers = _layers(X, model, live, units)
    top = StreamingTopK(q, X.device)
    offsets = [0]  # of the keys of each layer's absent weights, then of its new neurons
    for W, layer in zip(live, layers, strict=False):
        _score_absent(layer, W, offsets[-1], top)
        offsets.append(offsets[-1] + W.shape[0] * W.shape[1])
    n_hidden = len(live) - (0 if net.fused else 1)
    summed = [net.fused and hidden == len(live) - 1 for hidden in range(n_hidden)]
    steps = list(zip(live, layers, layers[1:], summed, strict=False))  # hidden layers and the next
    for W, source, sink, last in steps:
        _score_new(W, source, sink, offsets[-1], top, summed=last)
        offsets.append(offsets[-1] + 2 * len(source.H) * len(sink.D))
    keys = top.result()[0].cpu().numpy()
    chosen = [keys[(keys >= a) & (keys < b)] - a for a, b in pairwise(offsets)]

    coos = [W.tocoo() for W in live]
    entries: list[list[Entry]] = [[(coo.coords[0], coo.coords[1], coo.data)] for coo in coos]
    for W, parts, here in zip(live, entries, chosen, strict=False):
        row, col = np.divmod(here, W.shape[1])
        parts.append((row, col, np.zeros(len(row))))
    for hidden, here in enumerate(chosen[len(live) :]):
        W, source, sink, last = steps[hidden]
        for ahead, part in enumerate(_new_neurons(W, source, sink, here, summed=last)):
            entries[hidden + ahead].append(part)
    grown = []
    for W, parts in zip(live, entries, strict=True):
        row, col, value = (np.concatenate(part) for part in zip(*parts, strict=True))
        grown.append(sp.coo_array((value, (row, col)), shape=W.shape).tocsr())
    return ReLUStack(tuple(grown), net.fused)


def _new_neurons(
    W: sp.csr_array, source: _Layer, sink: _Layer, chosen: NDArray[np.int64], *, summed: bool
) -> list[Entry]:
    """Return the entries of the chosen new neurons of a layer and the next, while rows are free."""
    index, out = np.divmod(chosen, len(sink.D))
    free = np.flatnonzero(np.diff(W.indptr) == 0)[: len(chosen)]
    index, out = index[: len(free)], out[: len(free)]
    unit, sign = source.H_units[index // 2], 1.0 - 2.0 * (index % 2)
    value = _best_steps(source, sink, index, out)
    value = value / (1 + len(free))  # less than the best steps, because they overlap
    if summed:
        return [(free, unit, sign * value)]
    size = np.sqrt(np.abs(value))
    return [(free, unit, sign * size), (sink.D_units[out], free, np.sign(value) * size)]


def _layers(
    X: Tensor, model: StackModel, live: list[sp.csr_array], units: list[NDArray[np.intp]]
) -> list[_Layer]:
    """Return every layer; for a fused network also the sum of its last hidden layer."""
    problem = model.problem
    residual = model.residual()
    chunks = range(len(problem.y))
    hidden = [model.activations(i) for i in chunks]
    deltas = [model.deltas(i, residual[i]) for i in chunks]
    squares = [model.squared_deltas(i) for i in chunks]
    inputs = X.t()
    found = []
    for layer in range(len(live)):
        H = inputs if layer == 0 else torch.cat([h[layer - 1] for h in hidden], 1)
        H_units = np.arange(len(H)) if layer == 0 else units[layer]
        D = torch.cat([d[layer] for d in deltas], 1)
        D2 = torch.cat([d[layer] for d in squares], 1)
        found.append(_Layer(H, H_units, D, D2, units[layer + 1]))
    if problem.fused:
        r = torch.cat(residual)[None]
        H = torch.cat([h[-1] for h in hidden], 1)
        found.append(_Layer(H, units[-1], r, torch.ones_like(r), np.zeros(1, dtype=np.intp)))
    return found


def _score_absent(layer: _Layer, W: sp.csr_array, offset: int, top: StreamingTopK) -> None:
    """Offer the scores of the absent weights between units in use."""
    for c in range(0, len(layer.H), BLOCK):
        H, H_units = layer.H[c : c + BLOCK], layer.H_units[c : c + BLOCK]
        H_squared, columns = H.square(), torch.from_numpy(H_units).to(H.device)
        for a in range(0, len(layer.D), BLOCK):
            D_units = layer.D_units[a : a + BLOCK]
            square = layer.D_squared[a : a + BLOCK] @ H_squared.t()
            score = _promise(layer.D[a : a + BLOCK] @ H.t(), square)
            row, col = W[D_units].tocoo().coords
            at = np.minimum(np.searchsorted(H_units, col), len(H_units) - 1)
            inside = H_units[at] == col
            score[row[inside], at[inside]] = 0.0  # present
            row_keys = offset + torch.from_numpy(D_units).to(H.device) * W.shape[1]
            top.update(score, row_keys, columns)


def _score_new(
    W: sp.csr_array, source: _Layer, sink: _Layer, offset: int, top: StreamingTopK, *, summed: bool
) -> None:
    """Offer the scores of new neurons of a hidden layer W, each with one outgoing weight.

    If the neurons are `summed`, this weight is 1.
    """
    n_in = len(source.H)
    n_free = int((np.diff(W.indptr) == 0).sum())
    best = StreamingTopK(min(n_free, max(1, top.k // NEW_SHARE)), source.H.device)
    for a in range(0, n_in, BLOCK):
        H = source.H[a : a + BLOCK]
        A = torch.stack([H.clamp_min(0), (-H).clamp_min(0)], 1).reshape(2 * len(H), -1)
        g, square = A @ sink.D.t(), A.square() @ sink.D_squared.t()
        score = _promise(g, square)
        if summed:
            score[g > 0] = 0.0  # relu(t a) = t relu(a) only for t > 0
        keys = offset + len(sink.D) * torch.arange(2 * a, 2 * a + len(A), device=A.device)
        if not summed:
            score = score / 2  # such a neuron costs two weights
        best.update(score, keys, torch.arange(len(sink.D), device=A.device))
    keys, scores = best.result()
    if len(keys):
        top.update(scores[:, None], keys, torch.zeros(1, dtype=torch.int64, device=keys.device))


def _best_steps(
    source: _Layer, sink: _Layer, index: NDArray[np.intp], out: NDArray[np.intp]
) -> Array:
    """Return the outgoing weight of each new neuron that minimises the quadratic model."""
    H = source.H[torch.from_numpy(index // 2).to(source.H.device)]
    sign = torch.from_numpy(1.0 - 2.0 * (index % 2)).to(H)
    A = (sign[:, None] * H).clamp_min(0)
    at = torch.from_numpy(out).to(H.device)
    square = (A.square() * sink.D_squared[at]).sum(1)
    steps: Array = (-(A * sink.D[at]).sum(1) / square.clamp_min(TINY)).cpu().numpy()
    return steps


def _promise(g: Tensor, square: Tensor) -> Tensor:
    """Return the fall of the loss that a weight promises; 0 where its column is nearly zero."""
    largest = float(square.max()) if square.numel() else 0.0
    return torch.where(square > VANISHING * largest, g.square() / square.clamp_min(TINY), 0.0)
