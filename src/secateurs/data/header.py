"""The header of a text table: the rows above the data, and the names that they give."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from secateurs.core.description import counted
from secateurs.data.errors import listed
from secateurs.data.number_text import MISSING_NUMBERS, SPACES, parse_number

HIGHEST = 12  # records in which a header is looked for
MOSTLY = 0.5  # share of numbers or dates that makes a column one of numbers
_DATE = re.compile(
    r"[0-9]{1,4}[-/.][0-9]{1,2}([-/.][0-9]{1,4})?([T ][0-9:.]+Z?)?|[0-9]{1,2}:[0-9:.]+"
)
_VALUE = re.compile(r"[<>≤≥~≈]? ?[+-]?[.,]?[0-9]")  # the start of a value that is no name or unit
_LABEL = re.compile(r"[^:]+:( |$)")  # the start of a title, as in "Station: Bern"
_YEAR = re.compile(r"(1[89]|20)\d\d")
_IN_BRACKETS = re.compile(r"\[.*\]|\(.*\)|\{.*\}")


@dataclass(frozen=True)
class Header:
    """The names of the columns and the records that give them.

    Attributes
    ----------
    names : list of str, or None
        None where the first record already holds data.
    n_titles : int
        Records before the header.
    n_records : int
        Records of the header, units and descriptions of the columns included.
    notes : tuple of str
    """

    names: list[str] | None
    n_titles: int = 0
    n_records: int = 0
    notes: tuple[str, ...] = ()


def find_header(records: list[list[str]], width: int) -> Header:
    """Find the header in the first records of a table.

    The first record is the header, unless it holds numbers over numbers.  Where the columns hold
    numbers, further records above them without any number belong to the header too:

    - a row of units, types or descriptions below a complete row of names is left out;
    - two rows of which the upper one has gaps or repeats itself are joined, as in "yield mean";
    - what stands above the row of names and is no such row is a title.
    """
    if not records or _is_data(records[0], records[1:]):
        return Header(None)
    rows = [[field.strip(SPACES) for field in record] for record in records]
    numeric = [j for j in range(width) if _holds_numbers(rows[1:], j, width)]
    last = 0
    for i, row in enumerate(rows[1:HIGHEST], 1):
        if last > 0 and _names_the_index(rows[i - 1], row):
            last = i
            break
        if _is_row_of_data(row, numeric, width):
            break
        if _is_row_of_names(row, numeric, width) and _belongs(rows[i - 1], row, numeric, width):
            last = i
    if last == 0:
        return Header(rows[0], 0, 1)
    return _several(rows[: last + 1], width)


def _several(heads: list[list[str]], width: int) -> Header:
    """Return the header that several rows make."""
    first = next((i for i, row in enumerate(heads[:-1]) if _is_complete(row, width)), None)
    if first is not None:
        n, shown = len(heads) - 1 - first, listed(heads[first + 1], 4)
        note = f"{counted(n, 'row')} of units or descriptions left out ({shown})"
        return Header(heads[first], first, n + 1, (note,))
    n_records, names, top = 1, heads[-1], len(heads) - 1
    index = names[0] if top > 1 and _names_the_index(heads[-2], names) else ""
    if index:
        n_records, names, top = 2, heads[-2], top - 1
    upper = heads[top - 1]
    if len(upper) == width and sum(map(bool, upper)) > 1 and not any(map(_is_value, upper)):
        names, top, n_records = _joined(upper, names), top - 1, n_records + 1
        note = f"two rows of the header joined ({listed(names, 4)})"
    else:
        note = ""
    if index and not names[0]:
        names = [index, *names[1:]]
    return Header(names, top, n_records, (note,) if note else ())


def _names_the_index(above: list[str], row: list[str]) -> bool:
    """Whether a row only names the first column, as pandas writes it below names of two levels."""
    return len(above) == len(row) > 1 and bool(row[0]) and not above[0] and not any(row[1:])


def _joined(upper: list[str], lower: list[str]) -> list[str]:
    """Join two rows of names; a gap in the upper one repeats the name before it."""
    names, before = [], ""
    for above, below in zip(upper, lower, strict=False):
        before = above or before
        names.append(f"{before} {below}".strip())
    return names


def _holds_numbers(rows: list[list[str]], j: int, width: int) -> bool:
    texts = [row[j] for row in rows if len(row) == width]
    texts = [text for text in texts if text.lower() not in MISSING_NUMBERS]
    return len(texts) > 0 and sum(map(_is_value, texts)) >= MOSTLY * len(texts)


def _is_value(text: str) -> bool:
    return bool(_DATE.fullmatch(text)) or _is_number(text)


def _strays(row: list[str], numeric: list[int]) -> tuple[list[str], int]:
    """Return the texts in columns of numbers, and the number of numbers there."""
    found = [row[j] for j in numeric if row[j].lower() not in MISSING_NUMBERS]
    texts = [text for text in found if not _is_value(text)]
    return texts, len(found) - len(texts)


def _is_row_of_data(row: list[str], numeric: list[int], width: int) -> bool:
    if len(row) != width or not numeric:
        return len(row) == width
    texts, n_numbers = _strays(row, numeric)
    return n_numbers > len(texts) or not (texts or n_numbers)


def _is_row_of_names(row: list[str], numeric: list[int], width: int) -> bool:
    if len(row) != width or any(map(_is_value, row)):
        return False
    return len(_strays(row, numeric)[0]) > 0


def _belongs(above: list[str], row: list[str], numeric: list[int], width: int) -> bool:
    """Whether a row below a header is one of names or units, and not data with stray texts."""
    texts, _ = _strays(row, numeric)
    if not _is_complete(above, width) and not _is_complete(["", *above], width):
        return True
    if all(_IN_BRACKETS.fullmatch(text) for text in texts):
        return True
    return len(texts) > 1 and not any(_VALUE.match(text) for text in texts)


def _is_complete(row: list[str], width: int) -> bool:
    """Whether a row names every column, except perhaps a first one, in different words."""
    names = row[1:] if row and not row[0] else row
    whole = len(row) == width and bool(names) and all(names) and len(set(names)) == len(names)
    values = [name for name in names if _is_value(name) and not _YEAR.fullmatch(name)]
    return whole and not values and not _LABEL.match(row[0])


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
