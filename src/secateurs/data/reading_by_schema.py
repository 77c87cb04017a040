"""Reading of new rows as the schema of a fit reads them, whatever the other rows hold."""

from __future__ import annotations

from typing import Any

import pandas as pd

from secateurs.data.column_text import TextColumn
from secateurs.data.number_text import MISSING_NUMBERS, NumberReader
from secateurs.data.tables import OLD_MISSING_WORDS, ColumnSchema, TableSchema


def read_known_columns(
    columns: list[TextColumn], schema: TableSchema, decimal: str | None
) -> tuple[dict[str, pd.Series[Any]], str]:
    """Read the columns of a schema, and return the decimal mark; other columns are left out.

    The decimal mark is the one given, else the one that the numbers of the file show, else that
    of the fit.  Texts that do not fit their column stay as they are, and `encode` refuses them.

    Parameters
    ----------
    columns : list of TextColumn
    schema : TableSchema
    decimal : {".", ","}, optional
    """
    known = {column.name: column for column in schema.columns}
    columns = [column for column in columns if column.name in known]
    numeric = [column for column in columns if known[column.name].kind == "numeric"]
    mark = decimal or _shown_mark([(column, known[column.name]) for column in numeric])
    read = {column.name: _read(column, known[column.name], schema, mark) for column in columns}
    return read, mark or next((c.decimal for c in schema.columns if c.decimal), ".")


def _read(
    column: TextColumn, known: ColumnSchema, schema: TableSchema, mark: str | None
) -> pd.Series[Any]:
    missing = OLD_MISSING_WORDS if schema.version == 1 else column.spelled(known.missing)
    present = column.present(missing)
    if known.kind != "categorical":
        present = [text for text in present if text.lower() not in MISSING_NUMBERS]
    values: dict[str, Any] = {text: text for text in present}
    if known.kind == "numeric":
        order = [mark or known.decimal or "."]
        order += [other for other in (".", ",") if other not in order]
        for each in reversed(order):
            values |= NumberReader(each, present, known.unit).values
    return pd.Series(column.mapped(values, object), dtype=object)


def _shown_mark(columns: list[tuple[TextColumn, ColumnSchema]]) -> str | None:
    """Return the decimal mark that most numbers show, if any does."""
    votes = {".": 0, ",": 0}
    for column, known in columns:
        present = [t for t in column.present(column.spelled(known.missing)) if t]
        point, comma = (NumberReader(mark, present, known.unit) for mark in votes)
        votes["."] += sum(text in point.values for text in comma.strays)
        votes[","] += sum(text in comma.values for text in point.strays)
    best = max(votes, key=lambda mark: votes[mark])
    return best if votes[best] else None
