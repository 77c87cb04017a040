"""Iterative magnitude pruning (Frankle & Carbin 2019): train, prune, rewind, repeat."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Unpack

import torch

from secateurs.core.solution import ProgressCallback, Solution
from secateurs.sparse.network import SparseNetwork
from secateurs.training.dense_training import DenseTraining, TrainerSettings
from secateurs.training.training_data import TrainingData


def imp(
    data: TrainingData, hidden: tuple[int, ...], n_nonzero: int, **settings: Unpack[TrainerSettings]
) -> Solution[SparseNetwork]:
    """Prune 20 % a round to one budget, with rounds of ``n_steps / 3`` steps.

    The last mask is trained once more after the last cut.

    Parameters
    ----------
    data, hidden, n_nonzero, **settings
        As for `prune_regrow`; `TrainerSettings` lists the settings.  The learning rate is 5e-3 by
        default.

    Returns
    -------
    Solution of SparseNetwork
        With at most `n_nonzero` weights, at the cost of about
        ``log(weights / n_nonzero) / .22`` dense trainings of ``n_steps / 3`` steps.
    """
    others: dict[str, Any] = {**settings}
    round_steps = max(1, others.pop("n_steps") // 3)
    return imp_path(data, hidden, [n_nonzero], round_steps=round_steps, **others)[0]


def imp_path(
    data: TrainingData,
    hidden: tuple[int, ...],
    budgets: Sequence[int],
    *,
    round_steps: int,
    batch_size: int,
    learning_rate: float = 5e-3,
    weight_decay: float = 0.0,
    prune: float = 0.2,
    retrain: bool = True,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> list[Solution[SparseNetwork]]:
    """Prune through several budgets in one run.

    Parameters
    ----------
    data : TrainingData
        The rows; its group must have one process.
    hidden : tuple of int
        Widths of the hidden layers.
    budgets : sequence of int
        The numbers of weights to reach, in any order.
    round_steps : int
        Steps of training in each round.
    batch_size : int
        Rows of a batch.
    learning_rate, weight_decay : float
        As for `prune_regrow`.
    prune : float in (0, 1)
        Share of the weights that a round removes; a round never skips a budget.
    retrain : bool
        True returns a mask with weights that were trained after the cut, from their rewound
        values.  False returns the weights straight after the cut, as the published code of
        Fridovich-Keil & Pilanci (2026) does.
    random_state : int
        Random seed of the first weights, the batches and the input noise.
    progress : callable, optional
        As for `prune_regrow`.

    Returns
    -------
    list of Solution, in the order of `budgets`
        ``measured["cpu_seconds"]`` is the processor time from the start to that budget.
    """
    began = time.process_time()
    run = DenseTraining(
        data,
        hidden,
        n_steps=round_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        random_state=random_state,
        progress=progress,
    )
    initial = [W.clone() for W in run.weights]
    ahead = sorted({min(b, run.n_weights) for b in budgets}, reverse=True)
    found: dict[int, Solution[SparseNetwork]] = {}

    def keep_result() -> None:
        solution = run.solution()
        solution.measured["cpu_seconds"] = time.process_time() - began
        found[run.n_nonzero] = solution

    while True:
        run.train(round_steps)
        current = run.n_nonzero
        if current in ahead and current not in found:
            keep_result()
        below = [b for b in ahead if b < current]
        if not below:
            break
        target = max(below[0], min(current - 1, round(current * (1 - prune))))
        run.keep_largest(run.magnitude(), target)
        if not retrain and target in ahead:
            keep_result()
            if target == ahead[-1]:
                break
        for W, start, mask in zip(run.weights, initial, run.masks, strict=True):
            torch.mul(start, mask, out=W)
        run.restart()
    largest = max(found)
    return [found[min(b, largest)] for b in budgets]
