"""Networks under a weight budget: fit one, or fit a path over several budgets."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from cyclopts import Parameter
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.exceptions import UndefinedMetricWarning

from secateurs.cli import recipe
from secateurs.cli.terminal import progress
from secateurs.cli.tiny import NO_PROGRAM, ProgramOptions, check_flash, fit_flash
from secateurs.cli.training_options import DEFAULT_TRAINING, TrainingOptions
from secateurs.core.description import Description, Table, counted, format_bytes
from secateurs.core.group import Group, distributed
from secateurs.core.parameters import Shown, bad_value
from secateurs.data.checked_dataset import Dataset
from secateurs.data.datasets import load_dataset, split
from secateurs.data.table_options import TableOptions
from secateurs.training.budget_paths import BudgetPath, budget_path
from secateurs.training.comparison import LABELS, Estimator, compare, result_row
from secateurs.training.estimators import SparseMLPClassifier, SparseMLPRegressor

Compare = Annotated[bool, Parameter(name="--compare", negative="", show_default=False)]


def fit(
    data: str,
    /,
    *,
    nonzeros: str | None = None,
    program: ProgramOptions = NO_PROGRAM,
    target: recipe.Target = None,
    task: recipe.Task = None,
    dialect: recipe.TableDialect = recipe.DEFAULT_DIALECT,
    roles: recipe.TableRoles = recipe.DEFAULT_ROLES,
    training: TrainingOptions = DEFAULT_TRAINING,
    seed: recipe.Seed = 0,
    compare_methods: Compare = False,
    output: recipe.ModelFile = None,
    plot: Path | None = None,
    json: recipe.Json = False,
) -> int:
    """Fit a network with at most N weights to a data set and score it on test rows.

    N processes that torchrun --nproc-per-node N -m secateurs fit ... starts share one fit.

    $ secateurs fit table.csv --target price --nonzeros 40 --effort 10 --jobs 4

    $ secateurs fit digits --flash 700 --distort auto --output net.c

    Parameters
    ----------
    data
        A built-in name (digits, breast_cancer, wine, diabetes, mnist, fashion_mnist) or the
        path of a table (.csv, .tsv, .txt, .parquet, ...), an .npz archive, or IDX files.  Under
        torchrun each process takes every N-th row; with {rank} in the path each process reads
        its own file.
    nonzeros
        The budget: the most weights of the network, biases included.  Without one, or with
        auto, it is chosen on a part of the training rows.
    compare_methods
        Also train dense networks, prune them, and show their scores on the same rows.
    plot
        Draw the training, the inputs used and the comparison to this file (.png, .pdf, .svg).
    """
    program.check()
    if program.flash is not None:
        given = {"--nonzeros": nonzeros is not None, "--compare": compare_methods}
        check_flash(given | training.chosen())
        return fit_flash(
            *(data, program, target, task, dialect.options(roles), seed, output, plot), json=json
        )
    with distributed() as group:
        with group.failing_together():
            if group.rank == 0:  # only this process writes files
                recipe.check_options(output, plot=plot, inputs=[data])
            if compare_methods:
                _check_comparison(group, roles)
            budget = recipe.integer_or_auto("--nonzeros", nonzeros or "auto")
            settings = training.settings(seed, budget, compared=compare_methods)
            dataset = rows_of_process(data, target, task, seed, group, dialect.options(roles))
            group.require_same("the task", dataset.task.encode())
        model = _new_model(dataset.task, settings)
        with progress(quiet=json or group.rank > 0) as bar:
            began = time.process_time()
            shown = bar("fitting", "comparing a constant, a line and networks")
            options = recipe.row_options(dataset, model)
            model.fit(dataset.X, dataset.y, progress=shown, group=group, **options)
            cpu = time.process_time() - began
            n_held_out = int(group.total(len(dataset.y))) - model.n_train_
            if group.rank > 0:  # every process has the same model; the first one shows it
                return recipe.INTERRUPTED if model.status_ == "interrupted" else 0
            rows = [_test_row(model, dataset, cpu)]
            if compare_methods and model.status_ != "interrupted":
                rows += compare(
                    *(model, dataset.X, dataset.y, dataset.X_test, dataset.y_test),
                    progress=lambda method: bar(LABELS[method]),
                )
    files: list[tuple[Path | None, Callable[[Path], object]]] = [
        (output, model.save),
        (plot, recipe.drawing("training:fit_figure", model, rows, dataset.image_shape)),
    ]
    return _finish_fit(_describe_fit(dataset, model, rows, n_held_out), model, files, json=json)


def _finish_fit(
    description: Description,
    model: Estimator,
    files: list[tuple[Path | None, Callable[[Path], object]]],
    *,
    json: bool,
) -> int:
    """Write the files and show the fit."""
    return recipe.finish(
        description,
        json=json,
        status=model.status_,
        files=files,
        after_interrupt=f"{model.n_steps_} steps were made; the network is within its budget, "
        "but not fully trained",
    )


def _check_comparison(group: Group, roles: recipe.TableRoles) -> None:
    if group.size > 1:
        raise bad_value(
            *("--compare", Shown(f"{group.size} processes"), "one process"),
            do="run the comparison without torchrun",
        )
    if roles.group is not None or roles.weight is not None:
        do = "compare without --group and --weight"
        raise bad_value("--compare", Shown("groups or weights of rows"), "neither", do)


def _test_row(model: Estimator, dataset: Dataset, cpu: float) -> dict[str, Any]:
    """Score the model on the test rows; R² of a single row is not defined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        return result_row(model, dataset.X_test, dataset.y_test, "prune_regrow", cpu)


