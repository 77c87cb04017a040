"""The paper's pipeline for sensed matrices, step by step: it is told lambda and beta.

1. perturbed gradient descent on L + lambda R_beta from k >= r factors, to an approximate
second-order stationary point
2. greedy pruning: drop the columns below 2 sqrt(beta)
3. fine-tuning: gradient descent on L from those that stay
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from secateurs.core.solution import ProgressCallback, Solution
from secateurs.sensing.factored import Factors, Point, Sensed, checked, rotated, squares
from secateurs.sensing.factored_gd import column_norms, gradient_descent, started
from secateurs.sensing.operators.base import SensingOperator


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
    """Group lasso by perturbed gradient descent, greedy pruning, fine-tuning.

    Parameters
    ----------
    operator : SensingOperator
    y : array, shape [n]
    strength, beta : float
        lambda and beta of the penalty; `group_lasso_path` needs neither.
    width : int, optional
        Columns k of the model, by default d.
    init_scale : float
        Columns start at about this norm.
    step : float, optional
        Step size; by default .125 / lambda_max(A* y / n).  Halved where the objective rises.
    n_steps, n_tuning_steps : int
    tolerance, tuning_tolerance : float
        Relative gradient norms of steps 1 and 3.
    random_state : int
    progress : callable, optional
        Called with a `Progress` every ten steps.

    Returns
    -------
    Solution of Factors
        Status "converged", "budget" or "interrupted" (what there is, pruned).
        History: step, loss, objective, calls.  Measured: norms (of the columns before pruning,
        largest first), threshold (2 sqrt(beta)), loss_before, loss_pruned, loss, calls,
        n_steps, step.

    Raises
    ------
    ValueError
        On shapes or values that cannot be fitted.

    Notes
    -----
    A step is one call: two passes, and O(k d^2).
    Source: Rajaraman, Devvrit, Mokhtari & Ramchandran (2023); the threshold 2 sqrt(beta) is
    unverified against the paper.
    """
    values = checked(operator, y)
    for name, number in (("strength", strength), ("beta", beta)):
        if not 0 < number < math.inf:
            raise ValueError(f"got {name}={number!r}; expected a finite number > 0")
    sensed = Sensed(operator, operator.project(values))
    width = operator.shape[1] if width is None else width
    if width < 1:
        raise ValueError(f"got width={width}; expected at least one column")
    state = started(sensed, width, init_scale, step, random_state)
    status = "budget"
    pruned = None
    try:
        gradient_descent(  # 1
            state,
            strength=strength,
            beta=beta,
            n_steps=n_steps,
            tolerance=tolerance,
            perturbation=0.1 * math.sqrt(beta),
            random_state=random_state,
            progress=progress,
        )
        settled, dense = state.settled, state.point
        pruned = prune(dense, 2 * math.sqrt(beta))  # 2
        state.point, state.settled = pruned, False
        gradient_descent(  # 3
            state,
            n_steps=n_tuning_steps if len(pruned.U) else 0,
            tolerance=tuning_tolerance,
            progress=progress,
        )
        status = "converged" if settled and (state.settled or not len(pruned.U)) else "budget"
    except KeyboardInterrupt:
        status = "interrupted"
        if pruned is None:
            dense = state.point
            pruned = state.point = prune(dense, 2 * math.sqrt(beta))
    found = rotated(state.point)
    measured = {
        "norms": column_norms(dense.U),
        "threshold": 2 * math.sqrt(beta),
        "loss_before": dense.loss,
        "loss_pruned": pruned.loss,
        "loss": found.loss,
        "calls": sensed.calls,
        "n_steps": state.n_steps,
        "step": state.step,
    }
    return Solution(Factors(found.U, found.signs), status, state.history, measured)


def prune(point: Point, threshold: float) -> Point:
    """Drop the columns of norm below the threshold; one pass."""
    kept = np.sqrt(squares(point.U)) >= threshold
    return Point.at(point.sensed, point.U[kept], point.signs[kept])
