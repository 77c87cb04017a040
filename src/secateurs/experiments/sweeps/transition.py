"""The transition to success: a logistic curve fitted to counts of successes, with intervals.

    P(success at x) = 1 / (1 + exp(-(a + b t))),   t = log x, or x where some x <= 0         (1)

The likelihood has Jeffreys' penalty, half the logarithm of the determinant of the Fisher
information (2).  Counts that a threshold separates perfectly, the usual case on a coarse grid, have
no maximum likelihood estimate, but they have a penalised one.  The boundary is the place where (1)
is one half, t = -a / b; its interval comes from the penalised profile likelihood (3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, minimize, minimize_scalar
from scipy.special import expit, logit
from scipy.stats import chi2, norm

from secateurs.core.parameters import Shown, bad_value

FloatArray = NDArray[np.float64]

OPEN = (0.1, 0.9)  # probabilities between which the outcome is open
REACH = 3.0  # spans of the axis within which the end of an interval is sought
STEEPEST = 8.0  # log of the largest |b|, in units of 1 / std of t
_TINY = 1e-300  # keeps logarithms finite
_PRECISE: Any = {"xatol": 1e-8, "fatol": 1e-10, "maxiter": 4000, "maxfev": 4000}


@dataclass(frozen=True)
class Transition:
    """A fitted curve (1).

    Attributes
    ----------
    boundary : float or None
        The x at which half of the cells succeed; None where it is outside the axis.
    low, high : float or None
        Its interval at `level`; None where the interval is open on that side.
    level : float
    rises : bool
        Whether success grows with x.
    """

    boundary: float | None
    low: float | None
    high: float | None
    level: float
    rises: bool
    _logarithmic: bool
    _centre: float
    _scale: float
    _coefficients: FloatArray
    _covariance: FloatArray

    def probability(self, x: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the curve and its pointwise band at `level`, each of the shape of x."""
        z = self._place(x)
        eta = self._coefficients[0] + self._coefficients[1] * z
        C = self._covariance
        width = norm.ppf(0.5 + self.level / 2) * np.sqrt(
            np.maximum(C[0, 0] + 2 * C[0, 1] * z + C[1, 1] * z**2, 0)
        )
        return expit(eta), expit(eta - width), expit(eta + width)

    def _place(self, x: ArrayLike) -> FloatArray:
        t = np.asarray(x, dtype=float)
        return (np.log(t) if self._logarithmic else t) / self._scale - self._centre


def fit_transition(
    x: ArrayLike, successes: ArrayLike, trials: ArrayLike, level: float = 0.95
) -> Transition:
    """Fit (1) to counts.

    Parameters
    ----------
    x : array [k]
        At least two different values.
    successes, trials : arrays [k]
    level : float in (0, 1)

    Returns
    -------
    Transition

    Raises
    ------
    ValueError
        There are fewer than two places with trials, or the counts are inconsistent.

    Notes
    -----
    Source: Firth (1993) for the penalty, Heinze & Schemper (2002) for the intervals.
    """
    x, k, n = (np.asarray(v, dtype=float) for v in (x, successes, trials))
    if not (x.shape == k.shape == n.shape) or x.ndim != 1 or (k < 0).any() or (k > n).any():
        raise bad_value(
            "counts",
            Shown(f"shapes {x.shape}, {k.shape}, {n.shape}"),
            "x, successes and trials of one length with 0 <= successes <= trials",
        )
    x, k, n = x[n > 0], k[n > 0], n[n > 0]
    if len(np.unique(x)) < 2:
        raise bad_value("trials", Shown(f"{len(np.unique(x))} place(s)"), "two or more")
    logarithmic = bool(x.min() > 0)
    t = np.log(x) if logarithmic else x
    scale = float(t.std())
    centre = float(t.mean() / scale)
    z = t / scale - centre

    def loss(ab: NDArray[Any]) -> float:
        return -_penalised(float(ab[0]), float(ab[1]), z, k, n)

    share = float(logit((k.sum() + 0.5) / (n.sum() + 1)))
    starts = [np.array([share, b]) for b in (0.0, 2.0, -2.0)]
    best = min(
        (minimize(loss, start, method="Nelder-Mead", options=_PRECISE) for start in starts),
        key=lambda found: found.fun,
    )
    a, b = (float(v) for v in best.x)
    crossing = -a / b if b else math.inf
    inside = z.min() <= crossing <= z.max()
    low, high = _interval(crossing, b, -float(best.fun), z, k, n, level)

    def back(place: float | None) -> float | None:
        if place is None:
            return None
        there = (place + centre) * scale
        return math.exp(there) if logarithmic else there

    return Transition(
        boundary=back(crossing) if inside else None,
        low=back(low),
        high=back(high),
        level=level,
        rises=b > 0,
        _logarithmic=logarithmic,
        _centre=centre,
        _scale=scale,
        _coefficients=np.array([a, b]),
        _covariance=np.asarray(np.linalg.inv(_information(a, b, z, n)), dtype=np.float64),
    )


def open_places(
    x: Sequence[float], successes: Sequence[float], trials: Sequence[float]
) -> list[int]:
    """Return the indices of the places where more trials tell most about the boundary.

    These are the places with a fitted probability within `OPEN`, and always the two nearest to the
    boundary.  There are none when the boundary is outside the axis.
    """
    fitted = fit_transition(x, successes, trials)
    if fitted.boundary is None:
        return []
    p, _, _ = fitted.probability(x)
    nearest = np.argsort(np.abs(logit(np.clip(p, _TINY, 1 - 1e-16))), kind="stable")[:2]
    within = np.flatnonzero((p >= OPEN[0]) & (p <= OPEN[1]))
    return sorted({int(i) for i in [*nearest, *within]})


def _information(a: float, b: float, z: FloatArray, n: FloatArray) -> FloatArray:
    p = expit(a + b * z)
    w = n * p * (1 - p)
    return np.array([[w.sum(), (w * z).sum()], [(w * z).sum(), (w * z * z).sum()]])


def _penalised(a: float, b: float, z: FloatArray, k: FloatArray, n: FloatArray) -> float:
    """Return the log likelihood with the penalty (2)."""
    eta = a + b * z
    determinant = float(np.linalg.det(_information(a, b, z, n)))
    likelihood = float((k * eta - n * np.logaddexp(0, eta)).sum())
    return likelihood + 0.5 * math.log(max(determinant, _TINY))


def _interval(
    crossing: float,
    b: float,
    best: float,
    z: FloatArray,
    k: FloatArray,
    n: FloatArray,
    level: float,
) -> tuple[float | None, float | None]:
    """Return the ends of {c : 2 (best - max_b likelihood with -a / b = c) <= chi2} (3)."""
    sign = 1.0 if b >= 0 else -1.0
    allowed = float(chi2.ppf(level, 1))

    def excess(c: float) -> float:
        found = minimize_scalar(
            lambda log_b: -_penalised(-sign * math.exp(log_b) * c, sign * math.exp(log_b), z, k, n),
            bounds=(-STEEPEST, STEEPEST),
            method="bounded",
        )
        return 2 * (best + float(found.fun)) - allowed

    span = float(z.max() - z.min())
    if not math.isfinite(crossing) or excess(crossing) > 0:
        return None, None
    ends: list[float | None] = []
    for direction in (-1.0, 1.0):
        inner, step, end = crossing, span / 16, None
        while abs(inner - crossing) < REACH * span:
            outer = inner + direction * step
            if excess(outer) > 0:
                end = float(brentq(excess, inner, outer, xtol=1e-6 * span))
                break
            inner, step = outer, 1.5 * step
        ends.append(end)
    return ends[0], ends[1]
