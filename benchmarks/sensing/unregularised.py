"""Gradient descent without a regulariser and pruning by norm, peers of the group lasso path."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from secateurs.core.driver import Iterations
from secateurs.core.parameters import check_integer
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.sensing.baselines import largest_columns
from secateurs.sensing.factored import Factors, Point, Sensed, column_norms, rotated
from secateurs.sensing.factored_gd import COLUMNS, Descent, gradient_descent, random_start
from secateurs.sensing.operators.base import SensingOperator


def overparameterised_gd(
    operator: SensingOperator,
    y: ArrayLike,
    *,
    width: int | None = None,
    init_scale: float = 0.5,
    step: float | None = None,
    n_steps: int = 5000,
    tolerance: float = 1e-4,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> Solution[Factors]:
    """Minimise L by gradient descent from `width` columns, without regulariser or pruning.

    Parameters
    ----------
    operator, y, width, init_scale, step, n_steps, tolerance, random_state, progress
        As in `group_lasso`.  A small init_scale (1e-3) is the implicit regularisation.

    Returns
    -------
    Solution of Factors
        The columns are not rotated.  Status "converged", "budget" or "interrupted".
        Measured: norms (largest first), loss, calls, step.
    """
    sensed = Sensed.of(operator, y)
    state = random_start(sensed, width, init_scale, step, random_state)
    with Iterations(n_steps, progress, COLUMNS) as run:
        gradient_descent(run, state, n_steps=n_steps, tolerance=tolerance)
        if state.settled:
            run.end("converged")
    return run.solution(
        state.point.factors(),
        norms=column_norms(state.point.U),
        loss=state.point.loss,
        calls=sensed.calls,
        step=state.step,
    )


def norm_pruning(
    operator: SensingOperator,
    y: ArrayLike,
    rank: int,
    *,
    n_tuning_steps: int = 2000,
    tuning_tolerance: float = 1e-8,
    **settings: Any,
) -> Solution[Factors]:
    """Train without a regulariser, keep the `rank` columns of largest norm, and fine-tune them.

    Parameters
    ----------
    operator : SensingOperator
    y : array, shape [n]
    rank : int
        Columns to keep.  A user does not know this number; an oracle gives it.
    n_tuning_steps, tuning_tolerance
        As in `group_lasso`.
    **settings
        Parameters of `overparameterised_gd`.

    Returns
    -------
    Solution of Factors
        Measured: norms, loss_before, loss_pruned, loss, calls.
    """
    check_integer("rank", rank, 1, operator.shape[1])
    dense = overparameterised_gd(operator, y, **settings)
    sensed = Sensed.of(operator, y)
    found = Point(sensed, dense.value.components, dense.value.signs, sensed.y)
    pruned = largest_columns(found, rank)
    state = Descent(pruned, dense.measured["step"])
    with Iterations(n_tuning_steps, columns=COLUMNS) as run:
        gradient_descent(run, state, n_steps=n_tuning_steps, tolerance=tuning_tolerance)
        if state.settled:
            run.end("converged")
    found = rotated(state.point)
    return run.solution(
        found.factors(),
        norms=dense.measured["norms"],
        loss_before=dense.measured["loss"],
        loss_pruned=pruned.loss,
        loss=found.loss,
        calls=sensed.calls + dense.measured["calls"],
    )
