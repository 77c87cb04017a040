"""What a fit under a weight budget can promise: its size, and how well it does on new rows."""

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
    """The network has at most as many weights as were allowed."""
    return Check(
        "budget",
        f"the network has {n_nonzero} weights, biases included, of {budget} allowed",
        "holds" if n_nonzero <= budget else "fails",
        n_nonzero,
        budget,
        "counted",
    )


def support_check(peak_support: int, allowed: int) -> Check:
    """The support stayed within overshoot * budget during training."""
    return Check(
        "support",
        f"training never held more than {peak_support} weights, of {allowed} allowed",
        "holds" if peak_support <= allowed else "fails",
        peak_support,
        allowed,
        "counted",
    )


def held_out_check(n_errors: int, n_held_out: int, baseline_error: float, n_tried: int) -> Check:
    """Clopper-Pearson upper bound on the error rate from rows kept out of training.

    Parameters
    ----------
    n_errors, n_held_out : int
        Mistakes on the held-out rows, and how many rows there are (0: nothing was measured).
    baseline_error : float
        Error rate of always answering the most frequent class.
    n_tried : int
        How many models were compared on the same rows; the bound holds for all at once.

    Returns
    -------
    Check
        "holds" when the bound is below `baseline_error`, "unknown" when it says nothing.
    """
    level = 1 - (1 - CONFIDENCE) / n_tried
    bound = error_upper_bound(n_errors, n_held_out, level)
    told = n_held_out > 0 and bound < baseline_error
    return Check(
        "held-out error",
        f"the error rate on new rows from the same source is at most {bound:.4g} with confidence "
        f"{CONFIDENCE:.0%} ({n_errors} mistakes in {n_held_out} independent held-out rows)",
        "holds" if told else "unknown",
        bound,
        baseline_error,
        "Clopper & Pearson (1934), with a union bound over the models compared",
    )


def error_upper_bound(n_errors: int, n_rows: int, level: float = CONFIDENCE) -> float:
    """Exact binomial upper confidence bound on an error rate; 1 when there are no rows."""
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
    """Occam bound: few weights, described in few bits, cannot overfit far.

    A network of s weights is written in ``log2 C(N, s) + 32 s`` bits plus the code of s and of
    the widths, N places in all.  With probability 95 % over the training rows every such
    network has ``error <= training error + sqrt((bits ln 2 + ln 20) / (2 n))``.

    Parameters
    ----------
    n_errors, n_train : int
        Mistakes on the training rows.
    widths : tuple of int
    n_nonzero : int
    extra_values : int
        Other numbers the predictor was given from the data, such as column scales.
    baseline_error : float

    Returns
    -------
    Check
        "holds" when the bound is below `baseline_error`, "unknown" when it is too loose.
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
    """Length of a prefix-free code of a sparse network, in bits."""
    places = sum((a + 1) * b for a, b in pairwise(widths))
    choose = (
        gammaln(places + 1) - gammaln(n_nonzero + 1) - gammaln(places - n_nonzero + 1)
    ) / math.log(2)
    # Elias gamma codes: 2 log2(k) + 1 bits for an integer k
    header = sum(2 * math.log2(k + 1) + 1 for k in (*widths, len(widths), n_nonzero, extra_values))
    return float(choose + BITS_PER_VALUE * (n_nonzero + extra_values) + header)


def held_out_regression_check(gain: NDArray[np.float64], n_tried: int) -> Check:
    """Whether predictions beat the training mean on rows kept out of training.

    Parameters
    ----------
    gain : array, shape [n]
        Per held-out row: squared error of the training mean minus that of the model.
    n_tried : int
        How many models were compared on the same rows.

    Returns
    -------
    Check
        "holds" when the lower confidence bound of the mean gain is positive; "unknown" with
        fewer than 30 rows, where the normal approximation is not to be trusted.
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
