"""Reading of table files: text in any dialect, Parquet and Arrow."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.feather as pa_feather

from secateurs.core.description import counted
from secateurs.core.short_repr import short_repr
from secateurs.data import dialect as dialects
from secateurs.data.column_text import (
    NumberFit,
    ReadColumn,
    TextColumn,
    fit_numbers,
    read_numbers,
    read_times,
    read_words,
    words_for_missing,
)
from secateurs.data.dialect import Dialect, find_dialect
from secateurs.data.errors import DatasetError, bad_data, check_file, one_line, unreadable
from secateurs.data.file_text import FileText, read_text
from secateurs.data.parquet import read_parquet
from secateurs.data.reading_by_schema import read_known_columns
from secateurs.data.schema_fitting import HINTS
from secateurs.data.table_options import TableOptions
from secateurs.data.table_rows import read_rows
from secateurs.data.tables import TableSchema

BINARY_SUFFIXES = (".parquet", ".pq", ".feather", ".arrow")
TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".tab", ".dat", ".data")
PACKED = ("", ".gz", ".bz2", ".xz", ".zst", ".zip")
SUFFIXES = (*(text + packed for text in TEXT_SUFFIXES for packed in PACKED), *BINARY_SUFFIXES)
READING = "secateurs.reading"  # key of DataFrame.attrs: how the file was read
_UNNAMED = re.compile(r"Unnamed: \d+|")


@dataclass(frozen=True, eq=False)
class TableFile:
    """A table and how it was read.

    Parameters
    ----------
    frame : DataFrame
        Numbers, booleans, times and texts.  ``frame.attrs`` keeps what the schema of a fit needs
        to read later files alike.
    reading : str
        One line, such as "; separated, decimal comma, cp1252, 4 columns".
    notes : tuple of str
        What was left out, renamed or ambiguous, each with the option that overrules it.
    index : str or None
        Name of a leading column without a name.
    """

    __repr__ = short_repr

    frame: pd.DataFrame
    reading: str
    notes: tuple[str, ...] = ()
    index: str | None = None


def read_table(
    path: str | Path,
    options: TableOptions | None = None,
    *,
    schema: TableSchema | None = None,
    strict: tuple[str, ...] = (),
) -> TableFile:
    """Read a table of any dialect.

    Parameters
    ----------
    path : str or Path
        Text (delimiter, decimal mark, encoding, compression and header are found), Parquet,
        Feather or Arrow.
    options : TableOptions, optional
        What is known about the file.  `drop`, `id`, `group` and `weight` have no effect here.
    schema : TableSchema, optional
        Read the columns of a fitted model, its ``table_``, as the fit read them.
    strict : tuple of str
        Columns in which a text among numbers is not read as missing.

    Returns
    -------
    TableFile
        The rows in the order of the file, and notes on what was left out.

    Raises
    ------
    DatasetError
        The file cannot be read; the message names the line or column, and the option that helps.

    Notes
    -----
    O(size of the file) time and memory.
    """
    path, options = Path(path).expanduser(), (options or TableOptions()).checked()
    check_file(path)
    try:
        if path.name.lower().endswith(BINARY_SUFFIXES):
            return _read_binary(path)
        return _read_text_table(path, options, schema, strict)
    except DatasetError:
        raise
    except ValueError as error:
        raise DatasetError(f"{path}: {one_line(error)}") from error


def _read_binary(path: Path) -> TableFile:
    try:
        if path.name.lower().endswith((".parquet", ".pq")):
            frame = read_parquet(path)
        else:
            frame = pa_feather.read_table(path).to_pandas().reset_index(drop=True)
    except Exception as error:  # a damaged file can raise any error of the readers
        raise unreadable(path, error, "a Parquet or Arrow table", "write it again") from error
    frame.columns = pd.Index([str(column) for column in frame.columns])
    frame.attrs = {}
    return TableFile(frame, f"{path.suffix.lower()[1:]}, {counted(frame.shape[1], 'column')}")


def _read_text_table(
    path: Path, options: TableOptions, schema: TableSchema | None, strict: tuple[str, ...]
) -> TableFile:
    content = read_text(path, options.encoding)
    if not content.text.strip():
        raise bad_data(path, "an empty file, which cannot be read", "a header and rows")
    try:
        known = frozenset(column.name for column in schema.columns) if schema else frozenset()
        dialect = find_dialect(content.text, options.delimiter, known)
        table, notes = read_rows(content.text, dialect, path)
    except csv.Error as error:
        raise unreadable(path, error, "a CSV table", "write it again") from error
    names, table, more, index = _named(table, dialect, path)
    notes = [*dialect.notes, *notes, *more]
    texts = [TextColumn.of(name, table.column(i)) for i, name in enumerate(names)]
    n = table.num_rows
    if schema is not None:
        columns, decimal = read_known_columns(texts, schema, options.decimal)
        frame = pd.DataFrame(columns, index=pd.RangeIndex(n))
        frame.attrs = {READING: _reading(dialect, decimal, content, len(names))}
        return TableFile(frame, frame.attrs[READING], tuple(notes))
    read, decimal = _typed(texts, options, dialect, strict)
    if not any(
        each.kind == "numbers" and decimal in "".join(column.texts)
        for column, each in zip(texts, read, strict=True)
    ):
        decimal = ""  # no number shows one
    frame = pd.DataFrame(
        {column.name: each.values for column, each in zip(texts, read, strict=True)},
        index=pd.RangeIndex(n),
    )
    pairs = zip(texts, read, strict=True)
    hints = {column.name: each.hint for column, each in pairs if each.hint}
    for column, each in zip(texts, read, strict=True):
        if each.kind == "times" and "cyclic" in options.dates:
            hints[column.name]["cyclic"] = True
    frame.attrs = {HINTS: hints, READING: _reading(dialect, decimal, content, len(names))}
    notes += [note for each in read for note in each.notes]
    return TableFile(frame, frame.attrs[READING], tuple(notes), index)


def _reading(dialect: Dialect, decimal: str, content: FileText, n_columns: int) -> str:
    """Write how a text table was read in one line."""
    return ", ".join(
        [
            f"{dialects.NAMES.get(dialect.delimiter, dialect.delimiter)} separated",
            *([f"decimal {'comma' if decimal == ',' else 'point'}"] if decimal else []),
            content.encoding,
            *([content.compression] if content.compression else []),
            *([] if dialect.header else ["no header"]),
            counted(n_columns, "column"),
        ]
    )


def _named(
    table: pa.Table, dialect: Dialect, path: Path
) -> tuple[list[str], pa.Table, list[str], str | None]:
    """Name the columns; leave out empty ones without a name and copies of others."""
    width, header, notes, index = table.num_columns, dialect.header, [], None
    if header is None:
        return [f"column{i + 1}" for i in range(width)], table, [], None
    header = [name.lstrip("#").strip() if i == 0 else name for i, name in enumerate(header)]
    while len(header) > width and not header[-1]:
        header = header[:-1]
    if len(header) == width - 1:
        last_is_empty = not _has_text(table.column(width - 1))
        if not last_is_empty:
            _refuse_unquoted(table, path)
        header = [*header, ""] if last_is_empty else ["", *header]
    if len(header) != width:
        more = ", more fields than the header" if width > len(header) else ""
        raise bad_data(
            path,
            f"{len(header)} names in the header and rows of {width} fields{more}",
            "a name for every column",
            "correct the header, or give --delimiter",
        )
    kept: list[int] = []
    names: list[str] = []
    for i, name in enumerate(header):
        if _UNNAMED.fullmatch(name):
            if not _has_text(table.column(i)):
                continue
            name = f"Unnamed: {i}"
            index = name if i == 0 else index
        if name in names:
            if table.column(i).equals(table.column(kept[names.index(name)])):
                notes.append(f"the copy of column {name!r} left out")
                continue
            renamed = next(
                f"{name}.{k}" for k in range(1, width + 2) if f"{name}.{k}" not in {*header, *names}
            )
            notes.append(f"a second column {name!r} renamed to {renamed!r}")
            name = renamed
        kept.append(i)
        names.append(name)
    return names, table.select(kept), notes, index


def _refuse_unquoted(table: pa.Table, path: Path) -> None:
    """Refuse rows of one field more than the header where a text with a comma may be the cause."""
    columns = [pc.fill_null(column, "") for column in table.columns[1:]]
    spaced = [len(c) > 0 and pc.all(pc.starts_with(c, " ")).as_py() for c in columns]
    if any(spaced) and not all(spaced):  # not a space behind every comma
        got = f"{table.num_columns} fields under {table.num_columns - 1} names"
        text = columns[spaced.index(True)][0].as_py()
        do = f"put quotes around texts with {text!r}, or name all columns"
        raise bad_data(path, got, "as many of both", do)


def _has_text(column: pa.ChunkedArray) -> bool:
    texts = pc.utf8_trim_whitespace(pc.fill_null(column, ""))
    return bool(len(texts) and pc.any(pc.not_equal(texts, "")).as_py())


def _typed(
    texts: list[TextColumn], options: TableOptions, dialect: Dialect, strict: tuple[str, ...]
) -> tuple[list[ReadColumn], str]:
    """Decide the type of every column; also return the decimal mark of the file."""
    missing = [column.spelled(options.missing_words(column.name)) for column in texts]
    fits = [
        fit_numbers(column, words, options.decimal)
        for column, words in zip(texts, missing, strict=True)
    ]
    decimal = options.decimal or _mark_of_file(fits, dialect)
    read: list[ReadColumn | None] = []
    convention: set[str] = set()
    for column, fit, words in zip(texts, fits, missing, strict=True):
        numbers = read_numbers(column, fit, decimal, words, strict=column.name in strict)
        if numbers is not None:
            convention |= words_for_missing(column, fit)
        read.append(numbers)
    day_first = "day-first" in options.dates or (
        "month-first" not in options.dates and (decimal == "," or dialect.delimiter == ";")
    )
    return [
        each
        or read_times(column, words, day_first=day_first)
        or read_words(column, words, frozenset(convention))
        for each, column, words in zip(read, texts, missing, strict=True)
    ], decimal


def _mark_of_file(fits: list[NumberFit], dialect: Dialect) -> str:
    """Decide the decimal mark of columns that fit both, by the other columns of the file.

    Without evidence, 3.548 has a decimal point, and 1,234 has a decimal comma only where
    semicolons separate.
    """
    votes = {fit.vote for fit in fits} | {
        reader.decimal for fit in fits if len(fit.readers) == 1 for reader in fit.readers.values()
    }
    if "," in votes and "." not in votes:
        return ","
    if "." in votes and "," not in votes:
        return "."
    ambiguous = [text for fit in fits if fit.ambiguous for text in fit.present]
    with_points = any("." in text for text in ambiguous)
    return "," if dialect.delimiter == ";" and not with_points else "."
