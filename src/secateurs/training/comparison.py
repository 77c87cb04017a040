"""Compare methods on one data set under one budget, on equal terms."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from sklearn.base import clone

from secateurs.core.parameters import check_choice
from secateurs.core.solution import Progress, ProgressCallback
from secateurs.training.estimators import SparseMLPClassifier, SparseMLPRegressor
from secateurs.training.trainers import TRAINERS

Estimator = SparseMLPClassifier | SparseMLPRegressor
LABELS = {
    "prune_regrow": "secateurs (sparse from scratch)",
    "gradual": "train dense, prune gradually",
    "imp": "iterative magnitude pruning",
    "rigl": "RigL",
    "one_shot": "train dense, prune once, fine-tune",
    "dense": "dense, nothing pruned",
}
BASELINES = tuple(name for name in LABELS if name != "prune_regrow")


def result_row(estimator: Estimator, X: Any, y: Any, method: str, cpu: float) -> dict[str, Any]:
    """Return the score of a fitted estimator on the test rows, and its costs.

    `cpu` is the processor time of the fit in seconds, and `method` a key of `LABELS`.
    """
    report = estimator.report_
    # a dense network would be stored as full matrices, without positions
    file_bytes = report["dense_file_bytes"] if method == "dense" else report["file_bytes"]
    return {
        "method": method,
        "label": LABELS[method],
        "nonzeros": estimator.n_nonzero_,
        "score": float(estimator.score(X, y)),
        "metric": metric_of(estimator),
        "seconds": report["seconds"],
        "cpu_seconds": cpu,
        "peak_bytes": report["peak_bytes"],
        "file_bytes": file_bytes,
    }


def metric_of(estimator: Estimator) -> str:
    """Return the name of the score of an estimator."""
    return "accuracy" if isinstance(estimator, SparseMLPClassifier) else "r2"


def compare(
    estimator: Estimator,
    X: Any,
    y: Any,
    X_test: Any,
    y_test: Any,
    methods: Iterable[str] = BASELINES,
    progress: Callable[[str], ProgressCallback] | None = None,
) -> list[dict[str, Any]]:
    """Train other methods with the settings of an estimator, and score them on the test rows.

    Every method gets the same rows, scaling, noise, steps and batches.  Each method has its own
    learning rate.

    Parameters
    ----------
    estimator : SparseMLPClassifier or SparseMLPRegressor
        Its parameters are used.  If it is fitted, its widths are used too.
    X, y, X_test, y_test : as in ``fit`` and ``score``
        The rows to train on, and the rows that give the scores.
    methods : iterable of str
        Keys of `secateurs.training.TRAINERS`.
    progress : callable, optional
        Takes the name of a method and returns the callback for its run.

    Returns
    -------
    list of dict
        "method", "label", "nonzeros", "score", "metric", "seconds", "cpu_seconds",
        "peak_bytes", "file_bytes".

    Raises
    ------
    ValueError
        A method is not known.
    """
    rows = []
    for method in methods:
        check_choice("methods", method, list(TRAINERS))
        model = clone(estimator)
        if hasattr(estimator, "fitted_"):
            model.n_nonzero = estimator.budget_
        if hasattr(estimator, "fitted_") and estimator.fitted_.network.widths[1:-1]:
            model.hidden_layer_sizes = estimator.fitted_.network.widths[1:-1]
        began = time.process_time()
        callback = progress(method) if progress is not None else _ignore
        model.fit_with(X, y, TRAINERS[method], progress=callback)
        cpu = time.process_time() - began
        rows.append(result_row(model, X_test, y_test, method, cpu))
    return rows


def _ignore(state: Progress) -> None:
    """Do nothing."""
