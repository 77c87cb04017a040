"""What the group lasso path is held against: no regulariser, nuclear norm, ScaledGD, pruning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from secateurs.core.solution import Progress, ProgressCallback, Solution
from secateurs.sensing.factored import Factors, Point, Sensed, checked, rotated, squares
from secateurs.sensing.factored_gd import column_norms, gradient_descent, started
from secateurs.sensing.operators.base import Array, SensingOperator
from secateurs.sensing.published_pipeline import group_lasso

POWER_STEPS = 20  # for the Lipschitz constant of the nuclear norm's loss


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
    """Gradient descent on L alone from `width` columns: no regulariser, no pruning.

    Parameters
    ----------
    operator, y, width, init_scale, step, n_steps, tolerance, random_state, progress
        As in `group_lasso`.  A small init_scale (1e-3) is the implicit regularisation.

    Returns
    -------
    Solution of Factors
        The columns as they are, not rotated.  Status "converged", "budget" or "interrupted".
        Measured: norms (largest first), loss, calls, step.
    """
    values = checked(operator, y)
    sensed = Sensed(operator, operator.project(values))
    width = operator.shape[1] if width is None else width
    state = started(sensed, width, init_scale, step, random_state)
    try:
        gradient_descent(state, n_steps=n_steps, tolerance=tolerance, progress=progress)
        status = "converged" if state.settled else "budget"
    except KeyboardInterrupt:
        status = "interrupted"
    measured = {
        "norms": column_norms(state.point.U),
        "loss": state.point.loss,
        "calls": sensed.calls,
        "step": state.step,
    }
    return Solution(Factors(state.point.U, state.point.signs), status, state.history, measured)


def norm_pruning(
    operator: SensingOperator,
    y: ArrayLike,
    rank: int,
    *,
    n_tuning_steps: int = 2000,
    tuning_tolerance: float = 1e-8,
    **settings: object,
) -> Solution[Factors]:
    """Train without a regulariser, keep the `rank` columns of largest norm, fine-tune.

    Parameters
    ----------
    operator : SensingOperator
    y : array, shape [n]
    rank : int
        Columns to keep: an oracle.
    n_tuning_steps, tuning_tolerance
        As in `group_lasso`.
    **settings
        Of `overparameterised_gd`.

    Returns
    -------
    Solution of Factors
        Measured: norms, loss_before, loss_pruned, loss, calls.
    """
    dense = overparameterised_gd(operator, y, **settings)  # type: ignore[arg-type]
    _check_rank(operator, rank)
    sensed = Sensed(operator, operator.project(checked(operator, y)))
    U = dense.value.components
    order = np.sort(np.argsort(-squares(U), kind="stable")[:rank])
    pruned = Point.at(sensed, U[order], np.ones(len(order)))
    state = started(sensed, 1, 1.0, float(dense.measured["step"]), 0)
    state.point = pruned
    status = dense.status
    try:
        gradient_descent(state, n_steps=n_tuning_steps, tolerance=tuning_tolerance)
        status = "converged" if state.settled else "budget"
    except KeyboardInterrupt:
        status = "interrupted"
    found = rotated(state.point)
    measured = {
        "norms": dense.measured["norms"],
        "loss_before": dense.measured["loss"],
        "loss_pruned": pruned.loss,
        "loss": found.loss,
        "calls": sensed.calls + dense.measured["calls"],
    }
    return Solution(Factors(found.U, found.signs), status, state.history, measured)


def scaled_gd(
    operator: SensingOperator,
    y: ArrayLike,
    rank: int,
    *,
    step: float = 0.5,
    n_steps: int = 1000,
    tolerance: float = 1e-6,
    progress: ProgressCallback | None = None,
) -> Solution[Factors]:
    """ScaledGD told the rank: U <- U - eta (U U^H)^-1 grad, from the spectral start.

    Parameters
    ----------
    operator : SensingOperator
    y : array, shape [n]
    rank : int
    step : float
        eta in units of the inverse curvature; it diverges from about .7 on.
    n_steps : int
    tolerance : float
        Stop when the decrease a unit step predicts is below tolerance^2 times the loss.
    progress : callable, optional

    Returns
    -------
    Solution of Factors
        Status "exact", "converged", "budget", "stalled" (it diverged) or "interrupted".
        History: step, loss, calls.  Measured: loss, calls, forward, adjoint.

    Notes
    -----
    One call a step.  Source: Tong, Ma & Chi (2021).
    """
    values = checked(operator, y)
    _check_rank(operator, rank)
    sensed = Sensed(operator, operator.project(values))
    power = float(sensed.y @ sensed.y) / len(sensed.y)
    start = Point.empty(sensed)
    eigenvalues, vectors = start.eigenpairs(both_ends=False)
    top = np.maximum(eigenvalues[:rank], 1e-12 * max(float(eigenvalues[0]), 1e-300))
    U = vectors[:rank] * np.sqrt(top)[:, None]
    history: dict[str, list[float]] = {"step": [], "loss": [], "calls": []}
    status, point = "budget", start
    try:
        for t in range(n_steps):
            point = Point.at(sensed, U, np.ones(len(U)))
            force = point.times(U)
            move = np.linalg.solve(U @ U.conj().T, force)
            for name, number in (("step", t), ("loss", point.loss), ("calls", sensed.calls)):
                history[name].append(float(number))
            if progress is not None:
                progress(Progress(t, n_steps, point.loss, len(U)))
            if not point.loss < 1e6 * power:
                status = "stalled"
                break
            if point.loss <= 1e-28 * power:
                status = "exact"
                break
            if float(np.vdot(force, move).real) <= tolerance**2 * point.loss:
                status = "converged"
                break
            U = U + step * move
    except KeyboardInterrupt:
        status = "interrupted"
    found = rotated(point)
    measured = {
        "loss": found.loss,
        "calls": sensed.calls,
        "forward": sensed.forward,
        "adjoint": sensed.adjoint,
    }
    return Solution(Factors(found.U, found.signs), status, history, measured)


def nuclear_norm(
    operator: SensingOperator,
    y: ArrayLike,
    strength: float,
    *,
    signed: bool = False,
    n_steps: int = 500,
    tolerance: float = 1e-6,
    progress: ProgressCallback | None = None,
) -> Solution[Factors]:
    """Min (1/2n) ||y - A(M)||^2 + strength ||M||_* by FISTA; M >= 0 unless signed.

    Parameters
    ----------
    operator : SensingOperator
    y : array, shape [n]
    strength : float
        mu; the noise norm sigma * base is the usual choice.
    signed : bool
    n_steps : int
    tolerance : float
        Stop when a step changes M by less than this, relatively.
    progress : callable, optional

    Returns
    -------
    Solution of Factors
        Status "converged", "budget" or "interrupted".  History: step, loss (mean squared
        residual), rank.  Measured: rank (eigenvalues above 1e-3 of the largest), loss, calls.

    Notes
    -----
    One call and an eigendecomposition of d x d a step.  y(Z) of the extrapolated Z costs no
    pass, for measurements are linear.  The step is 1 / L, L by power iteration.
    Source: Beck & Teboulle (2009); O'Donoghue & Candes (2015) for the restart.
    """
    values = checked(operator, y)
    sensed = Sensed(operator, operator.project(values))
    n, d = operator.shape
    lipschitz = _lipschitz(sensed) / n
    M = np.zeros((d, d), dtype=Point.empty(sensed).U.dtype)
    Z, momentum = M, 1.0
    U, signs = np.zeros((0, d), dtype=M.dtype), np.zeros(0)
    image = image_Z = np.zeros(n)
    history: dict[str, list[float]] = {"step": [], "loss": [], "rank": []}
    status = "budget"
    try:
        for t in range(n_steps):
            sensed.adjoint += 1
            N = np.asarray(operator.adjoint((sensed.y - image_Z) / n), dtype=M.dtype)
            w, V = np.linalg.eigh(Z + N / lipschitz)
            shrunk = np.sign(w) * np.maximum(np.abs(w) - strength / lipschitz, 0)
            shrunk = shrunk if signed else np.maximum(shrunk, 0)
            live = shrunk != 0
            U = (V[:, live] * np.sqrt(np.abs(shrunk[live]))).T
            signs = np.sign(shrunk[live])
            found = (V[:, live] * shrunk[live]) @ V[:, live].conj().T
            reached = sensed.factors(U, signs) if len(U) else np.zeros(n)
            change = found - M
            if float(np.vdot(Z - found, change).real) > 0:
                momentum = 1.0  # restart
            after = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            weight = (momentum - 1) / after
            Z, image_Z = found + weight * change, reached + weight * (reached - image)
            M, image, momentum = found, reached, after
            loss = float(np.mean((sensed.y - image) ** 2))
            for name, number in (("step", t), ("loss", loss), ("rank", len(U))):
                history[name].append(float(number))
            if progress is not None:
                progress(Progress(t, n_steps, loss, len(U)))
            if t and np.linalg.norm(change) <= tolerance * np.linalg.norm(M):
                status = "converged"
                break
    except KeyboardInterrupt:
        status = "interrupted"
    found_at = rotated(Point(sensed, U, signs, sensed.y - image))
    sizes = squares(found_at.U)
    rank = int(np.sum(sizes > 1e-3 * sizes.max(initial=0.0)))
    measured = {"rank": rank, "loss": found_at.loss, "calls": sensed.calls}
    return Solution(Factors(found_at.U, found_at.signs), status, history, measured)


@dataclass(frozen=True)
class ColumnNorms:
    """Columns of the same model trained with and without the regulariser.

    Attributes
    ----------
    penalised, plain : array, shape [k]
        Norms of the columns, largest first.
    threshold : float
        2 sqrt(beta).
    n_comparable : int
        Columns of the plain model above .3 of its largest.
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
    """Why the regulariser is needed: without it, columns cannot be told apart by their norm.

    Parameters
    ----------
    operator, y, strength, beta, width, init_scale, n_steps, tolerance, random_state
        As in `group_lasso`; the plain model starts from the same columns.
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
    plain = norm_pruning(
        operator,
        y,
        max(kept, 1),
        n_tuning_steps=0,
        width=width,
        init_scale=init_scale,
        n_steps=n_steps,
        tolerance=tolerance,
        random_state=random_state,
    )
    projected = operator.project(np.asarray(y, dtype=np.float64))
    power = float(np.mean(projected**2))
    norms = plain.measured["norms"]
    return ColumnNorms(
        penalised.measured["norms"],
        norms,
        penalised.measured["threshold"],
        int(np.sum(norms > 0.3 * norms[0])),
        kept,
        penalised.measured["loss_pruned"] / power,
        plain.measured["loss_pruned"] / power,
    )


def _lipschitz(sensed: Sensed) -> float:
    """||A||^2 by power iteration on A A*: a vector of measurements, no d x d products."""
    operator = sensed.operator
    v = operator.project(np.random.default_rng(0).standard_normal(operator.shape[0]))
    size = 1.0
    for _ in range(POWER_STEPS):
        v = v / np.linalg.norm(v)
        w, V = np.linalg.eigh(operator.adjoint(v))
        sensed.adjoint += 1
        image = sensed.factors((V * np.sqrt(np.abs(w))).T, np.sign(w))
        size, v = float(np.linalg.norm(image)), image
    return 1.05 * size


def _check_rank(operator: SensingOperator, rank: int) -> None:
    if not 1 <= rank <= operator.shape[1]:
        raise ValueError(f"got rank={rank}; expected 1 to d = {operator.shape[1]}")
