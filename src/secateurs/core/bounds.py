"""Confidence bounds that hold for every distribution, at every number of rows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import beta

FloatArray = NDArray[np.float64]

GRID = 200  # candidates of a lower bound on a mean
STAKES = np.geomspace(1e-2, 0.98, 40)  # shares of the capital that are bet, as a mixture


def error_upper_bound(n_errors: int, n_rows: int, level: float) -> float:
    """Bound an error rate from above at confidence `level` (Clopper & Pearson 1934)."""
    if n_errors >= n_rows:
        return 1.0
    return float(beta.ppf(level, n_errors + 1, n_rows - n_errors))


def mean_lower_bound(values: FloatArray, level: float) -> float:
    """Bound the mean of a variable in [0, 1] from below at confidence `level`.

    Parameters
    ----------
    values : array [n] in [0, 1]
        Independent draws.
    level : float

    Returns
    -------
    float
        The largest m on a grid such that `mean_exceeds` is true of m and of all below it.
    """
    best = 0.0
    for m in np.linspace(0.0, 1.0, GRID + 1)[:-1]:
        if not mean_exceeds(values, float(m), level):
            break
        best = float(m)
    return best


def mean_exceeds(values: FloatArray, m: float, level: float) -> bool:
    """Whether the mean of a variable in [0, 1] exceeds m, at confidence `level`.

    Notes
    -----
    Bet against "the mean is at most m": a gambler who stakes the share b of the capital on every
    draw multiplies it by ``1 + b (x - m) / m``.  If the mean is at most m, the expected capital
    never exceeds 1 for any b, nor for a mixture of many b.  By Markov's inequality it exceeds
    ``1 / (1 - level)`` with probability at most ``1 - level``.  The best b follows the ratio of
    mean and variance, so small differences inside a wide range cost little; the mixture contains
    a b near the best.  The order of the draws does not matter.
    Source: derived; the idea is that of Waudby-Smith & Ramdas, "Estimating means of bounded
    random variables by betting" (2024).
    """
    if len(values) == 0:
        return False
    bets = (values - m) / max(m, 1e-12)
    log_capital = np.log1p(STAKES[:, None] * bets).sum(axis=1)
    return bool(logsumexp(log_capital) - math.log(len(STAKES)) >= -math.log1p(-level))
