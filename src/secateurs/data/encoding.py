"""Encoding of a table by its schema."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from secateurs.core.parameters import Shown, bad_value
from secateurs.data.column_values import as_numbers, as_texts
from secateurs.data.errors import listed
from secateurs.data.suggest import nearest
from secateurs.data.tables import TableSchema, refuse_duplicates


def encode(schema: TableSchema, frame: pd.DataFrame) -> NDArray[np.float32]:
    """Encode a table: the numeric columns first, then one column per category.

    A category that the fit did not see becomes zeros.  In a column of two categories, which has
    one encoded column, this is also the code of the first of them, the fill.

    Parameters
    ----------
    schema : TableSchema
    frame : DataFrame, shape [n, ...]
        Columns are found by name, in any order; others are ignored.  A numeric column may hold
        text if every value reads as a number.

    Returns
    -------
    array of float32, shape [n, len(encoded_names(schema))], C order

    Raises
    ------
    ValueError
        Columns are missing, or a value does not fit its column; the message names the row.

    Notes
    -----
    O(n * encoded columns) time and memory.
    """
    positions = _find_columns(schema, frame)
    encoded = np.zeros((len(frame), schema.n_encoded), dtype=np.float32)
    if len(frame) == 0:
        return encoded
    numeric = schema.of_kind("numeric")
    for j, column in enumerate(numeric):
        numbers = as_numbers(frame.iloc[:, positions[column.name]], column.name)
        encoded[:, j] = np.where(np.isnan(numbers), column.fill, numbers)
    first = len(numeric)
    for column in schema.of_kind("categorical"):
        series = frame.iloc[:, positions[column.name]]
        texts = as_texts(series, column.name)
        texts[series.isna().to_numpy()] = column.fill
        index = pd.Index(column.encoded_categories, dtype=object)
        codes = index.get_indexer(pd.Index(texts, dtype=object))
        known = np.flatnonzero(codes >= 0)
        encoded[known, first + codes[known]] = 1
        first += len(column.encoded_categories)
    return encoded


def encoded_names(schema: TableSchema) -> list[str]:
    """Return the names of the encoded columns, in their order: "age", "colour=red"."""
    names = [column.name for column in schema.of_kind("numeric")]
    for column in schema.of_kind("categorical"):
        names += [f"{column.name}={category}" for category in column.encoded_categories]
    return names


def _find_columns(schema: TableSchema, frame: pd.DataFrame) -> dict[str, int]:
    names = [str(name) for name in frame.columns]
    positions = {name: i for i, name in enumerate(names)}
    missing = [column.name for column in schema.columns if column.name not in positions]
    if missing:
        expected = f"also the columns {listed(missing)}{nearest(missing[0], names)}"
        raise bad_value("the table", Shown(f"{len(names)} columns"), expected)
    wanted = {column.name for column in schema.columns}
    refuse_duplicates(name for name in names if name in wanted)
    return positions
