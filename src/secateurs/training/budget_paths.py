"""Score against budget: a path of networks from large to small, each started from the last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.base import clone

from secateurs.core.solution import ProgressCallback
from secateurs.training.comparison import Estimator

WARM_SHARE = 2  # a warm-started fit takes half the steps of the first


@dataclass(frozen=True)
class BudgetPath:
    """Fitted estimators for several budgets, largest first.

    Attributes
    ----------
    budgets : list of int
    estimators : list of fitted estimators
    scores : list of float
        On the test rows, accuracy or coefficient of determination.
    metric : str
    """

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
) -> BudgetPath:
    """Fit an estimator at several budgets, from the largest to the smallest.

    Each network starts from the one before it, its weights pruned and regrown along half a
    run, so that the path costs about half of as many separate fits.

    Parameters
    ----------
    estimator : SparseMLPClassifier or SparseMLPRegressor
        Not fitted itself; its `n_nonzero` is replaced.  With ``hidden_layer_sizes="auto"`` the
        widths are chosen at the largest budget and kept.
    X, y, X_test, y_test : as in ``fit`` and ``score``
    budgets : sequence of int
        Repeated ones are taken once.
    progress : callable, optional

    Returns
    -------
    BudgetPath
    """
    ordered = sorted({int(s) for s in budgets}, reverse=True)
    if not ordered or ordered[-1] < 1:
        raise ValueError(f"budgets={list(budgets)!r}; expected integers >= 1")
    fitted: list[Estimator] = []
    for s in ordered:
        model = clone(estimator).set_params(n_nonzero=s)
        if not fitted:
            model._fit(X, y, progress=progress)
        else:
            before = fitted[-1].fitted_.network
            model.set_params(hidden_layer_sizes=before.widths[1:-1])
            model.overshoot = max(model.overshoot, before.n_nonzero / s)
            model._fit(X, y, progress=progress, initial=before, shorten=WARM_SHARE)
        fitted.append(model)
        if model.status_ == "interrupted":
            break
    scores = [float(model.score(X_test, y_test)) for model in fitted]
    metric = "accuracy" if hasattr(fitted[0], "classes_") else "r2"
    return BudgetPath(ordered[: len(fitted)], fitted, scores, metric)
