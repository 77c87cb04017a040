"""The dialect of a text table: its delimiter, its header, and the lines that are no rows."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

from secateurs.data.number_text import MISSING_NUMBERS, SPACES, parse_number

DELIMITERS = (",", ";", "\t", "|", " ")
NAMES = {",": "comma", ";": ";", "\t": "tab", "|": "|", " ": "space"}
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
    start : int
        Position of the first record of data in the text.
    line : int
        Number of lines before it.
    quoted : bool
        Whether every field of the header is quoted, as by R: then an unquoted NA is missing.
    notes : tuple of str
        The lines that were left out.
    """

    delimiter: str
    header: list[str] | None
    width: int
    start: int
    line: int
    quoted: bool
    notes: tuple[str, ...]


def records_of(text: str, delimiter: str) -> Iterator[list[str]]:
    """Split text into records; a run of spaces is one delimiter."""
    if delimiter == " ":
        text = "\n".join(line.strip(" ") for line in text.splitlines())
    yield from csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=delimiter == " "
    )


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
        notes.append(f"{n_comments} comment lines left out")
    sample = text[start : start + _SAMPLE_CHARACTERS]
    if delimiter is None:
        scores = {mark: _score(_first(sample, mark)) for mark in DELIMITERS}
        delimiter = max(DELIMITERS, key=lambda mark: scores[mark])
        if scores[delimiter] <= 0:  # one column
            delimiter = next((mark for mark in DELIMITERS[:4] if mark not in sample), ",")
    records = _first(sample, delimiter)
    width = _width(records)
    skipped = _titles(records, width)
    if skipped:
        notes.append(f"{skipped} lines before the header left out")
    records = records[skipped:]
    headless = not records or _is_data(records[0], records[1:])
    if names and records:
        headless = not names & {field.strip(SPACES).lstrip("#") for field in records[0]}
    head = records[0] if records and not headless else None
    return _with_header(text, start, line, head, delimiter, width, skipped, notes)


def _with_header(
    text: str,
    start: int,
    line: int,
    head: list[str] | None,
    delimiter: str,
    width: int,
    skipped: int,
    notes: list[str],
) -> Dialect:
    """Find the position behind the header, if there is one."""
    n_lines = _lines_of(text[start : start + _SAMPLE_CHARACTERS], delimiter, skipped)
    start = _line_start(text, start, n_lines)
    line += n_lines
    if head is None:
        return Dialect(delimiter, None, width, start, line, False, tuple(notes))
    header = [field.strip(SPACES) for field in head]
    n_lines = _lines_of(text[start : start + _SAMPLE_CHARACTERS], delimiter, 1)
    end = _line_start(text, start, n_lines)
    fields = text[start:end].strip().split(delimiter)
    quoted = all(field.startswith('"') for field in fields)
    return Dialect(delimiter, header, width, end, line + n_lines, quoted, tuple(notes))


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


def _lines_of(sample: str, delimiter: str, n_records: int) -> int:
    """Number of lines that the first records take: a quoted field may hold line breaks.

    Empty lines are no records.
    """
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
    for record in reader if n_records else ():
        n_records -= bool(record)
        if n_records == 0:
            break
    return reader.line_num


def _first(sample: str, delimiter: str) -> list[list[str]]:
    try:
        return list(islice(filter(None, records_of(sample, delimiter)), SAMPLED))
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


def _is_data(first: list[str], rest: list[list[str]]) -> bool:
    """Whether the first record holds data: numbers over numbers, and not years or 0, 1, 2, ..."""
    if not rest:
        return all(_is_number(field.strip(SPACES)) for field in first)
    over = []
    for j, field in enumerate(first):
        below = [record[j].strip(SPACES) for record in rest if j < len(record)]
        below = [value for value in below if value.lower() not in MISSING_NUMBERS]
        if below and all(_is_number(value) for value in below):
            over.append(field.strip(SPACES))
    if not over or not all(_is_number(field) for field in over):
        return False
    if all(re.fullmatch("[0-9]{1,4}", field) for field in over):
        numbers = [int(field) for field in over]
        steps = {b - a for a, b in pairwise(numbers)}
        if len(numbers) > 1 and steps == {1}:
            return False
        if all(1800 <= number <= 2100 for number in numbers):
            return len(numbers) == 1 and not 1800 <= _mean(rest, first.index(over[0])) <= 2100
    return True


def _is_number(field: str) -> bool:
    return parse_number(field, ".") is not None or parse_number(field, ",") is not None


def _mean(records: list[list[str]], j: int) -> float:
    parsed = [parse_number(record[j], ".") for record in records if j < len(record)]
    values = [found[0] for found in parsed if found is not None]
    return sum(values) / max(1, len(values))
