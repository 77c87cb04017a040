"""Factors of a sensed matrix, their residual, and the group penalty.

    L(U) = (1/n) sum_i r_i^2,  r = y - y(U),  y(U)_i = <A_i, sum_k s_k u_k u_k^H>
    R_beta(U) = sum_k ||u_k||^2 / sqrt(||u_k||^2 + beta)
    N = (1/n) sum_i r_i A_i,   grad_k = -4 s_k N u_k + lambda h(||u_k||) u_k                   (1)
    h(t) = (t^2 + 2 beta) / (t^2 + beta)^(3/2)

Notation: A_i are the matrices of the operator, y the measurements, s_k = +-1 the signs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from secateurs.core.parameters import Shown, bad_value
from secateurs.core.short_repr import short_repr
from secateurs.sensing.operators.base import (
    Array,
    SensingOperator,
    product,
    real_dtype,
    shape_of,
)
from secateurs.sensing.operators.spectrum import eigenpairs, ordered

SMALLEST, LARGEST = 1e-300, 1e300  # of the largest |y|, so that sums and shares stay in float64
USUAL_SMALLEST, USUAL_LARGEST = 1e-70, 1e70  # outside of this, fourth powers leave float64


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

    __repr__ = short_repr

    components: Array
    signs: Array

    def matrix(self) -> Array:
        """M [d, d]."""
        return product(self.components, self.components, self.signs)


@dataclass
class Sensed:
    """Measurements to explain, and the passes over the data so far.

    Attributes
    ----------
    operator : SensingOperator
    y : float64 array [n]
        Divided by `scale`, without its nuisance part.
    scale : float
        A power of four, so that M is divided by it and U by its root without rounding.  1 unless
        the measurements are very large or very small.
    forward, adjoint : int
        Passes so far.  A loss and its gradient take one of each.
    """

    operator: SensingOperator
    y: Array
    scale: float = 1.0
    forward: int = 0
    adjoint: int = 0

    @classmethod
    def of(cls, operator: SensingOperator, y: ArrayLike) -> Self:
        """Check raw measurements y [n], scale them, and project their nuisance part out.

        What is left counts as zero where it is the rounding of the projection.
        """
        values = measured_values(operator, y)
        scale = scale_of(values)
        values = values / scale
        left = operator.project(values)
        if np.linalg.norm(left) <= rounding(operator) * np.linalg.norm(values):
            left = np.zeros_like(left)
        return cls(operator, left, scale)

    def scaled(self, factors: Factors) -> Factors:
        """Factors of M in the units of the given measurements, in those of `y`."""
        return Factors(factors.components / math.sqrt(self.scale), factors.signs)

    def unscaled(self, factors: Factors) -> Factors:
        """Undo `scaled`."""
        return Factors(factors.components * math.sqrt(self.scale), factors.signs)

    @property
    def calls(self) -> float:
        """Passes in units of a loss and its gradient."""
        return (self.forward + self.adjoint) / 2

    @property
    def power(self) -> float:
        """Mean square of y."""
        return float(self.y @ self.y) / len(self.y)

    def factors(self, U: Array, signs: Array) -> Array:
        """y(U); one pass."""
        self.forward += 1
        return self.operator.forward_factors(U, signs).astype(np.float64)

    def line(self, U: Array, P: Array, signs: Array) -> tuple[Array, Array]:
        """y(U + t P) = y(U) + 2 t first + t^2 second; one pass."""
        self.forward += 1
        first, second = self.operator.forward_line(U, P, signs)
        return first.astype(np.float64), second.astype(np.float64)


def measured_values(operator: SensingOperator, y: ArrayLike) -> Array:
    """Return measurements as float64 [n], or raise ValueError."""
    n, _ = operator.shape
    values = np.asarray(y, dtype=np.float64)
    if values.shape != (n,):
        raise bad_value("y", shape_of(values), f"shape [{n}], one value for a measurement")
    if not np.isfinite(values).all():
        raise bad_value("y", Shown("nan or infinite values"), "finite values", "drop those rows")
    largest = float(np.abs(values).max(initial=0.0))
    if largest > 0 and not SMALLEST <= largest <= LARGEST:
        got = Shown(f"values whose largest modulus is {largest:.3g}")
        raise bad_value("y", got, f"one from {SMALLEST:g} to {LARGEST:g}", "rescale y")
    return values


def rounding(operator: SensingOperator) -> float:
    """Relative size of a residual that is zero to rounding."""
    return 16 * float(np.finfo(real_dtype(operator.dtype)).eps)


def scale_of(y: Array) -> float:
    """The power of four that brings the largest |y| near 1, where it is very large or small."""
    largest = float(np.abs(y).max(initial=0.0))
    if not largest or USUAL_SMALLEST <= largest <= USUAL_LARGEST:
        return 1.0
    return float(4.0 ** (math.frexp(largest)[1] // 2))


@dataclass
class Point:
    """Factors, their residual, and N if it was formed.

    Attributes
    ----------
    U : array [r, d]
    signs : array [r]
    residual : float64 array [n]
    N : array [d, d], optional
    """

    sensed: Sensed
    U: Array
    signs: Array
    residual: Array
    N: Array | None = field(default=None, repr=False)

    @classmethod
    def at(cls, sensed: Sensed, U: Array, signs: Array) -> Self:
        """Compute the residual of factors; one pass, none if there are no factors."""
        y = sensed.y - sensed.factors(U, signs) if len(U) else sensed.y
        return cls(sensed, U, signs, y)

    @classmethod
    def empty(cls, sensed: Sensed) -> Self:
        """Return the point without factors."""
        dtype = np.complex128 if sensed.operator.dtype.kind == "c" else np.float64
        U = np.zeros((0, sensed.operator.shape[1]), dtype=dtype)
        return cls(sensed, U, np.zeros(0), sensed.y)

    @property
    def loss(self) -> float:
        """Mean squared residual."""
        return float(self.residual @ self.residual) / len(self.residual)

    def factors(self) -> Factors:
        """The factors without their residual."""
        return Factors(self.U, self.signs)

    def only(self, kept: Array) -> Point:
        """Keep the factors of a mask [r]; one pass unless all are kept."""
        return self if kept.all() else Point.at(self.sensed, self.U[kept], self.signs[kept])

    def grown(self, V: Array, signs: Array, least: float) -> Point:
        """Append factors, scaled so that they fit the residual best; one pass.

        Parameters
        ----------
        V : array, shape [k, d]
        signs : array, shape [k]
        least : float
            The smallest scale of the new terms.
        """
        y = self.sensed.factors(V, signs)
        scale = max(float(y @ self.residual) / float(y @ y), least)
        return Point(
            self.sensed,
            np.vstack([self.U, V * np.sqrt(scale)]),
            np.concatenate([self.signs, signs]),
            self.residual - scale * y,
        )

    def times(self, V: Array) -> Array:
        """N V^T for rows V [k, d], as rows; one pass, none if N was formed."""
        operator, n = self.sensed.operator, len(self.residual)
        if self.N is not None:
            return np.asarray((self.N @ V.T).T)
        self.sensed.adjoint += 1
        if not operator.dense_adjoint:
            return np.asarray(operator.adjoint_times(self.residual / n, V.T).T, dtype=V.dtype)
        self.N = np.asarray(operator.adjoint(self.residual / n), dtype=V.dtype)
        return np.asarray((self.N @ V.T).T)

    def eigenpairs(self, *, both_ends: bool, tolerance: float = 1e-3) -> tuple[Array, Array]:
        """Largest eigenvalues of N (in modulus for both ends) and their vectors, as rows."""
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
    """Bring the factors into the eigenbasis of the matrix: orthogonal, strongest first.

    The matrix stays the same, and the penalty does not grow, because it is concave in the
    eigenvalues (Rotfel'd's inequality).  Source: derived.  Cost O(d r^2).
    """
    if not len(point.U):
        return point
    basis, triangle = np.linalg.qr(point.U.T)
    values, inner = np.linalg.eigh((triangle * point.signs) @ triangle.conj().T)
    order = np.argsort(-np.abs(values), kind="stable")
    U = ((basis @ inner[:, order]) * np.sqrt(np.abs(values[order]))).T
    signs = np.where(values[order] < 0, -1.0, 1.0)
    return Point(point.sensed, np.ascontiguousarray(U), signs, point.residual, point.N)


def squares(U: Array) -> Array:
    """Squared norms of the rows."""
    return np.asarray(np.einsum("kd,kd->k", U, U.conj()).real)


def column_norms(U: Array) -> Array:
    """Norms of the factors, largest first."""
    return np.asarray(np.sort(np.sqrt(squares(U)))[::-1])


def slope(square: Array, beta: float) -> Array:
    """h(t) of (1), from t^2."""
    return np.asarray((square + 2 * beta) / (square + beta) ** 1.5)


def penalty(square: Array, beta: float) -> float:
    """R_beta, from the squared norms."""
    return float(np.sum(square / np.sqrt(square + beta)))


def gradient(point: Point, strength: float, beta: float) -> tuple[Array, Array]:
    """Gradient of L + strength R_beta by (1), and the factor strength h of each row; one pass."""
    step = -4 * point.signs[:, None] * point.times(point.U)
    shrink = strength * slope(squares(point.U), beta) if strength else np.zeros(len(point.U))
    return step + shrink[:, None] * point.U, shrink
