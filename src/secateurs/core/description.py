"""What a result says about itself, for a terminal, a page and a program alike.

Every model, ticket and comparison has a method ``describe()`` that returns a `Description`.  The
command line shows it as text or prints its facts as JSON and needs to know no kind of result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from secateurs.core.certificate import check_text


@dataclass(frozen=True)
class Table:
    """Rows of text under a title.

    Parameters
    ----------
    columns : tuple of str
        Names of the columns.
    rows : sequence of tuples of str
        One tuple for each row, with a text for each column.
    title : str
        One line above the table; without one by default.
    numeric : frozenset of str
        Columns that are aligned to the right.
    most : int
        The largest number of rows that is shown; a line below them counts the others.
    strong : frozenset of int
        Numbers of the rows to emphasise, from 0.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    title: str = ""
    numeric: frozenset[str] = frozenset()
    most: int = 20
    strong: frozenset[int] = frozenset()

    def __str__(self) -> str:
        shown = [self.columns, *self.rows[: self.most]]
        widths = [max(map(len, texts)) for texts in zip(*shown, strict=True)]
        lines = [self.title] if self.title else []
        for row in shown:
            cells = [
                text.rjust(width) if name in self.numeric else text.ljust(width)
                for name, text, width in zip(self.columns, row, widths, strict=True)
            ]
            lines.append("  " + "  ".join(cells).rstrip())
        if len(self.rows) > self.most:
            lines.append(f"  ... and {len(self.rows) - self.most} more")
        return "\n".join(lines)


@dataclass(frozen=True)
class Description:
    """A headline, facts and tables about a result.

    Parameters
    ----------
    headline : str
        One or more full sentences; the most important number comes first.
    facts : dict
        Every number, ready for JSON: finite floats, no arrays.
    tables : tuple of Table
        Tables shown below the headline; one without rows is left out.
    notes : tuple of str
        Sentences shown below the tables.
    """

    headline: str
    facts: dict[str, Any]
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        parts = [self.headline, *(str(table) for table in self.tables if table.rows), *self.notes]
        checks = self.facts.get("certificate") or ()
        parts += [check_text(c["verdict"], c["name"], c["statement"]) for c in checks]
        return "\n".join(parts)


def counted(n: int, noun: str) -> str:
    """Write a number with its noun, which gets an s unless the number is 1."""
    return f"{n} {noun}" + ("" if n == 1 else "s")


def format_bytes(n_bytes: int) -> str:
    """Format a number of bytes with a unit."""
    if n_bytes < 1000:
        return f"{n_bytes} B"
    if n_bytes < 1_000_000:
        return f"{n_bytes / 1000:.1f} kB"
    return f"{n_bytes / 1_000_000:.1f} MB"
