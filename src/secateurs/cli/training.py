"""Networks under a weight budget: fit, predict, inspect, path."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from cyclopts import Parameter
from rich.table import Table

from secateurs.cli.common import (
    INTERRUPTED,
    TEST_SHARE,
    UsageError,
    check_outputs,
    check_seed,
    integers,
    out,
    print_certificate,
    print_json,
    print_written,
    progress,
    size,
)
from secateurs.core.figures import save_figure
from secateurs.core.group import Group, distributed
from secateurs.data.checked_dataset import Dataset
from secateurs.data.datasets import load_dataset, split
from secateurs.training.budget_paths import BudgetPath, budget_path
from secateurs.training.comparison import LABELS, Estimator, compare, result_row
from secateurs.training.estimators import SparseMLPClassifier, SparseMLPRegressor
from secateurs.training.figures import fit_figure, path_figure

_SHOWN_INPUTS = 20


def fit(
    data: str,
    /,
    *,
    nonzeros: int,
    target: str | None = None,
    task: str | None = None,
    hidden: str = "50",
    epochs: int | None = None,
    seed: int = 0,
    compare_methods: Annotated[bool, Parameter(name="--compare", negative="")] = False,
    output: Path | None = None,
    plot: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Fit a network with at most N weights to a data set and score it on test rows.

    Started by torchrun --nproc-per-node N -m secateurs fit ..., N processes share one fit.

    Parameters
    ----------
    data
        A built-in name (digits, breast_cancer, wine, diabetes, mnist, fashion_mnist) or the
        path of a table (.csv, .parquet), an .npz archive, or IDX files.  Under torchrun each
        process takes every N-th row; with {rank} in the path each reads a file of its own.
    nonzeros
        The budget: weights of the network, biases included.
    target
        Target column of a table.
    task
        classification or regression; told from the target when not given.
    hidden
        Widths of the hidden layers, such as 50 or 300,100; or auto.
    epochs
        Passes over the training rows; chosen from their number when not given.
    seed
        Of the random numbers: same seed, same file.
    compare_methods
        Also train dense, prune afterwards, and show what that gives on the same rows.
    output
        Write the model to this file (.safetensors).
    plot
        Draw the training, the inputs used and the comparison to this file (.png, .pdf, .svg).
    json
        Print one JSON object instead of a table.
    """
    with distributed() as group:
        with group.failing_together():
            if group.rank == 0:  # which alone writes
                check_outputs(output, plot)
            if compare_methods and group.size > 1:
                raise UsageError("--compare: the other methods do not run under torchrun")
            model_settings = _settings(hidden, epochs, seed, nonzeros)
            dataset = _own_rows(data, target, task, seed, group)
            group.require_same("the task", dataset.task.encode())
        model = _new_model(dataset.task, model_settings)
        X_test, y_test = dataset.X_test, dataset.y_test
        with progress(quiet=json or group.rank > 0) as show:
            began = time.process_time()
            model.fit(dataset.X, dataset.y, progress=show(LABELS["prune_regrow"]), group=group)
            cpu = time.process_time() - began
            status = INTERRUPTED if model.status_ == "interrupted" else 0
            n_held_out = int(group.total(len(dataset.y))) - model.n_train_
            if group.rank > 0:  # all have the same model; the first one shows and writes it
                return status
            rows = [result_row(model, X_test, y_test, "prune_regrow", cpu)]
            if compare_methods and model.status_ != "interrupted":
                rows += compare(
                    model,
                    dataset.X,
                    dataset.y,
                    X_test,
                    y_test,
                    progress=lambda method: show(LABELS[method]),
                )
    if output is not None:
        model.save(output)
    if plot is not None:
        save_figure(fit_figure(model, rows, dataset.image_shape), plot)
    if json:
        print_json(_fit_record(dataset, model, rows, n_held_out))
    else:
        _print_fit(dataset, model, rows, n_held_out, output, plot)
    return status


def _own_rows(data: str, target: str | None, task: str | None, seed: int, group: Group) -> Dataset:
    """The data set, split; in a group the rows to train on are those of this process."""
    whole = load_dataset(data.replace("{rank}", str(group.rank)), target=target, task=task)
    dataset = split(whole, TEST_SHARE, random_state=seed)
    if group.size == 1 or "{rank}" in data:
        return dataset
    rows = slice(group.rank, None, group.size)
    X = dataset.X.iloc[rows] if isinstance(dataset.X, pd.DataFrame) else dataset.X[rows]
    return replace(dataset, X=X.copy(), y=dataset.y[rows].copy())  # let go of the whole


