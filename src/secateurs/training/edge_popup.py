"""Edge-popup (Ramanujan et al. 2020): choose which random weights stay, by learned scores.

    repeat on mini-batches:
      every layer keeps the weights with the largest scores: W o M                           (1)
      s <- s - rate * dL/d(W o M) o W        the gradient goes straight through the choice   (2)

The weights are never trained: they are signed constants, +-sigma_l.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from secateurs.core.losses import check_finite, output_gradient
from secateurs.core.schedules import learning_rate_at
from secateurs.core.solution import History, Progress, ProgressCallback, Solution
from secateurs.sparse.network import SparseNetwork, from_dense
from secateurs.sparse.topk import smallest_mask
from secateurs.training.dense import dense_forward, dense_gradients
from secateurs.training.training_data import TrainingData, batches

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
        Weights that stay; there are no biases.
    n_steps, batch_size : int
    learning_rate, weight_decay : float
        Of the scores, by gradient descent with momentum .9; warm-up and cosine.
    random_state : int
        Seed of weights, first scores and batches.
    progress : callable, optional

    Returns
    -------
    Solution of SparseNetwork
        With `n_nonzero` weights of random sign and one size for each layer.  Status "budget", or
        "interrupted" with the scores so far.

    Raises
    ------
    ValueError
        The network has fewer weights than `n_nonzero`, or the loss is not finite.

    Notes
    -----
    A step costs one of dense training and a selection, 6 * batch * weights flops.
    Source: Ramanujan et al. (2020), signed Kaiming constants scaled by the share that stays.
    """
    widths = (data.d, *hidden, data.n_outputs)
    sizes = [a * b for a, b in pairwise(widths)]
    if not 1 <= n_nonzero <= sum(sizes):
        raise ValueError(f"n_nonzero: got {n_nonzero}, expected 1 to {sum(sizes)} weights")
    kept, energy = _shares(sizes, n_nonzero), float(data.input_variance().sum())
    generator = torch.Generator().manual_seed(random_state)
    weights, scores = [], []
    for layer, (n_in, n_out) in enumerate(pairwise(widths)):
        # the first layer counts inputs by their variance, so that hidden units have unit scale
        fan_in = energy if layer == 0 and energy > 0 else float(n_in)
        sigma = math.sqrt(2.0 * sizes[layer] / (fan_in * max(kept[layer], 1)))
        sign = 2.0 * (torch.rand(n_out, n_in, generator=generator) < 0.5) - 1.0
        weights.append((sigma * sign).to(data.device))
        first = torch.rand(n_out, n_in, generator=generator) / math.sqrt(n_in)
        scores.append(first.to(data.device))
    velocity = [torch.zeros_like(s) for s in scores]
    history, status, done = History("step", "loss", "n_nonzero"), "budget", 0
    stream = batches(data.n, batch_size, generator)
    units = torch.arange(data.d, device=data.device)
    total, since = torch.zeros((), device=data.device), 0
    try:
        for t in range(1, n_steps + 1):
            masked = _with_bias_column(_chosen(weights, scores, kept))  # (1)
            rows = next(stream)
            H = dense_forward(masked, data.noisy_inputs(rows, units, generator))
            loss, D = output_gradient(H[-1], data.targets(rows))
            gradients = dense_gradients(masked, H, D)
            rate = learning_rate * learning_rate_at(t - 1, n_steps)
            for W, s, v, g in zip(weights, scores, velocity, gradients, strict=True):
                step = g[:, :-1] * W + weight_decay * s  # (2)
                v.mul_(MOMENTUM).add_(step)
                s.sub_(v, alpha=rate)
            done = t
            total += loss
            since += 1
            if t % EVERY == 0 or t == n_steps:
                mean_loss = check_finite(total.item() / since, t)
                history.record(step=t, loss=mean_loss, n_nonzero=n_nonzero)
                total.zero_()
                since = 0
                if progress is not None:
                    progress(Progress(t, n_steps, mean_loss, n_nonzero))
    except KeyboardInterrupt:
        status = "interrupted"
    final = _chosen(weights, scores, kept)
    network = from_dense(final, [torch.zeros(len(W)) for W in final])
    return Solution(network, status, history, {"n_steps": done})


def _shares(sizes: list[int], n_nonzero: int) -> list[int]:
    """The same share of every layer; what rounding leaves goes to the largest remainders."""
    total = sum(sizes)
    kept = [n_nonzero * size // total for size in sizes]
    remainders = [-(n_nonzero * size % total) for size in sizes]
    for layer in sorted(range(len(sizes)), key=remainders.__getitem__)[: n_nonzero - sum(kept)]:
        kept[layer] += 1
    return kept


def _chosen(weights: list[Tensor], scores: list[Tensor], kept: list[int]) -> list[Tensor]:
    """Weights with the largest scores of each layer, the others 0; equal scores by index."""
    return [
        W * (~smallest_mask(s.flatten(), s.numel() - k)).view_as(W)
        for W, s, k in zip(weights, scores, kept, strict=True)
    ]


def _with_bias_column(weights: list[Tensor]) -> list[Tensor]:
    return [torch.cat([W, W.new_zeros(len(W), 1)], 1) for W in weights]
