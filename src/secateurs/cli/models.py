"""Saved models: predict with them, look into them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from cyclopts import Parameter
from rich.table import Table

from secateurs.cli.common import (
    UsageError,
    check_outputs,
    err,
    out,
    print_certificate,
    print_json,
    size,
)
from secateurs.cli.tickets import describe_ticket, print_described
from secateurs.core.archive import read_archive
from secateurs.core.atomic_write import write_atomically
from secateurs.data.datasets import load_inputs
from secateurs.data.table_estimator import input_names
from secateurs.features.estimator_base import SparseMultiIndexBase
from secateurs.features.estimators import SparseMultiIndexClassifier
from secateurs.loading import load
from secateurs.recovery.estimator import SparseReLURegressor
from secateurs.sensing.estimator import MatrixSensing
from secateurs.sensing.quadratic_estimator import QuadraticRegressor
from secateurs.training.description import input_strength
from secateurs.training.estimators import SparseMLPClassifier

_SHOWN = 20


def predict(model: Path, data: str, /, *, output: Path | None = None) -> int:
    """Predict the rows of a data set with a saved model.

    Parameters
    ----------
    model
        A file written by `secateurs fit --output`.
    data
        Rows as `secateurs fit` reads them; a table needs no target column.
    output
        Write a CSV file; otherwise CSV goes to standard output.
    """
    check_outputs(output, None)
    fitted = load(model)
    if isinstance(fitted, MatrixSensing):
        raise UsageError(f"{model}: a matrix, which predicts measurements and not rows of a table")
    X: Any = load_inputs(data)
    if isinstance(X, pd.DataFrame) and hasattr(fitted, "feature_names_in_"):
        names = list(fitted.feature_names_in_)
        missing = [name for name in names if name not in X.columns]
        if missing:
            raise UsageError(f"{data}: the model needs the column {missing[0]!r}, it is not there")
        X = X[names]
    predictions = fitted.predict(X)
    if isinstance(fitted, SparseMLPClassifier | SparseMultiIndexClassifier):
        table = pd.DataFrame({"prediction": predictions})
        for label, column in zip(fitted.classes_, fitted.predict_proba(X).T, strict=True):
            table[f"probability_{label}"] = column
    else:
        columns = np.atleast_2d(predictions.T)
        names = (
            ["prediction"]
            if len(columns) == 1
            else [f"prediction_{j}" for j in range(len(columns))]
        )
        table = pd.DataFrame(dict(zip(names, columns, strict=True)))
    text = table.to_csv(index=False)
    if output is None:
        sys.stdout.write(text)
    else:
        write_atomically(output, text.encode())
        err.print(f"{len(table)} predictions written to {output}")
    return 0


def inspect(model: Path, /, *, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Show what a saved model is: layers, weights, inputs used, how it was trained.

    Parameters
    ----------
    model
        A file written by `secateurs fit --output`, or by `secateurs ticket --output`.
    json
        Print one JSON object instead of tables.
    """
    if read_archive(model).body["record"].get("kind") == "ticket":
        ticket = describe_ticket(model)
        (print_json if json else print_described)(ticket)
        return 0
    fitted = load(model)
    describe, show = _describe_network, _print_network
    if isinstance(fitted, SparseReLURegressor):
        describe, show = _describe_neurons, _print_neurons
    elif isinstance(fitted, QuadraticRegressor):
        describe, show = _describe_quadratic, _print_quadratic
    elif isinstance(fitted, SparseMultiIndexBase):
        describe, show = describe_features, _print_features
    elif isinstance(fitted, MatrixSensing):
        describe, show = _describe_matrix, _print_matrix
    record = {
        "kind": type(fitted).__name__,
        "file_bytes": model.stat().st_size,
        "n_train": fitted.n_train_,
        "seed": fitted.seed_,
        "status": fitted.status_,
        **describe(fitted),
        "certificate": fitted.certificate_.to_list(),
    }
    if json:
        print_json(record)
    else:
        show(record)
        print_certificate(fitted.certificate_)
    return 0


def _describe_network(model: Any) -> dict[str, Any]:
    network = model.fitted_.network
    strength = input_strength(model)
    names = input_names(model)
    used = [int(j) for j in np.argsort(-strength, kind="stable") if strength[j] > 0]
    return {
        "widths": list(network.widths),
        "nonzeros": network.n_nonzero,
        "budget": int(model.n_nonzero),
        "nonzeros_per_layer": [len(keys) for keys in network.keys],
        "classes": model.classes_.tolist() if isinstance(model, SparseMLPClassifier) else None,
        "inputs_used": [{"name": names[j], "strength": float(strength[j])} for j in used],
        "n_steps": model.n_steps_,
        "validation_score": model.validation_score_,
        "final_loss": model.loss_curve_[-1] if model.loss_curve_ else None,
    }


def _print_network(record: dict[str, Any]) -> None:
    widths = record["widths"]
    out.print(
        f"{record['kind']}, {'-'.join(map(str, widths))}: {record['nonzeros']} weights of "
        f"{record['budget']} allowed, {size(record['file_bytes'])} on disk"
    )
    if record["classes"] is not None:
        shown = ", ".join(str(label) for label in record["classes"][:_SHOWN])
        out.print(f"classes: {shown}", highlight=False, markup=False)
    out.print(
        f"trained on {record['n_train']} rows in {record['n_steps']} steps, seed {record['seed']}, "
        f"status {record['status']}, validation score {record['validation_score']}"
    )
    layers = Table("layer", "shape", "weights", "density")
    for i, count in enumerate(record["nonzeros_per_layer"]):
        places = (widths[i] + 1) * widths[i + 1]
        layers.add_row(
            str(i + 1), f"{widths[i + 1]} x {widths[i]} + bias", str(count), f"{count / places:.2%}"
        )
    out.print(layers)
    used = record["inputs_used"]
    inputs = Table("input", "sum of |weight|", title=f"{len(used)} of {widths[0]} inputs are read")
    for entry in used[:_SHOWN]:
        inputs.add_row(entry["name"], f"{entry['strength']:.3g}")
    if len(used) > _SHOWN:
        inputs.add_row(f"... and {len(used) - _SHOWN} more (--json lists all)", "")
    out.print(inputs)


