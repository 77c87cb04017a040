"""Edge-popup (Ramanujan et al. 2020): choose by learned scores which random weights stay.

    repeat on mini-batches:
      every layer keeps the weights with the largest scores: W o M                           (1)
      s <- s - rate * dL/d(W o M) o W        the gradient passes straight through the choice (2)

The weights are never trained: they are constants with random signs, +-sigma_l.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from secateurs.core.driver import Iterations
from secateurs.core.losses import check_finite, output_derivative, output_loss
from secateurs.core.parameters import check_integer
from secateurs.core.schedules import learning_rate_at
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.sparse.network import SparseNetwork, from_dense
from secateurs.sparse.topk import smallest_mask
from secateurs.training.dense_training import dense_forward, dense_gradients
from secateurs.training.training_data import TrainingData

MOMENTUM = 0.9
EVERY = 50  # steps between two records


def edge_popup(
    data: TrainingData,
    hidden: tuple[int, ...],
    n_nonzero: int,
    *,
    n_steps: int,
    batch_size: int,
    learning_rate: float = 0.1,
    weight_decay: float = 0.0,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> Solution[SparseNetwork]:
    """Keep `n_nonzero` weights of a random network, the same share of every layer.

    Parameters
    ----------
    data : TrainingData
    hidden : tuple of int
        Widths of the hidden layers.
    n_nonzero : int
        Number of weights that stay; there are no biases.
    n_steps, batch_size : int
    learning_rate, weight_decay : float
        For the scores, which follow gradient descent with momentum .9, a warm-up and a cosine.
    random_state : int
        Seed of the weights, the first scores and the batches.
    progress : callable, optional

    Returns
    -------
    Solution of SparseNetwork
        With `n_nonzero` weights of random sign, and one absolute value for each layer.  After
        Ctrl-C the status is "interrupted", and the scores so far choose the weights.

    Raises
    ------
    ValueError
        The network has fewer weights than `n_nonzero`.
    FloatingPointError
        The loss became infinite or NaN.

    Notes
    -----
    A step costs as much as one of dense training, 6 * batch * weights flops, and a selection.
    Source: Ramanujan et al. (2020), signed Kaiming constants scaled by the share that stays.
    """
    widths = (data.d, *hidden, data.n_outputs)
    sizes = [a * b for a, b in pairwise(widths)]
    check_integer("n_nonzero", n_nonzero, 1, sum(sizes))
    kept = equal_shares(sizes, n_nonzero)
    generator = torch.Generator().manual_seed(random_state)
    weights, scores = _signed_constants(data, widths, kept, generator)
    velocity = [torch.zeros_like(s) for s in scores]
    stream = data.batches(batch_size, generator)
    units = torch.arange(data.d, device=data.device)
    total, since = torch.zeros((), device=data.device), 0
    with Iterations(n_steps, progress) as run:
        for t in run:
            masked = _with_bias_column(_chosen(weights, scores, kept))  # (1)
            rows = next(stream)
            H = dense_forward(masked, data.noisy_inputs(rows, units, generator))
            targets = data.targets(rows)
            loss = output_loss(H[-1], targets)
            D = output_derivative(H[-1], targets).div_(len(targets))
            gradients = dense_gradients(masked, H, D)
            rate = learning_rate * learning_rate_at(t - 1, n_steps)
            for W, s, v, g in zip(weights, scores, velocity, gradients, strict=True):
                step = g[:, :-1] * W + weight_decay * s  # (2)
                v.mul_(MOMENTUM).add_(step)
                s.sub_(v, alpha=rate)
            total += loss
            since += 1
            if t % EVERY == 0 or t == n_steps:
                mean_loss = check_finite(total.item() / since, t)
                total.zero_()
                since = 0
                run.record(loss=mean_loss, n_nonzero=n_nonzero)
    network = from_dense(_with_bias_column(_chosen(weights, scores, kept)))
    return run.solution(network, n_steps=run.step)


def equal_shares(sizes: list[int], n_nonzero: int) -> list[int]:
    """Share weights out over layers in proportion; the largest remainders are rounded up."""
    total = sum(sizes)
    kept = [n_nonzero * size // total for size in sizes]
    remainders = [-(n_nonzero * size % total) for size in sizes]
    for layer in sorted(range(len(sizes)), key=remainders.__getitem__)[: n_nonzero - sum(kept)]:
        kept[layer] += 1
    return kept


def _signed_constants(
    data: TrainingData, widths: tuple[int, ...], kept: list[int], generator: torch.Generator
) -> tuple[list[Tensor], list[Tensor]]:
    """Draw the weights and the first scores of every layer."""
    energy = float(data.input_variance().sum())
    weights, scores = [], []
    for layer, (n_in, n_out) in enumerate(pairwise(widths)):
        # the first layer counts inputs by their variance, so that hidden units have unit scale
        fan_in = energy if layer == 0 and energy > 0 else float(n_in)
        sigma = math.sqrt(2.0 * n_in * n_out / (fan_in * max(kept[layer], 1)))
        sign = 2.0 * (torch.rand(n_out, n_in, generator=generator) < 0.5) - 1.0
        weights.append((sigma * sign).to(data.device))
        first = torch.rand(n_out, n_in, generator=generator) / math.sqrt(n_in)
        scores.append(first.to(data.device))
    return weights, scores


def _chosen(weights: list[Tensor], scores: list[Tensor], kept: list[int]) -> list[Tensor]:
    """Return the weights with the largest scores of each layer, and 0 for the others."""
    return [
        W * (~smallest_mask(s.flatten(), s.numel() - k)).view_as(W)
        for W, s, k in zip(weights, scores, kept, strict=True)
    ]


def _with_bias_column(weights: list[Tensor]) -> list[Tensor]:
    return [torch.cat([W, W.new_zeros(len(W), 1)], 1) for W in weights]
