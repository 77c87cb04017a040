"""From a target column to its values and the task."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from secateurs.core.parameters import bad_value
from secateurs.data.column_values import as_numbers, as_texts, column_kind
from secateurs.data.errors import bad_column

CLASSIFICATION, REGRESSION = "classification", "regression"
#: Whole numbers are taken for classes if they have at most this many distinct values.
MAX_GUESSED_CLASSES = 20
MOSTLY_NUMBERS = 0.5  # share of numbers from which a text column is taken for damaged numbers


def read_target(y: pd.Series[Any] | pd.DataFrame, task: str | None) -> tuple[NDArray[Any], str]:
    """Return the values and the task of one or several target columns.

    Parameters
    ----------
    y : Series [n], or DataFrame [n, k] for several targets
    task : {"classification", "regression"} or None
        None: found from the values.

    Returns
    -------
    values : array, shape [n] or [n, k]
    task : str

    Raises
    ------
    ValueError
        The values are missing or do not fit the task.
    """
    if isinstance(y, pd.Series):
        return _read_one_target(y, task)
    if task == CLASSIFICATION:
        raise bad_value("task", task, f"{REGRESSION!r} for several targets", "name one to classify")
    columns = [_read_one_target(y[column], REGRESSION)[0] for column in y.columns]
    return np.column_stack(columns), REGRESSION


def _read_one_target(y: pd.Series[Any], task: str | None) -> tuple[NDArray[Any], str]:
    name = str(y.name)
    missing = np.flatnonzero(y.isna().to_numpy())
    if len(missing):
        got = f"missing values in {len(missing)} rows, first in row {missing[0]}"
        do = "fill or delete these rows (counted from 0)"
        raise bad_column(name, got, "a target in every row", do)
    if column_kind(y, name) == "categorical":
        if task == REGRESSION:
            return as_numbers(y, name), REGRESSION
        if task is None:
            _refuse_mostly_numbers(y, name)
        return as_texts(y, name), CLASSIFICATION
    values = as_numbers(y, name)
    fractions = values[values != np.rint(values)]
    if task is None:
        most = min(MAX_GUESSED_CLASSES, max(2, len(values) // 2))
        few = len(fractions) == 0 and len(np.unique(values)) <= most
        task = CLASSIFICATION if few else REGRESSION
    if task == REGRESSION:
        return values, REGRESSION
    if len(fractions):
        got, do = f"{fractions[0]:g}, which is not a class number", f"or give task={REGRESSION!r}"
        raise bad_column(name, got, "whole numbers or text", do)
    boolean = pd.api.types.infer_dtype(y) == "boolean"
    return values.astype(np.bool_ if boolean else np.int64), CLASSIFICATION


def _refuse_mostly_numbers(y: pd.Series[Any], name: str) -> None:
    """Keep a stray "?" among numbers from turning a regression into thousands of classes."""
    numbers = pd.to_numeric(y.astype(object), errors="coerce").notna().to_numpy()
    if MOSTLY_NUMBERS <= numbers.mean() < 1.0:
        row = int(np.flatnonzero(~numbers)[0])
        got = f"text in {int((~numbers).sum())} rows, first in row {row}: {y.iloc[row]!r}"
        do = "correct these rows (counted from 0) or give the task"
        raise bad_column(name, got, "numbers as in the other rows", do)
