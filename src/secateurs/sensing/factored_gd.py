"""Plain gradient descent on the factors of a sensed matrix, with perturbations at flat points.

repeat:
    if the gradient is flat: add noise, or stop if earlier noise did not help
    U = U - step gradient;  halve the step if the objective would rise
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np

from secateurs.core.driver import Iterations
from secateurs.core.parameters import check_integer
from secateurs.sensing.factored import Point, Sensed, gradient, penalty, squares

FIRST_STEP = 0.125  # over lambda_max(A* y / n): the largest stable one for isotropic measurements
SMALLEST_STEP = 1e-12
RECORD = 10  # steps between two records of the history
COLUMNS = ("step", "loss", "objective", "calls")
ESCAPE = 20  # steps in which noise must lower the objective
ROUNDING = 1e-12  # relative rise of the objective that is rounding


@dataclass
class Descent:
    """The state of gradient descent.

    Attributes
    ----------
    point : Point
    step : float
        Step size, halved whenever the objective would rise.
    n_steps : int
        Steps so far.
    settled : bool
        True if the gradient is below the tolerance and no perturbation helps.
    """

    point: Point
    step: float
    n_steps: int = 0
    settled: bool = False


def random_start(
    sensed: Sensed, width: int | None, init_scale: float, step: float | None, random_state: int
) -> Descent:
    """Draw `width` (by default d) factors of norm about `init_scale`, and choose the step size."""
    d = sensed.operator.shape[1]
    width = d if width is None else check_integer("width", width)
    rng = np.random.default_rng(random_state)
    U = rng.standard_normal((width, d)) * init_scale / np.sqrt(d)
    if sensed.operator.dtype.kind == "c":
        U = U + 1j * rng.standard_normal((width, d)) * init_scale / np.sqrt(d)
    if step is None:
        values, _ = Point.empty(sensed).eigenpairs(both_ends=True)
        top = float(abs(values[0]))
        step = FIRST_STEP / top if top > 0 else 1.0
    return Descent(Point.at(sensed, U, np.ones(width)), step)


def gradient_descent(
    run: Iterations,
    state: Descent,
    *,
    n_steps: int,
    tolerance: float,
    strength: float = 0.0,
    beta: float = 1.0,
    perturbation: float = 0.0,
    random_state: int = 0,
) -> None:
    """Minimise L + strength R_beta; `state` changes.

    Parameters
    ----------
    run : Iterations
        Its columns are `COLUMNS`; at most `n_steps` of its steps are used.
    state : Descent
    n_steps : int
    tolerance : float
        A point is flat if ||gradient|| <= tolerance times the norm of the gradient of L at
        factors of the size of the solution (4 lambda_max^(3/2) over the square root of
        curvature 1).
    strength, beta : float
    perturbation : float
        Norm of the noise that is added at a flat point; 0 for none.  The point counts as
        second-order if the objective does not fall by tolerance within 20 steps.
    random_state : int

    Notes
    -----
    One call a step, two after the step size is halved.
    Source: Jin, Ge, Netrapalli, Kakade & Jordan, "How to escape saddle points efficiently"
    (2017); the halving is ours.
    """
    rng = np.random.default_rng(random_state)
    sensed = state.point.sensed
    flat = tolerance * 4 * sensed.power**0.75
    value = _objective(state.point, strength, beta)
    escaping, before, best = 0, value, state.point
    for _ in islice(run, n_steps):
        point = state.point
        g, _ = gradient(point, strength, beta)
        if escaping:
            escaping -= 1
            if not escaping and before - value <= tolerance * sensed.power:
                state.point, state.settled = best, True
                return
        elif float(np.linalg.norm(g)) <= flat:
            if not perturbation:
                state.settled = True
                return
            best, before, escaping = point, value, ESCAPE
            noise = rng.standard_normal(point.U.shape)
            noise *= perturbation / np.linalg.norm(noise)
            state.point = Point.at(sensed, point.U + noise, point.signs)
            value = _objective(state.point, strength, beta)
            continue
        moved = Point.at(sensed, point.U - state.step * g, point.signs)
        reached = _objective(moved, strength, beta)
        if not reached <= value * (1 + ROUNDING):  # also true for nan
            state.step /= 2
            if state.step < SMALLEST_STEP:
                return
            continue
        state.point, value = moved, reached
        state.n_steps += 1
        if state.n_steps % RECORD == 0:
            run.history.record(
                step=state.n_steps, loss=moved.loss, objective=value, calls=sensed.calls
            )
            run.report(moved.loss, len(moved.U))


def _objective(point: Point, strength: float, beta: float) -> float:
    return point.loss + (strength * penalty(squares(point.U), beta) if strength else 0.0)
