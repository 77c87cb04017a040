"""The terminal: results on standard output; bars and notes on standard error."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol

import rich.table
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from secateurs.core.description import Description, Table
from secateurs.core.solution import Progress as SolverProgress
from secateurs.core.solution import ProgressCallback
from secateurs.core.visible_text import visible

# names are shown as they are: brackets are no styles, and colons are no symbols
out = Console(markup=False, emoji=False, highlight=False)
err = Console(stderr=True, markup=False, emoji=False, highlight=False)
ERROR_BOUNDS = ("held-out error", "Occam bound")  # checks that bound an error rate from above


def show(description: Description) -> None:
    """Print a description: headline, tables, notes, certificate."""
    show_text(description.headline)
    for table in description.tables:
        if table.rows:
            show_table(table)
    for text in description.notes:
        show_text(text)
    checks = [check for check in description.facts.get("certificate", ()) if informative(check)]
    if checks:
        out.print("Certificate:")
        for check in checks:
            text = f"  {check['verdict']:8}{check['name']}: {check['statement']}"
            show_text(text, later_indent=10)


def show_text(text: str, later_indent: int = 0) -> None:
    """Print sentences, wrapped between words; a path is never cut."""
    for line in text.split("\n"):
        indent = max(later_indent, len(line) - len(line.lstrip(" ")))
        wrap = textwrap.TextWrapper(
            out.width,
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        out.print(wrap.fill(visible(line).replace(".  ", ". ")), soft_wrap=True)


def show_table(table: Table) -> None:
    """Print a table under its title; a long name is folded and never cut."""
    if table.title:
        show_text(table.title)
    shown = rich.table.Table()
    for name in table.columns:
        justify = "right" if name in table.numeric else "left"
        shown.add_column(visible(name), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for i, row in enumerate(table.rows[: table.most]):
        shown.add_row(*map(visible, row), style="bold" if i in table.strong else None)
    out.print(shown)
    if len(table.rows) > table.most:
        out.print(f"... and {len(table.rows) - table.most} more; --json lists all.")


def informative(check: dict[str, Any]) -> bool:
    """Whether a check tells a reader anything: an error rate is always at most 1."""
    vacuous = check["name"] in ERROR_BOUNDS and check["measured"] in (None, 1.0)
    return not vacuous


def show_json(facts: dict[str, Any]) -> None:
    """Print one JSON object."""
    sys.stdout.write(json.dumps(facts, allow_nan=False) + "\n")


def show_line(text: str) -> None:
    """Print a line that is not wrapped, so that a path in it can be copied."""
    out.print(visible(text), soft_wrap=True)


def note(text: str) -> None:
    """Print a note on standard error."""
    err.print(f"note: {visible(text)}", soft_wrap=True)


class Bar(Protocol):
    """Makes the callback of a solver, with a bar of its own."""

    def __call__(self, label: str, before: str = "preparing") -> ProgressCallback:
        """Add a bar; `before` says what is done until the first step is reported."""


class _Time(ProgressColumn):
    """The time that is left, or the time so far where the end is not known yet."""

    def render(self, task: Task) -> Text:
        seconds = task.elapsed if task.time_remaining is None else task.time_remaining
        end = "" if task.time_remaining is None else " left"
        return Text(f"{timedelta(seconds=int(seconds or 0))}{end}")


@contextmanager
def bars(quiet: bool, *columns: ProgressColumn) -> Iterator[Progress]:
    """Show bars on standard error while the block runs, if that is a terminal."""
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        *columns,
        _Time(),
        console=err,
        transient=True,
        disable=quiet or not err.is_terminal,
    ) as shown:
        yield shown


@contextmanager
def progress(quiet: bool, counted: str = "weights") -> Iterator[Bar]:
    """Give the maker of the callbacks of solvers: one bar for each label."""
    with bars(quiet, TextColumn("{task.fields[state]}", markup=False)) as shown:

        def add(label: str, before: str = "preparing") -> ProgressCallback:
            bar = shown.add_task(label, total=None, state=before)

            def update(state: SolverProgress) -> None:
                shown.update(
                    bar,
                    total=state.n_steps,
                    completed=state.step,
                    state=f"loss {state.loss:.4g}  {counted} {state.n_nonzero}",
                )

            return update

        yield add
