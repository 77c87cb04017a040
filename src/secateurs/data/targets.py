"""From a target column to its values and the task."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from secateurs.core.description import counted
from secateurs.core.parameters import bad_value
from secateurs.data.column_values import as_numbers, as_texts, column_kind
from secateurs.data.errors import bad_column

CLASSIFICATION, REGRESSION = "classification", "regression"
#: Whole numbers are taken for class numbers if they have at most this many distinct values,
MAX_GUESSED_CLASSES = 10
#: and the most frequent value has at most this many times the rows of the rarest.
MOST_UNEQUAL = 2.0
MAX_CLASSES = 100  # more must be asked for
MIN_ROWS_A_CLASS = 5  # fewer, on average, must be asked for
MOSTLY_NUMBERS = 0.5  # share of numbers from which a text column is taken for damaged numbers
_CLASS_NAME = re.compile(
    r"(.*[_ .-])?(class|classes|label|labels|category|categories|type|kind|species|group|cluster"
    r"|segment|code|diagnosis|digit|race|sex|gender|region|sector|brand)([_ .-]?(id|no|nr|code))?",
    re.IGNORECASE,
)
_QUANTITY_NAME = re.compile(
    r"(n|no|num|number|count|total|sum|qty|age|years?|months?|days?|hours?|minutes?|income|price"
    r"|cost|pay|wages?|salary|height|width|length|weight|score|rate|rank|children|kids|visits?"
    r"|size|amount|points?|quantity|rooms?|sales|cases|deaths)",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False)
class Target:
    """The values of a target, the task, and how it was found.

    Attributes
    ----------
    values : array, shape [n] or [n, k]
    task : {"classification", "regression"}
    reason : str
    """

    values: NDArray[Any]
    task: str
    reason: str


def read_target(y: pd.Series[Any] | pd.DataFrame, task: str | None) -> Target:
    """Return the values and the task of one or several target columns.

    Without a `task`, text and booleans are classes.  Numbers are classes if they are whole and

    - there are two distinct values, or
    - the name of the column says so (class, label, type, group, ...), or
    - they are 0, 1, 2, ... or 1, 2, 3, ..., at most `MAX_GUESSED_CLASSES`, about equally frequent
      (`MOST_UNEQUAL`), and the name is not that of a quantity (count, age, price, ...).

    All other numbers are quantities.  More than `MAX_CLASSES` classes, or fewer than
    `MIN_ROWS_A_CLASS` rows a class on average, are never guessed.

    Parameters
    ----------
    y : Series [n], or DataFrame [n, k] for several targets
    task : {"classification", "regression"} or None
        None: found from the values.

    Raises
    ------
    ValueError
        The values are missing or do not fit the task, or a text has too many classes for its rows.
    """
    if isinstance(y, pd.Series):
        return _read_one_target(y, task)
    if task == CLASSIFICATION:
        raise bad_value("task", task, f"{REGRESSION!r} for several targets", "name one to classify")
    columns = [_read_one_target(y[column], REGRESSION).values for column in y.columns]
    return Target(np.column_stack(columns), REGRESSION, "several targets")


def _read_one_target(y: pd.Series[Any], task: str | None) -> Target:
    name = str(y.name)
    missing = np.flatnonzero(y.isna().to_numpy())
    if len(missing):
        got = f"missing values in {counted(len(missing), 'row')}, first in row {missing[0]}"
        do = "fill or delete these rows (counted from 0)"
        raise bad_column(name, got, "a target in every row", do)
    kind = column_kind(y)
    if kind == "time":
        do = "give numbers, such as days since a date"
        raise bad_column(name, "dates or times", "numbers or text", do)
    if kind == "categorical":
        if task == REGRESSION:
            return Target(as_numbers(y, name), REGRESSION, "asked for")
        if task is None:
            _refuse_mostly_numbers(y, name)
            _refuse_rare_classes(name, y.nunique(), len(y))
        return Target(as_texts(y, name), CLASSIFICATION, "asked for" if task else "text")
    values = as_numbers(y, name)
    boolean = pd.api.types.infer_dtype(y) == "boolean"
    reason = "asked for"
    if task is None and boolean:
        _refuse_rare_classes(name, 2, len(y))
        task, reason = CLASSIFICATION, "true and false"
    elif task is None:
        task, reason = _guessed_task(name, values)
    if task == REGRESSION:
        return Target(values, REGRESSION, reason)
    fractions = values[values != np.rint(values)]
    if len(fractions):
        got, do = f"{fractions[0]:g}, which is not a class number", f"or give task={REGRESSION!r}"
        raise bad_column(name, got, "whole numbers or text", do)
    return Target(values.astype(np.bool_ if boolean else np.int64), CLASSIFICATION, reason)


def _guessed_task(name: str, values: NDArray[np.float64]) -> tuple[str, str]:
    """Decide whether numbers are quantities or class numbers, and say why."""
    if (values != np.rint(values)).any():
        return REGRESSION, "numbers with fractions"
    distinct, counts = np.unique(values, return_counts=True)
    k = len(distinct)
    if len(values) < MIN_ROWS_A_CLASS * k:
        return REGRESSION, f"{k} whole numbers in {len(values)} rows"
    if k <= 2:
        return CLASSIFICATION, "two whole numbers"
    if k <= MAX_CLASSES and _CLASS_NAME.fullmatch(name):
        return CLASSIFICATION, f"{k} whole numbers, and the name of the column"
    steps = (np.diff(distinct) == 1).all() and distinct[0] in (0, 1)
    balanced = counts.max() <= MOST_UNEQUAL * counts.min()
    if steps and balanced and k <= MAX_GUESSED_CLASSES and not _is_quantity(name):
        return (
            CLASSIFICATION,
            f"the whole numbers {distinct[0]:g} to {distinct[-1]:g}, all frequent",
        )
    return REGRESSION, f"{k} whole numbers, which look like quantities"


def _is_quantity(name: str) -> bool:
    """Whether a word of the name is one for a quantity."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    return any(_QUANTITY_NAME.fullmatch(word) for word in words)


def _refuse_rare_classes(name: str, n_classes: int, n_rows: int) -> None:
    """Refuse to guess a classification that no rows support."""
    if n_classes > MAX_CLASSES or (n_classes > 1 and n_rows < MIN_ROWS_A_CLASS * n_classes):
        expected = f"at most {MAX_CLASSES} classes, with {MIN_ROWS_A_CLASS} rows each on average"
        do = "choose another target, or give the task (--task classification)"
        raise bad_column(name, f"{n_classes} classes in {n_rows} rows", expected, do)


def _refuse_mostly_numbers(y: pd.Series[Any], name: str) -> None:
    """Keep a stray text among numbers from turning a regression into thousands of classes."""
    numbers = pd.to_numeric(y.astype(object), errors="coerce").notna().to_numpy()
    if MOSTLY_NUMBERS <= numbers.mean() < 1.0:
        row = int(np.flatnonzero(~numbers)[0])
        word = str(y.iloc[row])
        got = f"text in {counted(int((~numbers).sum()), 'row')}, first in row {row}: {word!r}"
        do = f"correct these rows (counted from 0), give --na {name}={word}, or give the task"
        raise bad_column(name, got, "numbers as in the other rows", do)
