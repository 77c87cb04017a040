"""What can be said of a fit by pruned inputs: rows that theory asks for, and the noise.

    M_eff = R_q^(2 / (2 - q))                                                         (1)
    correlational lower bound     min(M_eff, sqrt d)^k                                (2)
    pruned inputs                 M_eff^k log d / c^2                                 (3)
    pruned, mass e given up       (R_q / e)^(2 k / (2 - q)) log d / c^2               (4)
    not pruned, one large step    d^k                                                 (5)
    rotation invariant            max(d, d^(k / 2))                                   (6)

d inputs, k the information exponent, R_q the soft sparsity of the directions, c the coefficient
of he_k / sqrt(k!) in the link.  They are orders of magnitude: constants are left out.

Source: the model of Vural & Erdogdu (COLT 2024), whose abstract and summary alone were at hand;
(1) to (6) are derived here, their agreement with the theorems is unverified.  R_q is an input,
never an output: estimates from data were measured two to five times too small.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import ndtri

from secateurs.core.certificate import Certificate, Check, Verdict
from secateurs.core.solution import Solution
from secateurs.features.directions import level
from secateurs.features.result import MultiIndexFit

POWER = 1.3  # standard deviations above the threshold for nine hits in ten
UNDER = 2.0  # by how much the predicted rows were measured to fall short
PAPER = "Vural & Erdogdu (2024)"
DERIVED = "derived, agreement with the theorem unverified"


def effective_sparsity(sparsity: float, q: float = 0.0) -> float:
    """M_eff (1): the number of inputs that a soft sparsity R_q amounts to.

    Parameters
    ----------
    sparsity : float
        With q = 0 the number of inputs that matter, otherwise R_q = sum_j ||V_j||^q.
    q : float in [0, 2)

    Raises
    ------
    ValueError
        A number out of range.
    """
    if not (0.0 <= q < 2.0):
        raise ValueError(f"q={q!r}; expected a number in [0, 2)")
    if not (math.isfinite(sparsity) and sparsity > 0):
        raise ValueError(f"sparsity={sparsity!r}; expected a finite number above 0")
    return float(sparsity ** (2.0 / (2.0 - q)))


def correlational_lower_bound(d: int, k: int, sparsity: float, q: float = 0.0) -> float:
    """Rows (2) that any correlational statistical query method needs, up to constants.

    Label transforms and second looks leave that class: they may need fewer.  Derived.
    """
    _check_dimensions(d, k)
    return float(min(effective_sparsity(sparsity, q), math.sqrt(d)) ** k)


def pruned_rows(
    d: int,
    k: int,
    sparsity: float,
    q: float = 0.0,
    *,
    coefficient: float = 1.0,
    dropped: float | None = None,
) -> float:
    """Rows with which pruning inputs by their scores finds those that matter: (3) or (4).

    Parameters
    ----------
    d, k : int
        Inputs and information exponent.
    sparsity, q : float
        As for `effective_sparsity`.
    coefficient : float
        c, of he_k / sqrt(k!) in the link, with y of variance 1.
    dropped : float in (0, 1], optional
        e, the squared length of the directions that may be lost; with q > 0 only.

    Raises
    ------
    ValueError
        A number out of range.

    Notes
    -----
    Up to constants.  Derived and checked on planted problems, for k <= 3.
    """
    _check_dimensions(d, k)
    if not (math.isfinite(coefficient) and coefficient != 0):
        raise ValueError(f"coefficient={coefficient!r}; expected a finite number other than 0")
    size = effective_sparsity(sparsity, q)
    if dropped is not None:
        if not 0.0 < dropped <= 1.0 or q == 0.0:
            raise ValueError(f"dropped={dropped!r}, q={q!r}; expected a share in (0, 1] and q > 0")
        size = effective_sparsity(sparsity / dropped, q)
    return float(size**k * math.log(max(d, 2)) / coefficient**2)


def unpruned_rows(d: int, k: int, *, rotation_invariant: bool = False) -> float:
    """Rows without pruning: one large gradient step (5), or the rotation-invariant bound (6).

    Up to constants.  Derived; the slope of (5) was measured for k = 1 and 2.
    """
    _check_dimensions(d, k)
    return float(max(d, d ** (k / 2)) if rotation_invariant else float(d) ** k)


def noise_floor(n: int, d: int, *, alpha: float = 0.1, cells: int = 1) -> float:
    """Smallest correlation that n rows tell from noise among d columns.

    Parameters
    ----------
    n, d : int
        Rows and columns.
    alpha : float
        Chance that noise exceeds it anywhere.
    cells : int
        Statistics looked at for every column.

    Returns
    -------
    float
        Phi^-1(1 - alpha / (2 d cells)) / sqrt(n).  Derived, by the union bound.
    """
    if min(n, d, cells) < 1 or not 0.0 < alpha < 1.0:
        raise ValueError(
            f"n={n!r}, d={d!r}, cells={cells!r}, alpha={alpha!r}; expected integers >= 1 and a "
            "chance between 0 and 1"
        )
    return float(-ndtri(alpha / (2.0 * d * cells)) / math.sqrt(n))


def rows_to_stand_out(n: int, score: float, threshold: float) -> float:
    """Rows at which a score that is `score` at n rows passes the threshold, nine times in ten.

    n ((threshold + 1.3) / score)^2, for scores grow like sqrt(n).  Measured to be too few by
    up to a factor of 2: take the answer as a lower bound.  inf for a score of 0.
    """
    return n * ((threshold + POWER) / score) ** 2 if score > 0 else math.inf


def features_certificate(solution: Solution[MultiIndexFit]) -> Certificate:
    """Check what `multi_index` found.

    Parameters
    ----------
    solution : Solution of MultiIndexFit

    Returns
    -------
    Certificate
        Checks "signal", "screen", "gap", "needed columns", "rows", "validation" (always
        "unknown": choices were made on those rows), "lower bound" and "inputs" (always
        "unknown").

    Notes
    -----
    O(d log d), from numbers the fit measured; the data are not read again.
    """
    fit, measured = solution.value, solution.measured
    checks = [
        Check(
            "signal",
            "more was found than noise gives"
            if fit.signal_detected
            else "what was found is no more than noise gives: do not trust this model",
            "holds" if fit.signal_detected else "fails",
            float(fit.val_r2),
            None,
            "derived; constants: measured on labels of noise",
        ),
        _screen(fit, measured),
        _gap(fit, measured),
        _needed(fit, measured),
        _rows(fit, measured),
        Check(
            "validation",
            f"R^2 is {fit.val_r2:.3f} on rows that training did not see but the choice of columns "
            "did: on new rows expect less, by an amount that is not bounded here",
            "unknown",
            float(fit.val_r2),
            None,
            "measured",
        ),
        _lower_bound(fit, measured),
        Check(
            "inputs",
            "the theory asks for independent Gaussian inputs, which is not checked; columns that "
            "act only within products of three or more, or below the noise, are not seen",
            "unknown",
            None,
            None,
            f"{PAPER}, model; limits: measured",
        ),
    ]
    return Certificate(tuple(checks))


def _screen(fit: MultiIndexFit, measured: dict[str, Any]) -> Check:
    hits, products = (len(np.asarray(measured[name])) for name in ("hits", "products"))
    largest = float(fit.scores.max())
    return Check(
        "screen",
        f"{hits} of {len(fit.scores)} columns score above {fit.threshold:.2f}, the largest score "
        f"is {largest:.2f}; noise has any such column with a chance of {measured['alpha']:g}; "
        f"{products} columns were seen in products of two or three",
        "holds" if hits else "fails",
        largest,
        fit.threshold,
        "union bound over the null distribution of rank statistics",
    )


def _gap(fit: MultiIndexFit, measured: dict[str, Any]) -> Check:
    weakest = float(fit.scores[fit.support].min())
    dropped = float(measured["dropped_score"])
    return Check(
        "gap",
        f"the weakest kept column scores {weakest:.2f} in the screen, the strongest dropped one "
        f"{dropped:.2f}; where they overlap, columns were told apart by what they add given the "
        "others",
        _verdict(weakest > dropped) if len(fit.support) < len(fit.scores) else "unknown",
        weakest,
        dropped,
        "measured",
    )


def _needed(fit: MultiIndexFit, measured: dict[str, Any]) -> Check:
    scores = np.asarray(measured["conditional_scores"], dtype=np.float64)
    threshold = level(float(measured["alpha"]), len(fit.scores))
    weak = int((scores <= threshold).sum())
    return Check(
        "needed columns",
        f"{len(scores) - weak} of {len(scores)} kept columns add more than noise, given the "
        "others, to the network linearised at the fit; they were chosen on the same rows",
        _verdict(weak == 0),
        float(scores.min()),
        threshold,
        "derived; the choice of columns is not accounted for",
    )


def _rows(fit: MultiIndexFit, measured: dict[str, Any]) -> Check:
    n, predicted = int(measured["n"]), measured["predicted_n"]
    if predicted is None:
        verdict: Verdict = "unknown"
        told = "the kept columns have no score of their own to predict from"
        needed = None
    else:
        needed = float(predicted)
        missing = max(0.0, needed - n)
        missed = n < needed and not fit.signal_detected
        verdict = "holds" if n >= UNDER * needed else "fails" if missed else "unknown"
        told = (
            f"by itself the median kept column would pass the screen with {needed:.0f} rows; "
            f"there are {n}, {missing:.0f} are missing; such predictions were measured to fall "
            f"short by up to {UNDER:g} times"
        )
    return Check("rows", told, verdict, float(n), needed, "derived; factor: measured")


def _lower_bound(fit: MultiIndexFit, measured: dict[str, Any]) -> Check:
    d, m, k = len(fit.scores), len(fit.support), fit.channel[1]
    bound = correlational_lower_bound(d, k, m)
    return Check(
        "lower bound",
        f"were the {m} kept columns all that matter, and {k} the information exponent of "
        f"{fit.channel[0]}, correlational queries would need about {bound:.3g} rows up to "
        f"constants, and with no pruning {unpruned_rows(d, k):.3g}; the exponent of y itself, and "
        "its sparsity, are not known",
        "unknown",
        float(measured["n"]),
        bound,
        f"{PAPER}, order of n; {DERIVED}",
    )


def _verdict(holds: bool) -> Verdict:
    return "holds" if holds else "fails"


def _check_dimensions(d: int, k: int) -> None:
    for name, value in (("d", d), ("k", k)):
        if int(value) != value or value < 1:
            raise ValueError(f"{name}={value!r}; expected an integer >= 1")
