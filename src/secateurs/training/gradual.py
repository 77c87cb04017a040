"""Gradual pruning (Zhu & Gupta 2017) of a dense network, with a Fisher saliency."""

from __future__ import annotations

import torch

from secateurs.core.schedules import support_size
from secateurs.core.solution import History, ProgressCallback, Solution
from secateurs.sparse.network import SparseNetwork
from secateurs.sparse.topk import smallest_mask
from secateurs.training.dense import dense_solution, random_dense, train_dense
from secateurs.training.training_data import TrainingData


def gradual(
    data: TrainingData,
    hidden: tuple[int, ...],
    n_nonzero: int,
    *,
    n_steps: int,
    batch_size: int,
    learning_rate: float = 1e-2,
    weight_decay: float = 0.0,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> Solution[SparseNetwork]:
    """Dense at the start, pruned along a cubic to `n_nonzero` weights at 60 % of the run.

    The weights with the smallest w^2 E[g^2] go: unlike the global magnitude, that does not
    change when a ReLU unit is rescaled.

    Returns
    -------
    Solution of SparseNetwork
        With at most `n_nonzero` weights; the cost and memory of dense training.
    """
    generator = torch.Generator().manual_seed(random_state)
    state = random_dense(data, hidden, generator)
    history = History("step", "loss", "n_nonzero")
    start = state.n_nonzero

    def cut(t: int) -> None:
        if t >= n_steps:
            target = n_nonzero
        else:
            target = support_size(t, n_steps, start, min(n_nonzero, start))
        saliency = state.fisher_saliency()
        saliency[~state.flat_masks()] = -1.0
        state.set_masks(~smallest_mask(saliency, saliency.numel() - target))

    train_dense(
        state,
        data,
        generator,
        n_steps=n_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        history=history,
        progress=progress,
        at_exchange=cut,
    )
    return dense_solution(state, data, history, batch_size)
