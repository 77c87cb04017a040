"""Checks of a sensed matrix: what noise alone would leave, and whether another matrix fits too.

With N = (1/n) sum_i residual_i A_i, a zero column of the penalised problem is stable exactly when
lambda_max(N) <= tau = lambda / (2 sqrt(beta)).  This is a deterministic second-order certificate.
Whether something is left in N beside noise is a question of chance (`noise_floor`), and whether M
is the only matrix that fits a question about the measurements (`identification`).  Restricted
isometry is never implied.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from secateurs.core.certificate import Certificate, Check, Verdict
from secateurs.core.parameters import Shown, bad_value
from secateurs.sensing.factored import Factors, Sensed
from secateurs.sensing.identification import Identification, identify, injective_from
from secateurs.sensing.measurement_count import independent_measurements
from secateurs.sensing.noise_floor import NoiseFloor
from secateurs.sensing.operators.base import Array, SensingOperator
from secateurs.sensing.operators.spectrum import eigenpairs, noise_norm
from secateurs.sensing.rank_checks import FittedMatrix, gap_check, second_order_check
from secateurs.sensing.tangent import degrees_of_freedom

SAMPLES = 3.0  # n over r d, from which random measurements gave the exact rank
WINDOW = 8 / 27**0.5  # max over a of 4 sqrt(a) (s - a) is this times s^(3/2): see `_window`
STATIONARY = 1e-3  # ||N U|| over ||U|| times the noise floor, or over lambda_max(A* y / n)
PAPER = "Rajaraman, Devvrit, Mokhtari & Ramchandran (2023)"


def predicted_error(
    n: int,
    d: int,
    r: int,
    sigma: float,
    *,
    curvature: float = 1.0,
    n_nuisance: int = 0,
    complex_: bool = False,
) -> float:
    """Predict the Frobenius error of least squares at the right rank: sigma sqrt(dof / (c n')).

    Parameters
    ----------
    n, d, r : int
        Number of measurements, size of the matrix, and its rank.
    sigma : float
        Standard deviation of the noise.
    curvature : float
        The number c: the mean of <A_i, M>^2 over ||M||_F^2.
    n_nuisance : int
        Dimensions of the measurements that are projected out.
    complex_ : bool
        True if M is complex Hermitian.

    Returns
    -------
    float
        With dof = r d - r (r - 1) / 2 (complex: 2 r d - r^2) and n' = n - n_nuisance - dof; of the
        order of sigma sqrt(r d / n).  inf where n' <= 0.  Derived for Gaussian measurements.
    """
    dof = degrees_of_freedom(d, r, complex_=complex_)
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
    identification: Identification | None = None,
    random_state: int = 0,
) -> Certificate:
    """Check a fit M = sum_k s_k u_k u_k^H of measurements y.

    Parameters
    ----------
    operator : SensingOperator
        The operator of the fit, with its projections.
    y : array, shape [n]
        Raw measurements, as given to the solver.
    components : array, shape [r, d]
        The u_k as rows.
    signs : array, shape [r], optional
        The s_k, +1 or -1; all are +1 by default.
    signed : bool
        True if components of both signs were allowed: both ends of N's spectrum count.
    tau, strength : float, optional
        The numbers lambda / (2 sqrt(beta)) and lambda of a penalised fit, for y / scale as a solver
        reports them; without them, or where they are nan, their checks are "unknown".
    identification : Identification, optional
        What the solver found, so that it is not looked for again.
    random_state : int
        Random seed of the draws.

    Returns
    -------
    Certificate
        Checks "stationarity", "second order", "penalty", "singular gap", "penalty window",
        "sample size", "identification", "predicted error" and "restricted isometry" (always
        "unknown").

    Raises
    ------
    ValueError
        Shapes do not match the operator.

    Notes
    -----
    The cost is that of some 250 adjoint products with one vector each, made in a few passes where
    the operator allows it, and of two fits at neighbouring ranks.
    """
    d = operator.shape[1]
    U = np.asarray(components)
    s = np.ones(len(U)) if signs is None else np.asarray(signs, dtype=np.float64)
    if U.ndim != 2 or U.shape[1] != d or s.shape != (len(U),):
        shapes = Shown(f"shapes {U.shape} and {s.shape}")
        raise bad_value("components and signs", shapes, f"[r, {d}] and [r]")
    tau, strength = (None if v is None or math.isnan(v) else v for v in (tau, strength))
    sensed = Sensed.of(operator, y)
    fit = FittedMatrix(sensed, sensed.scaled(Factors(U, s)), signed)
    n, r, is_complex = operator.shape[0], len(U), operator.dtype.kind == "c"
    base, _ = noise_norm(operator, random_state)
    sigma, nu = fit.sigma, base * fit.sigma
    curvature = n * base**2 / ((4 if is_complex else 2) * d)
    ends, _, _ = eigenpairs(operator, fit.residual / n, both_ends=signed, n_pairs=1, tolerance=1e-6)
    top, _, _ = eigenpairs(operator, sensed.y / n, both_ends=True, n_pairs=1, tolerance=1e-3)
    most = max(float(abs(ends[0]) if signed else ends[0]), 0.0)
    unit = max(base * fit.rms, 1e-6 * float(abs(top[0])))
    found = identification or identify(
        sensed, fit.factors, tangent=fit.tangent, exact=fit.is_exact, random_state=random_state
    )
    floor = NoiseFloor(operator, signed=signed, rng=np.random.default_rng(random_state))
    gap = gap_check(fit, floor, found)
    known = r > 0 and math.isfinite(sigma)
    predicted = partial(predicted_error, n_nuisance=operator.n_nuisance, complex_=is_complex)
    error = predicted(n, d, r, sigma, curvature=curvature) if known else None
    return Certificate(
        (
            _stationarity(operator, fit.residual, fit.factors.components, unit),
            second_order_check(fit, floor, found),
            _penalty(most, tau, sensed.scale),
            gap,
            _window(fit.smallest if known else None, curvature, nu, strength, gap),
            _sample_size(operator, r, random_state),
            found.check(injective_from(operator)),
            _predicted_error(None if error is None else error * sensed.scale),
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


def _penalty(most: float, tau: float | None, scale: float) -> Check:
    true = tau is not None and most <= tau
    most, tau = most * scale, None if tau is None else tau * scale
    return Check(
        "penalty",
        f"lambda_max(N) is {most:.4g}; whether a zero column of a penalised problem would grow "
        "depends on tau, and this fit has no penalty"
        if tau is None
        else "no zero column of the penalised problem would grow: lambda_max(N) = "
        f"{most:.4g} is at most tau, which is {tau:.4g}",
        "unknown" if tau is None else _verdict(true),
        most,
        tau,
        "derived: a zero column starts to grow where N v = tau v",
    )


def _window(
    smallest: float | None, curvature: float, nu: float, strength: float | None, gap: Check
) -> Check:
    """Check that c (a^2 - 2 s a) + lambda sqrt(a) has a minimum at a column of eigenvalue a > 0.

    A fit with a component too many takes noise for signal and estimates too little noise, so the
    window says nothing unless the weakest component is more than noise.
    """
    found = "the fit has no penalty lambda that could be inside its window"
    verdict: Verdict = "unknown"
    if smallest is not None and strength is not None:
        low = WINDOW * curvature * (nu / curvature) ** 1.5
        high = WINDOW * curvature * smallest**1.5
        found = f"lambda = {strength:.4g} is inside its window, {low:.4g} to {high:.4g}"
        inside = low < strength < high
        verdict = ("holds" if gap.verdict == "holds" else "unknown") if inside else "fails"
        if inside and gap.verdict != "holds":
            found += ", but the singular gap does not hold"
    return Check(
        "penalty window",
        f"{found}: above its start the penalty removes noise, below its end it keeps the weakest "
        "component (as surely as the singular gap holds; both ends are estimated from this fit)",
        verdict,
        strength,
        None,
        "derived for small beta",
    )


def _sample_size(operator: SensingOperator, r: int, random_state: int) -> Check:
    n, d = operator.shape
    distinct, independent = independent_measurements(operator, SAMPLES * r * d, random_state)
    counted = f"{distinct} of the {n} measurements are distinct"
    if independent < distinct:
        counted += f" and {independent} linearly independent"
    return Check(
        "sample size",
        f"{counted}, which is {independent / (r * d):.3g} times r d for r = {r}, d = {d}; from "
        f"{SAMPLES:g} times on, random measurements gave the exact rank (measured; a fit can be "
        "exact with fewer)"
        if r
        else f"{counted}; there is no component, for which measurements would be needed",
        _verdict(independent >= SAMPLES * r * d) if r else "unknown",
        independent / (r * d) if r else None,
        SAMPLES,
        f"{PAPER}, order of n; constant: measured",
    )


def _predicted_error(error: float | None) -> Check:
    return Check(
        "predicted error",
        "the distance of the matrix to the true one is not estimated, because there is no "
        "component or no estimate of the noise"
        if error is None
        else "if the rank is right and the measurements are Gaussian, ||M - M*||_F is about "
        f"{error:.3g} (the true M* is not known)",
        "unknown",
        error,
        None,
        f"{PAPER}, order sqrt(r d / n); constant: derived",
    )


def _verdict(true: bool) -> Verdict:
    return "holds" if true else "fails"
