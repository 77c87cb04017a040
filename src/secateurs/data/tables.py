"""Tables of mixed types as one numeric matrix, rebuilt exactly from JSON.

`fit_schema` looks at a training table once; `encode` turns any later table with the same
columns into float32.  A fresh schema and one read back from JSON build the same scikit-learn
transformer in the same way, so both encode to the same bits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from numbers import Real
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from secateurs.data.suggest import nearest

#: Category that stands for a missing value, in columns where one was seen during fitting.
MISSING = "missing"
#: Most distinct values of a categorical column, `MISSING` not counted.
MAX_CATEGORIES = 1_000
#: Most columns of an encoded table, and so of a schema.
MAX_ENCODED_COLUMNS = 1_000_000

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_NUMERIC = {"boolean", "integer", "floating", "mixed-integer-float", "decimal"}
_TIMES = {
    *("datetime64", "datetime", "date", "time", "timedelta64", "timedelta"),
    *("period", "interval"),
}

Kind = Literal["numeric", "categorical"]


class ColumnSchema(BaseModel):
    """How one column is read.

    Attributes
    ----------
    name : str
    kind : {"numeric", "categorical"}
    fill : float or str
        What a missing value becomes: a number that float32 can hold, or one of `categories`.
    categories : list of str, or None for a numeric column
        With two of them only the second gets an encoded column, otherwise each gets one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    kind: Kind
    fill: Annotated[float, Field(ge=-_FLOAT32_MAX, le=_FLOAT32_MAX, allow_inf_nan=False)] | str
    categories: list[str] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind == "numeric":
            if isinstance(self.fill, str) or self.categories is not None:
                raise ValueError(
                    f"numeric column {self.name!r} needs a number as fill and no categories"
                )
            return self
        if not self.categories:
            raise ValueError(f"categorical column {self.name!r} has no categories")
        if len(set(self.categories)) < len(self.categories):
            raise ValueError(f"column {self.name!r} has a category twice")
        if len(self.categories) - (MISSING in self.categories) > MAX_CATEGORIES:
            raise ValueError(f"column {self.name!r} has more than {MAX_CATEGORIES} categories")
        if self.fill not in self.categories:
            raise ValueError(f"fill of column {self.name!r} is not one of its categories")
        return self

    @property
    def encoded_categories(self) -> list[str]:
        """Categories that have an encoded column of their own; none for a numeric column."""
        categories = self.categories or []
        return categories[1:] if len(categories) == 2 else categories


