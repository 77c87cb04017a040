"""Two checks of the rank: nothing that should be there is missing, and nothing there is noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from secateurs.core.certificate import Check, Verdict
from secateurs.sensing.factored import Factors, Point, Sensed, rounding
from secateurs.sensing.fixed_rank import least_squares
from secateurs.sensing.identification import Identification
from secateurs.sensing.noise_floor import MARGIN, Comparison, NoiseFloor
from secateurs.sensing.operators.base import Array
from secateurs.sensing.tangent import Tangent, degrees_of_freedom

ZERO = 100  # a residual below this many roundings is zero
MISSED = 0.5  # share of the weakest eigenvalue that a hidden component is assumed to have
EXPLAINED = 0.5  # share of the mean square of y that it explains, where none was found
TINY = np.finfo(np.float64).tiny
REFIT_STEPS, REFIT_TOLERANCE = 100, 1e-2  # of the fits with one component more and one less
ASSUMED = "the noise is assumed to be independent and symmetric about 0"
NOT_IDENTIFIED = "because the matrix is not identified"
SOURCE = "derived, by random signs; see noise_floor"


@dataclass
class FittedMatrix:
    """A fit and what the checks measure of it.

    Attributes
    ----------
    sensed : Sensed
    factors : Factors
    signed : bool
        Components of both signs were allowed.
    """

    sensed: Sensed
    factors: Factors
    signed: bool

    @cached_property
    def point(self) -> Point:
        """The fit with its residual."""
        return Point.at(self.sensed, self.factors.components, self.factors.signs)

    @property
    def residual(self) -> Array:
        """Y minus the fit, without its nuisance part."""
        return self.point.residual

    @cached_property
    def tangent(self) -> Tangent:
        """The tangent space at the fit."""
        return Tangent(self.sensed.operator, self.factors.components)

    @property
    def rank(self) -> int:
        """Number of components."""
        return len(self.factors.components)

    @property
    def free(self) -> int:
        """Measurements that the nuisance terms leave."""
        return self.sensed.operator.shape[0] - self.sensed.operator.n_nuisance

    @property
    def rms(self) -> float:
        """Root mean square of the residual."""
        return float(np.linalg.norm(self.residual)) / math.sqrt(max(self.free, 1))

    @property
    def is_exact(self) -> bool:
        """Whether the residual is zero to rounding."""
        return self.is_zero(self.residual)

    def is_zero(self, residual: Array) -> bool:
        """Whether a residual is zero to rounding."""
        zero = ZERO * rounding(self.sensed.operator)
        return float(np.linalg.norm(residual)) <= zero * float(np.linalg.norm(self.sensed.y))

    @property
    def sigma(self) -> float:
        """Estimated standard deviation of the noise; nan without free measurements."""
        left = self.free - self.degrees_of_freedom(self.rank)
        return self.rms * math.sqrt(self.free / left) if left > 0 else math.nan

    def degrees_of_freedom(self, rank: int) -> int:
        """Degrees of freedom of a matrix of this rank."""
        operator = self.sensed.operator
        return degrees_of_freedom(operator.shape[1], rank, complex_=operator.dtype.kind == "c")

    @cached_property
    def smallest(self) -> float:
        """Smallest modulus of the nonzero eigenvalues of M."""
        triangle: Array = np.linalg.qr(self.factors.components.T)[1]
        core = (triangle * self.factors.signs) @ triangle.conj().T
        return float(np.abs(np.linalg.eigvalsh(core)).min())

    def refitted(self, rank: int) -> Point:
        """Least squares at another rank: from this fit.

        For a smaller rank also from the spectrum, and the better one is returned.
        """
        found = self._refitted(rank, self.factors)
        if rank >= self.rank:
            return found
        return min(found, self._refitted(rank, None), key=lambda point: point.loss)

    def _refitted(self, rank: int, start: Factors | None) -> Point:
        return least_squares(
            self.sensed,
            rank,
            signed=self.signed,
            start=start,
            n_steps=REFIT_STEPS,
            tolerance=REFIT_TOLERANCE,
        )[0]


def second_order_check(fit: FittedMatrix, floor: NoiseFloor, found: Identification) -> Check:
    """Check that no component is hidden in the residual that is about as strong as the weakest."""
    if fit.is_exact or fit.rank == fit.sensed.operator.shape[1]:
        why = "the residual is zero to rounding" if fit.is_exact else "the rank is d"
        return _second_order(f"no further component can lower the loss: {why}", "holds", 0.0)
    seen = floor.against_signs(fit.residual, fit.tangent.V)
    bic = _bic_change(fit)
    measured = f"{_compared(seen)}, and one more component changes BIC by {bic:+.3g}"
    if seen.above or bic < 0:
        text = f"no further component is visible in the residual: {measured}"
        return _second_order(text, "fails", seen.ratio)
    if fit.rank and found.verdict != "holds":
        text = (
            f"no further component is hidden in the residual: {measured}; how large a hidden one "
            f"can be is not known, {NOT_IDENTIFIED}"
        )
        return _second_order(text, "unknown", seen.ratio)
    if fit.rank:
        eigenvalue = MISSED * fit.smallest
        size = f"of {MISSED:g} times the weakest eigenvalue"
    else:
        usual = floor.usual_measurement(fit.tangent.V)
        eigenvalue = math.sqrt(EXPLAINED) * fit.rms / usual if usual > 0 else 0.0
        size = f"that explains {EXPLAINED:.0%} of the mean square of y"
    shown = eigenvalue * fit.sensed.scale
    planted = floor.against_planted(fit.residual, fit.tangent, eigenvalue)
    text = (
        f"with confidence {planted.confidence:.0%}, no further component {size} ({shown:.3g}) "
        f"is hidden in the residual, if its direction is random: {measured}; it is "
        f"{planted.observed / max(planted.least, TINY):.3g} times the smallest of {planted.k} "
        f"residuals with such a component planted ({ASSUMED})"
    )
    return _second_order(text, "holds" if planted.below else "unknown", seen.ratio)


def gap_check(fit: FittedMatrix, floor: NoiseFloor, found: Identification) -> Check:
    """Check that the weakest component is more than noise."""
    if not fit.rank:
        return _gap("the weakest component is more than noise; there is none", "unknown", None)
    less = fit.refitted(fit.rank - 1)
    if less.loss <= fit.point.loss:
        text = "the weakest component lowers the loss: without it the loss is no larger"
        return _gap(text, "fails", None)
    if fit.is_exact:
        zero = fit.is_zero(less.residual)
        text = "the weakest component is more than rounding: without it the residual is " + (
            "zero to rounding too" if zero else "not zero"
        )
        return _gap(text, "fails" if zero else "holds", None)
    seen = floor.against_signs(less.residual, Tangent(fit.sensed.operator, less.U).V)
    text = (
        f"with confidence {seen.confidence:.0%}, the weakest component is more than noise: without "
        f"it {_compared(seen)} ({ASSUMED})"
    )
    if not seen.above:
        return _gap(text, "fails", seen.ratio)
    if found.verdict != "holds":  # the best fit of a smaller rank may not have been found either
        return _gap(f"{text}; it is not known, {NOT_IDENTIFIED}", "unknown", seen.ratio)
    return _gap(text, "holds", seen.ratio)


def _bic_change(fit: FittedMatrix) -> float:
    """BIC with one component more minus BIC of the fit."""
    n = fit.sensed.operator.shape[0]
    more = fit.refitted(fit.rank + 1)
    extra = fit.degrees_of_freedom(fit.rank + 1) - fit.degrees_of_freedom(fit.rank)
    if more.loss <= 0:
        return -math.inf
    return math.log(more.loss / fit.point.loss) + math.log(n) * extra / n


def _compared(seen: Comparison) -> str:
    return (
        f"the largest eigenvalue of N is {seen.ratio:.3g} times the largest of "
        f"{seen.k} residuals with random signs (a component is visible from {MARGIN:g} on)"
    )


def _second_order(text: str, verdict: Verdict, ratio: float) -> Check:
    return Check("second order", text, verdict, ratio, MARGIN, SOURCE)


def _gap(text: str, verdict: Verdict, ratio: float | None) -> Check:
    return Check("singular gap", text, verdict, ratio, MARGIN, SOURCE)
