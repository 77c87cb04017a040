"""One-shot magnitude pruning: train dense, keep the s largest weights, fine-tune."""

from __future__ import annotations

import torch

from secateurs.core.solution import History, ProgressCallback, Solution
from secateurs.sparse.network import SparseNetwork
from secateurs.sparse.topk import smallest_mask
from secateurs.training.dense import dense_solution, random_dense, train_dense
from secateurs.training.training_data import TrainingData


def one_shot(
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
    """Half the steps dense, one global magnitude cut, half the steps on what is left.

    Returns
    -------
    Solution of SparseNetwork
        With at most `n_nonzero` weights; the cost of dense training.
    """
    generator = torch.Generator().manual_seed(random_state)
    state = random_dense(data, hidden, generator)
    history = History("step", "loss", "n_nonzero")
    for phase_steps in (n_steps - n_steps // 2, n_steps // 2):
        train_dense(
            state,
            data,
            generator,
            n_steps=phase_steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            history=history,
            progress=progress,
        )
        magnitude = state.magnitude()
        state.set_masks(~smallest_mask(magnitude, magnitude.numel() - n_nonzero))
        state.restart()
    return dense_solution(state, data, history, batch_size)