def path(
    data: str,
    /,
    *,
    nonzeros: str,
    target: str | None = None,
    task: str | None = None,
    hidden: str = "50",
    epochs: int | None = None,
    seed: int = 0,
    plot: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Score against budget: fit at several budgets, each network started from the last.

    Parameters
    ----------
    data
        As for `secateurs fit`.
    nonzeros
        Budgets, such as 100,200,500.
    target
        Target column of a table.
    task
        classification or regression; told from the target when not given.
    hidden
        Widths of the hidden layers, such as 50 or 300,100; or auto.
    epochs
        Passes over the training rows; chosen from their number when not given.
    seed
        Of the random numbers.
    plot
        Draw score against weights to this file (.png, .pdf, .svg).
    json
        Print one JSON object instead of a table.
    """
    check_outputs(None, plot)
    budgets = integers("--nonzeros", nonzeros)
    model_settings = _settings(hidden, epochs, seed, max(budgets))
    dataset = split(load_dataset(data, target=target, task=task), TEST_SHARE, random_state=seed)
    model = _new_model(dataset.task, model_settings)
    with progress(quiet=json) as show:
        result = budget_path(
            model,
            dataset.X,
            dataset.y,
            budgets,
            dataset.X_test,
            dataset.y_test,
            progress=show(LABELS["prune_regrow"]),
        )
    if plot is not None:
        save_figure(path_figure(result), plot)
    if json:
        print_json(_path_record(dataset, result))
    else:
        _print_path(dataset, result, plot)
    return INTERRUPTED if result.estimators[-1].status_ == "interrupted" else 0


# -- options -------------------------------------------------------------------------------


def _settings(hidden: str, epochs: int | None, seed: int, nonzeros: int) -> dict[str, Any]:
    if nonzeros < 1:
        raise UsageError(f"--nonzeros {nonzeros}: expected an integer >= 1")
    if epochs is not None and epochs < 1:
        raise UsageError(f"--epochs {epochs}: expected an integer >= 1")
    check_seed(seed)
    return {
        "n_nonzero": nonzeros,
        "hidden_layer_sizes": hidden if hidden == "auto" else integers("--hidden", hidden),
        "max_epochs": "auto" if epochs is None else epochs,
        "random_state": seed,
    }


def _new_model(task: str, model_settings: dict[str, Any]) -> Estimator:
    kind = SparseMLPClassifier if task == "classification" else SparseMLPRegressor
    return kind(**model_settings)


# -- what is shown ---------------------------------------------------------------------------


def _fit_record(
    dataset: Dataset, model: Estimator, rows: list[dict[str, Any]], n_held_out: int
) -> dict[str, Any]:
    report = model.report_
    assert dataset.y_test is not None
    return {
        "dataset": dataset.name,
        "task": dataset.task,
        "n_train": model.n_train_,
        "n_validation": n_held_out,
        "n_test": len(dataset.y_test),
        "d": model.fitted_.network.widths[0],
        "hidden": list(model.fitted_.network.widths[1:-1]),
        "budget": model.n_nonzero,
        **{name: value for name, value in rows[0].items() if name not in ("method", "label")},
        "validation_score": model.validation_score_,
        "nonzeros_per_layer": report["nonzeros_per_layer"],
        "inputs_used": report["inputs_used"],
        "dense_nonzeros": report["dense_nonzeros"],
        "status": model.status_,
        "seed": model.random_state,
        "certificate": model.certificate_.to_list(),
        "compare": rows[1:],
    }


def _print_fit(
    dataset: Dataset,
    model: Estimator,
    rows: list[dict[str, Any]],
    n_held_out: int,
    output: Path | None,
    plot: Path | None,
) -> None:
    report = model.report_
    widths = "-".join(str(m) for m in report["widths"])
    assert dataset.y_test is not None
    title = (
        f"{dataset.name}: {model.n_train_} rows to train, {n_held_out} held "
        f"out, {len(dataset.y_test)} to test; network {widths}"
    )
    metric = "accuracy" if rows[0]["metric"] == "accuracy" else "R²"
    table = Table(title=title, title_justify="left")
    table.add_column("method")
    for name in ("weights", metric, "seconds", "training memory", "file"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row["label"],
            f"{row['nonzeros']:,}",
            f"{row['score']:.4f}",
            f"{row['seconds']:.1f}",
            size(row["peak_bytes"]),
            size(row["file_bytes"]),
            style="bold" if row["method"] == "prune_regrow" else None,
        )
    out.print(table)
    out.print(
        f"{report['inputs_used']} of {report['widths'][0]} inputs are read; "
        f"{model.n_nonzero_:,} of {report['dense_nonzeros']:,} weights are kept."
    )
    print_certificate(model.certificate_)
    if model.status_ == "interrupted":
        out.print(f"Interrupted after {model.n_steps_} steps: within budget, not fully trained.")
    print_written(output, plot)


def _path_record(dataset: Dataset, result: BudgetPath) -> dict[str, Any]:
    points = [
        {
            "budget": budget,
            "nonzeros": model.n_nonzero_,
            "score": score,
            "seconds": model.report_["seconds"],
            "file_bytes": model.report_["file_bytes"],
        }
        for budget, model, score in zip(
            result.budgets, result.estimators, result.scores, strict=True
        )
    ]
    return {"dataset": dataset.name, "task": dataset.task, "metric": result.metric, "path": points}


def _print_path(dataset: Dataset, result: BudgetPath, plot: Path | None) -> None:
    table = Table(title=dataset.name, title_justify="left")
    for name in ("budget", "weights", f"test {result.metric}", "seconds", "file"):
        table.add_column(name, justify="right")
    for point in _path_record(dataset, result)["path"]:
        table.add_row(
            f"{point['budget']:,}",
            f"{point['nonzeros']:,}",
            f"{point['score']:.4f}",
            f"{point['seconds']:.1f}",
            size(point["file_bytes"]),
        )
    out.print(table)
    print_written(plot)
