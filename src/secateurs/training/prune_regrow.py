"""Train a network that is sparse from the first step to the last, under a weight budget.

    start from overshoot * s random weights
    every step:      Adam on the weights of the support                          (1)
    every T steps:   score the absent weights by a score test, in blocks         (2)
                     drop the weights with the smallest w^2 v, grow the best     (3)
                     on a support that shrinks to s                              (4)

No array of the size of a dense layer is formed: memory is O(overshoot * s + batch).

In a group of processes each process has its own rows, and a batch is the union of their parts.
The gradient in (1), the scores in (2) and the loss are summed over the group.  All other steps
are computed by every process from the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from secateurs.core.driver import Iterations
from secateurs.core.group import Group
from secateurs.core.interrupt import Stop, uninterrupted
from secateurs.core.losses import check_finite, output_derivative, output_loss
from secateurs.core.parameters import Shown, bad_value
from secateurs.core.schedules import (
    AT_BUDGET,
    LAST_EXCHANGE,
    exchange_share,
    learning_rate_at,
    support_size,
)
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.sparse.compact import CompactNetwork
from secateurs.sparse.network import SparseNetwork
from secateurs.sparse.support_update import update_support
from secateurs.sparse.topk import smallest_mask
from secateurs.training.adam import SupportAdam
from secateurs.training.growth import best_absent
from secateurs.training.initial import random_support
from secateurs.training.memory import sparse_peak_bytes
from secateurs.training.training_data import TrainingData

LOSS_EVERY = 4  # the recorded loss is a mean over every fourth batch
_relu_backward = torch.ops.aten.threshold_backward.grad_input


def prune_regrow(
    data: TrainingData,
    hidden: tuple[int, ...],
    n_nonzero: int,
    *,
    n_steps: int,
    batch_size: int,
    learning_rate: float = 2e-2,
    weight_decay: float = 0.0,
    overshoot: float = 12.0,
    exchange_every: int = 50,
    score_batches: int = 4,
    at_budget: float = AT_BUDGET,
    initial: SparseNetwork | None = None,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> Solution[SparseNetwork]:
    """Train by prune-and-regrow with Adam on the support.

    Parameters
    ----------
    data : TrainingData
        Every process of its group must pass the same remaining arguments.
    hidden : tuple of int
        Widths of the hidden layers.
    n_nonzero : int
        The budget s: the most weights at the end, biases included.
    n_steps, batch_size : int
        Number of steps, and rows of a batch over all processes.
    learning_rate : float
        Maximum of the schedule: a warm-up, then a cosine.
    weight_decay : float
        Decoupled: each step shrinks the weights by ``rate * weight_decay``.
    overshoot : float, >= 1
        The support never has more than ``overshoot * n_nonzero`` weights.
    exchange_every : int
        Steps between two changes of the support (T).
    score_batches : int
        The absent weights are scored on the rows of so many batches.
    at_budget : float, in (0, 1]
        Share of the run after which the support has the size of the budget.
    initial : SparseNetwork, optional
        Start from this network instead of random weights.
    random_state : int
        Random seed of the first support and weights, the batches and the input noise.
    progress : callable, optional
        Called with a `Progress` every T steps.

    Returns
    -------
    Solution of SparseNetwork
        With at most `n_nonzero` weights, the same on every process.  Ctrl-C ends training early:
        the network is then pruned to the budget, and the status is "interrupted".

    Raises
    ------
    ValueError
        The initial network does not fit.
    FloatingPointError
        The loss became infinite or NaN.
    GroupError
        The support is not the same on all processes; the message names the step.

    Notes
    -----
    A step costs about 6 * nnz * batch flops, a change of support 2 * batch * 4 * (live units) * d.
    Memory beyond the data: at most 20 bytes for each weight of the first layer, 28 for each of the
    others, and activations of the live units.  With several processes a step sends the gradient
    (4 * nnz bytes), and a change of support sends 4 * (live units) * d bytes of scores, one block
    at a time.
    Source: secateurs.  It combines the sparse evolution of RigL (Evci et al. 2020) with the
    schedule of Zhu & Gupta (2017) and the Fisher saliency w^2 E[g^2].
    """
    generator = torch.Generator().manual_seed(random_state)
    largest = max(n_nonzero, int(overshoot * n_nonzero))
    net = _first_network(data, hidden, largest, initial, generator)
    start = net.nnz
    group, batch_size = data.group, data.part(batch_size)
    n_batch = int(group.total(batch_size))
    n_score = min(data.n, score_batches * batch_size)
    if group.size > 1:
        _require_same_support(group, net, 0)
        generator.manual_seed(_own_seed(random_state, group))  # each process draws its own rows
    adam = SupportAdam(net, learning_rate, weight_decay, n_batch)
    peak, peak_bytes = net.nnz, sparse_peak_bytes(net, data.d, batch_size, n_score)
    losses: list[Tensor] = []
    stream = data.batches(batch_size, generator)
    with Iterations(n_steps, progress) as run, Stop(group) as stop:
        for t, rows in zip(run, stream, strict=False):
            inputs, y = data.noisy_inputs(rows, net.units[0], generator), data.targets(rows)
            is_last = t % exchange_every == 0 or t == n_steps  # of the steps on this support
            step = _begun_step(net, adam, group, learning_rate_at(t - 1, n_steps))  # (1)
            wanted, weights = is_last or t % LOSS_EVERY == 0, data.weights(rows)
            losses += gradient_on_support(net, inputs, y, step, n_batch, weights, wanted=wanted)
            stop.check()
            if not is_last:
                continue
            mean_loss = check_finite(group.total(float(torch.stack(losses).mean())), t)
            if t <= LAST_EXCHANGE * n_steps or net.nnz > n_nonzero:
                target = support_size(t, n_steps, start, n_nonzero, at_budget)  # (4)
                k = int(exchange_share(t, n_steps) * target)
                rows = data.sample(n_score, generator)
                with uninterrupted():
                    net = _change_support(net, adam, best_absent(net, data, rows, k), target)
                _require_same_support(group, net, t)
                peak = max(peak, net.nnz)
                peak_bytes = max(peak_bytes, sparse_peak_bytes(net, data.d, batch_size, n_score))
            losses.clear()
            with stop.held():
                run.record(loss=mean_loss, n_nonzero=net.nnz)
    net = _within_budget(net, adam, n_nonzero, group)
    return run.solution(
        net.to_network(), peak_support=peak, peak_bytes=peak_bytes, n_steps=run.step
    )


def _first_network(
    data: TrainingData,
    hidden: tuple[int, ...],
    largest: int,
    initial: SparseNetwork | None,
    generator: torch.Generator,
) -> CompactNetwork:
    """Return the initial network, or a random one with `largest` weights."""
    widths = (data.d, *hidden, data.n_outputs)
    if initial is None:
        initial = random_support(widths, largest, data.input_variance(), generator)
    elif initial.widths != widths or initial.n_nonzero > largest:
        raise bad_value(
            "initial",
            Shown(f"widths {initial.widths} and {initial.n_nonzero} weights"),
            f"widths {widths} and at most overshoot * n_nonzero = {largest} weights",
        )
    return CompactNetwork.from_network(initial, data.device)


def gradient_on_support(
    net: CompactNetwork,
    inputs: Tensor,
    targets: Tensor,
    use: Callable[[int], None],
    n_batch: int | None = None,
    weights: Tensor | None = None,
    *,
    wanted: bool = True,
) -> list[Tensor]:
    """Compute the gradient of the sum of the losses of a batch, piece by piece, the last one first.

    Parameters
    ----------
    net : CompactNetwork
    inputs, targets : Tensor
        A batch.
    use : callable
        ``use(piece)`` is called as soon as ``net.gradients[piece]`` is complete.  It may change the
        values of this piece: the rest of the gradient does not need them.
    n_batch : int, optional
        With several processes, the rows of the whole batch; the loss is then the part that comes
        from these rows.
    weights : Tensor, optional
        What each row counts for.
    wanted : bool
        Whether the loss is wanted.

    Returns
    -------
    list of Tensor, 0-d
        The mean loss; an empty list where it is not wanted.
    """
    H = net.forward(inputs)
    D = output_derivative(H[-1], targets, weights)
    losses = [output_loss(H[-1], targets, n_batch, weights)] if wanted else []
    for layer in range(net.n_layers - 1, -1, -1):
        above = D
        if layer:
            D = net.matrices[layer].transpose_product(above)
            _relu_backward(D, H[layer], 0.0, grad_input=D)
        for block in net.blocks[layer]:
            part = above if block.rows is None else above[block.rows]
            block.matrix.sampled_product(part, H[layer])
            if block.completes is not None:
                use(block.completes)
    return losses


def _begun_step(
    net: CompactNetwork, adam: SupportAdam, group: Group, rate: float
) -> Callable[[int], None]:
    """Begin a step of Adam, and return the function that updates a piece of the values."""
    adam.begin_step(rate)
    return partial(_step, net, adam, group)


def _step(net: CompactNetwork, adam: SupportAdam, group: Group, piece: int) -> None:
    """Update one piece of the values."""
    adam.update(piece, group.sum_(net.gradients[piece]))


def _change_support(
    net: CompactNetwork, adam: SupportAdam, grown: list[Tensor], target: int
) -> CompactNetwork:
    """Grow weights, and drop the least salient ones so that `target` weights are left: (3)."""
    n_drop = max(0, net.nnz + sum(len(keys) for keys in grown) - target)
    drop = [smallest_mask(partial(adam.saliency, net), n_drop, net.nnz)]
    net, state = update_support(net, adam.release(), drop.pop(), grown)
    adam.restore(net, state)
    return net


def _within_budget(
    net: CompactNetwork, adam: SupportAdam, n_nonzero: int, group: Group
) -> CompactNetwork:
    """Drop weights after Ctrl-C, and check the result; a whole run has at most the budget."""
    if net.nnz > n_nonzero:
        none = [torch.empty(0, dtype=torch.int64, device=net.values.device) for _ in net.crows]
        net = _change_support(net, adam, none, n_nonzero)
    group.require_same("the trained network", *net.units, *net.crows, net.col, net.values)
    return net


def _require_same_support(group: Group, net: CompactNetwork, step: int) -> None:
    group.require_same(f"the support at step {step}", *net.units, *net.crows, net.col)


def _own_seed(random_state: int, group: Group) -> int:
    """Return the seed of the rows and the noise of this process."""
    state = np.random.SeedSequence([random_state, group.rank]).generate_state(1, np.uint64)
    return int(state[0]) >> 1
