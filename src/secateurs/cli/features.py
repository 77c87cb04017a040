"""Which columns of a table matter, and along which directions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from cyclopts import Parameter

from secateurs.cli.common import (
    INTERRUPTED,
    TEST_SHARE,
    UsageError,
    check_outputs,
    check_seed,
    out,
    print_certificate,
    print_json,
    print_written,
    progress,
)
from secateurs.cli.models import describe_features, features_table
from secateurs.core.atomic_write import write_atomically
from secateurs.core.figures import save_figure
from secateurs.data.datasets import load_dataset, split
from secateurs.data.table_estimator import input_names
from secateurs.features.estimators import (
    SparseMultiIndexClassifier,
    SparseMultiIndexRegressor,
)
from secateurs.features.figures import features_figure


def features(
    table: str,
    /,
    *,
    target: str | None = None,
    task: str | None = None,
    max_features: int | None = None,
    alpha: float = 0.1,
    seed: int = 0,
    shown: Annotated[int, Parameter(name="--top")] = 15,
    output: Path | None = None,
    model: Path | None = None,
    plot: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Find the few columns that a target depends on, and the directions it depends on them by.

    Parameters
    ----------
    table
        A built-in name (diabetes, ...), a table (.csv, .parquet) or an .npz archive.
    target
        Target column of a table.
    task
        classification or regression; otherwise told from the target.
    max_features
        Most columns kept; otherwise as many as the rows can tell.
    alpha
        Chance that the screen lets any column of noise through.
    seed
        Of the split and the fit.
    shown
        How many columns to show.
    output
        Write every column with its score to this .csv file.
    model
        Write the model to this file (.safetensors).
    plot
        Draw scores and directions to this file (.png, .pdf, .svg).
    json
        Print one JSON object instead of a table.
    """
    check_outputs(output, plot)
    check_outputs(model, None)
    check_seed(seed)
    if shown < 1:
        raise UsageError(f"--top {shown}: expected an integer >= 1")
    if output is not None and output.suffix.lower() != ".csv":
        raise UsageError(f"--output {output}: expected a name that ends in .csv")
    loaded = load_dataset(table, target=target, task=task)
    if loaded.y.ndim != 1:
        raise UsageError(f"--target {target}: expected one column")
    dataset = split(loaded, TEST_SHARE, random_state=seed)
    classes = dataset.task == "classification"
    kind = SparseMultiIndexClassifier if classes else SparseMultiIndexRegressor
    fitted = kind(max_features=max_features, alpha=alpha, random_state=seed)
    with progress(quiet=json, counted="columns") as show:
        fitted.fit(dataset.X, dataset.y, progress=show("features"))
    if output is not None:
        write_atomically(output, support_table(fitted).to_csv(index=False).encode())
    if model is not None:
        fitted.save(model)
    if plot is not None:
        save_figure(features_figure(fitted), plot)
    assert dataset.y_test is not None
    record = {
        "dataset": dataset.name,
        "task": dataset.task,
        "n_train": len(dataset.y),
        "n_test": len(dataset.y_test),
        **describe_features(fitted),
        "metric": "accuracy" if classes else "r2",
        "test_score": fitted.score(dataset.X_test, dataset.y_test),
        "status": fitted.status_,
        "seconds": fitted.report_["seconds"],
        "certificate": fitted.certificate_.to_list(),
    }
    if json:
        print_json(record)
    else:
        _print(record, shown)
        print_certificate(fitted.certificate_)
        print_written(output, model, plot)
    return INTERRUPTED if fitted.status_ == "interrupted" else 0


def support_table(fitted: Any) -> pd.DataFrame:
    """Every column: name, score, whether it is kept, its share, its entry in each direction."""
    d = len(fitted.scores_)
    kept = np.zeros(d, dtype=bool)
    kept[fitted.support_] = True
    frame = pd.DataFrame(
        {
            "column": input_names(fitted),
            "score": fitted.scores_,
            "above_threshold": fitted.scores_ > fitted.threshold_,
            "kept": kept,
            "share": fitted.feature_importances_,
        }
    )
    for i, row in enumerate(fitted.directions_):
        frame[f"direction_{i}"] = np.asarray(row.toarray()).ravel()
    order = np.lexsort((-frame["score"], -frame["share"], ~frame["kept"]))
    return frame.iloc[order]


def _print(record: dict[str, Any], shown: int) -> None:
    metric = "accuracy" if record["metric"] == "accuracy" else "R^2"
    out.print(
        f"{record['dataset']}: {len(record['columns'])} of {record['d']} columns, "
        f"{record['directions']} directions, {metric} {record['test_score']:.3f} on "
        f"{record['n_test']} test rows, {record['status']}, {record['seconds']:.1f} s"
    )
    if not record["signal_detected"]:
        out.print("No signal was detected: what follows is what noise gives.", style="bold")
    out.print(features_table(record, shown))
