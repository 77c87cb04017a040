"""Checks of a fit under a weight budget: its size, and its error on new rows."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from secateurs.core.bounds import error_upper_bound, mean_exceeds, mean_lower_bound
from secateurs.core.certificate import Check

CONFIDENCE = 0.95
BITS_PER_WEIGHT = 32
CLIP = 2.0  # a squared error counts for at most this many variances of the training targets


def budget_check(n_nonzero: int, budget: int) -> Check:
    """Check that the network has at most as many weights as were allowed.

    Parameters
    ----------
    n_nonzero : int
        Weights of the network, biases included.
    budget : int
        The largest number of weights that was allowed.

    Returns
    -------
    Check
        "holds" or "fails"; it compares two counts.
    """
    return Check(
        "budget",
        f"the network has {n_nonzero} weights, biases included, of {budget} allowed",
        "holds" if n_nonzero <= budget else "fails",
        n_nonzero,
        budget,
        "counted",
    )


def support_check(peak_support: int, allowed: int) -> Check:
    """Check that training never held more weights than its support may have.

    Parameters
    ----------
    peak_support : int
        The largest number of weights that were held at once during training.
    allowed : int
        The largest number that was allowed: overshoot times budget.

    Returns
    -------
    Check
        "holds" or "fails"; it compares two counts.
    """
    return Check(
        "support",
        f"training never held more than {peak_support} weights, of {allowed} allowed",
        "holds" if peak_support <= allowed else "fails",
        peak_support,
        allowed,
        "counted",
    )


def unit_error_rates(wrong: NDArray[np.bool_], units: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the share of mistakes in each unit: equal rows, or the rows of a group, are one unit.

    Parameters
    ----------
    wrong : array of bool, shape [n]
        True for each row that was predicted wrongly.
    units : array, shape [n]
        The unit of each row, or its key, from `secateurs.core.splits.Split`.

    Returns
    -------
    array of float64, shape [number of units]
        Shares from 0 to 1, in the order of the sorted units; empty without rows.
    """
    if not len(wrong):
        return np.empty(0)
    _, inverse = np.unique(units, return_inverse=True)
    return np.bincount(inverse, weights=wrong) / np.bincount(inverse)


