"""What can be verified of a sensed matrix: N at the fit against the noise, and the gaps.

With N = (1/n) sum_i residual_i A_i, a zero column of the penalised problem is stable exactly when
lambda_max(N) <= tau = lambda / (2 sqrt(beta)): a deterministic second-order certificate, and its
eigenvector is the direction of escape where it fails.  Restricted isometry is never implied.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from secateurs.core.certificate import Certificate, Check, Verdict
from secateurs.sensing.operators.base import Array, SensingOperator
from secateurs.sensing.operators.spectrum import eigenpairs, noise_norm

NOISE_MARGIN = 1.15  # lambda_max(N) over what noise alone leaves: measured, see the benchmark
GAP = 1 / 0.3  # smallest eigenvalue over the noise floor where exact rank was measured
SAMPLES = 3.0  # n over r d, likewise
WINDOW = 8 / 27**0.5  # max of 4 sqrt(a) (s - a) over s^(3/2): see `_window`
STATIONARY = 1e-3  # ||N U|| over ||U|| times the noise floor, or over lambda_max(A* y / n)
PAPER = "Rajaraman, Devvrit, Mokhtari & Ramchandran (2023)"


def predicted_error(
    n: int, d: int, r: int, sigma: float, *, curvature: float = 1.0, n_nuisance: int = 0
) -> float:
    """Frobenius error that least squares at the right rank makes: sigma sqrt(dof / (c n')).

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
    dof = r * d - r * (r - 1) / 2
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
        Raw, as given to the solver.
    components : array, shape [r, d], signs : array, shape [r], optional
    signed : bool
        Components of both signs were allowed: both ends of N's spectrum count.
    tau, strength : float, optional
        lambda / (2 sqrt(beta)) and lambda of a penalised fit; their checks are "unknown" without.
    random_state : int
        Of the draws behind the noise norm.

    Returns
    -------
    Certificate
        Checks "stationarity", "second order", "penalty", "singular gap", "penalty window",
        "sample size", "predicted error" and "restricted isometry" (always "unknown").

    Raises
    ------
    ValueError
        Shapes that do not match the operator.

    Notes
    -----
    Two forward and adjoint passes, three adjoint ones for the noise norm, and the eigenvalues
    (Lanczos from a fixed start vector where d x d is not formed).
    """
    n, d = operator.shape
    values = np.asarray(y, dtype=np.float64)
    U = np.asarray(components)
    s = np.ones(len(U)) if signs is None else np.asarray(signs, dtype=np.float64)
    if values.shape != (n,) or U.ndim != 2 or U.shape[1] != d or s.shape != (len(U),):
        raise ValueError(
            f"got y {values.shape}, components {U.shape} and signs {s.shape}; expected [{n}], "
            f"[r, {d}] and [r]"
        )
    target = operator.project(values)
    residual = target - operator.forward_factors(U, s) if len(U) else target
    r = len(U)
    dof = r * d - r * (r - 1) / 2
    free = n - operator.n_nuisance
    rms = float(np.linalg.norm(residual)) / math.sqrt(max(free, 1))
    sigma = rms * math.sqrt(free / (free - dof)) if free > dof else math.nan
    base, _ = noise_norm(operator, random_state)
    nu = base * sigma
    curvature = n * base**2 / (2 * d)
    ends, _, _ = eigenpairs(operator, residual / n, both_ends=signed, n_pairs=1, tolerance=1e-6)
    top, _, _ = eigenpairs(operator, target / n, both_ends=True, n_pairs=1, tolerance=1e-3)
    most = max(float(abs(ends[0]) if signed else ends[0]), 0.0)
    scale = float(abs(top[0]))
    checks = [
        _stationarity(operator, residual, U, max(base * rms, 1e-6 * scale)),
        _second_order(most, base * rms * math.sqrt(1 - r / d), scale),
        Check(
            "penalty",
            f"no zero column of the penalised problem would grow: lambda_max(N) = {most:.4g}, "
            f"tau = {'not given' if tau is None else f'{tau:.4g}'}",
            "unknown" if tau is None else _verdict(most <= tau),
            most,
            tau,
            "derived: N v = tau v is where a zero column starts to grow",
        ),
        _gap(U, s, curvature, nu),
        _window(U, s, curvature, nu, strength),
        Check(
            "sample size",
            f"n / (r d) = {n / max(r * d, 1):.3g} for n = {n}, r = {r}, d = {d}; at least "
            f"{SAMPLES:g} asked, where random measurements gave the exact rank",
            _verdict(n >= SAMPLES * r * d) if r else "unknown",
            n / (r * d) if r else None,
            SAMPLES,
            f"{PAPER}, order of n; constant: measured",
        ),
        Check(
            "predicted error",
            "were the rank right and the measurements Gaussian, ||M - M*||_F would be about "
            f"{predicted_error(n, d, r, sigma, curvature=curvature):.3g}; the truth is not known",
            "unknown",
            predicted_error(n, d, r, sigma, curvature=curvature, n_nuisance=operator.n_nuisance)
            if r and math.isfinite(sigma)
            else None,
            None,
            f"{PAPER}, order sqrt(r d / n); constant: derived",
        ),
        Check(
            "restricted isometry",
            "the measurements have the restricted isometry the theorems rest on: NP-hard to "
            "compute, not checked",
            "unknown",
            None,
            None,
            "Bandeira, Dobriban, Mixon & Sawin (2013)",
        ),
    ]
    return Certificate(tuple(checks))


def _stationarity(operator: SensingOperator, residual: Array, U: Array, unit: float) -> Check:
    n = len(residual)
    if len(U):
        NU = operator.adjoint_times(residual / n, U.T)
        measured = float(np.linalg.norm(NU) / (np.linalg.norm(U) * unit)) if unit else 0.0
    else:
        measured = 0.0
    return Check(
        "stationarity",
        f"the loss is flat in the components: ||N U|| / ||U|| is {measured:.3g} of the noise "
        f"floor; at most {STATIONARY:g} asked (a penalised fit keeps a bias and fails)",
        _verdict(measured <= STATIONARY),
        measured,
        STATIONARY,
        "measured",
    )


def _second_order(most: float, left: float, scale: float) -> Check:
    exact = most <= 1e-4 * scale
    ratio = most / left if left > 0 else 0.0
    told = (
        f"lambda_max(N) = {most:.3g} is rounding beside lambda_max(A* y / n) = {scale:.3g}"
        if exact
        else f"lambda_max(N) = {most:.4g} is {ratio:.3g} of the {left:.4g} that noise of the "
        f"residual's size leaves on average"
    )
    return Check(
        "second order",
        f"{told}; at most {NOISE_MARGIN:g} asked, so that no further component stands out (a "
        "component below the noise cannot be seen)",
        _verdict(exact or ratio <= NOISE_MARGIN),
        0.0 if exact else ratio,
        NOISE_MARGIN,
        "derived; margin: measured",
    )


def _eigenvalues(U: Array, s: Array) -> Array:
    """Moduli of the nonzero eigenvalues of M, largest first."""
    triangle: Array = np.linalg.qr(U.T)[1]
    return np.sort(np.abs(np.linalg.eigvalsh((triangle * s) @ triangle.conj().T)))[::-1]


def _gap(U: Array, s: Array, curvature: float, nu: float) -> Check:
    known = len(U) > 0 and math.isfinite(nu)
    smallest = curvature * float(_eigenvalues(U, s)[-1]) if known else math.nan
    ratio = smallest / nu if known and nu > 0 else math.inf if known else None
    return Check(
        "singular gap",
        f"the weakest component moves N by {smallest:.4g}, noise by {nu:.4g}; a ratio of "
        f"{GAP:.3g} asked, from where the rank was measured to be exact",
        "unknown" if ratio is None else _verdict(ratio >= GAP),
        ratio,
        GAP,
        f"{PAPER}, the premise on sigma_r; constant: measured",
    )


def _window(U: Array, s: Array, curvature: float, nu: float, strength: float | None) -> Check:
    """Where c (a^2 - 2 s a) + lambda sqrt(a) has a minimum at a column of eigenvalue a > 0."""
    known = len(U) > 0 and math.isfinite(nu) and strength is not None
    told, inside = "lambda was not given", False
    if known and strength is not None:
        low = WINDOW * curvature * (nu / curvature) ** 1.5
        high = WINDOW * curvature * float(_eigenvalues(U, s)[-1]) ** 1.5
        told = f"lambda = {strength:.4g} of the window {low:.4g} to {high:.4g}"
        inside = low < strength < high
    return Check(
        "penalty window",
        f"{told}: above its start noise is not kept, below its end the weakest component is "
        "(estimated from this fit)",
        _verdict(inside) if known else "unknown",
        strength,
        None,
        "derived for small beta",
    )


def _verdict(true: bool) -> Verdict:
    return "holds" if true else "fails"
