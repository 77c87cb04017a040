"""Encoding of a table by its schema."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from secateurs.core.description import counted
from secateurs.core.parameters import Shown, bad_value
from secateurs.data.column_values import as_days, as_numbers, as_texts
from secateurs.data.date_text import cyclic_parts
from secateurs.data.errors import listed
from secateurs.data.number_text import text_as_number
from secateurs.data.suggest import nearest
from secateurs.data.tables import ColumnSchema, TableSchema, refuse_duplicates


def encode(schema: TableSchema, frame: pd.DataFrame) -> NDArray[np.float64]:
    """Encode a table: the columns of numbers and times first, then one column per category.

    Each row is encoded by itself.  A category that the fit did not see becomes zeros.  In a
    column of two categories, which has one encoded column, this is also the code of the first of
    them, the fill.  A text that is no category is one if both stand for the same number or truth
    value: ``7``, ``7.0`` and ``007``, or ``True`` and ``true``, unless several categories do.

    Parameters
    ----------
    schema : TableSchema
    frame : DataFrame, shape [n, ...]
        Columns are found by name, in any order; others are ignored.  A numeric column may hold
        text if every value reads as a number.

    Returns
    -------
    array of float64, shape [n, len(encoded_names(schema))], C order

    Raises
    ------
    ValueError
        Columns are missing, or a value does not fit its column; the message names the row.

    Notes
    -----
    O(n * encoded columns) time and memory.
    """
    positions = _find_columns(schema, frame)
    encoded = np.zeros((len(frame), schema.n_encoded), dtype=np.float64)
    first = 0
    for j in schema.encoded_order if len(frame) else ():
        column = schema.columns[j]
        width = len(column.encoded_names)
        if width:
            series = frame.iloc[:, positions[column.name]]
            _encode_column(column, series, encoded[:, first : first + width])
        first += width
    return encoded


def unseen_notes(schema: TableSchema, frame: pd.DataFrame) -> list[str]:
    """Name the categories of a table that the fit gave no input; `encode` makes them zeros.

    Parameters
    ----------
    schema : TableSchema
    frame : DataFrame, shape [n, ...]
        A table that `encode` accepts.

    Returns
    -------
    list of str
        One sentence for each column that has such categories.
    """
    positions = _find_columns(schema, frame)
    notes = []
    for column in schema.of_kind("categorical"):
        series = frame.iloc[:, positions[column.name]]
        codes, texts = _codes(column, series), as_texts(series, column.name)
        unseen = (codes < 0) & series.notna().to_numpy()
        unseen[unseen] = [text not in (column.categories or ()) for text in texts[unseen]]
        if unseen.any():
            rows, names = counted(int(unseen.sum()), "row"), sorted(set(texts[unseen]))
            notes.append(
                f"column {column.name!r}: {listed(names, 3)} in {rows} had no input of its own in "
                "the fit, and counts as none of the categories"
            )
    return notes


def _encode_column(column: ColumnSchema, series: pd.Series[Any], out: NDArray[np.float64]) -> None:
    if column.kind == "categorical":
        codes = _codes(column, series)
        known = np.flatnonzero(codes >= 0)
        out[known, codes[known]] = 1
        return
    numbers = (
        as_numbers(series, column.name)
        if column.kind == "numeric"
        else as_days(series, column.name, column.format)
    )
    out[:, 0] = numbers
    out[np.isnan(numbers), 0] = column.fill
    if column.cyclic:
        out[:, 1:] = cyclic_parts(out[:, 0])


def _codes(column: ColumnSchema, series: pd.Series[Any]) -> NDArray[np.int64]:
    """Return the number of the encoded category of each row, -1 for none."""
    categories = column.encoded_categories
    texts = as_texts(series, column.name)
    texts[series.isna().to_numpy()] = column.fill
    codes = pd.Index(categories, dtype=object).get_indexer(pd.Index(texts, dtype=object))
    whole = dict.fromkeys(column.categories or (), -1)
    whole |= {category: i for i, category in enumerate(categories)}
    unseen = [text for text in set(texts[codes < 0].tolist()) if text not in whole]
    if unseen:
        alike = Counter(text_as_number(category) for category in whole)
        by_number = {
            text_as_number(category): code
            for category, code in whole.items()
            if alike[text_as_number(category)] == 1
        }
        by_number.pop(None, None)
        for text in unseen:
            codes[texts == text] = by_number.get(text_as_number(text), -1)
    return np.asarray(codes, dtype=np.int64)


def encoded_names(schema: TableSchema) -> list[str]:
    """Return the names of the encoded columns, in their order: "age", "colour=red"."""
    return [name for j in schema.encoded_order for name in schema.columns[j].encoded_names]


def _find_columns(schema: TableSchema, frame: pd.DataFrame) -> dict[str, int]:
    names = [str(name) for name in frame.columns]
    positions = {name: i for i, name in enumerate(names)}
    used = schema.of_kind("numeric", "categorical", "time")
    missing = [column.name for column in used if column.name not in positions]
    if missing:
        some = len(missing) < len(used)
        got = f"{len(names)} columns" if some else "none of the columns that the fit used"
        expected = f"{'also ' if some else ''}the columns {listed(missing)}"
        raise bad_value("the table", Shown(got), expected + nearest(missing[0], names))
    wanted = {column.name for column in used}
    refuse_duplicates(name for name in names if name in wanted)
    return positions
