"""The values of one column, as numbers or as texts."""

from __future__ import annotations

from decimal import Decimal
from numbers import Real
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from secateurs.data.errors import bad_column

Kind = Literal["numeric", "categorical"]

FLOAT32_MAX = float(np.finfo(np.float32).max)
# words of pandas.api.types.infer_dtype
_NUMERIC = {"boolean", "integer", "floating", "mixed-integer-float", "decimal"}
_TIMES = {
    *("datetime64", "datetime", "date", "time", "timedelta64", "timedelta"),
    *("period", "interval"),
}


def column_kind(series: pd.Series[Any], name: str) -> Kind:
    """Find whether a column holds numbers or categories; ValueError for dates and times.

    A column of pandas' category type is always categorical.  `name` is for error messages.
    """
    if isinstance(series.dtype, pd.CategoricalDtype):
        return "categorical"
    return "numeric" if _inferred(series, name) in _NUMERIC else "categorical"


def as_numbers(series: pd.Series[Any], name: str) -> NDArray[np.float64]:
    """Read a column as numbers; missing values are NaN, integers beyond 2**53 lose digits.

    ValueError, with the row, for a value that is not a number or that float32 cannot hold.
    """
    dtype = series.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        values = series.to_numpy(dtype=np.float64)
    else:
        _inferred(series, name)
        objects = series.astype(object)
        parsed = pd.to_numeric(objects, errors="coerce")
        if parsed.dtype.kind == "c":
            raise bad_column(name, "complex numbers", "real numbers", "split them in two columns")
        values = parsed.to_numpy(dtype=np.float64, na_value=np.nan)
        wrong = np.flatnonzero(np.isnan(values) & objects.notna().to_numpy())
        if len(wrong):
            row = wrong[0]
            where = f"{len(wrong)} other values, first in row {series.index[row]}"
            got = f"{where}: {objects.iloc[row]!r}"
            raise bad_column(name, got, "numbers", "correct or empty them")
    large = np.flatnonzero(np.abs(values) > FLOAT32_MAX)  # NaN compares false
    if len(large):
        row = large[0]
        got = f"{len(large)} infinite or too large values, first in row {series.index[row]}"
        raise bad_column(name, f"{got}: {values[row]:g}", "numbers that float32 can hold")
    return values


def as_texts(series: pd.Series[Any], name: str) -> NDArray[np.object_]:
    """Read a column as texts; missing values are NaN, a whole float reads as an integer.

    ValueError for dates and, with the row, for a value that is neither text nor number.
    """
    inferred = _inferred(series, name)
    objects = series.astype(object).to_numpy(copy=True)
    missing = series.isna().to_numpy()
    objects[missing] = np.nan
    if inferred == "string":
        return objects
    for i in np.flatnonzero(~missing).tolist():
        value = objects[i]
        if not isinstance(value, str | Real | Decimal | np.bool_):
            got = f"a {type(value).__name__} in row {series.index[i]}: {value!r}"
            raise bad_column(name, got, "text or numbers", "convert the column or leave it out")
        objects[i] = _text(value)
    return objects


def _text(value: Any) -> str:
    if isinstance(value, float | np.floating) and value.is_integer():
        return str(int(value))
    return str(value)


def _inferred(series: pd.Series[Any], name: str) -> str:
    """Return the word of pandas for the values, whatever the array type that stores them."""
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        values: Any = dtype.categories
    elif isinstance(dtype, np.dtype) and dtype.kind != "O":
        values = series
    else:
        values = series.astype(object)
    inferred = str(pd.api.types.infer_dtype(values, skipna=True))
    if inferred in _TIMES:
        do = "give numbers, such as days since a date, or leave the column out"
        raise bad_column(name, f"dates or times ({inferred})", "numbers or text", do)
    return inferred
