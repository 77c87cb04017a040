"""One-shot magnitude pruning: train dense, keep the s largest weights, fine-tune."""

from __future__ import annotations

from typing import Unpack

from secateurs.core.solution import Solution
from secateurs.sparse.network import SparseNetwork
from secateurs.training.dense_training import DenseTraining, TrainerSettings
from secateurs.training.training_data import TrainingData


def one_shot(
    data: TrainingData, hidden: tuple[int, ...], n_nonzero: int, **settings: Unpack[TrainerSettings]
) -> Solution[SparseNetwork]:
    """Train dense for half the steps, keep the largest weights, and train these for the rest.

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
        With at most `n_nonzero` weights, at the cost of dense training.
    """
    run = DenseTraining(data, hidden, **settings)
    run.train(run.n_steps - run.n_steps // 2)
    run.keep_largest(run.magnitude(), n_nonzero)
    run.restart()
    run.train(run.n_steps // 2)
    return run.solution()
