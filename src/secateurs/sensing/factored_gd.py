"""Plain gradient descent on the factors of a sensed matrix, perturbed where it is flat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from secateurs.core.solution import Progress, ProgressCallback
from secateurs.sensing.factored import Point, Sensed, penalty, slope, squares
from secateurs.sensing.operators.base import Array

FIRST_STEP = 0.125  # over lambda_max(A* y / n): the largest stable one for isotropic measurements
RECORD = 10  # steps between two records of the history


@dataclass
class Descent:
    """Where gradient descent is.

    Attributes
    ----------
    point : Point
    step : float
        Step size, halved whenever the objective rose.
    n_steps : int
        Made so far.
    settled : bool
        The gradient is below the tolerance, and no perturbation helps.
    """

    point: Point
    step: float
    history: dict[str, list[float]]
    n_steps: int = 0
    settled: bool = False


def started(
    sensed: Sensed, width: int, init_scale: float, step: float | None, random_state: int
) -> Descent:
    """Standard normal factors [width, d] times init_scale / sqrt(d); the first step size."""
    d = sensed.operator.shape[1]
    rng = np.random.default_rng(random_state)
    U = rng.standard_normal((width, d)) * init_scale / np.sqrt(d)
    if sensed.operator.dtype.kind == "c":
        U = U + 1j * rng.standard_normal((width, d)) * init_scale / np.sqrt(d)
    if step is None:
        values, _ = Point.empty(sensed).eigenpairs(both_ends=True)
        top = float(abs(values[0]))
        step = FIRST_STEP / top if top > 0 else 1.0
    history: dict[str, list[float]] = {"step": [], "loss": [], "objective": [], "calls": []}
    return Descent(Point.at(sensed, U, np.ones(width)), step, history)


def gradient_descent(
    state: Descent,
    *,
    strength: float = 0.0,
    beta: float = 1.0,
    n_steps: int,
    tolerance: float,
    perturbation: float = 0.0,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> None:
    """Minimise L + strength R_beta from where `state` is, which moves.

    Parameters
    ----------
    state : Descent
    strength, beta : float
    n_steps : int
    tolerance : float
        Flat means ||gradient|| <= tolerance times the norm of the gradient of L at factors of
        the size of the solution (4 lambda_max^(3/2) over the square root of curvature 1).
    perturbation : float
        Radius of the noise that is added where it is flat; 0 for none.  When the objective has
        then not fallen by tolerance in 20 steps the point counts as second-order.
    random_state : int
    progress : callable, optional

    Notes
    -----
    One call a step, two after a halving.
    Source: Jin, Ge, Netrapalli, Kakade & Jordan, "How to escape saddle points efficiently"
    (2017); the halving is ours.
    """
    rng = np.random.default_rng(random_state)
    sensed = state.point.sensed
    power = float(sensed.y @ sensed.y) / len(sensed.y)
    flat = tolerance * 4 * power**0.75
    value = _objective(state.point, strength, beta)
    escaping, before = 0, value
    best = state.point
    for _ in range(n_steps):
        point = state.point
        gradient = -4 * point.signs[:, None] * point.times(point.U)
        if strength:
            gradient = gradient + strength * slope(squares(point.U), beta)[:, None] * point.U
        if escaping:
            escaping -= 1
            if not escaping and before - value <= tolerance * power:
                state.point, state.settled = best, True
                return
        elif float(np.linalg.norm(gradient)) <= flat:
            if not perturbation:
                state.settled = True
                return
            best, before, escaping = point, value, 20
            noise = rng.standard_normal(point.U.shape)
            noise *= perturbation / np.linalg.norm(noise)
            state.point = Point.at(sensed, point.U + noise, point.signs)
            value = _objective(state.point, strength, beta)
            continue
        moved = Point.at(sensed, point.U - state.step * gradient, point.signs)
        reached = _objective(moved, strength, beta)
        if not reached <= value * (1 + 1e-12):  # nan too
            state.step /= 2
            if state.step < 1e-12:
                return
            continue
        state.point, value = moved, reached
        state.n_steps += 1
        if state.n_steps % RECORD == 0:
            _record(state, value)
            if progress is not None:
                progress(Progress(state.n_steps, n_steps, moved.loss, len(moved.U)))


def _record(state: Descent, value: float) -> None:
    calls = state.point.sensed.calls
    values = {"step": state.n_steps, "loss": state.point.loss, "objective": value, "calls": calls}
    for name, number in values.items():
        state.history[name].append(float(number))


def _objective(point: Point, strength: float, beta: float) -> float:
    return point.loss + (strength * penalty(squares(point.U), beta) if strength else 0.0)


def column_norms(U: Array) -> Array:
    """Norms of the factors, largest first."""
    return np.asarray(np.sort(np.sqrt(squares(U)))[::-1])
