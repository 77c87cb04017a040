"""Pruning by norm without a regulariser, a peer of the group lasso path."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from secateurs.core.driver import Iterations
from secateurs.core.parameters import check_integer
from secateurs.core.solution import Solution
from secateurs.sensing.baselines import largest_columns, overparameterised_gd
from secateurs.sensing.factored import Factors, Sensed, rotated
from secateurs.sensing.factored_gd import COLUMNS, Descent, gradient_descent
from secateurs.sensing.operators.base import SensingOperator


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
    pruned = largest_columns(sensed, dense.value, rank)
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
