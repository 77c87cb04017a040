"""The table of a campaign: statement, scenario, instances, false, nominal rate, verdict."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.coverage.campaign import Chunk
from benchmarks.coverage.judging import lower_limit

START, END = "<!-- campaign: start -->", "<!-- campaign: end -->"


@dataclass(frozen=True)
class Row:
    """A statement in a scenario.

    Attributes
    ----------
    statement, scenario : str
    instances, refused : int
        Certificates that were judged, and how many of them were refusals of the data.
    holds, false : int
        How often the statement was made, and how often it was false.
    nominal : float
        The rate at which it may be false.
    lower : float
        Lower 95 % confidence limit of the rate at which it is false.
    example : str
        A false one.
    """

    statement: str
    scenario: str
    instances: int
    refused: int
    holds: int
    false: int
    nominal: float
    lower: float
    example: str

    @property
    def verdict(self) -> str:
        """BROKEN where the false rate is above the nominal one, else ok."""
        return "ok" if self.lower <= self.nominal else "BROKEN"


def rows_of(chunks: Iterable[Chunk]) -> list[Row]:
    """Add up chunks."""
    cases: dict[tuple[str, str], list[int]] = {}
    counts: dict[tuple[str, str], list[Any]] = {}
    for chunk in sorted(chunks, key=lambda chunk: chunk.key):
        for subject, numbers in chunk.cases.items():
            seen = cases.setdefault((chunk.scenario, subject), [0, 0])
            seen[:] = [a + b for a, b in zip(seen, numbers, strict=True)]
        for statement, found in chunk.statements.items():
            total = counts.setdefault((statement, chunk.scenario), [found.nominal, 0, 0, ""])
            total[1:] = total[1] + found.holds, total[2] + found.false, total[3] or found.example
    rows = [
        Row(f"{subject}: all refused", scenario, n, n, 0, 0, 0.0, 0.0, "")
        for (scenario, subject), (n, refused) in cases.items()
        if n == refused
    ]
    for (statement, scenario), (nominal, holds, false, example) in counts.items():
        n, refused = cases[scenario, statement.partition(": ")[0]]
        lower = lower_limit(false, n)
        rows.append(Row(statement, scenario, n, refused, holds, false, nominal, lower, example))
    return sorted(rows, key=lambda row: (row.statement, row.scenario))


def table_of(rows: list[Row], *, broken_only: bool = False) -> Table:
    """Arrange rows for a terminal."""
    table = Table(title="Statements of certificates against the truth")
    for name in ("statement", "scenario"):
        table.add_column(name)
    for name in ("instances", "holds", "false", "nominal", "at least", "verdict"):
        table.add_column(name, justify="right")
    for row in rows:
        if row.verdict == "ok" and broken_only:
            continue
        numbers = row.instances, row.holds, row.false, f"{row.nominal:g}", f"{row.lower:.3f}"
        table.add_row(row.statement, row.scenario, *map(str, numbers), row.verdict)
    return table


def totals(chunks: list[Chunk]) -> dict[str, Any]:
    """Numbers of the whole campaign."""
    rows = rows_of(chunks)
    exact = [row for row in rows if row.statement.endswith("status exact")]
    return {
        "instances": sum(chunk.stop - chunk.start for chunk in chunks),
        "certificates": sum(n for chunk in chunks for n, _ in chunk.cases.values()),
        "refused": sum(n for chunk in chunks for _, n in chunk.cases.values()),
        "statements": sum(row.holds for row in rows),
        "false": sum(row.false for row in rows),
        "broken": sum(row.verdict == "BROKEN" for row in rows),
        "exact": sum(row.holds for row in exact),
        "exact and wrong": sum(row.false for row in exact),
        "seconds": round(sum(chunk.seconds for chunk in chunks), 1),
    }


def as_json(chunks: list[Chunk], scale: str) -> dict[str, Any]:
    """The content of the JSON file."""
    rows = [asdict(row) | {"verdict": row.verdict} for row in rows_of(chunks)]
    return {"scale": scale, **totals(chunks), "rows": rows}


def by_statement(rows: list[Row]) -> str:
    """A table in Markdown with one line for each statement, over all its scenarios."""
    lines = [
        "| statement | scenarios | instances | holds | false | nominal | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for statement in sorted({row.statement for row in rows}):
        own = [row for row in rows if row.statement == statement]
        sums = [sum(getattr(row, name) for row in own) for name in ("instances", "holds", "false")]
        broken = [row.scenario for row in own if row.verdict == "BROKEN"]
        verdict = f"BROKEN: {'; '.join(broken)}" if broken else "ok"
        cells = statement, len(own), *sums, f"{own[0].nominal:g}", verdict
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def write_page(page: Path, chunks: list[Chunk], command: str) -> None:
    """Replace the campaign's table in a page of the documentation."""
    total = totals(chunks)
    text = (
        f"{START}\n`{command}` made {total['instances']:,} instances with "
        f"{total['statements']:,} statements that hold, in {total['seconds'] / 3600:.1f} hours of "
        f"processor time. Of {total['exact']:,} results with the status exact, "
        f"{total['exact and wrong']:,} are wrong.\n\n{by_statement(rows_of(chunks))}\n{END}"
    )
    pattern = re.compile(f"{re.escape(START)}.*{re.escape(END)}", re.DOTALL)
    page.write_text(pattern.sub(lambda _: text, page.read_text(encoding="utf-8")), encoding="utf-8")
