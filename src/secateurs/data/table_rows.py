"""The rows of a text table, without the lines that are no rows."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from secateurs.core.description import counted
from secateurs.data.dialect import Dialect
from secateurs.data.errors import bad_data, unreadable
from secateurs.data.number_text import SPACES, parse_number
from secateurs.data.quoting import PLAIN, lines_of, plainly_quoted, read_records

_QUOTED_MISSING = ["NA", "NaN", "N/A", "null", "NULL"]
_TOTALS = {
    *("total", "totals", "grand total", "sum", "summe", "gesamt", "total général", "somme"),
    *("insgesamt", "totale", "suma", "totaal", "average", "mittelwert", "durchschnitt", "moyenne"),
}
_RULED = re.compile(r"[\s|+:=_-]*[=_-]{3}[\s|+:=_-]*")  # a line under the header
_COUNTED = re.compile(r"\(\d+ rows?( affected)?\)", re.IGNORECASE)
MOST_REMARKS = 10  # behind the table


def read_rows(text: str, dialect: Dialect, path: Path) -> tuple[pa.Table, list[str]]:
    """Return the rows as a table of texts, and notes on the lines that were left out."""
    body = text[dialect.start :]
    if not body.strip():
        empty = dict.fromkeys(map(str, range(len(dialect.header or ()))), pa.array([], pa.string()))
        return pa.table(empty), []
    _refuse_open_quote(body, dialect, path)
    notes: list[str] = []
    try:
        table = _as_texts(body, dialect)
    except pa.ArrowInvalid as error:
        body, notes = _mended(body, dialect, path)
        try:
            table = _as_texts(body, dialect)
        except pa.ArrowInvalid:
            raise unreadable(
                path, error, "rows of one width", "correct them, or give --delimiter"
            ) from error
    table, more = _without_other_rows(table, dialect)
    return table, [*notes, *more]


def _as_texts(body: str, dialect: Dialect) -> pa.Table:
    names = [str(i) for i in range(dialect.width)]
    delimiter = dialect.delimiter
    if delimiter == " " or dialect.quoting != PLAIN:
        body, delimiter = plainly_quoted(body, delimiter, dialect.quoting), ","
    data = body.encode("utf-8", errors="replace")
    return pa_csv.read_csv(
        pa.BufferReader(data),
        # one block, so that a long quoted field cannot straddle two
        read_options=pa_csv.ReadOptions(
            column_names=names, use_threads=False, block_size=max(1 << 20, len(data) + 1)
        ),
        parse_options=pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            strings_can_be_null=dialect.quoted,
            null_values=_QUOTED_MISSING,
            quoted_strings_can_be_null=False,
        ),
    )


@dataclass(frozen=True)
class _Record:
    """The fields of a record, its lines as they are, and the number of the first one."""

    fields: list[str]
    lines: str
    line: int


def _records(body: str, dialect: Dialect) -> Iterator[_Record]:
    """Yield each record that is not empty."""
    lines = list(lines_of(body))
    stripped = (line.strip(" \r\n") for line in lines) if dialect.delimiter == " " else lines
    reader = read_records(stripped, dialect.delimiter, dialect.quoting)
    before = 0
    for fields in reader:
        if fields:
            text = "".join(lines[before : reader.line_num])
            yield _Record(fields, text, dialect.line + before + 1)
        before = reader.line_num


def _mended(body: str, dialect: Dialect, path: Path) -> tuple[str, list[str]]:
    """Leave out lines that are no rows, and empty fields behind the last column.

    The former are comments, ruled lines, and remarks behind the table.  DatasetError for the first
    other record of another width, with its line.
    """
    records = list(_records(body, dialect))
    n = len(records)
    while n > max(1, len(records) - MOST_REMARKS) and _is_remark(records[n - 1], dialect):
        n -= 1
    notes = []
    if n < len(records):
        shown = records[n].lines.strip()[:40]
        notes.append(f"{counted(len(records) - n, 'line')} behind the table left out ({shown!r})")
    whole, n_comments, n_cut = [], 0, 0
    for record in records[:n]:
        width = len(record.fields)
        if width == dialect.width:
            whole.append(record.lines)
        elif not record.lines.strip():  # spaces
            continue
        elif record.lines.lstrip().startswith("#"):
            n_comments += 1
        elif _RULED.fullmatch(record.lines):
            notes.append("a ruled line left out")
        elif width > dialect.width and not any(record.fields[dialect.width :]):
            n_cut += 1
            end = len(record.lines.rstrip("\r\n"))
            cut = (width - dialect.width) * len(dialect.delimiter)
            whole.append(record.lines[: end - cut] + record.lines[end:])
        else:
            got = f"{width} fields in line {record.line}"
            do = "correct that line, or give --delimiter"
            raise bad_data(path, f"{got}, so it cannot be read", f"{dialect.width}", do)
    if n_comments:
        notes.append(f"{counted(n_comments, 'comment line')} left out")
    if n_cut:
        notes.append(f"empty fields at the end of {counted(n_cut, 'row')} left out")
    return "".join(whole), notes


def _is_remark(record: _Record, dialect: Dialect) -> bool:
    """Whether a record behind the table is no row: a comment, or a text that stands alone."""
    text = record.fields[0].strip(SPACES)
    if len(record.fields) == dialect.width:
        return False
    if text.startswith("#") or _COUNTED.fullmatch(text):
        return True
    alone = len(record.fields) == 1 and dialect.width > 2
    return alone and _is_text(text)


def _is_text(text: str) -> bool:
    is_number = parse_number(text, ".") is not None or parse_number(text, ",") is not None
    return not is_number and any(letter.isalpha() for letter in text)


def _refuse_open_quote(body: str, dialect: Dialect, path: Path) -> None:
    """Refuse a file that ends inside a quoted field, which swallows the rows behind it."""
    if dialect.quoting.escape is None and body.count(dialect.quoting.quote) % 2 == 0:
        return
    before = 0
    reader = read_records(lines_of(body), dialect.delimiter, dialect.quoting, strict=True)
    try:
        for _ in reader:
            before = reader.line_num
    except csv.Error as error:
        if "end of data" in str(error):
            got = f"a quoted field that starts in line {dialect.line + before + 1} and never ends"
            do = "correct that line"
            raise bad_data(path, f"{got}, so it cannot be read", "closed quotes", do) from error


def _without_other_rows(table: pa.Table, dialect: Dialect) -> tuple[pa.Table, list[str]]:
    """Leave out repeated headers, ruled lines, and empty rows, totals and remarks at the end."""
    n = table.num_rows
    if not n or not table.num_columns:
        return table, []
    trimmed = [pc.fill_null(pc.utf8_trim_whitespace(column), "") for column in table.columns]
    empty = np.ones(n, dtype=bool)
    repeated = np.full(n, dialect.header is not None)
    header = [*(dialect.header or ())]
    header = [""] * (table.num_columns - len(header)) + header
    for column, name in zip(trimmed, header, strict=False):
        empty &= pc.equal(column, "").to_numpy()
        repeated &= pc.equal(column, name).to_numpy()
    notes = []
    kept = ~repeated
    if repeated.any():
        notes.append(f"{counted(int(repeated.sum()), 'repeated header')} left out")
    cells = [column[0].as_py() for column in trimmed]
    if n > 1 and any(cells) and all(not cell or _RULED.fullmatch(cell) for cell in cells):
        kept[0] = False
        notes.append("a ruled line left out")
    last, more = _end(trimmed, empty, MOST_REMARKS) if table.num_columns > 1 else (n, [])
    kept[last:] = False
    return (table if kept.all() else table.filter(pa.array(kept))), [*more, *notes]


def _end(
    columns: list[pa.ChunkedArray], empty: NDArray[np.bool_], most: int
) -> tuple[int, list[str]]:
    """Return the number of rows before the empty rows, totals and remarks at the end.

    An empty row between others is a row of missing values.
    """
    notes: list[str] = []
    end = n = len(empty)
    while end > max(1, n - most) or (end and empty[end - 1]):
        first = columns[0][end - 1].as_py()
        if empty[end - 1]:
            end -= 1
        elif _is_total(columns[0], end - 1):
            notes.append(f"the row of totals at the end left out ({first!r})")
            end -= 1
        elif _is_lone_text(columns, end - 1, after_empty=end > 1 and bool(empty[end - 2])):
            notes.append(f"1 line behind the table left out ({first[:40]!r})")
            end -= 1
        else:
            break
    n_empty = int(empty[end:].sum())
    if n_empty:
        notes.append(f"{counted(n_empty, 'empty row')} at the end left out")
    return end, notes


def _is_total(names: pa.ChunkedArray, last: int) -> bool:
    """Whether the last row is named a total, as none of those before is."""
    texts = [names[i].as_py().lower().strip(" :") for i in range(max(0, last - 50), last + 1)]
    return texts[-1] in _TOTALS and texts[-1] not in texts[:-1] and bool({*texts} - _TOTALS)


def _is_lone_text(columns: list[pa.ChunkedArray], last: int, *, after_empty: bool) -> bool:
    """Whether a row has a text in its first field only, where it is no value of the column."""
    text = columns[0][last].as_py()
    if len(columns) < 3 or not _is_text(text) or any(c[last].as_py() for c in columns[1:]):
        return False
    before = [columns[0][i].as_py() for i in range(max(0, last - 20), last)]
    return after_empty or not any(map(_is_text, before))
