"""Exchange weights of a sparse ReLU network under its budget, with Gauss-Newton between.

    until q = 0:
      score every absent weight by the drop it promises, g_e^2 / ||J_e||^2, and every new
      neuron relu(+-h_k) -> output o likewise                                       (1)
      add the q best, Gauss-Newton                                                  (2)
      drop weights down to s, one by one that of least w_e^2 / (G^-1)_ee, G = J^T J,
      the others making up for it; Gauss-Newton                                     (3)
      accept when the residual dropped and q <- 2 q, else go back and q <- q / 2    (4)
    at a stall: go on from the best one without a random third of its neurons         (5)

Both scores are what a quadratic model of the loss says, so they do not change when a neuron
is rescaled.  G has a block for each layer: across layers it is singular, because a neuron can
grow on one side and shrink on the other, and any weight would seem replaceable.  For large
problems G is its diagonal, and nothing makes up.  Scores come in blocks: memory
O(n * (live units) + d * block + s^2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.core.solution import Progress, ProgressCallback, Solution
from secateurs.recovery.thresholding.gauss_newton import (
    Model,
    gauss_newton,
    keep_entries,
    problem_of,
)
from secateurs.sparse.stack import ReLUStack
from secateurs.sparse.topk import StreamingTopK

EXACT = 1e-10  # relative residual at which the support is right, 200 dB
BLOCK = 1024  # units, and inputs, whose absent weights are scored at once
INNER_STEPS, INNER_CG = 6, 40  # Gauss-Newton in (2) and (3)
GAIN = 1e-3  # relative drop of the residual that accepts an exchange
KICKED = 0.3  # share of the neurons that a kick removes
NEW_SHARE = 4  # at most every fourth of the weights added is a new neuron
GRAM_FLOPS = 1 << 29  # (3) forms G when that takes no more: n * outputs * weights^2
RIDGE = 1e-8  # added to G with unit diagonal
DROPS = 2  # (3) goes down to s in so many parts, with a Gauss-Newton step between

Array = NDArray[np.floating]


def exchange(
    X: Array | Tensor,
    y: Array | Tensor,
    start: ReLUStack,
    n_nonzero: int,
    *,
    n_rounds: int = 60,
    first: int | None = None,
    n_kicks: int = 5,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> Solution[ReLUStack]:
    """Move the support of `start` to a better one with at most `n_nonzero` weights.

    Parameters
    ----------
    X : array or Tensor, shape [n, d]
    y : array or Tensor, shape [n], or [n, k] for a network that is not fused
    start : ReLUStack
        May be empty when it has one hidden layer: it then grows.
    n_nonzero : int
        The budget s.
    n_rounds : int
        Exchanges tried at most.
    first : int, optional
        Weights exchanged in the first round (q); s / 8 by default.
    n_kicks : int
        How often to go on from a stall without a random third of the neurons (5).
    random_state : int
        Chooses those neurons.
    progress : callable, optional
        Called with a `Progress` after every round.

    Returns
    -------
    Solution of ReLUStack
        Status "exact", "stalled" (no exchange helps), "budget" (rounds spent) or "interrupted".

    Notes
    -----
    A round costs 4 * n * d flops for every live neuron and output, and 12 Gauss-Newton steps.
    Source: secateurs (unverified by theory); in the spirit of subspace pursuit (Dai &
    Milenkovic 2009) and of Fisher pruning.
    """
    inputs = torch.as_tensor(X).detach().double()
    targets = torch.as_tensor(y).detach().to(inputs)
    scale = max(float(targets.double().norm()), np.finfo(float).tiny)
    history: dict[str, list[float]] = {"step": [], "loss": [], "n_nonzero": []}
    if start.n_nonzero > n_nonzero:
        raise ValueError(
            f"got a network of {start.n_nonzero} weights; expected at most n_nonzero = "
            f"{n_nonzero}: raise the budget or drop weights first"
        )
    rng = np.random.default_rng(random_state)
    status, done, kicks = "budget", 0, 0
    first = max(1, n_nonzero // 8 if first is None else first)
    try:
        net = best = start
        loss = least = _loss(inputs, targets, net, scale)
        q = first
        for done in range(1, n_rounds + 1):
            if least <= EXACT:
                break
            trial = _round(inputs, targets, net, q, n_nonzero)  # (1) to (3)
            trial_loss = _loss(inputs, targets, trial, scale)
            if trial_loss < (1 - GAIN) * loss and trial.n_nonzero <= n_nonzero:  # (4)
                net, loss = trial, trial_loss
                q = min(2 * q, max(1, n_nonzero // 2))
            else:
                q //= 2
            if loss < least:
                best, least = net, loss
            history["step"].append(done)
            history["loss"].append(least)
            history["n_nonzero"].append(best.n_nonzero)
            if progress is not None:
                progress(Progress(done, n_rounds, least, best.n_nonzero))
            if not q:
                if kicks == n_kicks:
                    status = "stalled"
                    break
                kicks += 1
                net = _without_neurons(inputs, targets, best, rng)  # (5)
                loss, q = _loss(inputs, targets, net, scale), first
    except KeyboardInterrupt:
        status = "interrupted"
    if least <= EXACT and status != "interrupted":
        status = "exact"
    measured = {"relative_residual": least, "n_steps": done, "n_kicks": kicks}
    return Solution(best, status, history, measured)


def _loss(X: Tensor, y: Tensor, net: ReLUStack, scale: float) -> float:
    """Relative residual."""
    return float(_model(X, y, net).square() ** 0.5 / scale)


def _round(X: Tensor, y: Tensor, net: ReLUStack, q: int, n_nonzero: int) -> ReLUStack:
    """Add q weights, polish, drop down to the budget, polish: (1) to (3)."""
    trial = _polish(X, y, _grow(X, y, net, q))
    for part in range(DROPS, 0, -1):
        excess = max(0, trial.n_nonzero - n_nonzero)
        if excess:
            trial = _drop(X, y, trial, -(-excess // part))
            trial = _polish(X, y, trial, 2 if part > 1 else INNER_STEPS)
    return trial


def _without_neurons(X: Tensor, y: Tensor, net: ReLUStack, rng: np.random.Generator) -> ReLUStack:
    """Without a random third of the neurons of each hidden layer (5)."""
    layers = list(net.layers)
    for hidden in range(len(layers) - (0 if net.fused else 1)):
        live = np.flatnonzero(np.diff(layers[hidden].indptr))
        if len(live) > 1:
            gone = rng.choice(live, max(1, int(KICKED * len(live))), replace=False)
            kept = np.ones(layers[hidden].shape[0], dtype=bool)
            kept[gone] = False
            layers[hidden] = keep_entries(layers[hidden], rows=kept)
    return _polish(X, y, ReLUStack(tuple(layers), net.fused))


def _model(X: Tensor, y: Tensor, net: ReLUStack) -> Model:
    problem, live, _ = problem_of(X, y, net, X.device)
    return problem.at(torch.from_numpy(np.concatenate([W.data for W in live])).to(X.device))


def _polish(X: Tensor, y: Tensor, net: ReLUStack, n_steps: int = INNER_STEPS) -> ReLUStack:
    return gauss_newton(X, y, net, n_steps=n_steps, cg_steps=INNER_CG).value


def _drop(X: Tensor, y: Tensor, net: ReLUStack, count: int) -> ReLUStack:
    """Without the `count` weights that a quadratic model misses least (3); ties: the first."""
    problem, live, _ = problem_of(X, y, net, X.device)
    values = np.concatenate([W.data for W in live])
    model = problem.at(torch.from_numpy(values).to(X.device))
    if y.numel() * len(values) ** 2 <= GRAM_FLOPS:
        layer = np.repeat(np.arange(len(live)), [W.nnz for W in live])
        G = model.gram().cpu().numpy() * (layer[:, None] == layer)
        kept, values = _eliminate(values, G, count)
    else:
        saliency = values**2 * model.column_squares().cpu().numpy()
        kept = np.ones(len(values), dtype=bool)
        kept[np.argsort(saliency, kind="stable")[:count]] = False
    layers, at = [], 0
    for W in live:
        coo = W.tocoo()
        here = kept[at : at + W.nnz]
        row, col = coo.coords
        data = values[at : at + W.nnz][here]
        layers.append(sp.csr_array((data, (row[here], col[here])), shape=W.shape))
        at += W.nnz
    return ReLUStack(tuple(layers), net.fused)


def _eliminate(
    values: NDArray[np.float64], G: NDArray[np.float64], count: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Remove `count` weights from the least squares with Gram matrix G, one by one.

    Removing w_e costs w_e^2 / M_ee with M = G^-1, once the others move by -M_:e w_e / M_ee
    (the optimal brain surgeon of Hassibi & Stork 1993).

    Returns
    -------
    kept : bool array [p]
    values : float array [p]
        Zero where not kept.
    """
    p = len(values)
    size = np.sqrt(np.maximum(np.diag(G), 1e-24 * G.diagonal().max() + 1e-300))
    M = np.linalg.inv(G / np.outer(size, size) + RIDGE * np.eye(p))
    w, kept = values * size, np.ones(p, dtype=bool)
    for _ in range(min(count, p)):
        cost = np.where(kept, w**2 / np.where(kept, np.diag(M), 1.0), np.inf)
        e = int(np.argmin(cost))
        kept[e] = False
        column = M[:, e] / M[e, e]
        w = w - w[e] * column
        M -= np.outer(column, M[e])
        w[e] = M[e] = M[:, e] = 0.0
    return kept, w / size


