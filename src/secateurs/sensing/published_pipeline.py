"""The paper's pipeline for sensed matrices; lambda and beta must be given.

1. perturbed gradient descent on L + lambda R_beta from k >= r factors, to an approximate
   second-order stationary point
2. greedy pruning: drop the columns with a norm below 2 sqrt(beta)
3. fine-tuning: gradient descent on L from the columns that are left
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from secateurs.core.driver import Iterations
from secateurs.core.parameters import check_real
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.sensing.factored import Factors, Point, Sensed, column_norms, rotated, squares
from secateurs.sensing.factored_gd import COLUMNS, gradient_descent, random_start
from secateurs.sensing.operators.base import SensingOperator

NOISE = 0.1  # norm of the perturbation, over sqrt(beta)


def group_lasso(
    operator: SensingOperator,
    y: ArrayLike,
    *,
    strength: float,
    beta: float,
    width: int | None = None,
    init_scale: float = 0.5,
    step: float | None = None,
    n_steps: int = 5000,
    n_tuning_steps: int = 2000,
    tolerance: float = 1e-4,
    tuning_tolerance: float = 1e-8,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> Solution[Factors]:
    """Fit a low-rank matrix by perturbed descent with a group lasso, pruning and fine-tuning.

    Parameters
    ----------
    operator : SensingOperator
        The n measurements of d x d matrices.
    y : array, shape [n]
        Raw measurements; their nuisance part is projected out here.
    strength, beta : float
        The numbers lambda and beta of the penalty; `group_lasso_path` needs neither.
    width : int, optional
        Columns k of the model, by default d.
    init_scale : float
        Columns start with about this norm.
    step : float, optional
        Step size, by default .125 / lambda_max(A* y / n).  It is halved when the objective would
        rise.
    n_steps, n_tuning_steps : int
        The most steps of descent with the penalty, and of fine-tuning.
    tolerance, tuning_tolerance : float
        Relative gradient norms of steps 1 and 3.
    random_state : int
        Random seed of the start and of the perturbations.
    progress : callable, optional
        Called with a `Progress` every ten steps.

    Returns
    -------
    Solution of Factors
        Status "converged", "budget" or "interrupted" (the columns so far, pruned).
        History: step, loss, objective, calls.  Measured: norms (of the columns before pruning,
        largest first), threshold (2 sqrt(beta)), loss_before, loss_pruned, loss, calls,
        n_steps, step, scale (norms and losses are those of y / scale, as for `group_lasso_path`).

    Raises
    ------
    ValueError
        Shapes or values cannot be fitted.

    Notes
    -----
    A step is one call: two passes, and O(k d^2).
    Source: Rajaraman, Devvrit, Mokhtari & Ramchandran (2023); the threshold 2 sqrt(beta) is
    unverified against the paper.
    """
    check_real("strength", strength, above=0.0)
    check_real("beta", beta, above=0.0)
    sensed = Sensed.of(operator, y)
    beta, strength = beta / sensed.scale, strength / sensed.scale / math.sqrt(sensed.scale)
    threshold = 2 * math.sqrt(beta)
    state = random_start(sensed, width, init_scale, step, random_state)
    dense = pruned = None
    with Iterations(n_steps + n_tuning_steps, progress, COLUMNS) as run:
        gradient_descent(  # 1
            run,
            state,
            n_steps=n_steps,
            tolerance=tolerance,
            strength=strength,
            beta=beta,
            perturbation=NOISE * math.sqrt(beta),
            random_state=random_state,
        )
        settled, dense = state.settled, state.point
        pruned = _prune(dense, threshold)  # 2
        state = replace(state, point=pruned, settled=not len(pruned.U))
        if len(pruned.U):
            gradient_descent(run, state, n_steps=n_tuning_steps, tolerance=tuning_tolerance)  # 3
        if settled and state.settled:
            run.end("converged")
    dense = state.point if dense is None else dense
    if pruned is None:  # interrupted in step 1
        pruned = state.point = _prune(dense, threshold)
    found = rotated(state.point)
    return run.solution(
        sensed.unscaled(found.factors()),
        norms=column_norms(dense.U),
        threshold=threshold,
        loss_before=dense.loss,
        loss_pruned=pruned.loss,
        loss=found.loss,
        calls=sensed.calls,
        n_steps=state.n_steps,
        step=state.step,
        scale=sensed.scale,
    )


def _prune(point: Point, threshold: float) -> Point:
    """Drop the columns with a norm below the threshold; one pass."""
    return point.only(np.sqrt(squares(point.U)) >= threshold)