def held_out_check(
    rates: NDArray[np.float64], row_rate: float, baseline_error: float, n_tried: int
) -> Check:
    """Bound the error rate on new rows from rows that were kept out of training.

    Parameters
    ----------
    rates : array of float64, shape [n]
        Share of mistakes in each held-out unit, from `unit_error_rates`; none give "unknown".
    row_rate : float
        Share of mistakes in all held-out rows.  Where it is larger than the mean of `rates`, the
        units with mistakes have more rows, and it counts.
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
    n, level = len(rates), _level(n_tried)
    if n and not np.isin(rates, (0.0, 1.0)).all():  # groups of rows that are partly right
        bound = max(1 - mean_lower_bound(1 - rates, level), row_rate)
    else:
        n_errors = max(int(rates.sum()), math.ceil(n * row_rate - 1e-9))
        bound = error_upper_bound(n_errors, n, level)
    share = max(float(rates.mean()), row_rate) if n else 1.0
    shown = bool(n) and bound < baseline_error
    return Check(
        "held-out error",
        f"the error rate on new rows from the same source is at most {bound:.4g} with confidence "
        f"{CONFIDENCE:.0%} (a share {share:.4g} of {n} distinct held-out rows or groups was "
        f"wrong{_compared(n_tried)}){'' if shown else _no_better(baseline_error)}",
        "holds" if shown else "unknown",
        bound,
        baseline_error,
        "Clopper & Pearson (1934), or for groups derived in secateurs.core.bounds; union bound "
        "over the models compared",
    )


def _no_better(baseline_error: float) -> str:
    """Say why a bound on the error rate shows nothing."""
    return (
        "; that is not below the error rate of always answering the most frequent class, "
        f"{baseline_error:.4g}, so it does not show that anything was learnt"
    )


def _level(n_tried: int) -> float:
    return 1 - (1 - CONFIDENCE) / n_tried


def _compared(n_tried: int) -> str:
    return "" if n_tried == 1 else f", on which {n_tried} models were compared"


def occam_check(
    error_rate: float,
    n_units: int,
    widths: tuple[int, ...],
    n_nonzero: int,
    extra_bits: int,
    baseline_error: float,
) -> Check:
    """Bound the error rate on new rows from the size of the network alone (Occam bound).

    A network of s weights on N places is described by ``log2 C(N, s) + 32 s`` bits, a few more
    for s and the widths, and the bits of all else that its file needs to predict.  With
    probability 95 % over the training rows, every network has
    ``error <= training error + sqrt((bits ln 2 + ln 20) / (2 n))``.

    Parameters
    ----------
    error_rate : float
        Share of mistakes on the training rows or on their units, whichever is larger.
    n_units : int
        Number of distinct training rows or groups.
    widths : tuple of int
        Number of inputs, of units of each hidden layer, and of outputs.
    n_nonzero : int
        Weights of the network, biases included.
    extra_bits : int
        Bits of the other numbers and texts in the predictor that come from the data: scales of
        columns, medians, categories, labels of classes.
    baseline_error : float
        Error rate of always answering the most frequent class.

    Returns
    -------
    Check
        "holds" where the bound is below `baseline_error`, "unknown" where it is too loose.
    """
    bits = description_bits(widths, n_nonzero) + extra_bits
    slack = math.sqrt((bits * math.log(2) - math.log(1 - CONFIDENCE)) / (2 * max(n_units, 1)))
    bound = min(error_rate + slack, 1.0) if n_units else 1.0
    shown = bound < baseline_error
    return Check(
        "Occam bound",
        f"the error rate on new rows is at most {bound:.4g} with confidence "
        f"{CONFIDENCE:.0%} if the {n_units} distinct training rows or groups are independent "
        f"draws from the same source (from the {bits:.0f} bits of the network alone, without "
        f"held-out rows){'' if shown else _no_better(baseline_error)}",
        "holds" if shown else "unknown",
        bound,
        baseline_error,
        "Shalev-Shwartz & Ben-David (2014), theorem 7.7",
    )


def description_bits(widths: tuple[int, ...], n_nonzero: int) -> float:
    """Compute the length of a prefix-free code of the weights of a sparse network.

    The code gives the widths, the number s of weights, their places among N and 32 bits for each
    weight.  This takes ``log2 C(N, s) + 32 s`` bits, and a few more for s and the widths.

    Parameters
    ----------
    widths : tuple of int
        Number of inputs, of units of each hidden layer, and of outputs.
    n_nonzero : int
        Weights of the network, biases included, from 0 to N.

    Returns
    -------
    float
        The length in bits.
    """
    places = sum((a + 1) * b for a, b in pairwise(widths))
    choose = (
        gammaln(places + 1) - gammaln(n_nonzero + 1) - gammaln(places - n_nonzero + 1)
    ) / math.log(2)
    # Elias gamma codes: 2 log2(k) + 1 bits for an integer k
    header = sum(2 * math.log2(k + 1) + 1 for k in (*widths, len(widths), n_nonzero))
    return float(choose + BITS_PER_WEIGHT * n_nonzero + header)


def held_out_regression_checks(
    model_error: NDArray[np.float64],
    mean_error: NDArray[np.float64],
    clip: float,
    unit: str,
    n_tried: int,
) -> list[Check]:
    """Check that predictions beat the training mean on rows kept out of training.

    Parameters
    ----------
    model_error, mean_error : arrays, shape [n]
        For one row of each held-out unit, the squared error of the model and that of the mean of
        the training rows.
    clip : float
        The most that one squared error counts for.  It must come from the training rows.
    unit : str
        The unit of the errors and of `clip`, in words.
    n_tried : int
        Number of models that were compared on the same rows.

    Returns
    -------
    list of Check
        "held-out gain" holds where the mean of the clipped squared errors is lower for the model.
        "held-out wins" holds where the model is nearer than the mean on more than half of the
        rows.  Neither assumes anything about the distribution: a mean of squared errors without
        a clip cannot be bounded, because a rare outlier can outweigh all that was seen.
    """
    n, level = len(model_error), _level(n_tried)
    rows = f"{n} distinct held-out rows or groups{_compared(n_tried)}"
    gain = np.minimum(mean_error, clip) - np.minimum(model_error, clip)
    scaled = (gain / clip + 1) / 2 if clip > 0 else np.full(n, 0.5)
    holds = mean_exceeds(scaled, 0.5, level)
    wins = int((model_error < mean_error).sum())
    share = 1 - error_upper_bound(n - wins, n, level)
    return [
        Check(
            "held-out gain",
            "on new rows from the same source the mean squared error is below that of the "
            f"training mean, where no row counts for more than {clip:.6g} {unit}, with "
            f"confidence {CONFIDENCE:.0%} ({rows})",
            "holds" if holds else "unknown",
            float(gain.mean()) if n else None,
            0.0,
            "derived: a bet against the opposite, see secateurs.core.bounds, with a union bound "
            "over the models compared",
        ),
        Check(
            "held-out wins",
            "on more than half of new rows from the same source the prediction is nearer to the "
            f"target than the training mean, with confidence {CONFIDENCE:.0%} ({wins} of {rows})",
            "holds" if share > 0.5 else "unknown",
            share if n else None,
            0.5,
            "Clopper & Pearson (1934), with a union bound over the models compared",
        ),
    ]
