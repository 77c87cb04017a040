"""Other solvers for sensed matrices: gradient descent without a regulariser, and ScaledGD."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from secateurs.core.driver import Iterations
from secateurs.core.parameters import check_integer
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.sensing.factored import Factors, Point, Sensed, column_norms, rotated, squares
from secateurs.sensing.factored_gd import COLUMNS, gradient_descent, random_start
from secateurs.sensing.identification import Identification, identify
from secateurs.sensing.operators.base import Array, SensingOperator
from secateurs.sensing.published_pipeline import group_lasso

DIVERGED = 1e6  # loss over the mean square of y above which ScaledGD has diverged
SMALLEST_SHARE = 1 / 64  # smallest step size of ScaledGD, in parts of the one given
PATIENCE = 50  # steps without a smaller loss, after which the step size is too large: it cycles
EXACT = 1e-28  # loss over the mean square of y at which the residual is zero to rounding
COMPARABLE = 0.3  # share of the largest norm above which a column is comparable to it


def scaled_gd(
    operator: SensingOperator,
    y: ArrayLike,
    rank: int,
    *,
    step: float = 0.5,
    n_steps: int = 1000,
    tolerance: float = 1e-6,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> Solution[Factors]:
    """Run ScaledGD at a given rank: U <- U - eta (U U^H)^-1 grad, from the spectral start.

    Parameters
    ----------
    operator : SensingOperator
        The n measurements of d x d matrices.
    y : array, shape [n]
        Raw measurements; their nuisance part is projected out here.
    rank : int
        Number of components, from 1 to d.
    step : float
        The step size eta in units of the inverse curvature.  Where the descent diverges or goes
        round in a cycle (from about .7 on, with rank-one measurements from about .2 on), it
        starts again with half of this step.
    n_steps : int
        The most steps.
    tolerance : float
        Stop when the decrease that a unit step predicts is below tolerance^2 times the loss.
    random_state : int
        Random seed of the search for another matrix, where the residual is zero.
    progress : callable, optional
        Called with a `Progress` after every step.

    Returns
    -------
    Solution of Factors
        Status "exact" (the residual is zero to rounding, and no other matrix of this rank was
        found that has the same measurements), "converged", "budget", "stalled" (it diverged at
        every step size that was tried) or "interrupted".  History: step, loss, calls.  Measured:
        loss, calls, forward, adjoint, scale (as for `group_lasso_path`), identification,
        step_size (the last step size that was used).

    Notes
    -----
    One call a step.  Source: Tong, Ma & Chi (2021); the halving of the step is ours.
    """
    check_integer("rank", rank, 1, operator.shape[1])
    sensed = Sensed.of(operator, y)
    point = Point.empty(sensed)
    eigenvalues, vectors = point.eigenpairs(both_ends=False)
    top = np.maximum(eigenvalues[:rank], 1e-12 * max(float(eigenvalues[0]), 1e-300))
    start = U = vectors[:rank] * np.sqrt(top)[:, None]
    smallest = step * SMALLEST_SHARE
    identification: Identification | None = None
    least, gained = np.inf, 0  # the smallest loss with this step size, and when it was reached
    overflow = np.errstate(over="ignore", invalid="ignore")  # of a step that diverges
    with Iterations(n_steps, progress, ("step", "loss", "calls")) as run, overflow:
        for t in run:
            reached = Point.at(sensed, U, np.ones(len(U)))
            run.history.record(step=t, loss=reached.loss, calls=sensed.calls)
            run.report(reached.loss, len(U))
            if reached.loss < least:
                least, gained = reached.loss, t
            if not reached.loss < DIVERGED * sensed.power or t - gained > PATIENCE:
                if step <= smallest:
                    run.end("stalled")
                step, U, least, gained = step / 2, start, np.inf, t
                continue
            point = reached
            force = point.times(U)
            move = np.linalg.lstsq(U @ U.conj().T, force)[0]  # a component may have died
            if point.loss <= EXACT * sensed.power:
                factors = rotated(point).factors()
                identification = identify(sensed, factors, random_state=random_state)
                run.end(identification.status)
            elif float(np.vdot(force, move).real) <= tolerance**2 * point.loss:
                run.end("converged")
            U = U + step * move
    found = rotated(point)
    return run.solution(
        sensed.unscaled(found.factors()),
        loss=found.loss,
        calls=sensed.calls,
        forward=sensed.forward,
        adjoint=sensed.adjoint,
        scale=sensed.scale,
        identification=identification,
        step_size=step,
    )


@dataclass(frozen=True)
class ColumnNorms:
    """Columns of the same model, trained with and without the regulariser.

    Attributes
    ----------
    penalised, plain : array, shape [k]
        Norms of the columns, largest first.
    threshold : float
        2 sqrt(beta).
    n_comparable : int
        Columns of the plain model with more than .3 of its largest norm.
    n_kept : int
        Columns of the penalised model above the threshold.
    pruned_penalised, pruned_plain : float
        Loss after greedy pruning to n_kept columns, before fine-tuning, over the mean square
        of the measurements.
    """

    penalised: Array
    plain: Array
    threshold: float
    n_comparable: int
    n_kept: int
    pruned_penalised: float
    pruned_plain: float


def compare_column_norms(
    operator: SensingOperator,
    y: ArrayLike,
    *,
    strength: float,
    beta: float,
    width: int | None = None,
    init_scale: float = 0.5,
    n_steps: int = 5000,
    tolerance: float = 1e-4,
    random_state: int = 0,
) -> ColumnNorms:
    """Compare the column norms of a model trained with the regulariser and without it.

    Without it, the norms do not show which columns are needed.  Both models start from the same
    columns.

    Parameters
    ----------
    operator : SensingOperator
        The n measurements of d x d matrices.
    y : array, shape [n]
        Raw measurements; their nuisance part is projected out here.
    strength, beta : float
        The numbers lambda and beta of the penalty.
    width : int, optional
        Columns k of the model, by default d.
    init_scale : float
        Columns start with about this norm.
    n_steps : int
        The most steps of each of the two runs.
    tolerance : float
        Relative gradient norm at which a run stops.
    random_state : int
        Random seed of the start and of the perturbations.

    Returns
    -------
    ColumnNorms
        Both lists of norms, and the losses after both models are pruned to the same number of
        columns.
    """
    penalised = group_lasso(
        operator,
        y,
        strength=strength,
        beta=beta,
        width=width,
        init_scale=init_scale,
        n_steps=n_steps,
        n_tuning_steps=0,
        tolerance=tolerance,
        random_state=random_state,
    )
    kept = len(penalised.value.components)
    sensed = Sensed.of(operator, y)
    plain = random_start(sensed, width, init_scale, None, random_state)
    with Iterations(n_steps, columns=COLUMNS) as run:
        gradient_descent(run, plain, n_steps=n_steps, tolerance=tolerance)
    power = float(np.mean(sensed.y**2))
    norms = column_norms(plain.point.U)
    return ColumnNorms(
        penalised=penalised.measured["norms"],
        plain=norms,
        threshold=penalised.measured["threshold"],
        n_comparable=int(np.sum(norms > COMPARABLE * norms[0])),
        n_kept=kept,
        pruned_penalised=penalised.measured["loss_pruned"] / power,
        pruned_plain=largest_columns(plain.point, max(kept, 1)).loss / power,
    )


def largest_columns(point: Point, rank: int) -> Point:
    """Keep the `rank` columns of largest norm, in their order; one pass."""
    order = np.sort(np.argsort(-squares(point.U), kind="stable")[:rank])
    return Point.at(point.sensed, point.U[order], point.signs[order])
