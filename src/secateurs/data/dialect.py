"""The dialect of a text table: its delimiter, its header, and the lines that are no rows."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice

from secateurs.core.description import counted
from secateurs.data.header import Header, find_header
from secateurs.data.number_text import MISSING_NUMBERS, SPACES, parse_number
from secateurs.data.quoting import PLAIN, Quoting, find_quoting, lines_of, read_records, records_of

DELIMITERS = (",", ";", "\t", "|", " ")
RARE_DELIMITERS = ("^", "~", "\x01", "\x1f", ":")  # tried where none of the others separates
NAMES = {",": "comma", ";": ";", "\t": "tab", "|": "|", " ": "space", "\x01": "\\x01"}
NAMES |= {"\x1f": "\\x1f"}
SURE = 0.7  # score from which a rare delimiter is believed
SAMPLED = 200  # records from which the dialect is found
_SAMPLE_CHARACTERS = 1 << 20
_EXCEL_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)
_DATE = re.compile(
    r"[0-9]{1,4}[-/.][0-9]{1,2}([-/.][0-9]{1,4})?([T ][0-9:.]+Z?)?|[0-9]{1,2}:[0-9:.]+"
)


@dataclass(frozen=True)
class Dialect:
    """How the lines of a text table are split.

    Attributes
    ----------
    delimiter : str
        One character; a space stands for any run of spaces.
    header : list of str, or None
        The fields of the header; None where the first record already holds data.
    width : int
        Fields of most records.
    quoting : Quoting
    notes : tuple of str
        The lines that were left out.
    start : int
        Position of the first record of data in the text.
    line : int
        Number of lines before it.
    quoted : bool
        Whether every field of the header is quoted, as by R: then an unquoted NA is missing.
    """

    delimiter: str
    header: list[str] | None
    width: int
    quoting: Quoting = PLAIN
    notes: tuple[str, ...] = ()
    start: int = 0
    line: int = 0
    quoted: bool = False


def find_dialect(
    text: str, delimiter: str | None = None, names: frozenset[str] = frozenset()
) -> Dialect:
    """Find the dialect of a table from its first `SAMPLED` records.

    If `names` of columns are known, a first record without any of them holds data.

    Each delimiter is scored by the share of records of equal width, times the share of fields
    that read as numbers, dates or plain words (van den Burg, Nazabal, Sutton, "Wrangling messy
    CSV files by detecting row and type patterns", 2019, Section 4, simplified).
    """
    start, line, notes = 0, 0, []
    told = _EXCEL_LINE.match(text)
    if told:
        start, line, delimiter = told.end(), 1, delimiter or told[1]
    start, line, n_comments = _after_comments(text, start, line)
    if n_comments:
        notes.append(f"{counted(n_comments, 'comment line')} left out")
    sample = text[start : start + _SAMPLE_CHARACTERS]
    delimiter = delimiter or _delimiter(sample)
    quoting = find_quoting(sample, delimiter)
    records = _first(sample, delimiter, quoting)
    width = _width(records)
    n_titles = _titles(records, width)
    header = _known_header(records[n_titles:], width, names)
    n_titles += header.n_titles
    if n_titles:
        notes.append(f"{counted(n_titles, 'line')} before the header left out")
    found = Dialect(delimiter, header.names, width, quoting, (*notes, *header.notes))
    start, n_lines = _after(text, start, found, n_titles)
    line += n_lines
    if header.names is None:
        return replace(found, start=start, line=line)
    end, n_lines = _after(text, start, found, header.n_records)
    fields = text[start : _line_start(text, start, 1)].strip().split(delimiter)
    quoted = all(field.startswith('"') for field in fields)
    return replace(found, start=end, line=line + n_lines, quoted=quoted)


def _delimiter(sample: str) -> str:
    """Return the delimiter with the best score; a comma where there is one column."""
    for marks in (DELIMITERS, RARE_DELIMITERS):
        scores = {mark: _score(_first(sample, mark, find_quoting(sample, mark))) for mark in marks}
        best = max(marks, key=lambda mark: scores[mark])
        if scores[best] > (0 if marks is DELIMITERS else SURE):
            return best
    return next((mark for mark in DELIMITERS[:4] if mark not in sample), ",")


def _known_header(records: list[list[str]], width: int, names: frozenset[str]) -> Header:
    """Return the header; with known names of columns, the one that has some of them."""
    found = find_header(records, width)
    if not names or not records:
        return found
    first = [field.strip(SPACES) for field in records[0]]
    for header in (found, Header(first, 0, 1)):
        if names & {name.lstrip("#") for name in header.names or ()}:
            return header
    return Header(None)


def _after(text: str, start: int, dialect: Dialect, n_records: int) -> tuple[int, int]:
    """Return the position after some records, and their number of lines."""
    sample = text[start : start + _SAMPLE_CHARACTERS]
    n_lines = _lines_of(sample, dialect.delimiter, dialect.quoting, n_records)
    return _line_start(text, start, n_lines), n_lines


def _after_comments(text: str, start: int, line: int) -> tuple[int, int, int]:
    """Pass empty lines and lines that start with #, except one that names the columns."""
    n_comments = 0
    while start < len(text):
        end = _line_start(text, start, 1)
        content = text[start:end].strip()
        if content.startswith("#"):
            after = text[end : _line_start(text, end, 1)]
            marks = [mark for mark in DELIMITERS[:4] if content.count(mark)]
            if any(content.count(mark) == after.count(mark) for mark in marks):
                break  # a header behind a #
            n_comments += 1
        elif content:
            break
        start, line = end, line + 1
    return start, line, n_comments


def _line_start(text: str, start: int, n_lines: int) -> int:
    """Return the position after some lines, whatever characters end them."""
    for _ in range(n_lines):
        ends = [end for end in (text.find("\n", start), text.find("\r", start)) if end >= 0]
        if not ends:
            return len(text)
        start = min(ends) + (2 if text.startswith("\r\n", min(ends)) else 1)
    return start


def _lines_of(sample: str, delimiter: str, quoting: Quoting, n_records: int) -> int:
    """Number of lines that the first records take: a quoted field may hold line breaks.

    Empty lines are no records.
    """
    reader = read_records(lines_of(sample), delimiter, quoting)
    for record in reader if n_records else ():
        n_records -= bool(record)
        if n_records == 0:
            break
    return int(reader.line_num)


def _first(sample: str, delimiter: str, quoting: Quoting) -> list[list[str]]:
    try:
        return list(islice(filter(None, records_of(sample, delimiter, quoting)), SAMPLED))
    except csv.Error:
        return []


def _width(records: list[list[str]]) -> int:
    counts = Counter(len(record) for record in records[1:] or records)
    return max(counts, key=lambda width: (counts[width], width), default=1)


def _score(records: list[list[str]]) -> float:
    width = _width(records)
    if width < 2:
        return 0.0
    same = sum(len(record) == width for record in records) / len(records)
    header = next((r for r in records if len(r) > 1), records[0])
    if len(header) not in (width, width - 1):
        same /= 2
    if width == 2 and len(records[0]) == 1 and any(record[-1] for record in records[1:]):
        return 0.0  # one column of decimal commas, or of words
    fields = [field for record in records[1:] or records for field in record]
    plain = sum(map(_plainness, fields)) / len(fields)
    return same * same * plain


def _plainness(field: str) -> float:
    """How sure it is that a field is whole: 1 for a number or date, less for text."""
    field = field.strip(SPACES)
    if field.lower() in MISSING_NUMBERS or _DATE.fullmatch(field):
        return 1.0
    if parse_number(field, ".") or parse_number(field, ","):
        return 1.0
    split = any(mark in field for mark in ";\t|") or re.search(r",(?! )", field)
    return 0.1 if split else 0.8


def _titles(records: list[list[str]], width: int) -> int:
    """Count the records before the header, which have a single field where others have more."""
    if width < 3:
        return 0
    for i, record in enumerate(records):
        if sum(bool(field.strip()) for field in record) > 1:
            return i
    return 0