class TableSchema(BaseModel):
    """Everything needed to encode a later table.

    ``TableSchema.model_validate_json(text)`` accepts untrusted text: it refuses unknown keys,
    duplicate names or categories, non-finite fills and sizes beyond `MAX_CATEGORIES` and
    `MAX_ENCODED_COLUMNS`.

    Attributes
    ----------
    columns : list of ColumnSchema
        In the order of the training table.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    columns: Annotated[list[ColumnSchema], Field(min_length=1, max_length=MAX_ENCODED_COLUMNS)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        duplicates = _duplicates(column.name for column in self.columns)
        if duplicates:
            raise ValueError(f"column {duplicates[0]!r} appears twice")
        if self.n_encoded > MAX_ENCODED_COLUMNS:
            raise ValueError(
                f"the table would have {self.n_encoded} encoded columns, more than "
                f"{MAX_ENCODED_COLUMNS}"
            )
        return self

    @property
    def n_encoded(self) -> int:
        """Number of encoded columns."""
        return sum(
            1 if column.kind == "numeric" else len(column.encoded_categories)
            for column in self.columns
        )

    def of_kind(self, kind: Kind) -> list[ColumnSchema]:
        """Columns of one kind, in order."""
        return [column for column in self.columns if column.kind == kind]


Gather = Callable[[Any], list[Any]]  # what every holder of a part of the rows gives, JSON


def alone(value: Any) -> list[Any]:
    """The `Gather` of one holder of all rows."""
    return [value]


def fit_schema(frame: pd.DataFrame, gather: Gather = alone) -> TableSchema:
    """Look at a training table once and write down how to encode it.

    Numbers and booleans are numeric, their missing values become the median.  Text, categories
    and mixtures are categorical, by the text of each value (a whole float reads as an integer,
    so ``1`` and ``1.0`` are one category).  Missing values become the category `MISSING` where
    any was seen, otherwise the most frequent category.  Categories are sorted, except that of
    two the fill comes first: it is the one without an encoded column.

    Parameters
    ----------
    frame : DataFrame, shape [n, d]
        Column names are used as text.
    gather : callable, optional
        Where the rows are shared out over several processes: called on all of them alike, it
        gives back what each gave, so that each comes to the schema of the whole table.

    Returns
    -------
    TableSchema
        Does not depend on the order of the rows, nor on how they are shared out.

    Raises
    ------
    ValueError
        For an empty table, duplicate names, and columns, named, that hold dates, infinities,
        nothing at all, or more than `MAX_CATEGORIES` distinct texts.

    Notes
    -----
    O(n d) time, O(n) memory beyond the table.
    """
    if frame.shape[0] == 0 or frame.shape[1] == 0:
        raise ValueError(
            f"the table has {frame.shape[0]} rows and {frame.shape[1]} columns; give at least one"
        )
    names = [str(name) for name in frame.columns]
    duplicates = _duplicates(names)
    if duplicates:
        raise ValueError(f"column {duplicates[0]!r} appears twice; give each column its own name")
    if any(told != names for told in gather(names)):
        raise ValueError("the parts of the table have different columns; give all the same")
    kinds = [_kind_here(name, frame.iloc[:, i]) for i, name in enumerate(names)]
    kinds = [_whole_kind(name, told) for name, *told in zip(names, *gather(kinds), strict=True)]
    numbers = {
        name: as_numbers(frame.iloc[:, i], name)
        for i, name in enumerate(names)
        if kinds[i] == "numeric"
    }
    medians = dict(zip(numbers, _medians(list(numbers.values()), gather), strict=True))
    return TableSchema(
        columns=[
            ColumnSchema(name=name, kind="numeric", fill=medians[name])
            if name in medians
            else _fit_categories(name, frame.iloc[:, i], gather)
            for i, name in enumerate(names)
        ]
    )


def _kind_here(name: str, series: pd.Series[Any]) -> Kind | None:
    """Kind of a column by the rows at hand; None when they hold no value."""
    return None if series.isna().all() else column_kind(series, name)


def _whole_kind(name: str, kinds: list[Kind | None]) -> Kind:
    """Kind of a column of which the parts have these kinds: text anywhere makes categories."""
    if not any(kinds):
        raise ValueError(f"column {name!r} has no value at all; leave it out")
    return "categorical" if "categorical" in kinds else "numeric"


def _fit_categories(name: str, series: pd.Series[Any], gather: Gather) -> ColumnSchema:
    texts = as_texts(series, name)
    present = series.notna().to_numpy()
    counts: Counter[str] = Counter()
    complete = True
    for told, all_present in gather([Counter(texts[present].tolist()), bool(present.all())]):
        counts.update(told)
        complete = complete and all_present
    if len(counts) - (MISSING in counts) > MAX_CATEGORIES:
        raise ValueError(
            f"column {name!r} holds {len(counts)} distinct texts, more than {MAX_CATEGORIES}; "
            "group them, or leave the column out if it only identifies rows"
        )
    fill = max(sorted(counts), key=counts.__getitem__)
    if not complete:
        fill = MISSING
    categories = sorted({*counts, fill})
    if len(categories) == 2:
        categories.sort(key=lambda category: category != fill)
    return ColumnSchema(name=name, kind="categorical", fill=fill, categories=categories)


def _medians(columns: list[NDArray[np.float64]], gather: Gather) -> list[float]:
    """Median of each column, missing values left out, over all parts of its rows.

    Several parts: exact by bisection on the order of the doubles, 64 rounds of counts.
    """
    present = [np.sort(column[~np.isnan(column)]) for column in columns]
    counts = gather([len(column) for column in present])
    if len(counts) == 1:
        return [float(np.median(column)) for column in present]
    keys = [_ordered(column) for column in present]
    n = np.sum(counts, axis=0)
    middles = []
    for rank in ((n - 1) // 2, n // 2):  # the same one where n is odd
        low, high = [-(2**63)] * len(keys), [2**63 - 1] * len(keys)
        while any(a < b for a, b in zip(low, high, strict=True)):
            guess = [(a + b) // 2 for a, b in zip(low, high, strict=True)]
            here = [
                int(np.searchsorted(key, g, side="right"))
                for key, g in zip(keys, guess, strict=True)
            ]
            enough = np.sum(gather(here), axis=0) > rank
            low = [a if e else g + 1 for a, g, e in zip(low, guess, enough, strict=True)]
            high = [g if e else b for b, g, e in zip(high, guess, enough, strict=True)]
        middles.append(_ordered(np.array(low, dtype=np.int64).view(np.float64)).view(np.float64))
    return [float(np.mean(pair)) for pair in zip(*middles, strict=True)]


def _ordered(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Integers in the order of the doubles; its own inverse on their bits."""
    bits = values.view(np.int64)
    return np.where(bits < 0, bits ^ np.int64(2**63 - 1), bits)


