"""Look for another matrix of the same rank that fits as well, from random starts.

Without noise the other matrix must have the same measurements.  For one component and measurements
by x x^T of many rows, the signs are passed as messages (`message_passing`); otherwise the start is
followed by descent.  Other starts are kept away from the fit (`second_matrix`).  Under noise it
counts if its loss is not much larger.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np

from secateurs.sensing.descent import descend
from secateurs.sensing.factored import Factors, Point, Sensed, rounding
from secateurs.sensing.measurement_count import random_factors
from secateurs.sensing.message_passing import from_random_start, rows_of
from secateurs.sensing.operators.base import Array
from secateurs.sensing.second_matrix import second_matrices

DIFFERENT = 1e-3  # relative distance from which a second solution is another matrix
STARTS, STARTS_SMALL = 2, 4  # random starts where the residual is zero; for small problems
SMALL_PROBLEM = 5000  # n d r up to which a problem is small
START_STEPS, START_ACCURACY = 300, 1e-3  # of the descent; below this accuracy it is in a minimum
NOISY_STARTS, NOISY_ACCURACY = 4, 1e-2  # where the residual is not zero
NEARLY_ZERO = 1e-8  # loss over the mean square of y, up to which the noise is about rounding
AS_GOOD = 1.5  # loss over that of the fit, up to which a fit from a random start is as good
APART = 0.5  # distance, in weakest eigenvalues of the fit, from which two fits are not the same


def same_measurements(
    sensed: Sensed, factors: Factors, ratio: float | None, rng: np.random.Generator
) -> str:
    """Question 7; an empty string where no start found another matrix."""
    small = rounding(sensed.operator)
    zero = (16 * small) ** 2 * sensed.power
    least = max(DIFFERENT, 100 * small / (ratio or 1.0))
    for end in _ends(sensed, factors, small**2 * sensed.power, rng):
        distance = _distance(end.factors(), factors)
        if end.loss <= zero and distance > least:
            return (
                "another matrix of the same rank, found from a random start, has the same "
                f"measurements to rounding; it differs by {distance:.0%} of the Frobenius norm"
            )
    return ""


def _ends(
    sensed: Sensed, factors: Factors, floor: float, rng: np.random.Generator
) -> Iterator[Point]:
    """Yield fits of measurements without noise from random starts."""
    n, d = sensed.operator.shape
    r = len(factors.signs)
    small = n * d * r <= SMALL_PROBLEM
    yield from second_matrices(sensed, factors, _curvature(sensed, factors), rng, small=small)
    rows = None if small or r > 1 or factors.signs[0] < 0 else rows_of(sensed.operator)
    for _ in range(STARTS_SMALL if small else STARTS):
        if rows is None:
            yield descend(
                _random_start(sensed, factors, rng),
                curvature=_curvature(sensed, factors),
                n_steps=START_STEPS,
                tolerance=START_ACCURACY,
                floor=floor,
            )
            continue
        u = from_random_start(rows, factors.components[0], rng)
        if u is not None:
            yield Point.at(sensed, u[None], factors.signs)


def as_good_fit(sensed: Sensed, factors: Factors, rng: np.random.Generator) -> str:
    """Question 7 under noise; an empty string where all starts end at the fit, or are worse."""
    fit = Point.at(sensed, factors.components, factors.signs)
    curvature = _curvature(sensed, factors)
    sizes = np.linalg.norm(factors.components, axis=1) ** 2
    apart = APART * float(sizes.min()) / float(np.linalg.norm(sizes))
    ends = (
        descend(
            _random_start(sensed, factors, rng),
            curvature=curvature,
            n_steps=START_STEPS,
            tolerance=NOISY_ACCURACY,
        )
        for _ in range(NOISY_STARTS)
    )
    far: Iterator[Point] = iter(())
    good = AS_GOOD * fit.loss
    if fit.loss <= NEARLY_ZERO * sensed.power:
        small = sensed.operator.shape[0] * factors.components.size <= SMALL_PROBLEM
        far = second_matrices(sensed, factors, curvature, rng, small=small)
        good = max(good, NEARLY_ZERO**2 * sensed.power)
    for end in chain(ends, far):
        distance = _distance(end.factors(), factors)
        if end.loss <= good and distance > apart:
            return (
                "another matrix of the same rank, found from a random start, fits about as well "
                f"(its loss is {end.loss / fit.loss:.3g} times as large); it differs by "
                f"{distance:.0%} of the Frobenius norm"
            )
    return ""


def _random_start(sensed: Sensed, factors: Factors, rng: np.random.Generator) -> Point:
    """Random directions with the norms and the signs of the factors."""
    U = random_factors(sensed.operator, len(factors.signs), rng)
    U *= (np.linalg.norm(factors.components, axis=1) / np.linalg.norm(U, axis=1))[:, None]
    return Point.at(sensed, U, factors.signs)


def _curvature(sensed: Sensed, factors: Factors) -> float:
    """Mean of <A_i, M>^2 over ||M||_F^2."""
    gram = factors.components.conj() @ factors.components.T
    size = float(factors.signs @ (np.abs(gram) ** 2) @ factors.signs)
    return sensed.power / size if size > 0 else 1.0


def _distance(a: Factors, b: Factors) -> float:
    """Frobenius norm of the difference over that of b, without d x d matrices."""
    both = np.vstack([a.components, b.components])
    triangle: Array = np.linalg.qr(both.T)[1]
    weights = np.concatenate([a.signs, -b.signs])
    kept = np.concatenate([np.zeros(len(a.signs)), b.signs])
    difference = np.linalg.norm((triangle * weights) @ triangle.conj().T)
    return float(difference / np.linalg.norm((triangle * kept) @ triangle.conj().T))
