"""Checks of a fit under a weight budget: its size, and its error on new rows."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln
from scipy.stats import beta, norm

from secateurs.core.certificate import Check

CONFIDENCE = 0.95
BITS_PER_VALUE = 32
MIN_ROWS_NORMAL = 30  # fewer rows than this: no normal approximation


def budget_check(n_nonzero: int, budget: int) -> Check:
    """Check that the network has at most as many weights as were allowed."""
    return Check(
        "budget",
        f"the network has {n_nonzero} weights, biases included, of {budget} allowed",
        "holds" if n_nonzero <= budget else "fails",
        n_nonzero,
        budget,
        "counted",
    )


def support_check(peak_support: int, allowed: int) -> Check:
    """Check that the support stayed within overshoot * budget during training."""
    return Check(
        "support",
        f"training never held more than {peak_support} weights, of {allowed} allowed",
        "holds" if peak_support <= allowed else "fails",
        peak_support,
        allowed,
        "counted",
    )


def held_out_check(n_errors: int, n_held_out: int, baseline_error: float, n_tried: int) -> Check:
    """Bound the error rate on new rows from rows that were kept out of training.

    Parameters
    ----------
    n_errors, n_held_out : int
        Mistakes on the held-out rows, and the number of these rows; 0 rows give "unknown".
    baseline_error : float
        Error rate of always answering the most frequent class.
    n_tried : int
        Number of models that were compared on the same rows.  The bound holds for all of them at
        once.

    Returns
    -------
    Check
        "holds" where the bound is below `baseline_error`, otherwise "unknown".
    """
    level = 1 - (1 - CONFIDENCE) / n_tried
    bound = error_upper_bound(n_errors, n_held_out, level)
    better = n_held_out > 0 and bound < baseline_error
    return Check(
        "held-out error",
        f"the error rate on new rows from the same source is at most {bound:.4g} with confidence "
        f"{CONFIDENCE:.0%} ({n_errors} mistakes in {n_held_out} independent held-out rows)",
        "holds" if better else "unknown",
        bound,
        baseline_error,
        "Clopper & Pearson (1934), with a union bound over the models compared",
    )


def error_upper_bound(n_errors: int, n_rows: int, level: float = CONFIDENCE) -> float:
    """Exact binomial upper confidence bound on an error rate (Clopper-Pearson); 1 without rows."""
    if n_errors >= n_rows:
        return 1.0
    return float(beta.ppf(level, n_errors + 1, n_rows - n_errors))


def occam_check(
    n_errors: int,
    n_train: int,
    widths: tuple[int, ...],
    n_nonzero: int,
    extra_values: int,
    baseline_error: float,
) -> Check:
    """Bound the error rate on new rows from the size of the network alone (Occam bound).

    A network of s weights on N places is described by ``log2 C(N, s) + 32 s`` bits, and a few more
    for s and the widths.  With probability 95 % over the training rows, every network has
    ``error <= training error + sqrt((bits ln 2 + ln 20) / (2 n))``.

    Parameters
    ----------
    n_errors, n_train : int
        Mistakes on the training rows.
    widths : tuple of int
    n_nonzero : int
    extra_values : int
        Other numbers in the predictor that come from the data, such as column scales.
    baseline_error : float

    Returns
    -------
    Check
        "holds" where the bound is below `baseline_error`, "unknown" where it is too loose.
    """
    bound = n_errors / n_train + math.sqrt(
        (description_bits(widths, n_nonzero, extra_values) * math.log(2) - math.log(1 - CONFIDENCE))
        / (2 * n_train)
    )
    return Check(
        "Occam bound",
        f"the error rate on new rows is at most {min(bound, 1.0):.4g} with confidence "
        f"{CONFIDENCE:.0%} if the {n_train} training rows are independent draws from the same "
        "source (from the size of the network alone, no held-out rows)",
        "holds" if bound < baseline_error else "unknown",
        min(bound, 1.0),
        baseline_error,
        "Shalev-Shwartz & Ben-David (2014), theorem 7.7",
    )


def description_bits(widths: tuple[int, ...], n_nonzero: int, extra_values: int) -> float:
    """Length in bits of a prefix-free code of a sparse network."""
    places = sum((a + 1) * b for a, b in pairwise(widths))
    choose = (
        gammaln(places + 1) - gammaln(n_nonzero + 1) - gammaln(places - n_nonzero + 1)
    ) / math.log(2)
    # Elias gamma codes: 2 log2(k) + 1 bits for an integer k
    header = sum(2 * math.log2(k + 1) + 1 for k in (*widths, len(widths), n_nonzero, extra_values))
    return float(choose + BITS_PER_VALUE * (n_nonzero + extra_values) + header)


def held_out_regression_check(gain: NDArray[np.float64], n_tried: int) -> Check:
    """Check that predictions beat the training mean on rows kept out of training.

    Parameters
    ----------
    gain : array, shape [n]
        For each held-out row, the squared error of the training mean minus that of the model.
    n_tried : int
        Number of models that were compared on the same rows.

    Returns
    -------
    Check
        "holds" where the lower confidence bound of the mean gain is positive.  "unknown" with
        fewer than 30 rows, because the normal approximation is then too rough.
    """
    n = len(gain)
    bound = None
    if n >= MIN_ROWS_NORMAL:
        level = 1 - (1 - CONFIDENCE) / n_tried
        bound = float(gain.mean() - norm.ppf(level) * gain.std(ddof=1) / math.sqrt(n))
    return Check(
        "held-out gain",
        "on new rows from the same source the squared error is below that of the training mean, "
        f"with confidence {CONFIDENCE:.0%} by the normal approximation over {n} held-out rows",
        "holds" if bound is not None and bound > 0 else "unknown",
        bound,
        0.0,
        "central limit theorem (approximate), with a union bound over the models compared",
    )
