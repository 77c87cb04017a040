"""Saved models: predict with them, and show what they contain."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd

from secateurs.cli import recipe
from secateurs.cli.terminal import note
from secateurs.core.archive import read_archive
from secateurs.core.atomic_write import write_atomically
from secateurs.core.parameters import Shown, bad_value
from secateurs.data.datasets import load_inputs
from secateurs.data.encoding import unseen_notes
from secateurs.data.table_files import READING
from secateurs.loading import load
from secateurs.sensing.estimator import MatrixSensing

COLUMNS = "prediction"  # how the first line of a table of predictions begins


def predict(
    model: Path,
    data: str,
    /,
    *,
    dialect: recipe.TableDialect = recipe.DEFAULT_DIALECT,
    output: Path | None = None,
) -> int:
    """Predict the rows of a data set with a saved model.

    Parameters
    ----------
    model
        A file written by `secateurs fit --output` or another command.
    data
        Rows in any form that `secateurs fit` reads.  The columns of a table are found by name
        and read as the fit read them; it needs no target column, and others are ignored.
    output
        Write the predictions to this file (.csv); by default they go to standard output.
    """
    recipe.check_options(table=output, columns=COLUMNS, inputs=[model, data])
    fitted = load(model)
    if isinstance(fitted, MatrixSensing):
        raise bad_value(
            *(str(model), Shown("a matrix, which predicts measurements")),
            "a model that predicts the rows of a table",
        )
    schema = getattr(fitted, "table_", None)
    X: Any = load_inputs(data, schema, dialect.options())
    if isinstance(X, pd.DataFrame) and X.attrs.get(READING):
        note(f"read as: {X.attrs[READING]}")
    if schema is None and isinstance(X, pd.DataFrame) and hasattr(fitted, "feature_names_in_"):
        names = list(fitted.feature_names_in_)
        missing = [name for name in names if name not in X.columns]
        if missing:
            raise bad_value(
                data,
                Shown("a table without it"),
                f"the column {missing[0]!r}, which the model uses",
            )
        X = X[names]
    try:
        table = _predictions(fitted, X)
        unseen = unseen_notes(schema, X) if isinstance(X, pd.DataFrame) and schema else []
    except ValueError as error:  # columns or values that do not fit the model
        raise ValueError(f"{data}: {error}") from error
    for text in unseen:
        note(text)
    content = table.to_csv(index=False)
    if output is None:
        sys.stdout.write(content)
    else:
        write_atomically(output, content.encode())
        note(f"{len(table)} predictions were written to {output}")
    return 0


def _predictions(fitted: Any, X: Any) -> pd.DataFrame:
    """Return one row for each row of X: prediction, and probabilities of the classes if any."""
    predictions = fitted.predict(X)
    if hasattr(fitted, "predict_proba"):
        table = pd.DataFrame({"prediction": predictions})
        for label, column in zip(fitted.classes_, fitted.predict_proba(X).T, strict=True):
            table[f"probability_{label}"] = column
        return table
    table = pd.DataFrame(predictions).add_prefix("prediction_")
    return table if predictions.ndim > 1 else table.set_axis(["prediction"], axis=1)


def inspect(model: Path, /, *, json: recipe.Json = False) -> int:
    """Show what a saved model contains and how it was trained.

    Parameters
    ----------
    model
        A file written by `secateurs fit --output` or another command, tickets included.
    """
    kind = read_archive(model).body["record"].get("kind")
    n_bytes = model.stat().st_size
    if kind == "ticket":
        from secateurs.tickets import load_ticket  # noqa: PLC0415 (imports a compiler)

        return recipe.finish(load_ticket(model).describe(n_bytes), json=json)
    description = load(model).describe()
    description.facts["file_bytes"] = n_bytes
    return recipe.finish(description, json=json)
