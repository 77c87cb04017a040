"""Iterative magnitude pruning (Frankle & Carbin 2019): train, prune, rewind, repeat."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from secateurs.core.solution import History, ProgressCallback, Solution
from secateurs.sparse.network import SparseNetwork
from secateurs.sparse.topk import smallest_mask
from secateurs.training.dense import dense_solution, random_dense, train_dense
from secateurs.training.training_data import TrainingData


def imp(
    data: TrainingData,
    hidden: tuple[int, ...],
    n_nonzero: int,
    *,
    n_steps: int,
    batch_size: int,
    learning_rate: float = 5e-3,
    weight_decay: float = 0.0,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> Solution[SparseNetwork]:
    """Iterative magnitude pruning to one budget with tuned settings.

    Prunes 20 % a round, trains a third of `n_steps` a round, and trains the final mask once
    more after the last cut.  Parameters as in the other trainers.

    Returns
    -------
    Solution of SparseNetwork
        With at most `n_nonzero` weights; the cost of about
        ``log(weights / n_nonzero) / .22`` dense trainings of ``n_steps / 3`` steps.
    """
    return imp_path(
        data,
        hidden,
        [n_nonzero],
        round_steps=max(1, n_steps // 3),
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        random_state=random_state,
        progress=progress,
    )[0]


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
    """Iterative magnitude pruning through several budgets in one run.

    Parameters
    ----------
    data : TrainingData
    hidden : tuple of int
    budgets : sequence of int
    round_steps, batch_size : int
    learning_rate, weight_decay : float
    prune : float in (0, 1)
        Share of the weights removed a round; a round never jumps over a budget.
    retrain : bool
        True measures a mask after training it from the rewound weights; False straight after
        the cut, which is what the published code of Fridovich-Keil & Pilanci (2026) does.
    random_state : int
    progress : callable, optional

    Returns
    -------
    list of Solution, in the order of `budgets`
        ``measured["cpu_seconds"]`` is the processor time from the start to that budget.
    """
    began = time.process_time()
    generator = torch.Generator().manual_seed(random_state)
    state = random_dense(data, hidden, generator)
    rewind = [W.clone() for W in state.weights]
    history = History("step", "loss", "n_nonzero")
    ahead = sorted({min(b, state.n_nonzero) for b in budgets}, reverse=True)
    found: dict[int, Solution[SparseNetwork]] = {}

    def keep_result() -> None:
        solution = dense_solution(state, data, history, batch_size)
        solution.measured["cpu_seconds"] = time.process_time() - began
        found[state.n_nonzero] = solution

    while True:
        train_dense(
            state,
            data,
            generator,
            n_steps=round_steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            history=history,
            progress=progress,
        )
        current = state.n_nonzero
        if current in ahead and current not in found:
            keep_result()
        below = [b for b in ahead if b < current]
        if not below:
            break
        target = max(below[0], min(current - 1, round(current * (1 - prune))))
        magnitude = state.magnitude()
        magnitude[~state.flat_masks()] = -1.0
        state.set_masks(~smallest_mask(magnitude, magnitude.numel() - target))
        if not retrain and target in ahead:
            keep_result()
            if target == ahead[-1]:
                break
        for W, start, mask in zip(state.weights, rewind, state.masks, strict=True):
            torch.mul(start, mask, out=W)
        state.restart()
    largest = max(found)
    return [found[min(b, largest)] for b in budgets]
