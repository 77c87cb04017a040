"""Read and check the inputs and the targets of a fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_consistent_length

from secateurs.core.description import counted
from secateurs.core.group import ALONE, Group
from secateurs.core.parameters import Shown, bad_value
from secateurs.data.column_values import TIMES
from secateurs.data.matrix import read_matrix
from secateurs.sparse.network import MAX_INPUTS
from secateurs.training.scaling import SMALLEST

MAX_TARGET = 1e150  # squares of larger targets leave float64
_TORCH_READS = {"bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"}


def read_array(estimator: BaseEstimator, X: Any, *, reset: bool) -> Any:
    """Return inputs that are not a table as an array [n, d] or CSR that torch can read.

    `reset` is True in a fit; otherwise `X` must have the columns of the fit.
    """
    X = read_matrix(estimator, X, reset=reset, formats=("csr",), order="C", dtype="numeric")
    if X.shape[1] > MAX_INPUTS:
        raise bad_value("X", Shown(f"{X.shape[1]} columns"), f"at most {MAX_INPUTS}")
    if X.dtype.name not in _TORCH_READS or not X.dtype.isnative:
        X = X.astype(np.float64 if X.dtype.kind == "f" else np.float32)
    return X


def read_classes(
    y: Any, X: Any, known: NDArray[Any] | None, group: Group = ALONE
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return class numbers, shape [n], and the classes, increasing.

    `known` are all classes; None takes those of `y` on all processes.
    """
    y = column_or_1d(y, warn=True)
    check_consistent_length(X, y)
    _refuse_labels(y)
    if y.dtype.kind == "f":
        y = check_array(y, ensure_2d=False, dtype=None, input_name="y")
    check_classification_targets(y)
    if known is None:
        known = _all_classes(np.unique(y), group)
    unknown = np.setdiff1d(y, known)
    if len(unknown):
        raise bad_value("y", Shown(f"the class {unknown[0]!r}"), f"one of {known.tolist()}")
    if len(known) < 2:
        raise bad_value("y", Shown(f"one class, {known[:1].tolist()[0]!r}"), "at least two classes")
    return np.searchsorted(known, y).astype(np.int64), known


def _refuse_labels(y: NDArray[Any]) -> None:
    """Raise ValueError for labels that are missing, times, or of several types."""
    _refuse_missing(y)
    _refuse_times(y)
    kinds = {type(label).__name__ for label in y} if y.dtype.kind == "O" else set()
    if "str" in kinds and len(kinds) > 1:
        got = Shown(f"labels of the types {' and '.join(sorted(kinds))}")
        raise bad_value("y", got, "labels of one type", "convert them with astype(str)")


def _refuse_missing(y: Any) -> None:
    missing = np.atleast_1d(np.asarray(pd.isna(y)))
    rows = np.flatnonzero(missing.reshape(len(missing), -1).any(axis=1))
    if len(rows):
        got = Shown(f"no value in {counted(len(rows), 'row')}, first in row {rows[0]}")
        do = "leave these rows (counted from 0) out"
        raise bad_value("y", got, "a value in every row", do)


def _refuse_times(y: Any) -> None:
    values = np.asarray(y)
    kind = pd.api.types.infer_dtype(values.ravel(), skipna=True)
    if kind in TIMES:
        got = Shown(f"dates or times ({kind})")
        do = "convert them, as in (y - y.min()) / pd.Timedelta(days=1) or y.astype(str)"
        raise bad_value("y", got, "numbers or labels", do)


def _all_classes(here: NDArray[Any], group: Group) -> NDArray[Any]:
    """Return the classes on all processes, increasing."""
    if group.size == 1:
        return here
    found = group.gather([str(here.dtype), here.tolist()])
    if len({np.dtype(kind).kind for kind, _ in found}) > 1:
        got = Shown(f"labels of type {here.dtype} here and of another type on other processes")
        raise bad_value("y", got, "labels of one type")
    return np.unique(np.concatenate([np.array(labels, dtype=kind) for kind, labels in found]))


