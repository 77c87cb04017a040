"""A schema encodes tables to finite numbers, to the same bits after a detour through JSON."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from secateurs.data import tables
from secateurs.data.encoding import encode, encoded_names
from secateurs.data.schema_fitting import HINTS, fit_schema
from secateurs.data.tables import TableSchema

relaxed = settings(max_examples=40, deadline=None)

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)
WORDS = st.text(max_size=3) | st.sampled_from(["red", "green", tables.MISSING, "nan", "1", "1.0"])
#: dtype: its values; None is a missing one
DTYPES = {
    "float64": NUMBERS | st.none(),
    "float32": NUMBERS | st.none(),
    "int64": st.integers(-(2**62), 2**62),
    "uint8": st.integers(0, 255),
    "bool": st.booleans(),
    "Int64": st.integers(-1000, 1000) | st.none(),
    "Float64": NUMBERS | st.none(),
    "boolean": st.booleans() | st.none(),
    "string": WORDS | st.none(),
    "category": WORDS | st.none(),
    "object": WORDS | st.integers(-3, 3) | NUMBERS | st.booleans() | st.none(),
    "int64[pyarrow]": st.integers(-1000, 1000) | st.none(),
    "string[pyarrow]": WORDS | st.none(),
    "bool[pyarrow]": st.booleans() | st.none(),
}


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    n = draw(st.integers(1, 8))
    names = draw(st.lists(st.text(max_size=4), min_size=1, max_size=5, unique=True))
    columns = {}
    for name in names:
        dtype = draw(st.sampled_from(sorted(DTYPES)))
        values = draw(st.lists(DTYPES[dtype], min_size=n, max_size=n))
        if all(value is None for value in values):
            values[0] = draw(DTYPES[dtype].filter(lambda value: value is not None))
        columns[name] = pd.Series(values, dtype=dtype)
    return pd.DataFrame(columns)


@given(frames())
@relaxed
def test_a_schema_from_json_encodes_to_the_same_bits(frame: pd.DataFrame) -> None:
    schema = fit_schema(frame)
    again = TableSchema.model_validate_json(schema.model_dump_json())
    assert again == schema
    first, second = encode(schema, frame), encode(again, frame)
    assert first.dtype == np.float64
    assert first.flags.c_contiguous
    assert first.tobytes() == second.tobytes()
    assert np.isfinite(first).all()
    assert first.shape == (len(frame), len(encoded_names(schema)))


@given(frames(), st.randoms(use_true_random=False))
@relaxed
def test_order_of_rows_and_columns_does_not_matter(frame: pd.DataFrame, random) -> None:
    schema = fit_schema(frame)
    rows = random.sample(range(len(frame)), len(frame))
    columns = random.sample(list(frame.columns), frame.shape[1])
    encoded = encode(schema, frame)
    np.testing.assert_array_equal(encode(schema, frame[columns].iloc[rows]), encoded[rows])
    assert fit_schema(frame.iloc[rows]) == schema
    for row in rows:
        np.testing.assert_array_equal(encode(schema, frame.iloc[[row]])[0], encoded[row])


@given(frames())
@relaxed
def test_other_columns_are_ignored_and_no_rows_give_no_rows(frame: pd.DataFrame) -> None:
    schema = fit_schema(frame)
    wider = frame.assign(**{"some other": pd.Timestamp("2020-01-01")})
    np.testing.assert_array_equal(encode(schema, wider), encode(schema, frame))
    assert encode(schema, frame.iloc[:0]).shape == (0, len(encoded_names(schema)))


@given(st.lists(WORDS, min_size=1, max_size=20))
@relaxed
def test_each_row_has_one_category_and_its_name_says_which(words: list[str]) -> None:
    frame = pd.DataFrame({"word": pd.Series(words, dtype=object)})
    schema = fit_schema(frame)
    encoded, names = encode(schema, frame), encoded_names(schema)
    for word, row in zip(words, encoded, strict=True):
        marked = [name for name, value in zip(names, row, strict=True) if value]
        first_of_two = len(set(words)) == 2 and word == schema.columns[0].categories[0]
        assert marked == ([] if first_of_two else [f"word={word}"])
    unknown = encode(schema, pd.DataFrame({"word": ["no such word"]}))
    assert not unknown.any()


def test_other_rows_are_encoded_as_the_training_rows() -> None:
    train = pd.DataFrame(
        {
            "age": [20, 30, 70],
            "colour": ["red", "green", "blue"],
            "smokes": [True, False, True],
            "city": ["Bern", None, "Bern"],
            "size": ["S", "L", "S"],
        }
    )
    test = pd.DataFrame(
        {
            "size": ["S", "L", None, "XXL"],
            "city": ["Bern", None, "Rome", "Bern"],
            "smokes": pd.array([True, False, None, True], dtype="boolean"),
            "colour": ["green", "pink", "red", None],
            "age": [np.nan, 1.5, 40.0, 2.0],
        }
    )
    schema = fit_schema(train)
    table = pd.DataFrame(encode(schema, test), columns=encoded_names(schema))
    assert list(table.columns) == [
        *("age", "smokes"),
        *("colour=blue", "colour=green", "colour=red"),
        *("city=Bern", "size=L"),
    ]
    assert table["age"].tolist() == [30.0, 1.5, 40.0, 2.0]
    assert table["smokes"].tolist() == [1.0, 0.0, 1.0, 1.0]
    assert table["colour=green"].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert table["colour=blue"].tolist() == [0.0, 0.0, 0.0, 1.0]  # none missing in training: mode
    assert table["city=Bern"].tolist() == [1.0, 0.0, 0.0, 1.0]
    assert table["size=L"].tolist() == [0.0, 1.0, 0.0, 0.0]  # unknown reads as the fill


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([1, 0, None], dtype="Int64"),
        pd.Series([1.0, 0.0, None], dtype="float16"),
        pd.Series([True, False, None], dtype=object),
        pd.Series([1, 0.0, None], dtype=object),
        pd.Series([Decimal(1), Decimal(0), None], dtype=object),
        pd.Series([1, 0, None], dtype=pd.ArrowDtype(pa.decimal128(5, 2))),
        pd.Series(pd.arrays.SparseArray([1.0, 0.0, np.nan])),
    ],
    ids=lambda values: str(values.dtype),
)
def test_numbers_are_numbers_however_they_are_stored(values: pd.Series) -> None:
    schema = fit_schema(pd.DataFrame({"x": values}))
    assert schema.columns[0].kind == "numeric"
    assert encode(schema, pd.DataFrame({"x": values}))[:, 0].tolist() == [1.0, 0.0, 0.5]


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([1, 2, 1]).astype("category"),
        pd.Series([1.0, 2.0, 1.0]).astype("category"),
        pd.Series(["1", "2", "1"]),
        pd.Series(["1", 2, 1.0], dtype=object),
        pd.Series(pa.array(["1", "2", "1"]).dictionary_encode().to_pandas()),
        pd.Series(
            pa.array(["1", "2", "1"]).dictionary_encode(),
            dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string())),
        ),
    ],
    ids=lambda values: str(values.dtype),
)
def test_categories_are_texts_however_they_are_stored(values: pd.Series) -> None:
    schema = fit_schema(pd.DataFrame({"x": pd.Series(["1", "2", "1"])}))
    assert fit_schema(pd.DataFrame({"x": values})) == schema
    assert encode(schema, pd.DataFrame({"x": values}))[:, 0].tolist() == [0.0, 1.0, 0.0]


def test_text_that_reads_as_numbers_fits_a_numeric_column() -> None:
    schema = fit_schema(pd.DataFrame({"x": [1.0, 2.0]}))
    frame = pd.DataFrame({"x": ["3", None, "4.5"]})
    assert encode(schema, frame)[:, 0].tolist() == [3.0, 1.5, 4.5]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"a": [None, None]}, "no column to use: a .no value"),
        ({"a": [np.nan, np.nan]}, "no column to use: a .no value"),
        ({"a": [1.0, np.inf]}, "'a': got 1 infinite or too large .*row 1: inf; expected numbers"),
        ({"a": [1.0, 1e39]}, "'a': got 1 infinite or too large .*row 1: 1e.39; expected numbers"),
        ({"a": pd.Series(["x", [1]], dtype=object)}, "'a': got a list in row 1"),
        ({"a": [1j, 2j]}, "'a': got a complex"),
        ({}, "0 columns"),
        ({"a": []}, "0 rows"),
    ],
)
def test_unusable_columns_are_refused_by_name(columns: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        fit_schema(pd.DataFrame(columns))
    assert "\n" not in str(caught.value)


def test_a_column_of_identifiers_is_left_out_and_rare_texts_count_as_unseen() -> None:
    words = [f"id{i:04}" for i in range(tables.MAX_CATEGORIES + 1)]
    x = np.arange(3.0 * len(words))
    ids = [f"{word}{i}" for i in range(3) for word in words]
    frame = pd.DataFrame({"x": x, "id": ids, "often": [*words, *words, *words[:-1], "id0000"]})
    schema = fit_schema(frame)
    assert [column.kind for column in schema.columns] == ["numeric", "left out", "categorical"]
    assert schema.columns[2].n_rare == 1
    assert len(schema.notes()) == 2
    encoded = encode(schema, frame[["often", "x"]])  # an identifier may be missing
    assert encoded.shape == (len(frame), 1 + tables.MAX_CATEGORIES)
    assert not encoded[len(words) - 1, 1:].any()
    frame.attrs[HINTS] = {"id": {"keep": True}}
    assert fit_schema(frame).columns[1].kind == "categorical"
    assert fit_schema(frame.astype({"id": "category"})).columns[1].kind == "categorical"
    with pytest.raises(ValueError, match=r"id .* different texts"):
        fit_schema(frame[["id"]].set_axis(["id "], axis=1))


TIMES = {
    "datetime64": pd.to_datetime(["2020-01-02 12:00", None, "2020-01-04 00:00"]),
    "aware": pd.to_datetime(["2020-01-02 13:00+01:00", None, "2020-01-04 01:00+01:00"]),
    "objects": [datetime.datetime(2020, 1, 2, 12), None, datetime.datetime(2020, 1, 4)],
    "arrow": pd.array(
        [datetime.datetime(2020, 1, 2, 12), None, datetime.datetime(2020, 1, 4)],
        dtype=pd.ArrowDtype(pa.timestamp("ns")),
    ),
}


@pytest.mark.parametrize("stored", TIMES)
def test_times_are_days_however_they_are_stored(stored: str) -> None:
    frame = pd.DataFrame({"t": pd.Series(TIMES[stored])})
    schema = fit_schema(frame)
    assert schema.columns[0].kind == "time"
    assert encode(schema, frame)[:, 0].tolist() == [18263.5, 18264.25, 18265.0]
    as_text = pd.DataFrame({"t": ["2020-01-02T12:00", None, "2020-01-04"]})
    assert encode(schema, as_text)[:, 0].tolist() == [18263.5, 18264.25, 18265.0]
    with pytest.raises(ValueError, match="'t': got 1 other values, first in row 0: 'soon'"):
        encode(schema, pd.DataFrame({"t": ["soon"]}))


@pytest.mark.parametrize(
    "values",
    [
        pd.to_timedelta(["90min", None, "3h"]),
        [datetime.time(1, 30), None, datetime.time(3)],
        [datetime.timedelta(hours=1.5), None, datetime.timedelta(hours=3)],
    ],
)
def test_durations_and_times_of_day_are_hours(values: object) -> None:
    frame = pd.DataFrame({"t": pd.Series(values)})
    assert encode(fit_schema(frame), frame)[:, 0].tolist() == [1.5, 2.25, 3.0]


def test_cyclic_parts_of_times() -> None:
    frame = pd.DataFrame(
        {"x": ["a", "b"], "t": pd.to_datetime(["2020-01-02 00:00", "2020-01-09 12:00"])}
    )
    frame.attrs[HINTS] = {"t": {"cyclic": True}}
    schema = fit_schema(frame)
    names = encoded_names(schema)
    assert names[0] == "t"
    assert names[-1] == "x=b"
    table = pd.DataFrame(encode(schema, frame), columns=names)
    np.testing.assert_allclose(table["t (of day cos)"], [1, -1], atol=1e-9)
    radius = np.hypot(table["t (of week sin)"], table["t (of week cos)"])
    np.testing.assert_allclose(radius, 1)
    assert schema.sources == [1] * 7 + [0]


@pytest.mark.parametrize(
    ("categories", "value", "read"),
    [
        (["007", "010", "A12"], 7, "007"),
        (["007", "010", "A12"], "7.0", "007"),
        (["007", "7", "A12"], "7.0", None),
        (["1.0", "2", "A"], 1, "1.0"),
        (["1e3", "2", "A"], 1000.0, "1e3"),
        (["True", "False", "maybe"], "true", "True"),
        (["True", "False", "maybe"], np.True_, "True"),
        (["A", "B", "C"], "a", None),
    ],
)
def test_a_category_is_found_by_its_number(categories: list, value: object, read: object) -> None:
    schema = fit_schema(pd.DataFrame({"c": categories}))
    row = encode(schema, pd.DataFrame({"c": pd.Series([value], dtype=object)}))[0]
    marked = [name for name, one in zip(encoded_names(schema), row, strict=True) if one]
    assert marked == ([] if read is None else [f"c={read}"])


def test_a_schema_of_version_1_reads_as_before() -> None:
    old = TableSchema.model_validate_json(schema_text(NUMERIC, CATEGORICAL))
    assert old.version == 1
    assert fit_schema(pd.DataFrame({"a": [1.0]})).version == 2
    frame = pd.DataFrame({"a": [2.0, None], "b": ["y", None]})
    assert encode(old, frame).tolist() == [[2.0, 1.0], [0.0, 0.0]]


def test_duplicate_names_are_refused() -> None:
    with pytest.raises(ValueError, match="'a': got two columns of this name"):
        fit_schema(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    schema = fit_schema(pd.DataFrame({"a": [1]}))
    with pytest.raises(ValueError, match="'a': got two columns of this name"):
        encode(schema, pd.DataFrame([[1, 2]], columns=["a", "a"]))
    doubled = pd.DataFrame([[1, 2, 3]], columns=["a", "b", "b"])
    assert encode(schema, doubled).tolist() == [[1.0]]


def test_column_numbers_serve_as_names() -> None:
    frame = pd.DataFrame(np.arange(6.0).reshape(3, 2))
    schema = fit_schema(frame)
    assert encoded_names(schema) == ["0", "1"]
    np.testing.assert_array_equal(encode(schema, frame), frame.to_numpy())


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"agee": [1.0], "kind": ["x"]}, "expected also the columns 'age'; did you mean 'agee'"),
        ({"age": ["1", "?", "x"], "kind": "x"}, r"'age': got 2 other values, first in row 1: '\?'"),
        ({"age": ["nan"], "kind": "x"}, "'age': .*row 0: 'nan'"),
        ({"age": ["inf"], "kind": "x"}, "'age': .*row 0: inf"),
        ({"age": [1.0, -np.inf], "kind": "x"}, "'age': .*row 1: -inf"),
        ({"age": pd.to_datetime(["2020-01-01"]), "kind": "x"}, "'age': got dates"),
        ({"age": [1.0], "kind": pd.to_datetime(["2020-01-01"])}, "'kind': got dates"),
    ],
)
def test_values_that_do_not_fit_the_schema_are_refused(columns: dict, words: str) -> None:
    schema = fit_schema(pd.DataFrame({"age": [1.0, 2.0], "kind": ["x", "y"]}))
    with pytest.raises(ValueError, match=words) as caught:
        encode(schema, pd.DataFrame(columns))
    assert "\n" not in str(caught.value)


NUMERIC = {"name": "a", "kind": "numeric", "fill": 0.0, "categories": None}
CATEGORICAL = {"name": "b", "kind": "categorical", "fill": "x", "categories": ["x", "y"]}


def schema_text(*columns: object, **more: object) -> str:
    return json.dumps({"columns": list(columns), **more})


def test_the_smallest_schemas_are_valid() -> None:
    TableSchema.model_validate_json(schema_text(NUMERIC, CATEGORICAL))
    bare = {"name": "a", "kind": "numeric", "fill": 3}
    assert TableSchema.model_validate_json(schema_text(bare)).columns[0].fill == 3.0


@pytest.mark.parametrize(
    "text",
    [
        schema_text(NUMERIC, NUMERIC),
        schema_text(NUMERIC, CATEGORICAL | {"name": "a"}),
        *(schema_text(NUMERIC | {"fill": fill}) for fill in (np.nan, np.inf, -np.inf, 1e39)),
        *(schema_text(NUMERIC | {"fill": fill}) for fill in (None, True, "0", [0.0])),
        schema_text(NUMERIC).replace("0.0", "1e999"),
        schema_text(NUMERIC | {"categories": ["x"]}),
        schema_text(NUMERIC | {"categories": []}),
        *(schema_text(CATEGORICAL | {"categories": got}) for got in (None, [], ["y"], ["x", 1])),
        schema_text(CATEGORICAL | {"categories": ["x", "y", "x"]}),
        schema_text(CATEGORICAL | {"categories": ["x", *map(str, range(1000))]}),
        *(schema_text(CATEGORICAL | {"fill": fill}) for fill in (None, 1.0, "z")),
        *(schema_text(NUMERIC | {"name": name}) for name in (None, 1, ["a"])),
        schema_text(NUMERIC | {"kind": "pickle"}),
        schema_text(NUMERIC | {"more": 1}),
        schema_text(NUMERIC, more=1),
        schema_text(),
        schema_text(None),
        "{}",
        "[]",
        "",
        "{",
    ],
)
def test_bad_schemas_are_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TableSchema.model_validate_json(text)


def test_the_encoded_width_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    text = schema_text(NUMERIC, CATEGORICAL | {"categories": ["x", "y", "z"]})
    monkeypatch.setattr(tables, "MAX_ENCODED_COLUMNS", 4)
    TableSchema.model_validate_json(text)
    monkeypatch.setattr(tables, "MAX_ENCODED_COLUMNS", 3)
    with pytest.raises(ValidationError, match="4 encoded columns"):
        TableSchema.model_validate_json(text)


def test_a_schema_is_frozen() -> None:
    schema = fit_schema(pd.DataFrame({"a": [1.0]}))
    with pytest.raises(ValidationError):
        schema.columns = []
