"""The columns of a table that matter, and the directions along which they matter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from secateurs.cli import recipe
from secateurs.cli.terminal import progress
from secateurs.core.atomic_write import write_atomically
from secateurs.core.description import Description
from secateurs.core.parameters import Shown, bad_value
from secateurs.data.checked_dataset import Dataset
from secateurs.data.datasets import load_dataset, split
from secateurs.data.table_estimator import input_names
from secateurs.features.estimators import SparseMultiIndexClassifier, SparseMultiIndexRegressor
from secateurs.features.screening import FEWEST_ROWS

COLUMNS = "column,score"  # how the first line of a table of columns begins


def features(
    table: str,
    /,
    *,
    target: recipe.Target = None,
    task: recipe.Task = None,
    dialect: recipe.TableDialect = recipe.DEFAULT_DIALECT,
    roles: recipe.TableRoles = recipe.DEFAULT_ROLES,
    max_features: int | None = None,
    alpha: float = 0.1,
    seed: recipe.Seed = 0,
    top: recipe.Top = 15,
    output: Path | None = None,
    model: Path | None = None,
    plot: Path | None = None,
    json: recipe.Json = False,
) -> int:
    """Find the few columns that a target depends on, and the directions within them.

    Parameters
    ----------
    table
        A built-in name (diabetes, ...), a table (.csv, .parquet) or an .npz archive.
    max_features
        The most columns to keep; by default as many as the rows can support.
    alpha
        Probability that at least one column of pure noise passes the screen.
    output
        Write every column with its score to this file (.csv).
    model
        Write the model to this file (.safetensors).
    plot
        Draw scores and directions to this file (.png, .pdf, .svg).
    """
    recipe.check_options(model, plot=plot, table=output, columns=COLUMNS, inputs=[table], seed=seed)
    recipe.check_options(top=top)
    if output is not None and output.suffix.lower() != ".csv":
        raise bad_value("--output", str(output), "a name that ends in .csv")
    loaded = load_dataset(table, target=target, task=task, options=dialect.options(roles))
    if loaded.y.ndim != 1:
        raise bad_value("--target", Shown(f"{loaded.y.shape[1]} columns"), "one column")
    dataset = split(loaded, recipe.TEST_SHARE, random_state=seed)
    _check_rows(table, dataset)
    classes = dataset.task == "classification"
    kind = SparseMultiIndexClassifier if classes else SparseMultiIndexRegressor
    fitted = kind(max_features=max_features, alpha=alpha, random_state=seed)
    with progress(quiet=json, counted="columns") as bar:
        options = recipe.row_options(dataset, fitted)
        fitted.fit(dataset.X, dataset.y, progress=bar("features"), **options)

    def write_support(file: Path) -> None:
        write_atomically(file, support_table(fitted).to_csv(index=False).encode())

    return recipe.finish(
        _describe(dataset, fitted, top),
        json=json,
        status=fitted.status_,
        files=[
            (output, write_support),
            (model, fitted.save),
            (plot, recipe.drawing("features:features_figure", fitted)),
        ],
    )


def _check_rows(table: str, dataset: Dataset) -> None:
    """Refuse too few rows here, where the test rows are known too."""
    assert dataset.y_test is not None
    n, n_test = len(dataset.y), len(dataset.y_test)
    if n < FEWEST_ROWS + 2:
        got = f"{n + n_test} rows, of which {n_test} are test rows"
        expected = f"at least {FEWEST_ROWS + 2} rows beside the test rows"
        raise bad_value(table, Shown(got), expected)


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


def _describe(dataset: Dataset, fitted: Any, top: int) -> Description:
    assert dataset.y_test is not None
    n_test, score = len(dataset.y_test), fitted.score(dataset.X_test, dataset.y_test)
    metric = "accuracy" if dataset.task == "classification" else "r2"
    description = recipe.describe_fit(
        fitted,
        f"{dataset.name}: {'R²' if metric == 'r2' else metric} is {score:.3f} on {n_test} "
        "test rows.",
        data=dataset,
        n_train=len(dataset.y),
        n_test=n_test,
        metric=metric,
        test_score=score,
    )
    return replace(
        description, tables=tuple(replace(table, most=top) for table in description.tables)
    )
