"""Checks of a fit under a weight budget: its size, and its error on new rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

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


def held_out_check(
    samples: Sequence[NDArray[np.float64]],
    baseline_error: float,
    n_tried: int,
    *,
    grouped: bool = False,
) -> Check:
    """Bound the error rate on new rows from rows that were kept out of training.

    Parameters
    ----------
    samples : sequence of float64 arrays, shape [n] each
        Share of mistakes in each held-out unit, and in each row of the sample of rows where that
        is another one: `secateurs.core.splits.HeldOutRows.samples`.  No unit gives "unknown".
    baseline_error : float
        Error rate of always answering the most frequent class.
    n_tried : int
        Number of models that were compared on the same rows.  The bound holds for all of them at
        once.
    grouped : bool
        The units are groups, and the statement is about new groups.

    Returns
    -------
    Check
        "holds" where the bound is below `baseline_error`, otherwise "unknown".  The bound is the
        larger one of those from the samples: one of them is right whether copies are one
        observation or several.
    """
    bound = max(_error_bound(rates, _level(n_tried)) for rates in samples)
    shown = bool(len(samples[0])) and bound < baseline_error
    what = "in a new group, where each group counts alike," if grouped else "on new rows"
    return Check(
        "held-out error",
        f"the error rate {what} from the same source is at most {bound:.4g} with confidence "
        f"{CONFIDENCE:.0%}, if the {_counted(grouped)} are independent draws from it "
        f"({_shares(samples, grouped)}{_compared(n_tried)})"
        f"{'' if shown else _no_better(baseline_error)}",
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


def _error_bound(rates: NDArray[np.float64], level: float) -> float:
    if len(rates) and not np.isin(rates, (0.0, 1.0)).all():  # groups that are partly right
        return max(1 - mean_lower_bound(1 - rates, level), float(rates.mean()))
    return error_upper_bound(int(rates.sum()), len(rates), level)


def _shares(samples: Sequence[NDArray[np.float64]], grouped: bool) -> str:
    """Say how many were wrong, in each sample."""
    shares = [float(rates.mean()) if len(rates) else 1.0 for rates in samples]
    found = f"a share {shares[0]:.4g} of {len(samples[0])} {_distinct(grouped)} was wrong"
    if len(samples) > 1:
        found += f", and {shares[1]:.4g} of {len(samples[1])} where equal rows count one by one"
    return found


def _counted(grouped: bool) -> str:
    return "groups" if grouped else "rows"


def _distinct(grouped: bool) -> str:
    return "held-out groups" if grouped else "distinct held-out rows"


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
    probability 95 % over the rows, every network has
    ``error <= error on these rows + sqrt((bits ln 2 + ln 20) / (2 n))``.

    Parameters
    ----------
    error_rate : float
        Share of mistakes on all rows or on all units, whichever is larger, those that were held
        out included: the training rows alone lack what rare units that were held out would show.
    n_units : int
        Number of distinct rows or groups.
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
        f"{CONFIDENCE:.0%} if the {n_units} distinct rows or groups of the fit are independent "
        f"draws from the same source (from the {bits:.0f} bits of the network and its mistakes on "
        f"all rows){'' if shown else _no_better(baseline_error)}",
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
    samples: Sequence[NDArray[np.float64]],
    clip: float,
    unit: str,
    n_tried: int,
    *,
    grouped: bool = False,
) -> list[Check]:
    """Check that predictions beat the training mean on rows kept out of training.

    Parameters
    ----------
    samples : sequence of arrays, shape [n, 2] each
        For each held-out unit, the squared error of the model and that of the mean of the training
        rows; and the same for the sample of rows where that is another one, as in
        `held_out_check`.
    clip : float
        The most that one squared error counts for.  It must come from the training rows.
    unit : str
        The unit of the errors and of `clip`, in words.
    n_tried : int
        Number of models that were compared on the same rows.
    grouped : bool
        The units are groups, and the statements are about new groups.

    Returns
    -------
    list of Check
        "held-out gain" holds where the mean of the clipped squared errors is lower for the model.
        "held-out wins" holds where the model is nearer than the mean on more than half of the
        rows.  Neither assumes anything about the distribution: a mean of squared errors without
        a clip cannot be bounded, because a rare outlier can outweigh all that was seen.
    """
    level = _level(n_tried)
    gains = [np.minimum(s[:, 1], clip) - np.minimum(s[:, 0], clip) for s in samples]
    won = [s[:, 0] < s[:, 1] for s in samples]
    shares = [1 - error_upper_bound(int((~w).sum()), len(w), level) for w in won]
    n, share = len(won[0]), min(shares)
    names = (_distinct(grouped), "where equal rows count one by one")[: len(won)]
    rows, wins = (
        " and ".join(
            f"{part}{len(w)} {name}" for part, w, name in zip(parts, won, names, strict=True)
        )
        for parts in (("",) * len(won), [f"{int(w.sum())} of " for w in won])
    )
    assumed = f"if the {_counted(grouped)} are independent draws from it"
    new, row = ("in new groups", "group") if grouped else ("on new rows", "row")
    return [
        Check(
            "held-out gain",
            f"{new} from the same source the mean squared error is below that of the "
            f"training mean, where no {row} counts for more than {clip:.6g} {unit}, with "
            f"confidence {CONFIDENCE:.0%}, {assumed} ({rows}{_compared(n_tried)})",
            "holds" if all(_is_positive(gain, clip, level) for gain in gains) else "unknown",
            min(float(gain.mean()) for gain in gains) if n else None,
            0.0,
            "derived: a bet against the opposite, see secateurs.core.bounds, with a union bound "
            "over the models compared",
        ),
        Check(
            "held-out wins",
            f"{_most(grouped)} from the same source the prediction is nearer to the target than "
            f"the training mean, with confidence {CONFIDENCE:.0%}, {assumed} ({wins}"
            f"{_compared(n_tried)})",
            "holds" if share > 0.5 else "unknown",
            share if n else None,
            0.5,
            "Clopper & Pearson (1934), with a union bound over the models compared",
        ),
    ]


def _is_positive(gain: NDArray[np.float64], clip: float, level: float) -> bool:
    """Whether the mean of differences in [-clip, clip] is above 0, at confidence `level`."""
    scaled = (gain / clip + 1) / 2 if clip > 0 else np.full(len(gain), 0.5)
    return mean_exceeds(scaled, 0.5, level)


def _most(grouped: bool) -> str:
    if grouped:
        return "in more than half of new groups, by their mean squared errors,"
    return "on more than half of new rows"