def rows_of_process(
    data: str,
    target: str | None,
    task: str | None,
    seed: int,
    group: Group,
    options: TableOptions | None = None,
) -> Dataset:
    """Load and split a data set; in a group, keep the training rows of this process only."""
    path = data.replace("{rank}", str(group.rank))
    whole = load_dataset(path, target=target, task=task, options=options)
    dataset = split(whole, recipe.TEST_SHARE, random_state=seed)
    if group.size == 1 or "{rank}" in data:
        return dataset
    rows = slice(group.rank, None, group.size)
    X = dataset.X.iloc[rows] if isinstance(dataset.X, pd.DataFrame) else dataset.X[rows]
    return replace(
        dataset,
        X=X.copy(),  # copies, so that the rest is freed
        y=dataset.y[rows].copy(),
        groups=None if dataset.groups is None else dataset.groups[rows].copy(),
        weights=None if dataset.weights is None else dataset.weights[rows].copy(),
    )


def path(
    data: str,
    /,
    *,
    nonzeros: str,
    target: recipe.Target = None,
    task: recipe.Task = None,
    dialect: recipe.TableDialect = recipe.DEFAULT_DIALECT,
    roles: recipe.TableRoles = recipe.DEFAULT_ROLES,
    training: TrainingOptions = DEFAULT_TRAINING,
    seed: recipe.Seed = 0,
    plot: Path | None = None,
    json: recipe.Json = False,
) -> int:
    """Fit at several budgets, each network started from the last, and show every score.

    Parameters
    ----------
    data
        The same as for `secateurs fit`.
    nonzeros
        Budgets, such as 100,200,500.
    plot
        Draw the score against the number of weights to this file (.png, .pdf, .svg).
    """
    recipe.check_options(plot=plot, inputs=[data])
    if roles.group is not None or roles.weight is not None:
        got = Shown("--group or --weight")
        raise bad_value("path", got, "neither", "use secateurs fit for groups and weights")
    budgets = recipe.integers("--nonzeros", nonzeros)
    settings = training.settings(seed, max(budgets))
    whole = load_dataset(data, target=target, task=task, options=dialect.options(roles))
    dataset = split(whole, recipe.TEST_SHARE, random_state=seed)
    with progress(quiet=json) as bar:
        result = budget_path(
            *(_new_model(dataset.task, settings), dataset.X, dataset.y, budgets),
            *(dataset.X_test, dataset.y_test),
            progress=bar("fitting", "comparing a constant, a line and networks"),
        )
    return recipe.finish(
        _describe_path(dataset, result),
        json=json,
        status=result.estimators[-1].status_,
        files=[(plot, recipe.drawing("training:path_figure", result))],
    )


def _new_model(task: str, settings: dict[str, Any]) -> Estimator:
    kind = SparseMLPClassifier if task == "classification" else SparseMLPRegressor
    return kind(**settings)


