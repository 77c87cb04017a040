"""A column is encoded alike whatever the type that stores it, and y is refused in one line."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from secateurs import SparseMLPClassifier, SparseMLPRegressor
from secateurs.data.encoding import encode, unseen_notes
from secateurs.data.frames import as_frame
from secateurs.data.schema_fitting import fit_schema

N = 40
RNG = np.random.default_rng(0)
NUMBERS = RNG.integers(-50, 50, N) / 4
WORDS = np.array(["red", "blue", "green"])[RNG.integers(0, 3, N)]
TIMES = pd.Timestamp("2020-03-01") + pd.to_timedelta(RNG.integers(0, 10_000, N), "h")

AS_NUMBERS = {
    "float64": lambda v: v,
    "float16": lambda v: v.astype(np.float16),
    "longdouble": lambda v: v.astype(np.longdouble),
    "Float64": lambda v: pd.array(v, dtype="Float64"),
    "arrow": lambda v: pd.array(v, dtype="double[pyarrow]"),
    "arrow decimal": lambda v: pd.Series(
        [Decimal(str(x)) for x in v], dtype=pd.ArrowDtype(pa.decimal128(10, 2))
    ),
    "decimal": lambda v: [Decimal(str(x)) for x in v],
    "object": lambda v: v.astype(object),
    "sparse": lambda v: pd.arrays.SparseArray(v, fill_value=0.0),
}
AS_WORDS = {
    "object": lambda v: v.astype(object),
    "string": lambda v: pd.array(v, dtype="string"),
    "arrow": lambda v: pd.array(v, dtype="string[pyarrow]"),
    "category": lambda v: pd.Categorical(v, categories=["unused", "green", "red", "blue"]),
    "ordered": lambda v: pd.Categorical(v, categories=["red", "green", "blue"], ordered=True),
    "dictionary": lambda v: pd.arrays.ArrowExtensionArray(pa.array(v).dictionary_encode()),
}
AS_TIMES = {
    "datetime64": lambda v: v,
    "utc": lambda v: v.tz_localize("UTC"),
    "zone": lambda v: v.tz_localize("UTC").tz_convert("Asia/Tokyo"),
    "objects": lambda v: v.to_pydatetime().tolist(),
    "arrow": lambda v: pd.Series(v).astype(pd.ArrowDtype(pa.timestamp("us", "UTC"))),
    "texts": lambda v: v.strftime("%Y-%m-%dT%H:%M:%SZ"),
}
CASES = [
    *((NUMBERS, name, make) for name, make in AS_NUMBERS.items()),
    *((WORDS, name, make) for name, make in AS_WORDS.items()),
    *((TIMES, name, make) for name, make in AS_TIMES.items()),
]


@pytest.mark.parametrize(("values", "name", "make"), CASES)
def test_the_type_of_a_column_does_not_matter(values, name: str, make) -> None:
    plain = pd.DataFrame({"a": next(iter(make_of(values).values()))(values), "b": 1.0})
    other = pd.DataFrame({"a": make(values), "b": 1.0})
    schema = fit_schema(plain)
    expected = encode(schema, plain)
    np.testing.assert_array_equal(encode(schema, other), expected)
    if name != "texts":  # texts in a frame are categories
        np.testing.assert_array_equal(encode(fit_schema(other), other), expected)
    np.testing.assert_array_equal(encode(schema, other[["b", "a"]].assign(c=2)), expected)
    np.testing.assert_array_equal(encode(schema, other.iloc[:3]), expected[:3])


def make_of(values) -> dict:
    return next(
        makes for v, makes in ((NUMBERS, AS_NUMBERS), (WORDS, AS_WORDS), (TIMES, AS_TIMES))
        if v is values
    )  # fmt: skip


@pytest.mark.parametrize(
    "column",
    [
        pd.cut(pd.Series(NUMBERS), 3),
        pd.Series(pd.Categorical(TIMES.normalize())),
        pd.Series(pd.arrays.IntervalArray.from_breaks(range(N + 1)))[[0, 1] * (N // 2)],
        pd.Series(pd.Categorical(NUMBERS > 0)),
    ],
    ids=["cut", "days", "intervals", "truths"],
)
def test_categories_of_any_values_are_categories(column: pd.Series) -> None:
    data = pd.DataFrame({"a": column.reset_index(drop=True)})
    schema = fit_schema(data)
    assert schema.columns[0].kind == "categorical"
    assert set(schema.columns[0].categories) == {*map(str, data["a"])}
    words = pd.DataFrame({"a": [*map(str, data["a"])]})
    np.testing.assert_array_equal(encode(schema, words), encode(schema, data))


def test_categories_that_the_fit_gave_no_input_are_named() -> None:
    fitted = pd.DataFrame({"c": ["red", "blue", "grey"] * 9, "two": ["a", "b", "a"] * 9, "x": 1.5})
    schema = fit_schema(fitted.assign(x=np.arange(27.0)))
    assert unseen_notes(schema, fitted) == []
    other = fitted.assign(c=["green", "Red", None] * 9, two=["a", "c", "b"] * 9)
    first, second = unseen_notes(schema, other)
    assert "column 'c': 'Red', 'green' in 18 rows" in first
    assert "column 'two': 'c' in 9 rows" in second


@pytest.mark.parametrize(
    "names",
    [["a", 1], [None, "b"], ["1", 2.5], [0, 1], pd.MultiIndex.from_tuples([("a", "x"), ("a", 1)])],
    ids=str,
)
def test_columns_may_have_any_names(names) -> None:
    X = np.c_[NUMBERS, NUMBERS**2]
    frame = pd.DataFrame(X, columns=names)
    model = SparseMLPRegressor(5, max_epochs=2, random_state=0, model="line").fit(frame, NUMBERS)
    expected = model.predict(frame)
    np.testing.assert_array_equal(model.predict(frame[frame.columns[::-1]]), expected)


def test_one_name_twice_is_refused_in_one_line() -> None:
    frame = pd.DataFrame(np.c_[NUMBERS, NUMBERS], columns=["a", "a"])
    with pytest.raises(ValueError, match=r"^column 'a': got two columns of this name; expected"):
        SparseMLPRegressor(5).fit(frame, NUMBERS)


def test_a_lazy_frame_is_to_be_collected() -> None:
    with pytest.raises(ValueError, match=r"^X: got a LazyFrame, .* call collect\(\) first$"):
        as_frame(pl.DataFrame({"a": NUMBERS}).lazy())


@pytest.mark.parametrize(
    ("kind", "y", "words"),
    [
        (SparseMLPRegressor, [np.nan, *NUMBERS[1:]], "no value in 1 row, first in row 0"),
        (SparseMLPRegressor, pd.array([*range(N - 1), None], dtype="Int64"), "first in row 39"),
        (SparseMLPRegressor, TIMES, r"dates or times \(datetime64\)"),
        (SparseMLPRegressor, pd.Series(TIMES - TIMES[0]), r"dates or times \(timedelta64\)"),
        (SparseMLPClassifier, pd.Series(TIMES.date), r"dates or times \(date\)"),
        (SparseMLPClassifier, [None, *WORDS[1:]], "no value in 1 row"),
        (SparseMLPClassifier, pd.Series(["a", None] * (N // 2)), "no value in 20 rows"),
        (SparseMLPClassifier, pd.array([True, None] * (N // 2), dtype="boolean"), "no value in"),
        (SparseMLPClassifier, np.array([1, "a"] * (N // 2), dtype=object), "int and str"),
        (SparseMLPClassifier, np.zeros(N), "one class, 0.0"),
        (SparseMLPClassifier, [dt.time(1)] * N, "dates or times"),
    ],
)
def test_targets_that_cannot_be_used_are_refused_in_one_line(kind, y, words: str) -> None:
    y = y if hasattr(y, "dtype") else pd.Series(y, dtype=object)
    with pytest.raises(ValueError, match=rf"^y: got .*{words}.*; expected [^\n]*$"):
        kind(5).fit(np.c_[NUMBERS, NUMBERS], y)
