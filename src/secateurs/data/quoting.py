"""How a text table marks a field that holds its delimiter, and its records."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Quoting:
    """The signs around and inside quoted fields.

    Attributes
    ----------
    quote : {'"', "'"}
    escape : str or None
        A backslash, where it stands before a quote inside a field.
    skips_spaces : bool
        Whether spaces between a delimiter and a quote do not count.
    """

    quote: str = '"'
    escape: str | None = None
    skips_spaces: bool = False


PLAIN = Quoting()


def find_quoting(sample: str, delimiter: str) -> Quoting:
    """Find how fields are quoted, for a delimiter.

    Single quotes are quotes where the file has no double quote, every field that starts with one
    also ends with one, and there is such a field for half of the lines.  A backslash escapes a
    quote where the quote does not end its field.
    """
    mark = re.escape(delimiter)
    if '"' not in sample:
        start = rf"(?:^|{mark}) *'"
        field = rf"{start}(?:[^'\r\n]|'')*' *(?={mark}|\r?$)"
        rest, n_fields = re.subn(field, "", sample, flags=re.MULTILINE)
        if 2 * n_fields >= sample.count("\n") > 0 and not re.search(start, rest, re.MULTILINE):
            return Quoting("'", skips_spaces=True)
        return Quoting(skips_spaces=delimiter == " ")
    escapes = re.search(rf'\\"(?!{mark}|"|\r|\n|$)', sample)
    spaced = rf'(?:^|{mark}) +"[^"\r\n]*" *(?:{mark}|\r?$)'
    skips = delimiter == " " or bool(re.search(spaced, sample, re.MULTILINE))
    return Quoting(escape="\\" if escapes else None, skips_spaces=skips)


def read_records(
    lines: Iterable[str], delimiter: str, quoting: Quoting = PLAIN, *, strict: bool = False
) -> Any:
    """Return the reader of the csv module for these lines; its `line_num` counts them."""
    return csv.reader(
        lines,
        delimiter=delimiter,
        quotechar=quoting.quote,
        escapechar=quoting.escape,
        skipinitialspace=quoting.skips_spaces,
        strict=strict,
    )


def lines_of(text: str) -> Iterator[str]:
    """Split text into lines with their ends, which may be of any kind."""
    return iter(io.StringIO(text, newline=""))


def records_of(text: str, delimiter: str, quoting: Quoting = PLAIN) -> Iterator[list[str]]:
    """Split text into records; a run of spaces is one delimiter."""
    if delimiter == " ":
        text = "\n".join(line.strip(" ") for line in text.splitlines())
        quoting = Quoting(quoting.quote, quoting.escape, skips_spaces=True)
    yield from read_records(lines_of(text), delimiter, quoting)


def plainly_quoted(text: str, delimiter: str, quoting: Quoting) -> str:
    """Write the records again, separated by commas and with every field in double quotes."""
    stream = io.StringIO()
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
    writer.writerows(filter(None, records_of(text, delimiter, quoting)))
    return stream.getvalue()
