"""Reweighted amplitude flow (RAF) for phase retrieval, a peer of message passing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

POWER_STEPS = 100
LARGEST = 3 / 13  # share of the rows from which the start is computed
GAMMA, BETA, STEP = 0.5, 10.0, 2.0  # real Gaussian rows: the paper's values
DIVERGED = 1e6  # relative error of the moduli


def amplitude_flow(
    X: Array, psi: Array, *, n_steps: int = 1000, tolerance: float = 1e-6, random_state: int = 0
) -> Array:
    """Find u [d] with |x_i . u| = psi_i for rows X [n, d].

    start: leading eigenvector of sum_i sqrt(psi_i) x_i x_i^T over the 3 n / 13 largest psi_i
    step:  u -= (2 / n) sum_i w_i (x_i . u - psi_i sign(x_i . u)) x_i,
           w_i = 1 / (1 + 10 psi_i / |x_i . u|)

    It ends when the relative error of the moduli is at most `tolerance`, or after `n_steps`.
    Source: Wang, Giannakis, Saad & Chen, "Solving almost all systems of random quadratic equations"
    (2017, arXiv 1705.10407); the stop by the error of the moduli is ours.
    """
    n, d = X.shape
    chosen = np.argsort(-psi, kind="stable")[: int(LARGEST * n)]
    rows, weights = X[chosen], psi[chosen] ** GAMMA
    u = np.random.default_rng(random_state).standard_normal(d)
    for _ in range(POWER_STEPS):
        u = rows.T @ (weights * (rows @ u))
        u /= np.linalg.norm(u)
    u *= np.sqrt(np.mean(psi**2))
    size = np.linalg.norm(psi)
    for _ in range(n_steps):
        z = X @ u
        modulus = np.abs(z)
        away = z - psi * np.sign(z)
        error = np.linalg.norm(away) / size
        if not tolerance < error < DIVERGED:
            break
        weights = modulus / (modulus + BETA * psi)
        u = u - STEP / n * (X.T @ (weights * away))
    return u
