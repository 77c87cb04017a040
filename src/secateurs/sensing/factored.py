"""Descent on the factors of a sensed matrix: few passes over the data.

    L(U) = (1/n) sum_i r_i^2,  r = y - y(U),  y(U)_i = <A_i, sum_k s_k u_k u_k^H>
    R_beta(U) = sum_k ||u_k||^2 / sqrt(||u_k||^2 + beta)
    N = (1/n) sum_i r_i A_i,   grad_k = -4 s_k N u_k + lambda h(||u_k||) u_k                   (1)
    h(t) = (t^2 + 2 beta) / (t^2 + beta)^(3/2)

An iteration is one forward and one adjoint pass: L is a quartic on a line, whose coefficients
come from one pass, so the line search is exact and free.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_factor, cho_solve

from secateurs.sensing.operators.base import Array, SensingOperator, product
from secateurs.sensing.operators.spectrum import eigenpairs, ordered

MEMORY = 12  # pairs of L-BFGS


@dataclass(frozen=True)
class Factors:
    """The matrix M = sum_k s_k u_k u_k^H.

    Attributes
    ----------
    components : array, shape [r, d]
        u_k, strongest first.
    signs : array, shape [r]
        s_k, +-1.
    """

    components: Array
    signs: Array

    def matrix(self) -> Array:
        """M [d, d]."""
        return product(self.components, self.components, self.signs)


@dataclass
class Sensed:
    """Measurements to explain, and the passes over the data they took.

    Attributes
    ----------
    operator : SensingOperator
    y : float64 array [n]
        Without its nuisance part.
    forward, adjoint : int
        Passes so far.  A loss and its gradient are one of each.
    """

    operator: SensingOperator
    y: Array
    forward: int = 0
    adjoint: int = 0

    @property
    def calls(self) -> float:
        """Passes in units of a loss and its gradient."""
        return (self.forward + self.adjoint) / 2

    def factors(self, U: Array, signs: Array) -> Array:
        """y(U); one pass."""
        self.forward += 1
        return self.operator.forward_factors(U, signs).astype(np.float64)

    def line(self, U: Array, P: Array, signs: Array) -> tuple[Array, Array]:
        """y(U + t P) = y(U) + 2 t first + t^2 second; one pass."""
        self.forward += 1
        first, second = self.operator.forward_line(U, P, signs)
        return first.astype(np.float64), second.astype(np.float64)


@dataclass
class Point:
    """Factors, their residual, and N once it was needed.

    Attributes
    ----------
    U : array [r, d]
    signs : array [r]
    residual : float64 array [n]
    N : array [d, d], optional
        Where it was formed.
    """

    sensed: Sensed
    U: Array
    signs: Array
    residual: Array
    N: Array | None = field(default=None, repr=False)

    @classmethod
    def at(cls, sensed: Sensed, U: Array, signs: Array) -> Point:
        """The point with its residual; one pass, none without factors."""
        y = sensed.y - sensed.factors(U, signs) if len(U) else sensed.y
        return cls(sensed, U, signs, y)

    @classmethod
    def empty(cls, sensed: Sensed) -> Point:
        """No factors."""
        dtype = np.complex128 if sensed.operator.dtype.kind == "c" else np.float64
        U = np.zeros((0, sensed.operator.shape[1]), dtype=dtype)
        return cls(sensed, U, np.zeros(0), sensed.y)

    @property
    def loss(self) -> float:
        """Mean squared residual."""
        return float(self.residual @ self.residual) / len(self.residual)

    def times(self, V: Array) -> Array:
        """N V^T for rows V [k, d], as rows; one pass, none when N is at hand."""
        operator, n = self.sensed.operator, len(self.residual)
        if self.N is not None:
            return np.asarray((self.N @ V.T).T)
        self.sensed.adjoint += 1
        if not operator.dense_adjoint:
            return np.asarray(operator.adjoint_times(self.residual / n, V.T).T, dtype=V.dtype)
        self.N = np.asarray(operator.adjoint(self.residual / n), dtype=V.dtype)
        return np.asarray((self.N @ V.T).T)

    def eigenpairs(self, *, both_ends: bool, tolerance: float = 1e-3) -> tuple[Array, Array]:
        """The largest eigenvalues of N (in modulus: both ends) and their vectors, as rows."""
        if self.sensed.operator.dense_adjoint:
            self.times(self.U)
        if self.N is not None:
            return ordered(*np.linalg.eigh(self.N), both_ends=both_ends)
        values, vectors, passes = eigenpairs(
            self.sensed.operator,
            self.residual / len(self.residual),
            both_ends=both_ends,
            tolerance=tolerance,
        )
        self.sensed.adjoint += passes
        return values.astype(np.float64), vectors.astype(self.U.dtype)


def rotated(point: Point) -> Point:
    """The same matrix in its eigenbasis: orthogonal factors, the penalty no larger.

    Strongest first.  Source: concavity of the penalty in the eigenvalues (Rotfel'd's
    inequality); derived.  O(d r^2).
    """
    if not len(point.U):
        return point
    basis, triangle = np.linalg.qr(point.U.T)
    values, inner = np.linalg.eigh((triangle * point.signs) @ triangle.conj().T)
    order = np.argsort(-np.abs(values), kind="stable")
    U = ((basis @ inner[:, order]) * np.sqrt(np.abs(values[order]))).T
    signs = np.where(values[order] < 0, -1.0, 1.0)
    return Point(point.sensed, np.ascontiguousarray(U), signs, point.residual, point.N)


def slope(square: Array, beta: float) -> Array:
    """h(t) of (1), from t^2."""
    return np.asarray((square + 2 * beta) / (square + beta) ** 1.5)


def penalty(square: Array, beta: float) -> float:
    """R_beta, from the squared norms."""
    return float(np.sum(square / np.sqrt(square + beta)))


def squares(U: Array) -> Array:
    """Squared norms of the rows."""
    return np.asarray(np.einsum("kd,kd->k", U, U.conj()).real)


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
        Stop when the decrease still predicted (half the squared Newton decrement) is below
        tolerance^2 times the loss,
    floor : float
        or the loss is below this.

    Returns
    -------
    Point
        Objective no larger than at the start.

    Notes
    -----
    One forward and one adjoint pass a step, O(12 d r) memory besides.  Source of the metric:
    Tong, Ma & Chi, "Accelerating ill-conditioned low-rank matrix estimation via scaled gradient
    descent" (2021).
    """
    steps: list[Array] = []
    changes: list[Array] = []
    last_gradient: Array | None = None
    last_step: Array | None = None
    for _ in range(n_steps):
        norms = squares(point.U)
        if point.loss <= floor or not len(norms):
            break
        gradient = -4 * point.signs[:, None] * point.times(point.U)
        shrink = strength * slope(norms, beta) if strength else np.zeros(len(norms))
        gradient = gradient + shrink[:, None] * point.U
        if last_gradient is not None and last_step is not None:
            change = gradient - last_gradient
            if _dot(change, last_step) > 0:
                steps.append(last_step)
                changes.append(change)
                del steps[:-MEMORY], changes[:-MEMORY]
        direction = -_two_loop(gradient, steps, changes, _Metric(point.U, shrink, curvature))
        decrement = -_dot(gradient, direction)
        if decrement <= 0:  # never by rounding alone: start again from the metric
            steps, changes = [], []
            direction = -_Metric(point.U, shrink, curvature).solve(gradient)
            decrement = -_dot(gradient, direction)
        if decrement / 2 <= tolerance**2 * (point.loss + strength * penalty(norms, beta)):
            break
        first, second = point.sensed.line(point.U, direction, point.signs)
        t = _line_search(point, direction, first, second, strength, beta)
        if t <= 0:
            break
        residual = point.residual - 2 * t * first - t * t * second
        last_gradient, last_step = gradient, t * direction
        point = Point(point.sensed, point.U + last_step, point.signs, residual)
    return point


