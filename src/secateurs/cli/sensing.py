"""The right rank without being told: matrices from measurements, interactions in a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
from secateurs.cli.models import pairs_table
from secateurs.core.figures import save_figure
from secateurs.data.datasets import load_dataset, split
from secateurs.sensing.estimator import MatrixSensing
from secateurs.sensing.figures import components_figure, interactions_figure
from secateurs.sensing.measurements import load_measurements
from secateurs.sensing.quadratic_estimator import QuadraticRegressor


def sense(
    measurements: str,
    /,
    *,
    components: str = "auto",
    signed: Annotated[bool, Parameter(negative="")] = False,
    intercept: Annotated[bool, Parameter(negative="")] = False,
    criterion: str = "certificate",
    seed: int = 0,
    output: Path | None = None,
    plot: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Find the low-rank matrix behind linear measurements, and its rank.

    Parameters
    ----------
    measurements
        An .npz archive of y and one of: A (matrices), X (measurements x.Mx), rows, columns and d
        (entries), paulis (texts such as XIZY).
    components
        The rank; or auto.
    signed
        Allow negative eigenvalues.
    intercept
        Fit a constant too.
    criterion
        Where to stop: certificate (what is left looks like noise) or bic.
    seed
        Of the random numbers.
    output
        Write the matrix to this file (.safetensors).
    plot
        Draw the components and the path to this file (.png, .pdf, .svg).
    json
        Print one JSON object instead of text.
    """
    check_outputs(output, plot)
    check_seed(seed)
    operator, y, kind = load_measurements(measurements)
    model = MatrixSensing(
        _rank(components),
        signed=signed,
        fit_intercept=intercept,
        criterion=criterion,
        random_state=seed,
    )
    with progress(quiet=json, counted="rank") as show:
        model.fit(operator, y, progress=show("sensing"))
    if output is not None:
        model.save(output)
    if plot is not None:
        save_figure(components_figure(model), plot)
    eigenvalues = model.eigenvalues_.tolist()
    record = {
        "measurements": kind,
        "n": len(y),
        "d": operator.shape[1],
        "rank": model.n_components_,
        "eigenvalues": eigenvalues,
        "intercept": model.intercept_,
        "r2": model.score(operator, y),
        "status": model.status_,
        "seconds": model.report_["seconds"],
        "file_bytes": model.report_["file_bytes"],
        "certificate": model.certificate_.to_list(),
    }
    if json:
        print_json(record)
    else:
        out.print(
            f"{measurements}: {len(y)} {kind} of a {record['d']} x {record['d']} matrix: rank "
            f"{record['rank']}, {model.status_}, R^2 {record['r2']:.6f} on these measurements, "
            f"{record['seconds']:.1f} s"
        )
        shown = ", ".join(f"{value:.4g}" for value in eigenvalues[:20])
        out.print(f"eigenvalues: {shown or 'none'}{' ...' if len(eigenvalues) > 20 else ''}")
        print_certificate(model.certificate_)
        print_written(output, plot)
    return INTERRUPTED if model.status_ == "interrupted" else 0


def interactions(
    data: str,
    /,
    *,
    target: str | None = None,
    components: str = "auto",
    seed: int = 0,
    show_pairs: Annotated[int, Parameter(name="--top")] = 15,
    output: Path | None = None,
    plot: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Find which pairs of columns act together: y = b + w.x + a few squares (u.x)^2.

    Parameters
    ----------
    data
        A built-in name (diabetes, ...), a table (.csv, .parquet) or an .npz archive.
    target
        Target column of a table.
    components
        Number of squares; or auto.
    seed
        Of the split and the fit.
    show_pairs
        How many pairs to show.
    output
        Write the model to this file (.safetensors).
    plot
        Draw the strongest pairs to this file (.png, .pdf, .svg).
    json
        Print one JSON object instead of a table.
    """
    check_outputs(output, plot)
    check_seed(seed)
    if show_pairs < 1:
        raise UsageError(f"--top {show_pairs}: expected an integer >= 1")
    loaded = load_dataset(data, target=target, task="regression")
    dataset = split(loaded, TEST_SHARE, random_state=seed)
    X_test, y_test = dataset.X_test, dataset.y_test
    assert y_test is not None
    model = QuadraticRegressor(_rank(components), random_state=seed)
    linear = QuadraticRegressor(0, random_state=seed)
    with progress(quiet=json, counted="squares") as show:
        model.fit(dataset.X, dataset.y, progress=show("interactions"))
        linear.fit(dataset.X, dataset.y)
    if output is not None:
        model.save(output)
    if plot is not None:
        save_figure(interactions_figure(model, show_pairs), plot)
    pairs = model.interactions_[:show_pairs]
    record: dict[str, Any] = {
        "dataset": dataset.name,
        "n_train": model.n_train_,
        "n_test": len(y_test),
        "components": model.n_components_,
        "signs": model.signs_.tolist(),
        "test_r2": model.score(X_test, y_test),
        "linear_test_r2": linear.score(X_test, y_test),
        "status": model.status_,
        "seconds": model.report_["seconds"],
        "interactions": [pair._asdict() for pair in pairs],
        "certificate": model.certificate_.to_list(),
    }
    if json:
        print_json(record)
    else:
        out.print(
            f"{dataset.name}: {record['components']} squares, {model.status_}, R^2 "
            f"{record['test_r2']:.3f} on {record['n_test']} test rows (linear "
            f"{record['linear_test_r2']:.3f}), {record['seconds']:.1f} s"
        )
        if pairs:
            out.print(pairs_table(record["interactions"]))
        else:
            out.print("No pair improves on a linear function.")
        print_certificate(model.certificate_)
        print_written(output, plot)
    return INTERRUPTED if model.status_ == "interrupted" else 0


def _rank(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--components {text!r}: expected an integer >= 1, or auto")
    return int(text)
