"""Descent on the factors of a sensed matrix, with few passes over the data.

Notation as in `factored`.  A step takes one forward and one adjoint pass: on a line, L is a quartic
whose coefficients come from one pass, so the exact line search needs no other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from secateurs.sensing.factored import Point, gradient, penalty, slope, squares
from secateurs.sensing.operators.base import Array

MEMORY = 12  # pairs of L-BFGS
DAMPING = 1e-6  # of the trace, added to the metric so that it can be inverted
BISECTIONS, LINE_ACCURACY = 60, 1e-6  # line search with a penalty: most steps, relative accuracy
LONGEST_STEP = 1e6
REAL_ROOT = 1e-9  # relative imaginary part below which a root of the cubic is real

Solve = Callable[[Array], Array]


def descend(
    point: Point,
    *,
    strength: float = 0.0,
    beta: float = 1.0,
    curvature: float = 1.0,
    n_steps: int = 40,
    tolerance: float = 1e-3,
    floor: float = 0.0,
) -> Point:
    """Minimise L + strength R_beta from a point, by L-BFGS in the metric of ScaledGD.

    Parameters
    ----------
    point : Point
    strength, beta : float
        lambda and beta; strength 0 is the plain loss.
    curvature : float
        Mean of <A_i, M>^2 over ||M||_F^2, for the first step and the metric.
    n_steps : int
    tolerance : float
        Stop when the decrease that is still predicted (half the squared Newton decrement) is
        below tolerance^2 times the loss.
    floor : float
        Stop when the loss is at most this.

    Returns
    -------
    Point
        Its objective is at most that of the start.

    Notes
    -----
    One forward and one adjoint pass a step; O(12 d r) memory.  Source of the metric:
    Tong, Ma & Chi, "Accelerating ill-conditioned low-rank matrix estimation via scaled gradient
    descent" (2021).
    """
    steps: list[Array] = []
    changes: list[Array] = []
    last_gradient: Array | None = None
    last_step: Array | None = None
    for _ in range(n_steps):
        if point.loss <= floor or not len(point.U):
            break
        g, shrink = gradient(point, strength, beta)
        if last_gradient is not None and last_step is not None:
            change = g - last_gradient
            if _dot(change, last_step) > 0:
                steps.append(last_step)
                changes.append(change)
                del steps[:-MEMORY], changes[:-MEMORY]
        solve = _metric(point.U, shrink, curvature)
        direction = -_two_loop(g, steps, changes, solve)
        decrement = -_dot(g, direction)
        if decrement <= 0:  # rounding alone cannot do this: start again from the metric
            steps, changes = [], []
            direction = -solve(g)
            decrement = -_dot(g, direction)
        objective = point.loss + strength * penalty(squares(point.U), beta)
        if decrement / 2 <= tolerance**2 * objective:
            break
        first, second = point.sensed.line(point.U, direction, point.signs)
        t = line_search(point, direction, first, second, strength, beta)
        if t <= 0:
            break
        residual = point.residual - 2 * t * first - t * t * second
        last_gradient, last_step = g, t * direction
        point = Point(point.sensed, point.U + last_step, point.signs, residual)
    return point


def _metric(U: Array, shrink: Array, curvature: float) -> Solve:
    """Inverse of 8 curvature U U^H + shrink, about the Hessian of an isotropic operator."""
    gram = U @ U.conj().T
    weight = shrink + 8 * curvature * DAMPING * float(np.trace(gram).real)
    factor = cho_factor(8 * curvature * gram + np.diag(weight), check_finite=False)
    return partial(cho_solve, factor, check_finite=False)


def _two_loop(g: Array, steps: list[Array], changes: list[Array], solve: Solve) -> Array:
    """Compute the L-BFGS direction, up to its sign (Nocedal & Wright, Algorithm 7.4)."""
    q = g
    weights = []
    for s, c in zip(reversed(steps), reversed(changes), strict=True):
        weights.append(_dot(s, q) / _dot(s, c))
        q = q - weights[-1] * c
    found = solve(q)
    if steps:
        found = found * (_dot(steps[-1], changes[-1]) / _dot(changes[-1], solve(changes[-1])))
    for s, c, a in zip(steps, changes, reversed(weights), strict=True):
        found = found + (a - _dot(c, found) / _dot(s, c)) * s
    return found


def line_search(
    point: Point, P: Array, first: Array, second: Array, strength: float, beta: float
) -> float:
    """Find the smallest positive minimiser t of the objective at U + t P.

    Parameters
    ----------
    point : Point
    P : array, shape [r, d]
        The direction.
    first, second : arrays, shape [n]
        Terms of y(U + t P), as `Sensed.line` gives them.
    strength, beta : float

    Returns
    -------
    float
        0 if the objective does not fall along P.  Without a penalty it is exact to rounding.
    """
    r, n = point.residual, len(point.residual)
    # L(t) = a0 + a1 t + ... + a4 t^4
    a4, a3 = second @ second, 4 * (first @ second)
    a2, a1 = 4 * (first @ first) - 2 * (r @ second), -4 * (r @ first)
    derivative = np.array([a4, a3, a2, a1]) / n * np.array([4, 3, 2, 1])
    if not strength:
        roots = np.roots(derivative)
        real = roots.real[(np.abs(roots.imag) <= REAL_ROOT * np.abs(roots.real)) & (roots.real > 0)]
        return float(real.min()) if len(real) else 0.0
    uu, pp = squares(point.U), squares(P)
    up = np.einsum("kd,kd->k", point.U.conj(), P).real

    def derivative_at(t: float) -> float:
        norms = np.maximum(uu + 2 * t * up + t * t * pp, 0.0)
        shrink = float(slope(norms, beta) @ (up + t * pp))
        return float(np.polyval(derivative, t)) + strength * shrink

    low, high = 0.0, 1.0
    if derivative_at(0.0) >= 0:
        return 0.0
    while derivative_at(high) < 0 and high < LONGEST_STEP:
        low, high = high, 2 * high
    for _ in range(BISECTIONS):
        if high - low <= LINE_ACCURACY * high:
            break
        middle = (low + high) / 2
        low, high = (middle, high) if derivative_at(middle) < 0 else (low, middle)
    return low if low > 0 else high


def _dot(a: Array, b: Array) -> float:
    return float(np.vdot(a, b).real)
