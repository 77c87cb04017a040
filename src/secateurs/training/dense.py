"""Train the dense network without pruning: the accuracy to compare with."""

from __future__ import annotations

from typing import Unpack

from secateurs.core.solution import Solution
from secateurs.sparse.network import SparseNetwork
from secateurs.training.dense_training import DenseTraining, TrainerSettings
from secateurs.training.training_data import TrainingData


def dense(
    data: TrainingData,
    hidden: tuple[int, ...],
    n_nonzero: int | None = None,  # noqa: ARG001 - the dense network has no budget
    **settings: Unpack[TrainerSettings],
) -> Solution[SparseNetwork]:
    """Train the dense network and ignore the budget.

    Parameters
    ----------
    data : TrainingData
        The rows; its group must have one process.
    hidden : tuple of int
        Widths of the hidden layers.
    n_nonzero : int, optional
        Ignored.
    **settings : TrainerSettings
        Steps, batch size and other settings, as for `prune_regrow`.

    Returns
    -------
    Solution of SparseNetwork
        With every weight.
    """
    run = DenseTraining(data, hidden, **settings)
    run.train(run.n_steps)
    return run.solution()
