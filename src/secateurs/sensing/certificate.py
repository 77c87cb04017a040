"""Checks of a sensed matrix: N at the fit against the noise, and the gaps.

With N = (1/n) sum_i residual_i A_i, a zero column of the penalised problem is stable exactly when
lambda_max(N) <= tau = lambda / (2 sqrt(beta)).  This is a deterministic second-order certificate.
Where it fails, the leading eigenvector of N is a direction along which the objective falls.
Restricted isometry is never implied.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from secateurs.core.certificate import Certificate, Check, Verdict
from secateurs.core.parameters import Shown, bad_value
from secateurs.sensing.factored import measured_values
from secateurs.sensing.operators.base import Array, SensingOperator
from secateurs.sensing.operators.spectrum import eigenpairs, noise_norm

NOISE_MARGIN = 1.15  # lambda_max(N) over the part that noise leaves; measured by the benchmark
ROUNDING = 1e-4  # share of lambda_max(A* y / n) below which lambda_max(N) is rounding
GAP = 1 / 0.3  # smallest eigenvalue over the noise floor, from which the rank was measured exact
SAMPLES = 3.0  # n over r d, likewise
WINDOW = 8 / 27**0.5  # max over a of 4 sqrt(a) (s - a) is this times s^(3/2): see `_window`
STATIONARY = 1e-3  # ||N U|| over ||U|| times the noise floor, or over lambda_max(A* y / n)
PAPER = "Rajaraman, Devvrit, Mokhtari & Ramchandran (2023)"


def predicted_error(
    n: int, d: int, r: int, sigma: float, *, curvature: float = 1.0, n_nuisance: int = 0
) -> float:
    """Frobenius error of least squares at the right rank: sigma sqrt(dof / (c n')).

    Parameters
    ----------
    n, d, r : int
    sigma : float
        Standard deviation of the noise.
    curvature : float
        c, mean of <A_i, M>^2 over ||M||_F^2.
    n_nuisance : int

    Returns
    -------
    float
        With dof = r d - r (r - 1) / 2 and n' = n - n_nuisance - dof; of the order of
        sigma sqrt(r d / n).  inf where n' <= 0.  Derived for Gaussian measurements.
    """
    dof = _degrees_of_freedom(d, r)
    left = n - n_nuisance - dof
    return sigma * math.sqrt(dof / (curvature * left)) if left > 0 else math.inf


def sensing_certificate(
    operator: SensingOperator,
    y: ArrayLike,
    components: Array,
    signs: Array | None = None,
    *,
    signed: bool = False,
    tau: float | None = None,
    strength: float | None = None,
    random_state: int = 0,
) -> Certificate:
    """Check a fit M = sum_k s_k u_k u_k^H of measurements y.

    Parameters
    ----------
    operator : SensingOperator
    y : array, shape [n]
        Raw measurements, as given to the solver.
    components : array, shape [r, d], signs : array, shape [r], optional
    signed : bool
        Components of both signs were allowed: both ends of N's spectrum count.
    tau, strength : float, optional
        lambda / (2 sqrt(beta)) and lambda of a penalised fit; without them their checks are
        "unknown".
    random_state : int
        Random seed of the draws for the noise norm.

    Returns
    -------
    Certificate
        Checks "stationarity", "second order", "penalty", "singular gap", "penalty window",
        "sample size", "predicted error" and "restricted isometry" (always "unknown").

    Raises
    ------
    ValueError
        Shapes do not match the operator.

    Notes
    -----
    Two forward and adjoint passes, three adjoint ones for the noise norm, and the eigenvalues
    (by Lanczos from a fixed start vector if d x d is not formed).
    """
    n, d = operator.shape
    U = np.asarray(components)
    s = np.ones(len(U)) if signs is None else np.asarray(signs, dtype=np.float64)
    if U.ndim != 2 or U.shape[1] != d or s.shape != (len(U),):
        shapes = Shown(f"shapes {U.shape} and {s.shape}")
        raise bad_value("components and signs", shapes, f"[r, {d}] and [r]")
    target = operator.project(measured_values(operator, y))
    residual = target - operator.forward_factors(U, s) if len(U) else target
    r = len(U)
    free, dof = n - operator.n_nuisance, _degrees_of_freedom(d, r)
    rms = float(np.linalg.norm(residual)) / math.sqrt(max(free, 1))
    sigma = rms * math.sqrt(free / (free - dof)) if free > dof else math.nan
    base, _ = noise_norm(operator, random_state)
    nu = base * sigma
    curvature = n * base**2 / (2 * d)
    ends, _, _ = eigenpairs(operator, residual / n, both_ends=signed, n_pairs=1, tolerance=1e-6)
    top, _, _ = eigenpairs(operator, target / n, both_ends=True, n_pairs=1, tolerance=1e-3)
    most = max(float(abs(ends[0]) if signed else ends[0]), 0.0)
    scale = float(abs(top[0]))
    smallest = _smallest_eigenvalue(U, s) if r and math.isfinite(nu) else None
    error = predicted_error(n, d, r, sigma, curvature=curvature, n_nuisance=operator.n_nuisance)
    return Certificate(
        (
            _stationarity(operator, residual, U, max(base * rms, 1e-6 * scale)),
            _second_order(most, base * rms * math.sqrt(1 - r / d), scale),
            _penalty(most, tau),
            _gap(smallest, curvature, nu),
            _window(smallest, curvature, nu, strength),
            _sample_size(n, d, r),
            _predicted_error(error if r and math.isfinite(sigma) else None),
            Check(
                "restricted isometry",
                "the measurements have the restricted isometry that the theorems assume (to "
                "compute it is NP-hard; it was not checked)",
                "unknown",
                None,
                None,
                "Bandeira, Dobriban, Mixon & Sawin (2013)",
            ),
        )
    )


def _stationarity(operator: SensingOperator, residual: Array, U: Array, unit: float) -> Check:
    measured = 0.0
    if len(U) and unit:
        NU = operator.adjoint_times(residual / len(residual), U.T)
        measured = float(np.linalg.norm(NU) / (np.linalg.norm(U) * unit))
    return Check(
        "stationarity",
        f"the loss is flat in the components: ||N U|| / ||U|| is {measured:.3g} of the noise "
        f"floor, and at most {STATIONARY:g} is required (a penalised fit is biased and fails)",
        _verdict(measured <= STATIONARY),
        measured,
        STATIONARY,
        "measured",
    )


def _second_order(most: float, left: float, scale: float) -> Check:
    exact = most <= ROUNDING * scale
    ratio = most / left if left > 0 else 0.0
    found = (
        f"lambda_max(N) = {most:.3g} is rounding beside lambda_max(A* y / n) = {scale:.3g}"
        if exact
        else f"lambda_max(N) = {most:.4g} is {ratio:.3g} times {left:.4g}, the mean for noise of "
        "the size of the residual"
    )
    return Check(
        "second order",
        f"no further component is visible: {found}; at most {NOISE_MARGIN:g} times is required "
        "(a component below the noise cannot be seen)",
        _verdict(exact or ratio <= NOISE_MARGIN),
        0.0 if exact else ratio,
        NOISE_MARGIN,
        "derived; margin: measured",
    )


def _penalty(most: float, tau: float | None) -> Check:
    return Check(
        "penalty",
        f"no zero column of the penalised problem would grow: lambda_max(N) = {most:.4g} is at "
        f"most tau, which is {'not given' if tau is None else f'{tau:.4g}'}",
        "unknown" if tau is None else _verdict(most <= tau),
        most,
        tau,
        "derived: a zero column starts to grow where N v = tau v",
    )


def _gap(smallest: float | None, curvature: float, nu: float) -> Check:
    known = smallest is not None
    shift = curvature * smallest if smallest is not None else math.nan
    ratio = shift / nu if known and nu > 0 else math.inf if known else None
    return Check(
        "singular gap",
        f"the weakest component changes N by {shift:.4g} and the noise by {nu:.4g}; a ratio of at "
        f"least {GAP:.3g} is required, from which the rank was measured to be exact",
        "unknown" if ratio is None else _verdict(ratio >= GAP),
        ratio,
        GAP,
        f"{PAPER}, the premise on sigma_r; constant: measured",
    )


def _window(smallest: float | None, curvature: float, nu: float, strength: float | None) -> Check:
    """Check that c (a^2 - 2 s a) + lambda sqrt(a) has a minimum at a column of eigenvalue a > 0."""
    found = "lambda is inside its window, but it was not given"
    verdict: Verdict = "unknown"
    if smallest is not None and strength is not None:
        low = WINDOW * curvature * (nu / curvature) ** 1.5
        high = WINDOW * curvature * smallest**1.5
        found = f"lambda = {strength:.4g} is inside its window, {low:.4g} to {high:.4g}"
        verdict = _verdict(low < strength < high)
    return Check(
        "penalty window",
        f"{found}: above its start the penalty removes noise, below its end it keeps the weakest "
        "component (both are estimated from this fit)",
        verdict,
        strength,
        None,
        "derived for small beta",
    )


def _sample_size(n: int, d: int, r: int) -> Check:
    return Check(
        "sample size",
        f"n / (r d) is {n / max(r * d, 1):.3g} for n = {n}, r = {r}, d = {d}, and at least "
        f"{SAMPLES:g} is required, from which random measurements gave the exact rank",
        _verdict(n >= SAMPLES * r * d) if r else "unknown",
        n / (r * d) if r else None,
        SAMPLES,
        f"{PAPER}, order of n; constant: measured",
    )


def _predicted_error(error: float | None) -> Check:
    return Check(
        "predicted error",
        "if the rank is right and the measurements are Gaussian, ||M - M*||_F is about "
        f"{'unknown' if error is None else f'{error:.3g}'} (the true M* is not known)",
        "unknown",
        error,
        None,
        f"{PAPER}, order sqrt(r d / n); constant: derived",
    )


def _degrees_of_freedom(d: int, r: int) -> float:
    return r * d - r * (r - 1) / 2


def _smallest_eigenvalue(U: Array, s: Array) -> float:
    """Smallest modulus of the nonzero eigenvalues of M."""
    triangle: Array = np.linalg.qr(U.T)[1]
    return float(np.abs(np.linalg.eigvalsh((triangle * s) @ triangle.conj().T)).min())


def _verdict(true: bool) -> Verdict:
    return "holds" if true else "fails"
