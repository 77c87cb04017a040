"""One data set, one budget, several methods, on equal terms."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from sklearn.base import clone

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
    """Score of a fitted estimator on test rows, and what it cost."""
    report = estimator.report_
    # nobody stores a full matrix with its indices
    file_bytes = report["dense_file_bytes"] if method == "dense" else report["file_bytes"]
    return {
        "method": method,
        "label": LABELS[method],
        "nonzeros": estimator.n_nonzero_,
        "score": float(estimator.score(X, y)),
        "metric": "accuracy" if isinstance(estimator, SparseMLPClassifier) else "r2",
        "seconds": report["seconds"],
        "cpu_seconds": cpu,
        "peak_bytes": report["peak_bytes"],
        "file_bytes": file_bytes,
    }


def compare(
    estimator: Estimator,
    X: Any,
    y: Any,
    X_test: Any,
    y_test: Any,
    methods: Iterable[str] = BASELINES,
    progress: Callable[[str], ProgressCallback] | None = None,
) -> list[dict[str, Any]]:
    """Train other methods with the settings of an estimator and score them on the test rows.

    Every method gets the same rows, scaling, noise, steps and batches; learning rates are each
    method's own.  Methods that train dense keep their weights in a sparse file too, where
    they are sparse.

    Parameters
    ----------
    estimator : SparseMLPClassifier or SparseMLPRegressor
        Its parameters are used; fitted, its widths are.
    X, y, X_test, y_test : as in ``fit`` and ``score``
    methods : iterable of str
        Keys of `secateurs.training.trainers.TRAINERS`.
    progress : callable, optional
        Given a method's name, returns the callback for its run.

    Returns
    -------
    list of dict
        "method", "label", "nonzeros", "score", "metric", "seconds", "cpu_seconds",
        "peak_bytes", "file_bytes".
    """
    rows = []
    for method in methods:
        if method not in TRAINERS:
            raise ValueError(f"no method {method!r}; there are {sorted(TRAINERS)}")
        model = clone(estimator)
        if hasattr(estimator, "fitted_"):
            model.hidden_layer_sizes = estimator.fitted_.network.widths[1:-1]
        began = time.process_time()
        callback = progress(method) if progress is not None else _silent
        model._fit(X, y, trainer=TRAINERS[method], progress=callback)
        cpu = time.process_time() - began
        rows.append(result_row(model, X_test, y_test, method, cpu))
    return rows


def _silent(state: Progress) -> None:
    """Say nothing."""
