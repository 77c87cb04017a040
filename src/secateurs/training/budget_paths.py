"""Fit networks at several budgets, from large to small, each started from the one before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.base import clone

from secateurs.core.estimator import draw_seed
from secateurs.core.parameters import bad_value, is_integer
from secateurs.core.short_repr import short_repr
from secateurs.core.solution import ProgressCallback
from secateurs.training.comparison import Estimator, metric_of
from secateurs.training.prune_regrow import prune_regrow

WARM_START_SHARE = 2  # a fit that starts from the network before takes half the steps


@dataclass(frozen=True)
class BudgetPath:
    """Fitted estimators for several budgets, largest first.

    Parameters
    ----------
    budgets : list of int
        The budgets that were fitted, each once.
    estimators : list of fitted estimators
        One for each budget.
    scores : list of float
        Accuracy or coefficient of determination on the test rows.
    metric : str
        "accuracy" or "r2".
    """

    __repr__ = short_repr

    budgets: list[int]
    estimators: list[Estimator]
    scores: list[float]
    metric: str


def budget_path(
    estimator: Estimator,
    X: Any,
    y: Any,
    budgets: Sequence[int],
    X_test: Any,
    y_test: Any,
    progress: ProgressCallback | None = None,
    *,
    groups: Any = None,
) -> BudgetPath:
    """Fit an estimator at several budgets, from the largest to the smallest.

    Each network starts from the one before it and is pruned and regrown for half the steps, so
    the path costs about half as much as separate fits.  All fits hold out the same rows, and the
    certificates count the widths that were compared on them.

    Parameters
    ----------
    estimator : SparseMLPClassifier or SparseMLPRegressor
        It is not fitted itself, and its `n_nonzero` is replaced.  With
        ``hidden_layer_sizes="auto"`` the widths are chosen at the largest budget and kept.
    X, y : as in ``fit``
        The rows of all fits.
    budgets : sequence of int
        Duplicates are fitted once.
    X_test, y_test : as in ``score``
        The rows that give the scores.
    progress : callable, optional
        Called with a `Progress` every 10 to 50 steps of every fit.
    groups : array, optional
        As for ``fit``.

    Returns
    -------
    BudgetPath
        Ctrl-C ends the path at the budget that is being fitted.

    Raises
    ------
    ValueError
        There are no budgets, or one of them is not positive.
    """
    ordered = sorted({int(s) for s in budgets}, reverse=True)
    if not ordered or ordered[-1] < 1:
        raise bad_value("budgets", list(budgets), "one or more integers >= 1")
    fitted: list[Estimator] = []
    seed = estimator.random_state
    if not is_integer(seed, 0):  # one draw for all budgets, or they would hold out other rows
        seed = draw_seed(seed)
    for s in ordered:
        model = clone(estimator).set_params(n_nonzero=s, random_state=seed)
        if not fitted or not fitted[-1].fitted_.network.widths[1:-1]:  # none, or a line
            model.fit(X, y, groups=groups, progress=progress)
        else:
            before = fitted[-1].fitted_.network
            model.set_params(hidden_layer_sizes=before.widths[1:-1])
            model.overshoot = max(model.overshoot, before.n_nonzero / s)
            model.fit_with(
                *(X, y, prune_regrow),
                initial=fitted[-1],
                shorten=WARM_START_SHARE,
                groups=groups,
                progress=progress,
            )
        fitted.append(model)
        if model.status_ == "interrupted":
            break
    scores = [float(model.score(X_test, y_test)) for model in fitted]
    return BudgetPath(ordered[: len(fitted)], fitted, scores, metric_of(fitted[0]))
