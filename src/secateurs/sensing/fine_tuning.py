"""Fine-tuning of candidate ranks, and comparison of the fits with noise.

    base = mean ||(1/n) sum_i g_i A_i||_op over draws g ~ N(0, I)        norm of N for sigma = 1
    ratio = lambda_max(N) / (base rms(residual) sqrt(1 - r / d))         about 1 for noise    (5)
    BIC = log(RSS / n) + log(n) dof / n                                                       (6)

A fit takes the tangent space of its r components from the noise; this gives the last factor of (5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from secateurs.sensing.descent import descend
from secateurs.sensing.factored import Point, Sensed, rotated, squares
from secateurs.sensing.operators.base import Array, real_dtype
from secateurs.sensing.operators.spectrum import noise_norm

CERTIFIED = 1.15  # largest ratio (5) of a residual that looks like noise
PLAUSIBLE = 1.3  # BIC may choose a smaller rank with a ratio up to this
WEAK = 4.0  # components below this many noise norms stay only if BIC wants them
ZERO = 1e-4  # share of lambda_max(A* y / n) below which N is zero, when there is no noise
LOOSE = 0.05  # relative accuracy of (4) for a candidate
STEPS, LOOK_STEPS = 200, 20  # descent steps for a candidate, and for one component more
LEAST_SCALE = 1e-3  # of new columns, when they are scaled to fit the residual


@dataclass(frozen=True)
class Fit:
    """A fine-tuned candidate.

    Attributes
    ----------
    point : Point
    sigma : float
        Estimate of the standard deviation of the noise.
    lambda_max : float
        Largest eigenvalue of N (in modulus if both signs are allowed).
    ratio, bic : float
        (5) and (6).
    """

    point: Point
    sigma: float
    lambda_max: float
    ratio: float
    bic: float

    @property
    def rank(self) -> int:
        """Number of components."""
        return len(self.point.U)


class FineTuning:
    """Fine-tune candidates of one problem.

    Parameters
    ----------
    sensed : Sensed
    max_rank : int, optional
    signed : bool

    Attributes
    ----------
    most : int
        The largest rank allowed: `max_rank`, or the largest with fewer degrees of freedom than
        measurements.
    comparable : int
        The largest of these ranks with half as many degrees of freedom as measurements.  A larger
        one fits noise so well that BIC is of no use.
    base : float
        The noise norm; nan before `measure_noise`.
    curvature : float
        Mean of <A_i, M>^2 over ||M||_F^2; n base^2 / (2 d), exact for Gaussian measurements.
    top : float
        Largest eigenvalue of A* y / n (in modulus if both signs are allowed).
    floor : float
        Loss at which the residual is zero to rounding.
    """

    def __init__(self, sensed: Sensed, max_rank: int | None, *, signed: bool) -> None:
        n, d = sensed.operator.shape
        self.sensed, self.signed = sensed, signed
        free = n - sensed.operator.n_nuisance
        fewer = sum(self.degrees_of_freedom(k) < free for k in range(1, d + 1))
        self.most = fewer if max_rank is None else min(max_rank, d)
        half = sum(2 * self.degrees_of_freedom(k) <= free for k in range(1, d + 1))
        self.comparable = min(half, self.most)
        self.base = self.curvature = self.top = math.nan
        epsilon = float(np.finfo(real_dtype(sensed.operator.dtype)).eps)
        self.floor = (16 * epsilon) ** 2 * sensed.power

    def measure_noise(self, start: Point, random_state: int) -> bool:
        """Set `base`, `curvature` and `top`; return whether a component can lower the loss."""
        n, d = self.sensed.operator.shape
        self.base, passes = noise_norm(self.sensed.operator, random_state)
        self.sensed.adjoint += passes
        self.curvature = n * self.base**2 / (2 * d)
        values, _ = start.eigenpairs(both_ends=self.signed)
        self.top = float(abs(values[0]))
        return self.top > 0 and (self.signed or bool(values[0] > 0))

    def degrees_of_freedom(self, rank: int) -> int:
        """Degrees of freedom of a matrix of this rank."""
        d = self.sensed.operator.shape[1]
        if self.sensed.operator.dtype.kind == "c":
            return 2 * rank * d - rank * rank
        return rank * d - rank * (rank - 1) // 2

    def judge(self, point: Point) -> Fit:
        """Estimate sigma, compare N with noise (5) and compute BIC (6)."""
        n, d = self.sensed.operator.shape
        dof = self.degrees_of_freedom(len(point.U))
        free = max(n - self.sensed.operator.n_nuisance, 1)
        loss = max(point.loss, self.floor)
        sigma = math.sqrt(loss * n / max(free - dof, 1))
        values, _ = point.eigenpairs(both_ends=self.signed)
        most = max(float(abs(values[0]) if self.signed else values[0]), 0.0)
        left = self.base * math.sqrt(loss * n / free * max(1 - len(point.U) / d, 1 / d))
        ratio = most / left if most > ZERO * self.top * CERTIFIED else 0.0
        bic = math.log(loss) + math.log(n) * dof / n
        return Fit(point, sigma, most, ratio, bic)

    def tune(self, point: Point, n_steps: int = STEPS, tolerance: float = LOOSE) -> Fit:
        """Descend on L (4), and judge the result."""
        return self.judge(
            descend(
                point,
                curvature=self.curvature,
                n_steps=n_steps,
                tolerance=tolerance,
                floor=self.floor,
            )
        )

    def exact(self, U: Array, signs: Array) -> Fit:
        """Descend from factors whose residual is almost zero; the noise need not be measured."""
        point = Point.at(self.sensed, U, signs)
        fitted = self.sensed.y - point.residual
        gram = U.conj() @ U.T
        size = float(signs @ (np.abs(gram) ** 2) @ signs)
        point = descend(
            point,
            curvature=float(fitted @ fitted) / len(fitted) / size,
            n_steps=STEPS,
            tolerance=0.0,
            floor=self.floor,
        )
        n, dof = len(fitted), self.degrees_of_freedom(len(U))
        loss = max(point.loss, self.floor)
        return Fit(point, math.sqrt(loss), 0.0, 0.0, math.log(loss) + math.log(n) * dof / n)

    def grow(self, point: Point, vectors: Array, values: Array, signs: Array) -> Point:
        """Add columns along eigenvectors of N, for these parts of their eigenvalues; one pass."""
        V = vectors * np.sqrt(values / self.curvature)[:, None]
        return point.grown(V, signs, least=LEAST_SCALE)

    def one_more(self, fit: Fit) -> Fit:
        """Add the next eigenvector of N and descend for a few steps."""
        values, vectors = fit.point.eigenpairs(both_ends=self.signed)
        grown = self.grow(fit.point, vectors[:1], np.abs(values[:1]), np.sign(values[:1]))
        return self.tune(grown, LOOK_STEPS)

    def without_weak(self, fit: Fit) -> Fit:
        """Drop components at the level of the noise for as long as BIC falls."""
        while fit.rank > 1:
            point = rotated(fit.point)
            if squares(point.U)[-1] > WEAK * self.base * fit.sigma + ZERO * self.top:
                break
            less = self.tune(Point.at(self.sensed, point.U[:-1], point.signs[:-1]))
            if less.ratio > PLAUSIBLE or less.bic >= fit.bic:
                break
            fit = less
        return fit