def _describe_neurons(model: Any) -> dict[str, Any]:
    """A sum of ReLU neurons: its weights by neuron."""
    W = model.coef_
    neurons = [
        {"inputs": W.indices[a:b].tolist(), "weights": W.data[a:b].tolist()}
        for a, b in zip(W.indptr[:-1], W.indptr[1:], strict=True)
        if b > a
    ]
    return {
        "inputs": W.shape[1],
        "nonzeros": model.n_nonzero_,
        "budget": model.budget_,
        "intercept": model.intercept_,
        "solver": model.solver_,
        "neurons": neurons,
    }


def _print_neurons(record: dict[str, Any]) -> None:
    neurons = record["neurons"]
    out.print(
        f"{record['kind']}: {record['nonzeros']} weights of {record['budget']} allowed in "
        f"{len(neurons)} neurons over {record['inputs']} inputs, intercept "
        f"{record['intercept']:.6g}, {size(record['file_bytes'])} on disk; status "
        f"{record['status']}, by {record['solver']}"
    )
    table = Table("neuron", "inputs", "weights")
    for j, neuron in enumerate(neurons[:_SHOWN]):
        weights = " ".join(f"{w:.4g}" for w in neuron["weights"][:8])
        table.add_row(str(j), " ".join(map(str, neuron["inputs"][:8])), weights)
    out.print(table)


def _describe_quadratic(model: Any) -> dict[str, Any]:
    return {
        "inputs": len(model.coef_),
        "components": model.n_components_,
        "signs": model.signs_.tolist(),
        "intercept": model.intercept_,
        "interactions": [pair._asdict() for pair in model.interactions_],
    }


def _print_quadratic(record: dict[str, Any]) -> None:
    out.print(
        f"{record['kind']}: {record['components']} squares over {record['inputs']} inputs, "
        f"{size(record['file_bytes'])} on disk; status {record['status']}"
    )
    if record["interactions"]:
        out.print(pairs_table(record["interactions"]))


def pairs_table(pairs: list[dict[str, Any]]) -> Table:
    """Pairs of inputs and what they do together."""
    table = Table("first", "second", "effect", title="strongest pairs", title_justify="left")
    for pair in pairs:
        second = "(squared)" if pair["first"] == pair["second"] else pair["second"]
        table.add_row(pair["first"], second, f"{pair['effect']:+.4g}")
    return table


def describe_features(model: Any) -> dict[str, Any]:
    """Columns kept, the one that counts most first, and what the screen said."""
    share = model.feature_importances_
    names = input_names(model)
    entries = model.directions_[:, model.support_].toarray().T.tolist()
    values = dict(zip(model.support_.tolist(), entries, strict=True))
    order = sorted(values, key=lambda j: (-share[j], j))
    return {
        "d": len(model.scores_),
        "directions": model.directions_.shape[0],
        "columns": [
            {
                "name": names[j],
                "column": j,
                "score": float(model.scores_[j]),
                "share": float(share[j]),
                "direction": values[j],
            }
            for j in order
        ],
        "threshold": model.threshold_,
        "channel": model.channel_,
        "information_exponent": model.information_exponent_,
        "val_r2": model.val_r2_,
        "signal_detected": model.signal_detected_,
        "classes": getattr(model, "classes_", np.empty(0)).tolist() or None,
    }


def _print_features(record: dict[str, Any]) -> None:
    out.print(
        f"{record['kind']}: {len(record['columns'])} of {record['d']} columns, "
        f"{record['directions']} directions, R^2 {record['val_r2']:.3f} on validation rows, "
        f"{size(record['file_bytes'])} on disk; status {record['status']}"
    )
    out.print(features_table(record, _SHOWN))


def features_table(record: dict[str, Any], shown: int) -> Table:
    """Columns kept, with scores and places in the directions."""
    columns = record["columns"]
    title = (
        f"{len(columns)} columns kept; threshold {record['threshold']:.2f}, most found in "
        f"{record['channel']} at degree {record['information_exponent']}"
    )
    table = Table("column", "score", "share", "directions", title=title, title_justify="left")
    for entry in columns[:shown]:
        above = "" if entry["score"] > record["threshold"] else " (below)"
        places = " ".join(f"{value:+.2f}" for value in entry["direction"][:6])
        table.add_row(
            entry["name"], f"{entry['score']:.2f}{above}", f"{entry['share']:.1%}", places
        )
    if len(columns) > shown:
        table.add_row(f"... and {len(columns) - shown} more (--json lists all)", "", "", "")
    return table


def _describe_matrix(model: Any) -> dict[str, Any]:
    return {
        "d": model.components_.shape[1],
        "rank": model.n_components_,
        "eigenvalues": model.eigenvalues_.tolist(),
        "intercept": model.intercept_,
    }


def _print_matrix(record: dict[str, Any]) -> None:
    shown = ", ".join(f"{value:.4g}" for value in record["eigenvalues"][:_SHOWN])
    out.print(
        f"{record['kind']}: a {record['d']} x {record['d']} matrix of rank {record['rank']}, "
        f"{size(record['file_bytes'])} on disk; status {record['status']}\n"
        f"eigenvalues: {shown or 'none'}{' ...' if record['rank'] > _SHOWN else ''}"
    )
