"""Sweeps: cells of a grid, run into a folder that nothing can spoil."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from cyclopts import Parameter
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from secateurs.cli.common import INTERRUPTED, UsageError, err, out, print_json
from secateurs.experiments.sweeps.config import load_sweep
from secateurs.experiments.sweeps.folder import SWEEP, open_run
from secateurs.experiments.sweeps.pools import check_scheduler
from secateurs.experiments.sweeps.run import Counts
from secateurs.experiments.sweeps.sweep import (
    boundaries,
    run_sweep,
    summary,
    sweep_frame,
    write_results,
)
from secateurs.experiments.sweeps.verdicts import sweep_verdicts, verdict_line

SOME_FAILED = 1
_ERRORS_SHOWN = 3


def sweep(
    file: Path,
    /,
    *,
    output: Path | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    retry_failed: Annotated[bool, Parameter(negative="")] = False,
    salvage: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run every cell of a grid: problems, methods, seeds.

    Parameters
    ----------
    file
        The sweep, in TOML.
    output
        Folder of the run; the file's name with .run when not given.
    workers
        Processes on this machine, one thread each.
    scheduler
        Address of a Dask scheduler, tcp://HOST:PORT; its workers are used instead.
    resume
        Go on with a run; finished cells are not computed again.
    retry_failed
        With --resume, try failed cells again.
    salvage
        Go on with a run whose ledger is damaged, with every cell that can still be read.
    json
        Print one JSON object instead of text.
    """
    check_workers(workers)
    wanted = load_sweep(file)
    if scheduler is not None:
        check_scheduler(scheduler, lambda line: tell([line]))  # before there is a folder
    folder = output if output is not None else Path(f"{file.stem}.run")
    texts = {SWEEP: wanted.text}
    with open_run(folder, texts, resume=resume or retry_failed, rescue=salvage) as (ledger, notes):
        tell(notes)
        with counting(file.stem, quiet=json) as show:
            counts = run_sweep(
                wanted,
                ledger,
                workers=workers,
                scheduler=scheduler,
                retry_failed=retry_failed,
                progress=show,
            )
        write_results(wanted, ledger, folder)
        frame = sweep_frame(wanted, ledger)
        table = summary(wanted, frame)
        found = []
        if wanted.adaptive is not None:
            settings = wanted.adaptive
            found = boundaries(wanted, frame, settings.axis, settings.metric, settings.level)
        errors = [r.error for _, r in ledger.records() if r.error] if counts.failed else []
    lines = [
        {
            "label": b.label,
            **b.others,
            "boundary": b.fit.boundary,
            "low": b.fit.low,
            "high": b.fit.high,
            "level": b.fit.level,
        }
        for b in found
    ]
    if json:
        # not to_json: it writes 3e-12 as 0
        rows = table.astype(object).where(table.notna(), None).to_dict("records")
        print_json(
            {
                "run": str(folder),
                "done": counts.done,
                "failed": counts.failed,
                "earlier": counts.earlier,
                "interrupted": counts.interrupted,
                "summary": rows,
                "certificates": sweep_verdicts(wanted, frame).to_dict("records"),
                "boundaries": lines,
            }
        )
    else:
        print_table(table, f"{file.stem}: means over finished cells")
        if lines:
            axis = wanted.adaptive.axis if wanted.adaptive is not None else ""
            print_table(pd.DataFrame(lines), f"{axis} at which half of the cells succeed")
        told = f"{counts.done} cells done, {counts.failed} failed"
        told += f"; {counts.earlier} of them earlier" if counts.earlier else ""
        out.print(f"{told}; kept in {folder}", highlight=False, soft_wrap=True)
        line = verdict_line(wanted, frame)
        if line is not None:
            out.print(line, highlight=False, soft_wrap=True)
        for error in errors[:_ERRORS_SHOWN]:
            out.print(f"  failed: {error.splitlines()[0]}", highlight=False, markup=False)
        if counts.interrupted:
            out.print("Interrupted: go on with the same command and --resume", highlight=False)
    if counts.interrupted:
        return INTERRUPTED
    return SOME_FAILED if counts.failed else 0


def check_workers(workers: int) -> None:
    """Refuse a number of processes that makes no sense."""
    if workers < 1:
        raise UsageError(f"--workers {workers}: expected an integer >= 1")


def tell(notes: list[str]) -> None:
    """Notes of a run folder, on standard error."""
    for note in notes:
        err.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)


@contextmanager
def counting(title: str, quiet: bool) -> Iterator[Callable[[Counts, int], None]]:
    """A bar on standard error: cells done, failed, time left."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=quiet or not err.is_terminal,
    ) as bars:
        bar = bars.add_task(title, total=None, failed=0)

        def show(counts: Counts, total: int) -> None:
            bars.update(
                bar,
                total=total,
                completed=counts.done + counts.failed,
                failed=counts.failed,
            )

        yield show


def print_table(frame: pd.DataFrame, title: str) -> None:
    """A table on standard output."""
    table = Table(title=title, title_justify="left")
    for column in frame.columns:
        justify: Literal["left", "right"] = "left" if column == frame.columns[0] else "right"
        table.add_column(str(column), justify=justify, overflow="fold")  # a name is never cut
    for row in frame.itertuples(index=False):
        table.add_row(*(_shown(value) for value in row))
    out.print(table)


def _shown(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
