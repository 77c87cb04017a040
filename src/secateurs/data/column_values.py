"""The values of one column, as numbers or as texts."""

from __future__ import annotations

from decimal import Decimal
from numbers import Real
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from secateurs.data.date_text import DAY, ISO, is_clock, numbers_of_times, parse_dates
from secateurs.data.errors import bad_column

Kind = Literal["numeric", "categorical", "time", "left out"]

FLOAT32_MAX = float(np.finfo(np.float32).max)
# words of pandas.api.types.infer_dtype
_NUMERIC = {"boolean", "integer", "floating", "mixed-integer-float", "decimal"}
_TEXTS = (str, Real, Decimal, np.bool_, pd.Interval)  # values that have one text
TIMES = {
    *("datetime64", "datetime", "date", "time", "timedelta64", "timedelta"),
    "period",
}


def column_kind(series: pd.Series[Any]) -> Kind:
    """Find whether a column holds numbers, times or categories.

    A column of pandas' category type is always categorical, and so are intervals.
    """
    if isinstance(series.dtype, pd.CategoricalDtype):
        return "categorical"
    inferred = _word(series)
    if inferred in TIMES:
        return "time"
    return "numeric" if inferred in _NUMERIC else "categorical"


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

    ValueError for dates and, with the row, for a value that is neither text nor number nor
    interval, unless they are of pandas' category type.
    """
    is_category = isinstance(series.dtype, pd.CategoricalDtype)
    inferred = _word(series) if is_category else _inferred(series, name)
    objects = series.astype(object).to_numpy(copy=True)
    missing = series.isna().to_numpy()
    objects[missing] = np.nan
    if inferred == "string":
        return objects
    for i in np.flatnonzero(~missing).tolist():
        value = objects[i]
        if not is_category and not isinstance(value, _TEXTS):
            got = f"a {type(value).__name__} in row {series.index[i]}: {value!r}"
            raise bad_column(name, got, "text or numbers", "convert the column or leave it out")
        objects[i] = _text(value)
    return objects


def _text(value: Any) -> str:
    if isinstance(value, float | np.floating) and value.is_integer():
        return str(int(value))
    return str(value)


def as_days(series: pd.Series[Any], name: str, form: str | None = None) -> NDArray[np.float64]:
    """Read a column of times as days since 1970-01-01, or hours of durations and times of day.

    Texts are read by `form` or as ISO 8601.  ValueError, with the row, for other texts.
    """
    if _word(series) in TIMES:
        return numbers_of_times(series)
    objects = series.astype(object)
    present = np.flatnonzero(objects.notna().to_numpy())
    texts = [str(text) for text in objects.iloc[present]]
    times = parse_dates(texts, form or ISO)
    times = np.where(np.isnat(times), parse_dates(texts, ISO), times)
    wrong = np.flatnonzero(np.isnat(times))
    if len(wrong):
        got = f"{len(wrong)} other values, first in row {series.index[present[wrong[0]]]}"
        expected = f"times in the format {form or ISO}"
        raise bad_column(name, f"{got}: {texts[wrong[0]]!r}", expected, "correct or empty them")
    values = np.full(len(objects), np.nan)
    days = times.astype("datetime64[us]").astype(np.int64) / (DAY * 1e6)
    values[present] = days * 24 if form is not None and is_clock(form) else days
    return values


def _inferred(series: pd.Series[Any], name: str) -> str:
    """Return the word of pandas for the values; ValueError for times."""
    inferred = _word(series)
    if inferred in TIMES:
        do = "give numbers, such as days since a date, or leave the column out"
        raise bad_column(name, f"dates or times ({inferred})", "numbers or text", do)
    return inferred


def _word(series: pd.Series[Any]) -> str:
    """Return the word of pandas for the values, whatever the array type that stores them."""
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        values: Any = dtype.categories
    elif isinstance(dtype, np.dtype) and dtype.kind != "O":
        values = series
    else:
        values = series.astype(object)
    return str(pd.api.types.infer_dtype(values, skipna=True))