def weighted_rows(
    X: Any, y: Any, groups: Any, sample_weight: Any
) -> tuple[Any, Any, Any, NDArray[np.float64] | None]:
    """Return the rows that count, and their weights, or None.

    Parameters
    ----------
    X, y, groups : as in a fit
    sample_weight : array, shape [n], or None
        Rows with the weight 0 are left out before anything else is done.

    Raises
    ------
    ValueError
        The weights are not n finite numbers of which none is negative and one is positive.
    """
    if sample_weight is None:
        return X, y, groups, None
    weights = check_array(
        sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight"
    )
    X = X if hasattr(X, "shape") else np.asarray(X)
    n = X.shape[0] if len(X.shape) else 0
    if weights.shape != (n,):
        got = Shown(f"shape {weights.shape}")
        raise bad_value("sample_weight", got, f"one weight for each of the {n} rows")
    if (weights < 0).any() or not (weights > 0).any():
        got = Shown(f"weights from {weights.min():g} to {weights.max():g}")
        raise bad_value("sample_weight", got, "none below zero, and one above zero")
    rows = np.flatnonzero(weights)
    if len(rows) < n:
        X, y, groups = (None if v is None else _taken(v, rows) for v in (X, y, groups))
        weights = weights[rows]
    return X, y, groups, weights


def _taken(values: Any, rows: NDArray[np.int64]) -> Any:
    if hasattr(values, "iloc"):
        return values.iloc[rows]
    return values.tocsr()[rows] if hasattr(values, "tocsr") else np.asarray(values)[rows]


def read_numbers(y: Any, X: Any) -> NDArray[np.float64]:
    """Return regression targets as an array of shape [n] or [n, k] with as many rows as `X`."""
    if hasattr(y, "dtype") or hasattr(y, "dtypes"):
        _refuse_missing(y)
        _refuse_times(y)
    y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
    check_consistent_length(X, y)
    if y.ndim > 2:
        raise bad_value("y", Shown(f"shape {y.shape}"), "[n] or [n, k]")
    result: NDArray[np.float64] = y
    return result


def fit_standardisation(
    y: NDArray[np.float64], group: Group = ALONE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of targets [n] or [n, k] over all processes.

    A constant target gets the scale 0, so that its prediction is its mean.
    """
    columns = y.reshape(len(y), -1)
    shapes = group.gather([len(y), columns.shape[1], y.ndim])
    if any(shape[1:] != shapes[0][1:] for shape in shapes):
        got = Shown("another number of targets on other processes")
        raise bad_value("y", got, "the same number of targets on every process")
    n = sum(shape[0] for shape in shapes)
    least, most = _ends(columns, group)
    size = np.maximum(np.abs(least), np.abs(most))
    if not size.max() <= MAX_TARGET:
        got = Shown(f"values up to {size.max():.3g}, too large to square")
        raise bad_value("y", got, f"values up to {MAX_TARGET:g}", "rescale y")
    power = np.ldexp(1.0, -np.frexp(np.maximum(size, SMALLEST))[1])  # an exact product
    columns = columns * power
    shift = sum_over_rows(columns, group) / n
    deviation = np.sqrt(sum_over_rows(np.square(columns - shift), group) / n)
    constant = (least == most) | (deviation < SMALLEST / power)
    return np.where(least == most, least, shift / power), np.where(constant, 0.0, deviation / power)


def _ends(
    columns: NDArray[np.float64], group: Group
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the smallest and the largest value of each column over all processes."""
    ends = group.gather([columns.min(axis=0).tolist(), columns.max(axis=0).tolist()])
    return np.min([low for low, _ in ends], axis=0), np.max([high for _, high in ends], axis=0)


def standardised(
    y: NDArray[np.float64], shift: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return targets or predictions [n, k] in standard deviations from the mean."""
    result: NDArray[np.float64] = (y - shift) / np.where(scale > 0, scale, 1.0)
    return result


def sum_over_rows(y: NDArray[np.floating], group: Group) -> NDArray[np.float64]:
    """Return the sum of each column of y [n, k] over the rows of all processes."""
    here = y.sum(axis=0, dtype=np.float64)
    return here if group.size == 1 else np.asarray(np.sum(group.gather(here.tolist()), axis=0))