def encode(schema: TableSchema, frame: pd.DataFrame) -> NDArray[np.float32]:
    """Encode a table: the numeric columns first, then one column per category.

    A category not seen in training is all zeros; in a column of two categories, which has one
    encoded column, that reads as the first of them, the fill.

    Parameters
    ----------
    schema : TableSchema
    frame : DataFrame, shape [n, ...]
        Columns are found by name, in any order; others are ignored.  Text is accepted in a
        numeric column where every value reads as a number.

    Returns
    -------
    array of float32, shape [n, len(encoded_names(schema))], C order

    Raises
    ------
    ValueError
        For missing columns, and for values that do not fit theirs, with the row's index label.

    Notes
    -----
    O(n * encoded columns) time and memory, about twice the size of the result at the peak.
    """
    positions = _find_columns(schema, frame)
    n = len(frame)
    if n == 0:
        return np.zeros((0, len(encoded_names(schema))), dtype=np.float32)
    numeric, categorical = schema.of_kind("numeric"), schema.of_kind("categorical")
    numbers = np.empty((n, len(numeric)), dtype=np.float32)
    for j, column in enumerate(numeric):
        numbers[:, j] = as_numbers(frame.iloc[:, positions[column.name]], column.name)
    texts = np.empty((n, len(categorical)), dtype=object)
    for j, column in enumerate(categorical):
        texts[:, j] = as_texts(frame.iloc[:, positions[column.name]], column.name)
    encoded = _transformer(schema).transform(_two_blocks(numbers, texts))
    return np.ascontiguousarray(encoded, dtype=np.float32)


def encoded_names(schema: TableSchema) -> list[str]:
    """Names of the encoded columns, in their order: "age", "colour=red".

    Parameters
    ----------
    schema : TableSchema

    Returns
    -------
    list of str
    """
    names = [column.name for column in schema.of_kind("numeric")]
    for column in schema.of_kind("categorical"):
        names += [f"{column.name}={category}" for category in column.encoded_categories]
    return names


def _transformer(schema: TableSchema) -> ColumnTransformer:
    """Fit on one row made of the fills: its mean and its mode are the fills themselves."""
    numeric, categorical = schema.of_kind("numeric"), schema.of_kind("categorical")
    numbers = np.array([[column.fill for column in numeric]], dtype=np.float32)
    texts = np.array([[column.fill for column in categorical]], dtype=object)
    # the first of two categories is not listed: unknown to the encoder, it becomes all zeros
    one_hot = OneHotEncoder(
        categories=[column.encoded_categories for column in categorical],
        handle_unknown="ignore",
        sparse_output=False,
        dtype=np.float32,
    )
    fill_numbers = SimpleImputer(strategy="mean", copy=False)
    fill_texts = SimpleImputer(strategy="most_frequent")
    split = len(numeric)
    return ColumnTransformer(
        [
            ("numeric", fill_numbers, list(range(split))),
            (
                "categorical",
                make_pipeline(fill_texts, one_hot),
                list(range(split, split + len(categorical))),
            ),
        ],
        sparse_threshold=0.0,
    ).fit(_two_blocks(numbers, texts))


def _two_blocks(numbers: NDArray[np.float32], texts: NDArray[np.object_]) -> pd.DataFrame:
    # dtype=object keeps pandas from inferring its string type, which scikit-learn reads otherwise
    blocks = [pd.DataFrame(numbers), pd.DataFrame(texts, dtype=object)]
    return pd.concat(blocks, axis=1, ignore_index=True)


