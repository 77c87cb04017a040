"""The certificate of a fit by `multi_index`.

Every check uses numbers that were measured during the fit; the data are not read again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from secateurs.core.certificate import Certificate, Check, Verdict
from secateurs.core.solution import Solution
from secateurs.features.discovery import Discoveries
from secateurs.features.null_scores import normal_threshold
from secateurs.features.result import MultiIndexFit
from secateurs.features.sample_sizes import correlational_lower_bound, unpruned_rows

SHORT_BY = 2.0  # factor by which predicted rows were measured to be too few
PAPER = "Vural & Erdogdu (2024)"
# the transforms of y by which columns are scored, in words; g is the normal score of y
CHANNELS = {
    "y": "y",
    "g": "the ranks of y",
    "he2(g)": "the squared ranks of y",
    "|g|": "the distance of y from its median",
    "sign g": "whether y is above its median",
}
SCORES = {
    "regression": "R²",
    "classification": "the relative gain in log-loss over the class shares",
}


def features_certificate(solution: Solution[MultiIndexFit]) -> Certificate:
    """Check the result of `multi_index`.

    Parameters
    ----------
    solution : Solution of MultiIndexFit
        The result of `multi_index`, with all that it measured.

    Returns
    -------
    Certificate
        With `fdr` the check "false discoveries", and always "signal", "screen", "gap", "needed
        columns", "rows", "validation", "lower bound" and "inputs".  The last three, and "false
        discoveries", are always "unknown"; the choices of the fit were made on the validation rows.

    Notes
    -----
    O(d log d) time.
    """
    fit, measured = solution.value, solution.measured
    discovered = measured["discovered"]
    extra = () if discovered is None else (_false_discoveries(discovered),)
    return Certificate(
        (
            *extra,
            _signal(fit, measured),
            _screen(fit, measured),
            _gap(fit, measured),
            _needed_columns(fit, measured),
            _rows(fit, measured),
            _validation(fit, measured),
            _lower_bound(fit, measured),
            Check(
                "inputs",
                "the theory assumes independent Gaussian inputs, which is not checked; columns "
                "that act only in products of three or more, or below the noise, are not found",
                "unknown",
                None,
                None,
                f"{PAPER}, model; limits: measured",
            ),
        )
    )


def _signal(fit: MultiIndexFit, measured: dict[str, Any]) -> Check:
    alpha = f"{measured['alpha']:g}"
    return Check(
        "signal",
        "y depends on the columns: a column or a product of columns passes its screen, and the fit "
        "predicts the validation rows better than noise would; if the rows are independent and y "
        f"did not depend on the columns, the probability of this would be at most about {alpha}"
        if fit.signal_detected
        else "no column or product passes its screen, or the fit does not predict the validation "
        "rows better than noise would: do not trust this model",
        "holds" if fit.signal_detected else "fails",
        float(fit.val_r2),
        None,
        "derived: union bound over the screens of columns and of products",
    )


def _false_discoveries(discovered: Discoveries) -> Check:
    found, adjusted = len(discovered.columns), len(discovered.adjusted)
    return Check(
        "false discoveries",
        f"{found} of {len(discovered.p_values)} columns were found at a false discovery rate of "
        f"{discovered.rate:g}: the expected share of columns, among those found, that are "
        "independent of y given the other columns; it is controlled if the rows are independent, "
        "and every column that y does not depend on is independent of the others or, for the "
        f"{adjusted} first found columns that are correlated with others, its dependence on these "
        "is a polynomial of their ranks; none of this is checked"
        + ("" if found else "; the model uses one column only so that there is a model"),
        "unknown",
        float(found),
        discovered.rate,
        "Benjamini & Hochberg (1995) on permutation p-values and covariance measures; measured",
    )


def _validation(fit: MultiIndexFit, measured: dict[str, Any]) -> Check:
    score = SCORES[fit.network.task]
    n, n_train = int(measured["n"]), int(measured["n_train"])
    return Check(
        "validation",
        f"{score} is {fit.val_r2:.3f} on {n - n_train} validation rows, or on five folds of all "
        f"{n} rows where a line came near the network; the columns, the directions and the step at "
        "which training stopped were chosen with these rows, so on new rows it may be lower, by an "
        "unknown amount",
        "unknown",
        float(fit.val_r2),
        None,
        "measured",
    )


def _rows_used(measured: dict[str, Any]) -> str:
    n, n_rows = int(measured["n"]), int(measured["n_rows"])
    if n == n_rows:
        return f"{n} rows were used"
    return f"{n} of {n_rows} rows were used, because the others are copies of these"


def _screen(fit: MultiIndexFit, measured: dict[str, Any]) -> Check:
    hits, products = (len(np.asarray(measured[name])) for name in ("hits", "products"))
    largest = float(fit.scores.max())
    return Check(
        "screen",
        f"{hits} of {len(fit.scores)} columns score above {fit.threshold:.2f}, and the largest "
        f"score is {largest:.2f}; {_rows_used(measured)}; if the rows are independent and y did "
        "not depend on the columns, the probability that any column passes would be at most about "
        f"{measured['alpha']:g}, whatever ties the columns and y have; {products} columns were "
        "found in products of two or three",
        "holds" if hits else "fails",
        largest,
        fit.threshold,
        "union bound over the permutation distributions of the statistics, each by its saddlepoint "
        "or exactly",
    )


def _gap(fit: MultiIndexFit, measured: dict[str, Any]) -> Check:
    weakest = float(fit.scores[fit.support].min())
    dropped = float(measured["dropped_score"])
    some_dropped = len(fit.support) < len(fit.scores)
    return Check(
        "gap",
        f"the weakest kept column scores {weakest:.2f} in the screen, the strongest dropped column "
        f"{dropped:.2f}; where the two groups overlap, the choice was made by the contribution "
        "of each column given the others",
        _verdict(weakest > dropped) if some_dropped else "unknown",
        weakest,
        dropped,
        "measured",
    )


def _needed_columns(fit: MultiIndexFit, measured: dict[str, Any]) -> Check:
    scores = np.asarray(measured["conditional_scores"], dtype=np.float64)
    threshold = normal_threshold(float(measured["alpha"]), len(fit.scores))
    weak = int((scores <= threshold).sum())
    passed = np.concatenate([np.asarray(measured[name]) for name in ("hits", "products")])
    screened = int(np.isin(fit.support, passed).sum())
    verdict: Verdict = "fails" if weak else "unknown"
    if not weak and fit.signal_detected and screened == len(scores):
        verdict = "holds"
    return Check(
        "needed columns",
        f"given the others, {len(scores) - weak} of {len(scores)} kept columns add more than noise "
        f"to the network linearised at the fit, and {screened} pass a screen; the columns were "
        "chosen on the same rows, so a column that does not pass a screen may be noise",
        verdict,
        float(scores.min()),
        threshold,
        "derived; the choice among correlated columns is not accounted for",
    )


def _rows(fit: MultiIndexFit, measured: dict[str, Any]) -> Check:
    n, predicted = int(measured["n"]), measured["predicted_n"]
    verdict: Verdict = "unknown"
    needed = None if predicted is None else float(predicted)
    statement = "the scores of the kept columns are too small to predict how many rows are needed"
    if needed is not None:
        if n >= SHORT_BY * needed:
            verdict = "holds"
        elif n < needed and not fit.signal_detected:
            verdict = "fails"
        statement = (
            f"the median kept column would pass the screen by itself with {needed:.0f} rows, and "
            f"there are {n}; such predictions were measured to be too small by a factor of up to "
            f"{SHORT_BY:g}"
        )
    return Check("rows", statement, verdict, float(n), needed, "derived; factor: measured")


def _lower_bound(fit: MultiIndexFit, measured: dict[str, Any]) -> Check:
    d, m, k = len(fit.scores), len(fit.support), fit.channel[1]
    bound = correlational_lower_bound(d, k, m)
    channel = CHANNELS.get(fit.channel[0], fit.channel[0])
    return Check(
        "lower bound",
        f"if the {m} kept columns were all that matter and {k} were the information exponent of "
        f"{channel}, correlational queries would need about {bound:.3g} rows up to constants, and "
        f"{unpruned_rows(d, k):.3g} without pruning; the exponent and the sparsity "
        "of y itself are not known",
        "unknown",
        float(measured["n"]),
        bound,
        f"{PAPER}, Theorem 2: the order of n",
    )


def _verdict(holds: bool) -> Verdict:
    return "holds" if holds else "fails"
