"""Sweeps: the cells of a grid, run into a folder that survives interruptions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from cyclopts import Parameter
from rich.progress import MofNCompleteColumn, TextColumn, TimeElapsedColumn

from secateurs.cli import recipe
from secateurs.cli.terminal import bars, note
from secateurs.core.description import Description, Table
from secateurs.experiments.sweeps.config import load_sweep
from secateurs.experiments.sweeps.folder import SWEEP, open_run
from secateurs.experiments.sweeps.ledger import Ledger
from secateurs.experiments.sweeps.pools import check_scheduler
from secateurs.experiments.sweeps.run import Counts
from secateurs.experiments.sweeps.settings import Sweep
from secateurs.experiments.sweeps.sweep import (
    along_axis,
    boundaries,
    run_sweep,
    summary,
    sweep_frame,
    write_results,
)
from secateurs.experiments.sweeps.verdicts import sweep_verdicts, verdict_line

AFTER_INTERRUPT = "continue with the same command and --resume"
ERRORS_SHOWN = 3
# options that sweep and reproduce share; a cell of reproduce is one part of a claim
Workers = Annotated[int, Parameter(help="Processes on this machine, one thread each.")]
Resume = Annotated[
    recipe.Flag, Parameter(help="Continue a run; finished cells are not computed again.")
]
RetryFailed = Annotated[recipe.Flag, Parameter(help="With --resume, compute failed cells again.")]
Salvage = Annotated[
    recipe.Flag,
    Parameter(help="Continue a run with a damaged ledger, with all cells that can be read."),
]


def sweep(
    file: Path,
    /,
    *,
    output: Path | None = None,
    workers: Workers = 1,
    scheduler: str | None = None,
    resume: Resume = False,
    retry_failed: RetryFailed = False,
    salvage: Salvage = False,
    json: recipe.Json = False,
) -> int:
    """Run every cell of a grid: problems, methods, seeds.

    Parameters
    ----------
    file
        The sweep, in TOML.
    output
        Folder of the run; by default the file's name with .run.
    scheduler
        Run the cells on a cluster instead: `tcp://HOST:PORT` of a Dask scheduler, or
        slurm://PARTITION?time=60&cpus=2 for jobs of Slurm.
    """
    recipe.check_options(workers=workers)
    wanted = load_sweep(file)
    if scheduler is not None:
        check_scheduler(scheduler, note)  # before the folder is made
    folder = output if output is not None else Path(f"{file.stem}.run")
    texts = {SWEEP: wanted.text}
    with open_run(folder, texts, resume=resume or retry_failed, rescue=salvage) as (ledger, notes):
        for line in notes:
            note(line)
        with counting(file.stem, quiet=json) as show:
            counts = run_sweep(
                *(wanted, ledger),
                workers=workers,
                scheduler=scheduler,
                retry_failed=retry_failed,
                progress=show,
            )
        written = write_results(wanted, ledger, folder)
        description = _describe(wanted, ledger, counts, folder, file.stem)
        names = [path.name for path in written if path.suffix == ".png"]
        if names:
            drawn = f"Figures in {folder}, as PNG and PDF: {', '.join(names)}"
            description = replace(description, notes=(*description.notes, drawn))
    return recipe.finish(
        description,
        json=json,
        status="interrupted" if counts.interrupted else "converged",
        failed=counts.failed > 0,
        after_interrupt=AFTER_INTERRUPT,
    )


@contextmanager
def counting(title: str, quiet: bool) -> Iterator[Callable[[Counts, int], None]]:
    """Show a bar on standard error: cells done, cells failed, time left."""
    failures = TextColumn("{task.fields[failed]} failed")
    with bars(quiet, MofNCompleteColumn(), failures, TimeElapsedColumn()) as shown:
        bar = shown.add_task(title, total=None, failed=0)

        def show(counts: Counts, total: int) -> None:
            completed = counts.done + counts.failed
            shown.update(bar, total=total, completed=completed, failed=counts.failed)

        yield show


def frame_table(frame: pd.DataFrame, title: str) -> Table:
    """Return a data frame as a table of text; the first column is aligned to the left."""
    columns = tuple(str(column) for column in frame.columns)
    rows = [tuple(_shown(value) for value in row) for row in frame.itertuples(index=False)]
    return Table(columns, rows, title, frozenset(columns[1:]), most=len(rows))


def _shown(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _describe(
    wanted: Sweep, ledger: Ledger, counts: Counts, folder: Path, title: str
) -> Description:
    frame = sweep_frame(wanted, ledger)
    table = summary(wanted, frame)
    found = _boundaries(wanted, frame)
    facts = {
        "run": str(folder),
        **asdict(counts),
        # not to_json, which writes 3e-12 as 0
        "summary": table.astype(object).where(table.notna(), None).to_dict("records"),
        "certificates": sweep_verdicts(wanted, frame).to_dict("records"),
        "boundaries": found,
    }
    tables = [frame_table(table, "Means over finished cells:")]
    along = along_axis(wanted, frame)
    if along is not None:
        tables.append(frame_table(along, f"Means of {wanted.metrics[0]} along {along.columns[0]}:"))
    if found and wanted.adaptive is not None:
        axis = wanted.adaptive.axis
        tables.append(
            frame_table(pd.DataFrame(found), f"Value of {axis} at which half of the cells succeed:")
        )
    notes = [line for line in [verdict_line(wanted, frame)] if line is not None]
    if counts.failed:
        errors = [record.error for _, record in ledger.records() if record.error]
        notes += [f"failed: {error.splitlines()[0]}" for error in errors[:ERRORS_SHOWN]]
    earlier = f"; {counts.earlier} of them earlier" if counts.earlier else ""
    headline = (
        f"{title}: {counts.done} cells done, {counts.failed} failed{earlier}; kept in {folder}"
    )
    return Description(headline, facts, tuple(tables), tuple(notes))


def _boundaries(wanted: Sweep, frame: pd.DataFrame) -> list[dict[str, Any]]:
    settings = wanted.adaptive
    if settings is None:
        return []
    found = boundaries(wanted, frame, settings.axis, settings.metric, settings.level)
    return [
        {
            "label": b.label,
            **b.others,
            **{name: getattr(b.fit, name) for name in ("boundary", "low", "high", "level")},
        }
        for b in found
    ]
