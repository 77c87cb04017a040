"""One step of iterative hard thresholding; `iht` makes one after the other.

    r = A w - y,  g = A^T r                     one product X^T (D o r) for each block    (1)
    eta = ||g_S||^2 / ||A g_S||^2               the step that is exact on the support S   (2)
    w <- the s largest of w - eta g             streamed: only S and s others are kept    (3)
    10 x: descend on the support, eta <- eta / 2 until eta g^T Q g <= 1.1 g^T g           (4)

In a group of processes that share the rows, A^T r, ||A g||^2, Q g and ||r||^2 are summed over the
group.  Every process does the rest on the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from secateurs.recovery.thresholding.gates import (
    BLOCK,
    Chunks,
    Gates,
    KeyedWeights,
    OwnGates,
    SupportColumns,
    blocks,
    sum_over,
)
from secateurs.sparse.stack_model import open_where
from secateurs.sparse.topk import StreamingTopK

LEAST_SQUARES_STEPS = 200  # conjugate gradient steps
INNER_STEPS = 10  # descent steps on the support (4)
SUFFICIENT = 1.1  # (4): f falls by .9 eta ||g||^2, written for a quadratic f
HALVINGS = 11  # after this many the line search returns to the result of (3)
EXACT = {torch.float32: 1e-6, torch.float64: 1e-12}  # relative residual


@dataclass
class Iterate:
    """Weights on their support, and the gates that they are used with."""

    weights: KeyedWeights
    gates: Gates


def thresholding_step(
    data: Chunks, now: Iterate, residual: list[Tensor], n_nonzero: int, step: int
) -> KeyedWeights:
    """Return the next weights, which are used with the same gates: (1) to (4)."""
    w = now.weights
    g_support, keys, g_off = gradient(data, now, residual, n_nonzero)  # (1)
    if len(w.keys):
        power = float(g_support.double().square().sum())
        image = _image_square(data, now, g_support)
        eta = power / image if image > 0 else 0.0  # (2)
        pool = torch.cat([w.keys, keys])
        proposal = torch.cat([w.values - eta * g_support, -eta * g_off])
    else:
        eta, pool, proposal = 0.0, keys, -g_off  # the first step only selects the support
    chosen = largest_entries(pool, proposal, n_nonzero)  # (3)
    weights = KeyedWeights(pool[chosen], proposal[chosen], data.d)
    require_same_support(data, weights.keys, step)
    if eta == 0.0 or not len(chosen):
        return replace(weights, values=torch.zeros_like(weights.values))
    return _descend(SupportColumns(data, now.gates, weights), weights, eta)  # (4)


def gradient(
    data: Chunks, now: Iterate, residual: list[Tensor], n_nonzero: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradient on S, and keys and values of its largest entries elsewhere (1)."""
    w = now.weights
    candidates = StreamingTopK(n_nonzero, data.device)
    g_support = torch.zeros_like(w.values)
    neurons = now.gates.neurons()
    # neurons with equal patterns have equal gradients and need one product
    distinct, which = torch.unique(now.gates.representatives(neurons), return_inverse=True)
    start = 0
    for block in blocks(now.gates, distinct):
        G = torch.zeros(len(block.neurons), data.d, dtype=data.dtype, device=data.device)
        for i, r in enumerate(residual):
            G.addmm_(open_where(r, block.gate(i)), data.X[i].t())
        data.group.sum_(G)
        here = torch.nonzero((which >= start) & (which < start + len(G))).squeeze(1)
        for part in torch.split(here, BLOCK):
            _offer(G[which[part] - start], neurons[part], w, g_support, candidates)
        start += len(G)
    signed, size = candidates.result()
    return g_support, signed // 2, torch.where(signed % 2 == 1, -size, size).to(data.dtype)