@dataclass(frozen=True)
class _Layer:
    """One layer on all rows: inputs H [n_in, n], D [n_out, n] and squared D, of live units."""

    H: Tensor
    H_units: NDArray[np.intp]
    D: Tensor
    D_squared: Tensor
    D_units: NDArray[np.intp]


def _grow(X: Tensor, y: Tensor, net: ReLUStack, q: int) -> ReLUStack:
    """`net` with the q most promising absent weights and new neurons (1)."""
    problem, live, units = problem_of(X, y, net, X.device)
    values = torch.from_numpy(np.concatenate([W.data for W in live])).to(X.device)
    layers = _layers(X, problem.at(values), live, units)
    top = StreamingTopK(q, X.device)
    offset, offsets = 0, [0]
    for W, layer in zip(live, layers, strict=False):  # absent weights of live units
        _score(layer, W, offset, top)
        offset += W.shape[0] * W.shape[1]
        offsets.append(offset)
    for hidden in range(len(live) - (0 if net.fused else 1)):  # new neurons
        _score_new(net, live, layers, hidden, offset, top)
        offset += 2 * len(layers[hidden].H) * len(layers[hidden + 1].D)
        offsets.append(offset)
    keys = top.result()[0].cpu().numpy()
    rows: list[list[NDArray[np.integer]]] = [[W.tocoo().coords[0]] for W in live]
    cols: list[list[NDArray[np.integer]]] = [[W.tocoo().coords[1]] for W in live]
    data: list[list[Array]] = [[W.tocoo().data] for W in live]

    def put(layer: int, row: NDArray[np.integer], col: NDArray[np.integer], value: Array) -> None:
        rows[layer].append(row)
        cols[layer].append(col)
        data[layer].append(value)

    for part in range(len(offsets) - 1):
        here = keys[(keys >= offsets[part]) & (keys < offsets[part + 1])] - offsets[part]
        if part < len(live):
            row, col = np.divmod(here, live[part].shape[1])
            put(part, row, col, np.zeros(len(row)))
            continue
        hidden = part - len(live)
        source, out = np.divmod(here, len(layers[hidden + 1].D))
        free = np.flatnonzero(np.diff(live[hidden].indptr) == 0)[: len(here)]
        source, out = source[: len(free)], out[: len(free)]
        unit, sign = source // 2, 1.0 - 2.0 * (source % 2)
        layer = layers[hidden]
        best = _best_steps(layer, layers[hidden + 1], source, out)
        value = best / (1 + len(free))  # less than the best steps: they overlap
        if net.fused and hidden == len(live) - 1:
            put(hidden, free, layer.H_units[unit], sign * value)
        else:
            size = np.sqrt(np.abs(value))
            put(hidden, free, layer.H_units[unit], sign * size)
            put(hidden + 1, layers[hidden + 1].D_units[out], free, np.sign(value) * size)
    grown = [
        sp.coo_array(
            (np.concatenate(v), (np.concatenate(r), np.concatenate(c))), shape=W.shape
        ).tocsr()
        for v, r, c, W in zip(data, rows, cols, live, strict=True)
    ]
    return ReLUStack(tuple(grown), net.fused)


