"""The class of all data sets, and the checks that every one of them passes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from secateurs.core.short_repr import short_repr
from secateurs.data.errors import DatasetError, bad_data, one_line, refuse_non_finite
from secateurs.data.targets import CLASSIFICATION, read_target

MAX_ITEM_BYTES = 8  # larger numbers, such as long doubles, are refused


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs and targets, with test rows if the source has them.

    Parameters
    ----------
    name : str
        The built-in name, or the name of the file.
    X : array of any real dtype, shape [n, d], C order; or DataFrame [n, d]
        Inputs as stored: pixels stay uint8, the columns of a table keep their types.
    y : array, shape [n] or [n, k]
        Classes as int64, bool or text (object); or float64 targets, 2-D for several of them.
    task : {"classification", "regression"}
        What `y` holds: classes or numbers.
    target_name : str
        Name of the target; several names are separated by commas.
    X_test, y_test : like X and y, or None
        Test rows, where the source has them or `split` made them.
    image_shape : tuple of int, or None
        Shape of the image in each row of `X`.
    task_reason : str
        How the task was found; "asked for" if it was given.
    groups : array of text, shape [n], or None
        Rows of one group stay together in every split.
    weights : array of float64, shape [n], or None
        Weights of the rows.
    reading : str
        How a table file was read, in one line; "" for other sources.
    notes : tuple of str
        What was left out or ambiguous in that file, with the options that overrule it.
    """

    __repr__ = short_repr

    name: str
    X: NDArray[Any] | pd.DataFrame
    y: NDArray[Any]
    task: str
    target_name: str
    X_test: NDArray[Any] | pd.DataFrame | None = None
    y_test: NDArray[Any] | None = None
    image_shape: tuple[int, ...] | None = None
    task_reason: str = "asked for"
    groups: NDArray[Any] | None = None
    weights: NDArray[np.float64] | None = None
    reading: str = ""
    notes: tuple[str, ...] = ()


def dataset_from_arrays(
    source: str | Path,
    X: NDArray[Any],
    y: NDArray[Any],
    task: str | None,
    target_name: str,
    *,
    X_test: NDArray[Any] | None = None,
    y_test: NDArray[Any] | None = None,
    image_shape: tuple[int, ...] | None = None,
) -> Dataset:
    """Check plain arrays and make a data set; images, with channels or without, become rows."""
    if X.ndim in (3, 4):
        if X.ndim == 3 or X.shape[1] == 1:
            image_shape = X.shape[-2:]
        if task is None and y.ndim == 1 and y.dtype.kind in "biu":
            task = CLASSIFICATION  # for any number of classes, because alphabets have many
    if X_test is not None and X_test.shape[1:] != X.shape[1:]:
        got = f"training inputs of shape {X.shape} and test inputs of shape {X_test.shape}"
        raise bad_data(source, got, "shapes that agree beyond the rows")
    X = input_matrix(X, source, "X")
    X_test = None if X_test is None else input_matrix(X_test, source, "X_test")
    targets = _targets_as_pandas(y, source, "y")
    test_targets = None if y_test is None else _targets_as_pandas(y_test, source, "y_test")
    dataset = checked_dataset(source, X, targets, task, target_name, X_test, test_targets)
    return replace(dataset, image_shape=image_shape)


def input_matrix(X: NDArray[Any], source: str | Path, label: str) -> NDArray[Any]:
    """Check inputs and return them as a matrix [n, d] in C order."""
    if X.dtype.kind not in "biuf" or X.dtype.itemsize > MAX_ITEM_BYTES:
        raise bad_data(source, f"{label} of dtype {X.dtype}", "real numbers")
    if X.ndim not in (2, 3, 4):
        expected = "rows [n, d] or images [n, h, w] or [n, channels, h, w]"
        raise bad_data(source, f"{label} of shape {X.shape}", expected)
    X = np.ascontiguousarray(X, dtype=X.dtype.newbyteorder("="))
    X = X.reshape(len(X), math.prod(X.shape[1:]))
    refuse_non_finite(X, source, label)
    return X


def _targets_as_pandas(
    y: NDArray[Any], source: str | Path, label: str
) -> pd.Series[Any] | pd.DataFrame:
    """Return targets as a table has them, so that the same rules hold for both."""
    if y.dtype.kind not in "biufU" or (y.dtype.kind != "U" and y.dtype.itemsize > MAX_ITEM_BYTES):
        raise bad_data(source, f"{label} of dtype {y.dtype}", "numbers or text")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim not in (1, 2):
        raise bad_data(source, f"{label} of shape {y.shape}", "[n] or [n, k]")
    y = y.astype(y.dtype.newbyteorder("="), copy=False)
    refuse_non_finite(y, source, label)
    if y.ndim == 1:
        return pd.Series(y, name=label)
    if y.dtype.kind in "biu" and y.size and (y.sum(axis=1) == 1).all() and y.min() == 0:
        raise bad_data(source, f"one-hot {label}", "class numbers", f"give {label}.argmax(1)")
    return pd.DataFrame(y, columns=[f"{label}[{j}]" for j in range(y.shape[1])])


def checked_dataset(
    source: str | Path,
    X: NDArray[Any] | pd.DataFrame,
    y: pd.Series[Any] | pd.DataFrame,
    task: str | None,
    target_name: str,
    X_test: NDArray[Any] | None = None,
    y_test: pd.Series[Any] | pd.DataFrame | None = None,
) -> Dataset:
    """Refuse data on which no model can be trained; find the task and the type of the target."""
    for inputs, targets, test in ((X, y, ""), (X_test, y_test, "test ")):
        if inputs is None or targets is None:
            continue
        if 0 in inputs.shape:
            got = f"empty {test}inputs of shape {inputs.shape}"
            raise bad_data(source, got, "at least one row and one column")
        if len(inputs) != len(targets):
            got = f"{len(inputs)} rows of {test}inputs but {len(targets)} {test}targets"
            raise bad_data(source, got, "the same number of both")
    try:
        found = read_target(y, task)
        test_values = None if y_test is None else read_target(y_test, found.task).values
    except ValueError as error:
        raise DatasetError(f"{source}: {one_line(error)}") from error
    values = found.values
    if (values == values[0]).all(axis=0).any():
        got = f"a target with the same value in all {len(values)} rows"
        raise bad_data(source, got, "at least two values")
    if test_values is not None:
        _refuse_other_targets(source, found.task, values, test_values)
    name = source if isinstance(source, str) else source.name
    return Dataset(
        *(name, X, values, found.task, target_name, X_test, test_values),
        task_reason=found.reason,
    )


def _refuse_other_targets(
    source: str | Path, task: str, train: NDArray[Any], test: NDArray[Any]
) -> None:
    if train.shape[1:] != test.shape[1:]:
        got = f"training targets of shape {train.shape} and test targets of shape {test.shape}"
        raise bad_data(source, got, "shapes that agree beyond the rows")
    unknown = set(test.tolist()) - set(train.tolist()) if task == CLASSIFICATION else set()
    if unknown:
        got = f"{len(unknown)} classes in test rows only, such as {min(unknown, key=str)!r}"
        raise bad_data(source, got, "the classes of the training rows", "leave these rows out")
