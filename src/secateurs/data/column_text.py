"""From the texts of a column to numbers, times, booleans or categories.

What a column holds is decided by all its texts together, and never by the other columns, except
where its texts fit both decimal marks or both orders of day and month.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from secateurs.core.description import counted
from secateurs.data.date_text import (
    DIGITS,
    DateFormat,
    are_dates_in_digits,
    find_format,
    is_clock,
    looks_like_date,
    parse_dates,
)
from secateurs.data.errors import bad_column, listed
from secateurs.data.number_text import (
    MISSING_NUMBERS,
    SPACES,
    TRUTHS,
    NumberReader,
    parse_number,
    text_as_number,
)

MOSTLY = 0.9  # share of the rows with numbers from which stray texts are read as missing
MANY_NUMBERS = 10  # and the distinct numbers that such a column needs
_SMALLEST_FAST = 1000  # distinct texts from which Arrow reads plain numbers
SENTINELS = {float(sign * int("9" * digits)) for sign in (-1, 1) for digits in range(2, 8)}
LONGEST_EXACT = 15  # digits of a whole number that float64 always holds
_NO_DATE = re.compile(r"0{1,4}[-/.]0{1,2}[-/.]0{1,4}([T ]00:00(:00)?)?")  # as MySQL writes it
_NEVER = np.datetime64("2900-01-01", "us")  # dates from then on mean no date
_COMMON_WORDS = ("NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?", "-", "#N/A")


@dataclass(frozen=True, eq=False)
class TextColumn:
    """The distinct texts of a column, stripped of outer spaces.

    Attributes
    ----------
    name : str
    texts : list of str
    codes : array of int64, shape [n]
        Number of the text of each row; -1 for an empty cell.
    counts : array of int64
        Rows of each text.
    """

    name: str
    texts: list[str]
    codes: NDArray[np.int64]
    counts: NDArray[np.int64]

    @staticmethod
    def of(name: str, column: pa.ChunkedArray) -> TextColumn:
        """Make the column from an Arrow array of texts."""
        stripped = pc.utf8_trim(column, SPACES)
        encoded = stripped.combine_chunks().dictionary_encode()
        texts = encoded.dictionary.to_pylist()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        if "" in texts:
            codes = np.where(codes == texts.index(""), -1, codes)
        counts = np.bincount(codes[codes >= 0], minlength=len(texts))
        return TextColumn(name, texts, codes, counts)

    def spelled(self, words: Iterable[str]) -> frozenset[str]:
        """Return the words, with every text of the column that is one of them as a number."""
        words = frozenset(words)
        numbers = {text_as_number(word) for word in words} - {None}
        if not numbers:
            return words
        return words | {text for text in self.texts if text_as_number(text) in numbers}

    def present(self, missing: frozenset[str]) -> list[str]:
        """Return the texts that are not missing."""
        return [
            text
            for text, count in zip(self.texts, self.counts, strict=True)
            if count and text not in missing
        ]

    def n_rows(self, texts: set[str] | frozenset[str]) -> int:
        """Return the number of rows with one of these texts."""
        pairs = zip(self.texts, self.counts, strict=True)
        return int(sum(count for text, count in pairs if text in texts))

    def mapped(self, values: dict[str, Any], kind: Any) -> NDArray[Any]:
        """Return the value of each row; NaN where its text has none."""
        each = np.array([*(values.get(text, np.nan) for text in self.texts), np.nan], dtype=kind)
        return each[self.codes]


@dataclass(frozen=True, eq=False)
class ReadColumn:
    """A column with its type.

    Attributes
    ----------
    values : Series
    kind : {"numbers", "booleans", "times", "text", "empty"}
    hint : dict
        What later files need to be read alike: "decimal", "unit", "format", "missing".
    notes : tuple of str
    """

    values: pd.Series[Any]
    kind: str
    hint: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class NumberFit:
    """How well the texts of a column read as numbers with either decimal mark."""

    present: list[str]
    readers: dict[str, NumberReader]

    @property
    def whole(self) -> list[str]:
        """Decimal marks with which every text is a number."""
        return [mark for mark, reader in self.readers.items() if not reader.strays]

    @property
    def vote(self) -> str | None:
        """The only decimal mark that fits, if its texts show it."""
        return self.whole[0] if len(self.readers) == 2 and len(self.whole) == 1 else None

    @property
    def ambiguous(self) -> bool:
        """Whether both marks fit and give different numbers."""
        if len(self.whole) < 2:
            return False
        first, second = (self.readers[mark].values for mark in self.whole)
        return first != second


def fit_numbers(column: TextColumn, missing: frozenset[str], decimal: str | None) -> NumberFit:
    """Read a column as numbers with the mark given, or with both."""
    present = [t for t in column.present(missing) if t.lower() not in MISSING_NUMBERS]
    marks = [decimal] if decimal else [".", ","]
    for mark in marks:
        fast = _plain_numbers(present, mark)
        if fast is not None:
            return NumberFit(present, {mark: fast})
    return NumberFit(present, {mark: NumberReader(mark, present) for mark in marks})


def _plain_numbers(present: list[str], mark: str) -> NumberReader | None:
    """Read many plain numbers at once; None unless this decimal mark is the only reading."""
    if len(present) < _SMALLEST_FAST:
        return None
    texts, escaped = pa.array(present), re.escape(mark)
    thousands = rf"^[+-]?[1-9][0-9]{{0,2}}({escaped}[0-9]{{3}})*$|^[+-]?[0-9]+$"
    plain = rf"^[+-]?[0-9]*({escaped})?[0-9]*([eE][+-]?[0-9]+)?$"
    if pc.all(pc.match_substring_regex(texts, thousands)).as_py():
        return None
    if not pc.all(pc.match_substring_regex(texts, plain)).as_py():
        return None
    try:
        values = pc.cast(pc.replace_substring(texts, mark, "."), pa.float64()).to_pylist()
    except pa.ArrowInvalid:
        return None
    reader = NumberReader(mark, ())
    reader.values = dict(zip(present, values, strict=True))
    return reader


def read_numbers(
    column: TextColumn, fit: NumberFit, decimal: str, missing: frozenset[str], *, strict: bool
) -> ReadColumn | None:
    """Return a column of numbers or booleans; None if it holds other texts.

    A few stray texts among many numbers become missing values, unless `strict`.
    """
    if not fit.present or are_dates_in_digits(fit.present):
        return None
    if {text.lower() for text in fit.present} <= set(TRUTHS):
        truths = {text: bool(TRUTHS[text.lower()]) for text in fit.present}
        values = column.mapped(truths, object)
        whole = len(values) and not pd.isna(values).any()
        return ReadColumn(pd.Series(values.astype(bool) if whole else values), "booleans")
    reader = fit.readers.get(decimal) or next(iter(fit.readers.values()))
    if reader.strays and fit.whole:
        reader = fit.readers[fit.whole[0]]
    notes = []
    if reader.strays:
        _refuse_two_marks(column.name, fit)
        reader = min(fit.readers.values(), key=lambda each: len(each.strays))
        strays = set(reader.strays)
        share = 1 - column.n_rows(strays) / max(1, column.n_rows(set(fit.present)))
        if strict or share < MOSTLY or len(reader.values) < MANY_NUMBERS:
            return None
        notes.append(_stray_note(column, reader.strays, "numbers"))
    elif fit.ambiguous:
        notes.append(_ambiguity(column.name, fit, reader))
    values = column.mapped(reader.values, float)
    if max(map(len, reader.values)) > LONGEST_EXACT and len(set(reader.values.values())) < len(
        {text.lstrip("+0") for text in reader.values}
    ):
        return None  # numbers of many digits that are different names
    sentinels = found_sentinels(values)
    if sentinels:
        shown = ", ".join(f"{value:g} in {counted(count, 'row')}" for value, count in sentinels)
        notes.append(
            f"column {column.name!r}: {shown} may stand for missing values; "
            f"--na {column.name}={sentinels[0][0]:g} reads them so"
        )
    hint: dict[str, Any] = {"decimal": reader.decimal, "unit": reader.unit}
    hint |= {"missing": sorted({*missing, *reader.strays})} if missing or reader.strays else {}
    return ReadColumn(_whole_numbers(values), "numbers", hint, tuple(notes))


def _whole_numbers(values: NDArray[np.float64]) -> pd.Series[Any]:
    """Return int64 where every value is a whole number that float64 holds exactly."""
    with np.errstate(invalid="ignore"):
        if len(values) and (np.abs(values) < 2**53).all() and (values == np.rint(values)).all():
            return pd.Series(values.astype(np.int64))
    return pd.Series(values)


def _refuse_two_marks(name: str, fit: NumberFit) -> None:
    """Refuse a column in which some numbers have a decimal comma and others a decimal point."""
    if len(fit.readers) < 2:
        return
    point, comma = fit.readers["."], fit.readers[","]
    only_comma = [text for text in point.strays if text in comma.values]
    only_point = [text for text in comma.strays if text in point.values]
    either = len(only_comma) == len(point.strays) and len(only_point) == len(comma.strays)
    if either and only_comma and only_point:
        raise bad_column(
            *(name, f"{only_comma[0]!r} and {only_point[0]!r}", "one decimal mark"),
            "correct the others, or give --decimal . or --decimal ,",
        )


def _ambiguity(name: str, fit: NumberFit, reader: NumberReader) -> str:
    other = next(each for mark, each in fit.readers.items() if mark != reader.decimal)
    text = next(t for t in fit.present if reader.values[t] != other.values[t])
    return (
        f"column {name!r}: {text!r} read as {reader.values[text]:g}; "
        f"--decimal {other.decimal} reads it as {other.values[text]:g}"
    )


def found_sentinels(values: NDArray[np.float64]) -> list[tuple[float, int]]:
    """Find values such as -999 or 9999 that lie far from all others, with their counts."""
    known, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    found = []
    for value, count in zip(known.tolist(), counts.tolist(), strict=True):
        others = known[~np.isin(known, list(SENTINELS))] if value in SENTINELS else known[:0]
        if len(others) < 3:
            continue
        gap = min(abs(value - others[0]), abs(value - others[-1]))
        outside = value < others[0] or value > others[-1]
        if outside and gap > (others[-1] - others[0]) * (1 if count > 1 else 3):
            found.append((value, count))
    return found


def read_times(
    column: TextColumn, missing: frozenset[str], *, day_first: bool
) -> ReadColumn | None:
    """Return a column of dates, or of times of day as durations; None if it holds other texts."""
    present = [t for t in column.present(missing) if t.lower() not in MISSING_NUMBERS]
    dates = [t for t in present if looks_like_date(t) and not _NO_DATE.fullmatch(t)]
    strays = frozenset(present) - frozenset(dates)
    few = column.n_rows(strays) <= (1 - MOSTLY) * column.n_rows(frozenset(present))
    if (
        strays
        and (len(dates) < MANY_NUMBERS or not few)
        and not all(map(_NO_DATE.fullmatch, strays))
    ):
        return None
    found = find_format(dates, day_first=day_first)
    if found is None:
        return None
    times = parse_dates(dates, found.format)
    values = np.append(times, np.datetime64("NaT"))[_positions(column, dates)]
    series = pd.Series(values)
    if is_clock(found.format):
        series = series - pd.Timestamp(0)
    words = missing | strays
    hint = {"format": found.format} | ({"missing": sorted(words)} if words else {})
    notes = _order_note(column.name, dates[0], found)
    if found.format in DIGITS:
        notes += (f"column {column.name!r}: {dates[0]} read as the date {times[0]}",)
    if strays:
        notes += (_stray_note(column, sorted(strays), "dates"),)
    never = [t for t, time in zip(dates, times, strict=True) if time >= _NEVER]
    if never and len(never) < len(dates):
        rows = counted(column.n_rows({*never}), "row")
        notes += (
            f"column {column.name!r}: {never[0]!r} in {rows} may stand for "
            f"missing values; --na {column.name}={never[0]} reads it so",
        )
    return ReadColumn(series, "times", hint, notes)


def _stray_note(column: TextColumn, strays: list[str], among: str) -> str:
    return (
        f"column {column.name!r}: {listed(strays, 3)} in "
        f"{counted(column.n_rows({*strays}), 'row')} among {among} read as missing"
    )


def _order_note(name: str, text: str, found: DateFormat) -> tuple[str, ...]:
    if found.other is None:
        return ()
    words = ("day-first", "month-first")
    read, other = words if found.format.index("%d") < found.format.index("%m") else words[::-1]
    return (f"column {name!r}: dates such as {text!r} read {read}; --dates {other} overrules",)


def _positions(column: TextColumn, present: list[str]) -> NDArray[np.int64]:
    """Position in `present` of the text of each row; the last, -1, for a missing one."""
    known = {text: i for i, text in enumerate(present)}
    each = np.array([*(known.get(text, -1) for text in column.texts), -1], dtype=np.int64)
    return each[column.codes]


def read_words(
    column: TextColumn, missing: frozenset[str], convention: frozenset[str]
) -> ReadColumn:
    """Return a column of texts; the words in `convention` are missing in this file."""
    absent = missing | (convention & set(column.texts))
    present = column.present(absent)
    if all(text.lower() in MISSING_NUMBERS for text in present):
        absent, present = absent | set(present), []
    values = column.mapped({text: text for text in present}, object)
    if not present:
        return ReadColumn(pd.Series(values, dtype=float), "empty")
    notes = []
    words = [word for word in _COMMON_WORDS if word in present]
    if words and len(present) > len(words):
        notes.append(
            f"column {column.name!r}: {words[0]!r} in {counted(column.n_rows({words[0]}), 'row')} "
            f"is a category; --na {column.name}={words[0]} reads it as missing"
        )
    units = sorted({unit for text in present for unit in [_unit(text)] if unit is not None} - {""})
    if len(units) > 1 and all(_unit(text) is not None for text in present):
        notes.append(
            f"column {column.name!r}: numbers with the units {listed(units, 3)} read as texts; "
            "write them in one unit"
        )
    notes += _spelling_notes(column, present)
    hint = {"missing": sorted(absent)} if absent else {}
    return ReadColumn(pd.Series(values, dtype=object), "text", hint, tuple(notes))


def _spelling_notes(column: TextColumn, present: list[str]) -> list[str]:
    """Name categories that differ only in case or in spaces."""
    if 2 * len(present) > column.n_rows(set(present)):  # texts of their own rather than categories
        return []
    spellings: dict[str, list[str]] = {}
    for text in sorted(present):
        spellings.setdefault("".join(text.casefold().split()), []).append(text)
    alike = [" and ".join(map(repr, texts)) for texts in spellings.values() if len(texts) > 1]
    if not alike:
        return []
    more = f" (and {counted(len(alike) - 1, 'other group')})" if len(alike) > 1 else ""
    return [
        f"column {column.name!r}: the categories {alike[0]}{more} differ only in case or spaces; "
        "write them alike if they mean the same"
    ]


def _unit(text: str) -> str | None:
    """Return the unit behind a number; None for other texts."""
    found = parse_number(text, ".") or parse_number(text, ",")
    return None if found is None else found[1]


def words_for_missing(column: TextColumn, fit: NumberFit) -> set[str]:
    """Return the words that stand for missing numbers in a column of numbers."""
    present = set(fit.present)
    return {
        text
        for text, count in zip(column.texts, column.counts, strict=True)
        if count and text not in present and text.lower() in MISSING_NUMBERS and text
    }