def _layers(
    X: Tensor, model: Model, live: list[sp.csr_array], units: list[NDArray[np.intp]]
) -> list[_Layer]:
    """H, D and squared D of every layer; of a fused network also what sums its last layer."""
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


def _score(layer: _Layer, W: sp.csr_array, offset: int, top: StreamingTopK) -> None:
    """Offer g^2 / ||J_e||^2 of the absent weights between live units."""
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
    net: ReLUStack,
    live: list[sp.csr_array],
    layers: list[_Layer],
    hidden: int,
    offset: int,
    top: StreamingTopK,
) -> None:
    """Offer new neurons relu(+-h_k) of a hidden layer, each with one outgoing weight."""
    source, sink = layers[hidden], layers[hidden + 1]
    closed = net.fused and hidden == len(live) - 1  # fused: the outgoing weight is 1
    n_in = len(source.H)
    n_free = int((np.diff(live[hidden].indptr) == 0).sum())
    best = StreamingTopK(min(n_free, max(1, top.k // NEW_SHARE)), source.H.device)
    for a in range(0, n_in, BLOCK):
        H = source.H[a : a + BLOCK]
        A = torch.stack([H.clamp_min(0), (-H).clamp_min(0)], 1).reshape(2 * len(H), -1)
        g, square = A @ sink.D.t(), A.square() @ sink.D_squared.t()
        score = _promise(g, square)
        if closed:
            score[g > 0] = 0.0  # relu(t a) = t relu(a) only for t > 0
        keys = offset + len(sink.D) * torch.arange(2 * a, 2 * a + len(A), device=A.device)
        if not closed:
            score = score / 2  # such a neuron costs two weights
        best.update(score, keys, torch.arange(len(sink.D), device=A.device))
    keys, scores = best.result()
    if len(keys):
        top.update(scores[:, None], keys, torch.zeros(1, dtype=torch.int64, device=keys.device))


def _best_steps(
    source: _Layer, sink: _Layer, index: NDArray[np.intp], out: NDArray[np.intp]
) -> Array:
    """Outgoing weights of new neurons that minimise the quadratic model, one at a time."""
    H = source.H[torch.from_numpy(index // 2).to(source.H.device)]
    sign = torch.from_numpy(1.0 - 2.0 * (index % 2)).to(H)
    A = (sign[:, None] * H).clamp_min(0)
    at = torch.from_numpy(out).to(H.device)
    square = (A.square() * sink.D_squared[at]).sum(1)
    steps: Array = (-(A * sink.D[at]).sum(1) / square.clamp_min(1e-300)).cpu().numpy()
    return steps


def _promise(g: Tensor, square: Tensor) -> Tensor:
    """The drop a weight promises; 0 where its column is (nearly) zero."""
    largest = float(square.max()) if square.numel() else 0.0
    return torch.where(square > 1e-12 * largest, g.square() / square.clamp_min(1e-300), 0.0)
