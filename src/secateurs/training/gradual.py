"""Gradual pruning (Zhu & Gupta 2017) of a dense network, with a Fisher saliency."""

from __future__ import annotations

from typing import Unpack

from secateurs.core.schedules import support_size
from secateurs.core.solution import Solution
from secateurs.sparse.network import SparseNetwork
from secateurs.training.dense_training import DenseTraining, TrainerSettings
from secateurs.training.training_data import TrainingData


def gradual(
    data: TrainingData, hidden: tuple[int, ...], n_nonzero: int, **settings: Unpack[TrainerSettings]
) -> Solution[SparseNetwork]:
    """Start dense, and prune along a cubic to `n_nonzero` weights at 60 % of the steps.

    The weights with the smallest w^2 E[g^2] are removed.  Unlike the global magnitude, this score
    does not change when a ReLU unit is rescaled.

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
        With at most `n_nonzero` weights, at the cost and memory of dense training.
    """
    run = DenseTraining(data, hidden, **settings)
    budget = min(n_nonzero, run.n_weights)
    for t in run.steps(run.n_steps):
        target = budget
        if t < run.n_steps:
            target = support_size(t, run.n_steps, run.n_weights, budget)
        run.keep_largest(run.fisher_saliency(), target)
    return run.solution()
