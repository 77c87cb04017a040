"""Look for a second matrix of one rank with the same measurements, away from the first.

    minimise  R(U) = (1/n) sum_i <A_i, E>^2 / ||E||_F^2,   E = sum_k s_k u_k u_k^H - M      (1)
    then the plain loss, from where (1) ends

At M itself, (1) is not zero if the measurements are injective on the tangent space: its limit is
the square of a ratio of norms there.  So the descent cannot end at M, and every zero of (1) is
another matrix with the same measurements.  The plain loss, from random starts, ends at M most of
the time if the other matrix attracts less.

Source: derived; (1) is the lower constant of the restricted isometry, on differences from M.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from secateurs.sensing.descent import descend
from secateurs.sensing.factored import Factors, Point, Sensed
from secateurs.sensing.measurement_count import random_factors
from secateurs.sensing.operators.base import Array
from secateurs.sensing.tangent import degrees_of_freedom

SIZES = np.geomspace(0.01, 100.0, 41)  # of the starts, in norms of M; the best one is taken
OWN_STARTS, OTHER_STARTS = 30, 8  # with the signs of M, and with every other number of signs -1
TIMES = 3  # more starts for fewer than FEW measurements for each degree of freedom,
FEW = 3.0  # where (1) has more minima
FEW_STARTS = 3  # of a large problem, with the signs of M only
NO_ZERO = 1e-2  # (1) over the curvature, above which a minimum is not zero
STEPS, PLAIN_STEPS = 150, 100  # of (1), and of the plain loss
ACCURACY = 1e-8  # of the plain loss; below it, it has a minimum that is not zero
MEMORY = 20  # of L-BFGS


def second_matrices(
    sensed: Sensed, factors: Factors, curvature: float, rng: np.random.Generator, *, small: bool
) -> Iterator[Point]:
    """Yield the ends of the descent that follows (1), from random starts where (1) is near zero.

    Parameters
    ----------
    sensed : Sensed
    factors : Factors
        M.
    curvature : float
        Mean of <A_i, M>^2 over ||M||_F^2.
    rng : numpy Generator
    small : bool
        Try every signature; otherwise only that of M.
    """
    floor = 1e-28 * sensed.power
    norms = np.linalg.norm(factors.components, axis=1)
    r, (n, d) = len(norms), sensed.operator.shape
    is_complex = sensed.operator.dtype.kind == "c"
    few = n < FEW * degrees_of_freedom(d, r, complex_=is_complex)
    times = TIMES if few else 1
    counts = (times * OWN_STARTS, times * OTHER_STARTS) if small else (FEW_STARTS, 0)
    for signs in _signatures(factors.signs, *counts):
        U = random_factors(sensed.operator, len(signs), rng)
        U *= (norms / np.linalg.norm(U, axis=1))[:, None]
        U *= np.sqrt(_best_size(sensed, factors, U, signs))
        start, ratio = _away_from(sensed, factors, U, signs, curvature)
        if ratio > NO_ZERO:
            continue
        yield descend(
            Point.at(sensed, start, signs),
            curvature=curvature, n_steps=PLAIN_STEPS, tolerance=ACCURACY, floor=floor,
        )  # fmt: skip


def _signatures(own: Array, n_own: int, n_other: int) -> Iterator[Array]:
    """Yield the signs of each start."""
    r, n_negative = len(own), int((own < 0).sum())
    for _ in range(n_own):
        yield own
    for k in range(r + 1):
        if k != n_negative:
            yield from [np.where(np.arange(r) < k, -1.0, 1.0)] * n_other


def _away_from(
    sensed: Sensed, factors: Factors, start: Array, signs: Array, curvature: float
) -> tuple[Array, float]:
    """Minimise (1) over the curvature from a start [r, d]; two passes a step."""
    V, own = factors.components, factors.signs
    size = _inner(V, V, own, own)

    def objective(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        U = x.view(start.dtype).reshape(start.shape)
        point = Point.at(sensed, U, signs)
        square = _inner(U, U, signs, signs) - 2 * _inner(U, V, signs, own) + size
        square = max(square, 1e-24 * size) * curvature
        moved = (U.T * signs) @ (U.conj() @ U.T) - (V.T * own) @ (V.conj() @ U.T)
        slope = -4 * point.times(U) - (4 * curvature * point.loss / square) * moved.T
        g = np.ascontiguousarray(signs[:, None] * slope / square, dtype=start.dtype)
        return point.loss / square, g.view(np.float64).ravel()

    x = np.ascontiguousarray(start).view(np.float64).ravel()
    options: Any = {"maxiter": STEPS, "maxcor": MEMORY, "ftol": 1e-12, "gtol": 1e-12}
    found: Any = minimize(objective, x, jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x.view(start.dtype).reshape(start.shape)), float(found.fun)


def _best_size(sensed: Sensed, factors: Factors, U: Array, signs: Array) -> float:
    """The factor of the matrix of a start for which (1) is smallest; one pass."""
    V, own = factors.components, factors.signs
    y = sensed.factors(U, signs)
    t, n = SIZES, len(y)
    loss = (t * t * (y @ y) - 2 * t * (y @ sensed.y)) / n + sensed.power
    square = t * t * _inner(U, U, signs, signs) - 2 * t * _inner(U, V, signs, own)
    square += _inner(V, V, own, own)
    return float(t[np.argmin(loss / np.maximum(square, 1e-300))])


def _inner(U: Array, V: Array, s: Array, t: Array) -> float:
    """Inner product of sum_k s_k u_k u_k^H and sum_k t_k v_k v_k^H."""
    return float(s @ (np.abs(U.conj() @ V.T) ** 2) @ t)
