"""Train a network that is sparse from the first step to the last, under a weight budget.

    start from overshoot * s random weights
    every step:      Adam on the weights of the support                          (1)
    every T steps:   score the absent weights by |gradient|, in blocks           (2)
                     drop the weights with the smallest w^2 v, grow the best     (3)
                     on a support that shrinks to s                              (4)

Nothing of the size of a dense layer is ever formed: memory is O(overshoot * s + batch).

Where the rows are shared out over a group of processes, a batch is made of a part from each.
The gradient in (1), the scores in (2) and the loss are summed over the group; all else is done
alike by every process, on the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from secateurs.core.group import Group
from secateurs.core.interrupt import Stop, uninterrupted
from secateurs.core.losses import check_finite, output_gradient
from secateurs.core.schedules import (
    LAST_EXCHANGE,
    exchange_share,
    learning_rate_at,
    support_size,
)
from secateurs.core.solution import History, Progress, ProgressCallback, Solution
from secateurs.sparse.network import CompactNetwork, SparseNetwork, exchange, pieces
from secateurs.sparse.topk import StreamingTopK, smallest_mask
from secateurs.training.adam import SupportAdam
from secateurs.training.initial import random_support
from secateurs.training.training_data import TrainingData, batches

SCORE_BATCH = 4  # rows that score absent weights, in mini-batches
SCORE_WIDTH = 1024  # columns of a block of scores
SCORE_ROWS = 1024  # rows of a block of scores
# bytes a weight: values, gradient, columns, two moments, cohort; transpose; during an exchange
STATE_BYTES, TRANSPOSE_BYTES, EXCHANGE_BYTES = 22, 12, 30
SCORE_COPIES = 3  # arrays of the size of a block of scores while its top k is taken


def prune_regrow(
    data: TrainingData,
    hidden: tuple[int, ...],
    n_nonzero: int,
    *,
    n_steps: int,
    batch_size: int,
    learning_rate: float = 1e-2,
    weight_decay: float = 0.0,
    overshoot: float = 12.0,
    exchange_every: int = 50,
    initial: SparseNetwork | None = None,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> Solution[SparseNetwork]:
    """Prune-and-regrow training with Adam on the support.

    Parameters
    ----------
    data : TrainingData
        With its group, of which every process calls this with the same other arguments.
    hidden : tuple of int
        Widths of the hidden layers.
    n_nonzero : int
        The budget s: weights at the end, biases included.
    n_steps, batch_size : int
        Rows of a batch, over all processes.
    learning_rate : float
        At the top of the schedule (warm-up, then a cosine).
    weight_decay : float
        Decoupled: each step shrinks the weights by ``rate * weight_decay``.
    overshoot : float, >= 1
        The support never has more than ``overshoot * n_nonzero`` weights.
    exchange_every : int
        Steps between exchanges (T).
    initial : SparseNetwork, optional
        Start from this network instead of random weights.
    random_state : int
    progress : callable, optional
        Called with a `Progress` at every exchange.

    Returns
    -------
    Solution of SparseNetwork
        With at most `n_nonzero` weights.  A keyboard interrupt ends training early: the
        network is pruned to the budget and the status is "interrupted".  In a group every
        process returns the same network.

    Raises
    ------
    FloatingPointError
        The loss became infinite or NaN.
    GroupError
        The support is not the same on all processes; the message names the step.

    Notes
    -----
    A step costs about 6 * nnz * batch flops, an exchange 2 * batch * 4 * (live units) * d.
    Memory beyond the data: 30 bytes per support weight, activations of the live units.
    In a group of several processes a step sends the gradient, 4 * nnz bytes, an exchange
    4 * (live units) * d bytes of scores, a block at a time.
    Source: secateurs, combining the sparse evolution of RigL (Evci et al. 2020) with
    the schedule of Zhu & Gupta (2017) and the Fisher saliency w^2 E[g^2].
    """
    generator = torch.Generator().manual_seed(random_state)
    widths = (data.d, *hidden, data.n_outputs)
    largest = max(n_nonzero, int(overshoot * n_nonzero))
    if initial is None:
        initial = random_support(widths, largest, data.input_variance(), generator)
    elif initial.widths != widths or initial.n_nonzero > largest:
        raise ValueError(
            f"the initial network has widths {initial.widths} and {initial.n_nonzero} weights; "
            f"expected widths {widths} and at most overshoot * n_nonzero = {largest} weights"
        )
    start = initial.n_nonzero
    net = CompactNetwork.from_network(initial, data.device)
    del initial
    group, batch_size = data.group, data.part(batch_size)
    n_batch = int(group.total(batch_size))
    if group.size > 1:
        _require_same_support(group, net, 0)
        own = np.random.SeedSequence([random_state, group.rank]).generate_state(1, np.uint64)[0]
        generator.manual_seed(int(own) >> 1)  # alike up to here, from here on rows and noise
    adam = SupportAdam(net, learning_rate, weight_decay)
    history = History("step", "loss", "n_nonzero")
    peak = net.nnz
    n_score = min(data.n, SCORE_BATCH * batch_size)
    peak_bytes = training_bytes(net, data.d, batch_size, n_score)
    losses = torch.zeros((), device=data.device)
    status, since, step = "budget", 0, 0
    stream = batches(data.n, batch_size, generator)
    try:
        with Stop(group) as stop:
            for step in range(n_steps):
                rows = next(stream)
                inputs = data.noisy_inputs(rows, net.units[0], generator)
                losses += gradient_on_support(net, inputs, data.targets(rows), n_batch)
                group.sum_(net.grad)
                adam.step(net, learning_rate_at(step, n_steps))  # (1)
                since += 1
                stop.check()

                t = step + 1
                if t % exchange_every and t != n_steps:
                    continue
                mean_loss = check_finite(group.total(losses.item()) / since, t)
                if t <= LAST_EXCHANGE * n_steps or net.nnz > n_nonzero:
                    target = support_size(t, n_steps, start, n_nonzero)  # (4)
                    k = int(exchange_share(t, n_steps) * target)
                    rows = _score_rows(data.n, n_score, generator)
                    with uninterrupted():
                        net = _exchange(net, adam, data, rows, target, k)  # (2), (3)
                    _require_same_support(group, net, t)
                    peak = max(peak, net.nnz)
                    peak_bytes = max(peak_bytes, training_bytes(net, data.d, batch_size, n_score))
                history.record(step=t, loss=mean_loss, n_nonzero=net.nnz)
                losses.zero_()
                since = 0
                if progress is not None:
                    with stop.held():
                        progress(Progress(t, n_steps, mean_loss, net.nnz))
    except KeyboardInterrupt:
        status = "interrupted"
        if net.nnz > n_nonzero:
            net = _drop_to(net, adam, n_nonzero)
    group.require_same("the trained network", *net.units, *net.crows, net.col, net.values)
    measured = {"peak_support": peak, "peak_bytes": peak_bytes, "n_steps": step + 1}
    return Solution(net.to_network(), status, history, measured)


def training_bytes(net: CompactNetwork, d: int, batch_size: int, n_score: int) -> int:
    """Memory training takes beyond the data, in bytes: the largest of its three moments.

    The sum of the sizes of the arrays alive at once; tests hold it against the allocator.
    """
    crows = 4 * sum(crow.numel() for crow in net.crows)
    units = 8 * sum(len(u) for u in net.units)
    upper = net.nnz - net.matrices[0].nnz
    kept = STATE_BYTES * net.nnz + TRANSPOSE_BYTES * upper + crows + units
    live = 4 * sum(len(u) + 1 for u in net.units)  # one column of all activations
    hidden = live - 4 * (len(net.units[0]) + 1)
    wide = max(len(net.units[layer + 1]) for layer in range(net.n_layers))
    gather = 4 * d if len(net.units[0]) * 8 >= d else 4 * len(net.units[0])
    step = batch_size * (live + hidden + gather)
    width = min(SCORE_WIDTH, d)
    block = 2 * 4 * n_score * width + 4 * SCORE_COPIES * min(wide, SCORE_ROWS) * width
    score = n_score * (live + hidden + hidden // 4) + block
    merge = (EXCHANGE_BYTES - STATE_BYTES) * net.nnz
    return kept + max(step, score, merge)


def _require_same_support(group: Group, net: CompactNetwork, step: int) -> None:
    group.require_same(f"the support at step {step}", *net.units, *net.crows, net.col)


def gradient_on_support(
    net: CompactNetwork, inputs: Tensor, targets: Tensor, n_batch: int | None = None
) -> Tensor:
    """Mean loss over a mini-batch, 0-d; its gradient on the support goes to ``net.grad``.

    Of a batch of `n_batch` rows over several processes, the part that these rows make up.
    """
    H = net.forward(inputs)
    loss, D = output_gradient(H[-1], targets, n_batch)
    for layer in range(net.n_layers - 1, -1, -1):
        net.matrices[layer].sampled_product(D, H[layer])
        if layer:
            D = net.matrices[layer].transpose_product(D)
            torch.ops.aten.threshold_backward.grad_input(D, H[layer], 0.0, grad_input=D)
    return loss


def _exchange(
    net: CompactNetwork, adam: SupportAdam, data: TrainingData, rows: Tensor, target: int, k: int
) -> CompactNetwork:
    """Drop the least salient weights, grow the k with the largest gradient."""
    grown_keys = best_absent(net, data, rows, k)
    n_grown = sum(len(g) for g in grown_keys)
    n_drop = max(0, net.nnz + n_grown - target)
    drop = smallest_mask(adam.saliency(net), n_drop)
    net, state = exchange(net, adam.release(), drop, grown_keys)
    adam.restore(state)
    return net


def _drop_to(net: CompactNetwork, adam: SupportAdam, n_nonzero: int) -> CompactNetwork:
    drop = smallest_mask(adam.saliency(net), net.nnz - n_nonzero)
    none = [torch.empty(0, dtype=torch.int64, device=drop.device) for _ in net.crows]
    return exchange(net, adam.release(), drop, none)[0]


def best_absent(net: CompactNetwork, data: TrainingData, rows: Tensor, k: int) -> list[Tensor]:
    """Keys of the k absent weights with the largest gradient, over all layers.

    A unit with no inputs has its gate opened, so that it can be connected again.

    Parameters
    ----------
    net : CompactNetwork
    data : TrainingData
    rows : Tensor int64
        Rows the gradient is averaged over, together with those of the other processes.
    k : int

    Returns
    -------
    list of Tensor int64, one per layer
        Sorted keys.  Time 2 * len(rows) * (live units) * d flops, in blocks of at most
        1024 x 1024 scores.
    """
    top = StreamingTopK(k, data.device)
    offsets = np.cumsum(
        [0, *((net.widths[i] + 1) * net.widths[i + 1] for i in range(net.n_layers))]
    ).tolist()
    if k > 0:
        n_rows = int(data.group.total(len(rows)))
        H = net.forward(data.inputs(rows, net.units[0]))
        _, D = output_gradient(H[-1], data.targets(rows), n_rows)
        for layer in range(net.n_layers - 1, -1, -1):
            _score_layer(net, layer, D, H[layer], data, rows, offsets[layer], top)
            if layer:
                D = net.matrices[layer].transpose_product(D)
                shut = H[layer] <= 0
                shut &= (net.crows[layer - 1].diff() > 0)[:, None]
                D.masked_fill_(shut, 0.0)
                del shut
    keys = top.keys()
    cuts = torch.searchsorted(keys, torch.tensor(offsets, device=keys.device)).tolist()
    return [keys[cuts[i] : cuts[i + 1]] - offsets[i] for i in range(net.n_layers)]


def _score_layer(
    net: CompactNetwork,
    layer: int,
    D: Tensor,
    H: Tensor,
    data: TrainingData,
    rows: Tensor,
    offset: int,
    top: StreamingTopK,
) -> None:
    """Offer |D H^T| of one layer, off its support, to `top` in blocks."""
    n_in = net.widths[layer]
    row_keys = offset + net.units[layer + 1] * (n_in + 1)
    units = net.units[layer]
    constant = torch.tensor([n_in], device=D.device)
    nominal = torch.cat([units, constant])  # compact column -> nominal column
    matrix = net.matrices[layer]
    blocks: Iterable[tuple[Tensor, Tensor]] = [(nominal, H)]
    if layer == 0:
        every_input = (
            (torch.arange(start, start + len(block), device=D.device), block)
            for start, block in data.column_blocks(rows, SCORE_WIDTH)
        )
        blocks = chain([(constant, H[-1:])], every_input)
    for columns, block in blocks:
        first, last = int(columns[0]), int(columns[-1])
        for a in range(0, len(row_keys), SCORE_ROWS):
            b = min(a + SCORE_ROWS, len(row_keys))
            G = data.group.sum_(D[a:b] @ block.t()).abs_()
            for piece in pieces(slice(int(matrix.crow[a]), int(matrix.crow[b]))):
                present = nominal[matrix.col[piece].long()]
                inside = (present >= first) & (present <= last)
                at = torch.searchsorted(columns, present[inside])
                G[matrix.rows_of(piece)[inside] - a, at] = 0.0
            top.update(G, row_keys[a:b], columns)


def _score_rows(n: int, size: int, generator: torch.Generator) -> Tensor:
    if size >= n:
        return torch.arange(n)
    return torch.randint(n, (size,), generator=generator).sort().values