def checked(operator: SensingOperator, y: ArrayLike) -> Array:
    """Measurements as float64 [n], or an error that says what is wrong with them."""
    n, _ = operator.shape
    values = np.asarray(y, dtype=np.float64)
    if values.shape != (n,):
        raise ValueError(f"got y of shape {values.shape}; expected [{n}], one for a measurement")
    if not np.isfinite(values).all():
        raise ValueError("got y with nan or infinite values; expected finite: drop those rows")
    return values


class _Metric:
    """8 curvature (U U^H) + shrink: the Hessian of an isotropic operator, roughly."""

    def __init__(self, U: Array, shrink: Array, curvature: float) -> None:
        gram = U @ U.conj().T
        weight = shrink + 8 * curvature * 1e-6 * float(np.trace(gram).real)
        self._factor = cho_factor(8 * curvature * gram + np.diag(weight), check_finite=False)

    def solve(self, Q: Array) -> Array:
        return np.asarray(cho_solve(self._factor, Q, check_finite=False))


def _two_loop(gradient: Array, steps: list[Array], changes: list[Array], metric: _Metric) -> Array:
    """L-BFGS direction, up to its sign (Nocedal & Wright, Algorithm 7.4)."""
    q = gradient
    weights = []
    for s, c in zip(reversed(steps), reversed(changes), strict=True):
        weights.append(_dot(s, q) / _dot(s, c))
        q = q - weights[-1] * c
    found = metric.solve(q)
    if steps:
        found = found * (
            _dot(steps[-1], changes[-1]) / _dot(changes[-1], metric.solve(changes[-1]))
        )
    for s, c, a in zip(steps, changes, reversed(weights), strict=True):
        found = found + (a - _dot(c, found) / _dot(s, c)) * s
    return found


def _line_search(
    point: Point, P: Array, first: Array, second: Array, strength: float, beta: float
) -> float:
    """Smallest positive minimiser of the objective on the line, to rounding."""
    r, n = point.residual, len(point.residual)
    # L(t) = a0 + a1 t + ... + a4 t^4
    a = (
        np.array(
            [
                second @ second,
                4 * (first @ second),
                4 * (first @ first) - 2 * (r @ second),
                -4 * (r @ first),
            ]
        )
        / n
    )
    derivative = a * np.array([4, 3, 2, 1])
    if not strength:
        roots = np.roots(derivative)
        real = roots.real[(np.abs(roots.imag) <= 1e-9 * np.abs(roots.real)) & (roots.real > 0)]
        return float(real.min()) if len(real) else 0.0
    uu, pp = squares(point.U), squares(P)
    up = np.einsum("kd,kd->k", point.U.conj(), P).real

    def of(t: float) -> float:
        norms = np.maximum(uu + 2 * t * up + t * t * pp, 0.0)
        return float(np.polyval(derivative, t)) + strength * float(
            slope(norms, beta) @ (up + t * pp)
        )

    low, high = 0.0, 1.0
    if of(0.0) >= 0:
        return 0.0
    while of(high) < 0 and high < 1e6:
        low, high = high, 2 * high
    for _ in range(60):  # secant steps kept inside the bracket
        if high - low <= 1e-6 * high:
            break
        middle = (low + high) / 2
        low, high = (middle, high) if of(middle) < 0 else (low, middle)
    return low if low > 0 else high


def _dot(a: Array, b: Array) -> float:
    return float(np.vdot(a, b).real)