def _offer(
    G: Tensor, neurons: Tensor, w: KeyedWeights, g_support: Tensor, candidates: StreamingTopK
) -> None:
    """Copy g on the support from a block of gradients, and offer the rest to the top s.

    Off the support w - eta g is ranked by |g| for every eta, so that eta is not needed yet.  The
    key of an entry is ``2 (j d + k)``, plus 1 where the entry is negative.
    """
    run = w.slice_of(neurons)  # may contain neurons that are not in the block
    rows, cols = w.rows[run], w.keys[run] - w.rows[run] * w.d
    at = torch.searchsorted(neurons, rows)
    inside = neurons[at] == rows
    at, cols = at[inside], cols[inside]
    g_support[run][inside] = G[at, cols]
    G[at, cols] = 0.0
    columns = 2 * torch.arange(w.d, device=G.device)
    scores = torch.cat([G.clamp_min(0), G.neg_().clamp_min_(0)], dim=1)
    candidates.update(scores, 2 * w.d * neurons, torch.cat([columns, columns + 1]))


def _image_square(data: Chunks, now: Iterate, g: Tensor) -> float:
    """Return ||A g_S||^2 (2)."""
    matrices = [
        (b, now.weights.matrix(b.neurons, g)) for b in blocks(now.gates, now.weights.neurons)
    ]
    total = torch.zeros((), dtype=torch.float64, device=data.device)
    for i in range(len(data.X)):
        u = sum_over(matrices, data, i)
        total += u @ u
    return float(data.group.sum_(total))


def _descend(columns: SupportColumns, weights: KeyedWeights, eta: float) -> KeyedWeights:
    """Descend on the support with a step that never grows (4).

    f is quadratic, so that f(x - eta g) <= f(x) - .9 eta ||g||^2 means
    eta ||A g||^2 <= 1.1 ||g||^2.  The next gradient is g - eta Q g: one product with Q = A^T A.
    """
    x, g = weights.values, columns.gradient
    g_start = g
    for inner in range(INNER_STEPS):
        power = float(g.double() @ g.double())
        if power == 0.0:
            break
        curved, Qg = columns.curvature(g, image=inner < INNER_STEPS - 1)
        for _ in range(HALVINGS):
            if eta * curved <= SUFFICIENT * power:
                x, g = x - eta * g, g - eta * Qg
                break
            eta /= 2
        else:
            x, g = weights.values, g_start
    return replace(weights, values=x)


def least_squares(data: Chunks, gates: Gates, weights: KeyedWeights) -> KeyedWeights:
    """Minimise ||A_S x - y|| by conjugate gradients from the given values."""
    if not len(weights.keys):
        return weights
    columns = SupportColumns(data, gates, weights)
    x, g = weights.values, columns.gradient
    p, power = -g, float(g.double() @ g.double())
    target = (EXACT[data.dtype] ** 2) * power
    for _ in range(LEAST_SQUARES_STEPS):
        if power <= target:
            break
        curved, Qp = columns.curvature(p)
        if curved <= 0.0:
            break
        alpha = power / curved
        x, g = x + alpha * p, g + alpha * Qp
        last, power = power, float(g.double() @ g.double())
        p = (power / last) * p - g
    return replace(weights, values=x)


def residual_of(data: Chunks, now: Iterate) -> tuple[list[Tensor], float]:
    """Return A w - y by chunks, and its squared norm."""
    w = now.weights
    matrices = []
    if len(w.keys):
        matrices = [(b, w.matrix(b.neurons)) for b in blocks(now.gates, w.neurons)]
    own = isinstance(now.gates, OwnGates)
    residual, square = [], torch.zeros((), dtype=torch.float64, device=data.device)
    for i, y in enumerate(data.y):
        if own:  # D_j X w_j = relu(X w_j)
            r = -y
            for b, _ in matrices:
                r += b.gate(i).clamp_min_(0).sum(0)
        else:
            r = sum_over(matrices, data, i) - y
        residual.append(r)
        square += r @ r
    return residual, float(data.group.sum_(square))


def require_same_support(data: Chunks, keys: Tensor, step: int) -> None:
    """Raise GroupError unless all processes have the same support."""
    data.group.require_same(f"the support at step {step}", keys)


def largest_entries(keys: Tensor, values: Tensor, k: int) -> Tensor:
    """Return the positions of the k largest |values| by increasing key; ties go by key."""
    by_key = torch.argsort(keys)
    size = values[by_key].abs()
    order = torch.argsort(size, descending=True, stable=True)[:k]
    order = by_key[order[size[order] > 0]]
    return order[torch.argsort(keys[order])]