def _describe_fit(
    dataset: Dataset, model: Estimator, rows: list[dict[str, Any]], n_held_out: int
) -> Description:
    rows = [row | {"score": _defined(row["score"])} for row in rows]
    report, own = model.report_, rows[0]
    assert dataset.y_test is not None
    n_test, widths = len(dataset.y_test), list(report["widths"])
    metric = "accuracy" if own["metric"] == "accuracy" else "R²"
    constant = constant_score(dataset)
    warning = _usefulness(own["score"], constant, metric)
    columns = ("method", "weights", metric, "seconds", "training memory", "file")
    table = Table(
        columns,
        [
            (
                *(row["label"], f"{row['nonzeros']:,}", _shown(row["score"])),
                *(f"{row['seconds']:.1f}", format_bytes(row["peak_bytes"])),
                format_bytes(row["file_bytes"]),
            )
            for row in rows
        ],
        numeric=frozenset(columns[1:]),
        strong=frozenset({0}),
    )
    description = recipe.describe_fit(
        model,
        f"{dataset.name}: {metric} is {_shown(own['score'])} on {counted(n_test, 'test row')}. "
        f"The fit used {model.n_train_} rows; {n_held_out} were held out for choices and for the "
        "certificate.",
        data=dataset,
        n_validation=n_held_out,
        n_test=n_test,
        d=widths[0],
        hidden=widths[1:-1],
        **{name: value for name, value in own.items() if name not in ("method", "label")},
        inputs_used=report["inputs_used"],
        dense_nonzeros=report["dense_nonzeros"],
        seed=model.random_state,
        compare=rows[1:],
        constant_score=constant,
        warnings=list(warning),
    )
    return replace(
        description,
        headline="\n".join((*warning, description.headline)),
        # without the layers and the inputs; one method alone is in the headline already
        tables=(*((table,) if len(rows) > 1 else ()), *description.tables[2:]),
        notes=(
            *recipe.reading_notes(dataset, model),
            f"The network reads {report['inputs_used']} of {widths[0]} inputs; a dense network of "
            f"its shape has {report['dense_nonzeros']:,} weights.",
            *_collapsed(rows),
        ),
    )


def _collapsed(rows: list[dict[str, Any]]) -> tuple[str, ...]:
    """Say why a method that prunes may end without any weight."""
    names = [row["label"] for row in rows[1:] if row["nonzeros"] == 0]
    if not names:
        return ()
    return (
        f"No path from the inputs to the outputs was left by: {', '.join(names)}. This network "
        "answers a constant.",
    )


def constant_score(dataset: Dataset) -> float | None:
    """Score of the mean, or of the most frequent class, of the training rows on the test rows."""
    kind = DummyClassifier if dataset.task == "classification" else DummyRegressor
    dummy = kind().fit(np.zeros((len(dataset.y), 1)), dataset.y)
    assert dataset.y_test is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        return _defined(dummy.score(np.zeros((len(dataset.y_test), 1)), dataset.y_test))


def _defined(score: float) -> float | None:
    """Return a score, or None where it is not defined, as R² of a single row."""
    return float(score) if math.isfinite(score) else None


def _shown(score: float | None) -> str:
    return "undefined" if score is None else f"{score:.4f}"


def _usefulness(score: float | None, constant: float | None, metric: str) -> tuple[str, ...]:
    """Say that a model does not beat a constant prediction."""
    if score is None or constant is None or score > constant:
        return ()
    name = "the most frequent class" if metric == "accuracy" else "the mean"
    return (
        f"WARNING: the network is not better than {name} of the training rows, whose {metric} on "
        f"the test rows is {constant:.4f}. Do not rely on its predictions.",
    )


def _describe_path(dataset: Dataset, result: BudgetPath) -> Description:
    points = [
        {
            "budget": budget,
            "nonzeros": model.n_nonzero_,
            "score": _defined(score),
            "seconds": model.report_["seconds"],
            "file_bytes": model.report_["file_bytes"],
        }
        for budget, model, score in zip(
            result.budgets, result.estimators, result.scores, strict=True
        )
    ]
    metric = "accuracy" if result.metric == "accuracy" else "R²"
    columns = ("budget", "weights", f"test {metric}", "seconds", "file")
    rows = [
        (
            *(f"{point['budget']:,}", f"{point['nonzeros']:,}", _shown(point["score"])),
            *(f"{point['seconds']:.1f}", format_bytes(point["file_bytes"])),
        )
        for point in points
    ]
    best = max(
        points, key=lambda point: point["score"] if point["score"] is not None else -math.inf
    )
    notes = recipe.reading_notes(dataset, result.estimators[0])
    return Description(
        f"{dataset.name}: the best {metric} on the test rows is "
        f"{_shown(best['score'])}, with {best['nonzeros']:,} weights.",
        {**recipe.reading_facts(dataset, notes), "metric": result.metric, "path": points},
        (Table(columns, rows, numeric=frozenset(columns), most=len(rows)),),
        notes,
    )