def _find_columns(schema: TableSchema, frame: pd.DataFrame) -> dict[str, int]:
    names = [str(name) for name in frame.columns]
    positions = {name: i for i, name in enumerate(names)}
    missing = [column.name for column in schema.columns if column.name not in positions]
    if missing:
        shown = ", ".join(repr(name) for name in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise ValueError(f"the table lacks the columns {shown}{more}{nearest(missing[0], names)}")
    wanted = {column.name for column in schema.columns}
    duplicates = _duplicates(name for name in names if name in wanted)
    if duplicates:
        raise ValueError(f"column {duplicates[0]!r} appears twice; which one is meant is unclear")
    return positions


def column_kind(series: pd.Series[Any], name: str) -> Kind:
    """Tell whether a column holds numbers or categories; an explicit category type is the latter.

    Parameters
    ----------
    series : Series, shape [n]
    name : str
        What an error message calls it.

    Raises
    ------
    ValueError
        For dates, times, periods and intervals.
    """
    if isinstance(series.dtype, pd.CategoricalDtype):
        return "categorical"
    return "numeric" if _inferred(series, name) in _NUMERIC else "categorical"


def as_numbers(series: pd.Series[Any], name: str) -> NDArray[np.float64]:
    """Read a column as numbers, missing ones as NaN; integers beyond 2**53 lose digits.

    Parameters
    ----------
    series : Series, shape [n]
    name : str
        What an error message calls it.

    Returns
    -------
    array of float64, shape [n]

    Raises
    ------
    ValueError
        For a value that is no number or that float32 cannot hold, with its row.
    """
    dtype = series.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        values = series.to_numpy(dtype=np.float64)
    else:
        _inferred(series, name)
        objects = series.astype(object)
        parsed = pd.to_numeric(objects, errors="coerce")
        if parsed.dtype.kind == "c":
            raise ValueError(f"column {name!r} holds complex numbers; split them into two columns")
        values = parsed.to_numpy(dtype=np.float64, na_value=np.nan)
        wrong = np.flatnonzero(np.isnan(values) & objects.notna().to_numpy())
        if len(wrong):
            row = int(wrong[0])
            raise ValueError(
                f"column {name!r} should hold numbers, but row {series.index[row]} holds "
                f"{_shown(objects.iloc[row])} ({len(wrong)} such values); correct or empty them"
            )
    large = np.flatnonzero(np.abs(values) > _FLOAT32_MAX)  # NaN compares false
    if len(large):
        row = int(large[0])
        raise ValueError(
            f"column {name!r} holds {len(large)} values that are infinite or beyond float32, the "
            f"first ({values[row]:g}) in row {series.index[row]}; correct or empty them"
        )
    return values


def as_texts(series: pd.Series[Any], name: str) -> NDArray[np.object_]:
    """Read a column as texts, missing ones as NaN; a whole float reads as an integer.

    Parameters
    ----------
    series : Series, shape [n]
    name : str
        What an error message calls it.

    Returns
    -------
    array of object, shape [n]
        Every entry is a str or the float NaN.

    Raises
    ------
    ValueError
        For dates, and for values that are neither text nor number, with the row.
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
            raise ValueError(
                f"column {name!r} should hold text or numbers, but row {series.index[i]} holds "
                f"{_shown(value)} of type {type(value).__name__}; convert it or leave it out"
            )
        objects[i] = _text(value)
    return objects


def _text(value: Any) -> str:
    if isinstance(value, float | np.floating) and value.is_integer():
        return str(int(value))
    return str(value)


def _inferred(series: pd.Series[Any], name: str) -> str:
    """Pandas' word for what the values are, whatever the array type that stores them."""
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        values: Any = dtype.categories
    elif isinstance(dtype, np.dtype) and dtype.kind != "O":
        values = series
    else:
        values = series.astype(object)
    inferred = str(pd.api.types.infer_dtype(values, skipna=True))
    if inferred in _TIMES:
        raise ValueError(
            f"column {name!r} holds dates or times ({inferred}); turn them into numbers, such as "
            "days since a date, or leave the column out"
        )
    return inferred


def _duplicates(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
