"""RigL (Evci et al. 2020): a support of constant size, magnitude drop, gradient growth."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from secateurs.core.schedules import exchange_share
from secateurs.core.solution import Solution
from secateurs.sparse.network import SparseNetwork
from secateurs.sparse.topk import smallest_mask
from secateurs.training.dense_training import DenseTraining, TrainerSettings
from secateurs.training.initial import erdos_renyi
from secateurs.training.training_data import TrainingData

OUTPUT_SHARE = 0.3  # least share of the weights in the last layer, chosen on held-out rows
SCORE_BATCHES = 4  # the absent weights are scored on the rows of so many batches


def layer_counts(widths: tuple[int, ...], n_nonzero: int) -> list[int]:
    """Return the number of weights of each layer: Erdos-Renyi, with a least share for the last.

    Erdos-Renyi alone would give the last layer of 784-20-10 seven of 200 weights.  These are too
    few to separate ten classes, and a layer of constant size could not gain more.
    """
    last = min(widths[-2] * widths[-1], int(OUTPUT_SHARE * n_nonzero))
    if len(widths) == 2 or erdos_renyi(widths, n_nonzero)[-1] >= last:
        return erdos_renyi(widths, n_nonzero)
    return [*erdos_renyi(widths[:-1], n_nonzero - last), last]


def rigl(
    data: TrainingData, hidden: tuple[int, ...], n_nonzero: int, **settings: Unpack[TrainerSettings]
) -> Solution[SparseNetwork]:
    """Train `n_nonzero` weights from the start, with a support that moves.

    `layer_counts` distributes the weights over the layers.  Every 50 steps the smallest weights
    of each layer are replaced by as many absent ones with the largest gradient.  The share that is
    replaced falls along a cosine from 30 % to 0 at 75 % of the steps.

    Parameters
    ----------
    data : TrainingData
        The rows; its group must have one process.
    hidden : tuple of int
        Widths of the hidden layers.
    n_nonzero : int
        The budget: the most weights at the end, biases included.
    **settings : TrainerSettings
        Steps, batch size and other settings, as for `prune_regrow`.

    Returns
    -------
    Solution of SparseNetwork
        With at most `n_nonzero` weights, at the cost and memory of dense training: the published
        code masks dense arrays too.
    """
    run = DenseTraining(data, hidden, **settings)
    counts = layer_counts((data.d, *hidden, data.n_outputs), n_nonzero)
    run.keep(torch.cat(_random_masks(run, counts)))
    units = torch.arange(data.d, device=data.device)
    score_rows = data.batches(SCORE_BATCHES * run.batch_size, run.generator)
    for t in run.steps(run.n_steps):
        share = exchange_share(t, run.n_steps)
        if share > 0:
            rows = next(score_rows)
            batch = data.inputs(rows, units), data.targets(rows), data.weights(rows)
            _, gradients = run.gradients(*batch)
            layers = zip(run.weights, run.masks, gradients, strict=True)
            run.keep(torch.cat([_replaced(*layer, share) for layer in layers]))
    return run.solution()


def _random_masks(run: DenseTraining, counts: list[int]) -> list[Tensor]:
    """Draw `counts` weights of each layer, no biases, and give them the scale of He et al."""
    masks = []
    for W, count in zip(run.weights, counts, strict=True):
        n_in = W.shape[1] - 1
        order = torch.randperm(W.shape[0] * n_in, generator=run.generator)[:count]
        mask = torch.zeros(W.shape, dtype=torch.bool)
        mask[order // n_in, order % n_in] = True
        fan_in = mask.sum(1, keepdim=True).clamp(min=1).to(W.device)
        W.mul_((mask.shape[1] / fan_in).sqrt())
        masks.append(mask.flatten().to(W.device))
    return masks


def _replaced(W: Tensor, mask: Tensor, gradient: Tensor, share: float) -> Tensor:
    """Return the mask of a layer after a share of its weights was replaced, flat."""
    present = mask.flatten() > 0
    n_present = int(present.sum())
    k = min(int(share * n_present), present.numel() - n_present)
    magnitude = W.abs().flatten()
    magnitude[~present] = float("inf")
    dropped = smallest_mask(magnitude, k)
    score = -gradient.abs().flatten()
    score[present] = float("inf")
    return (present & ~dropped) | smallest_mask(score, k)
