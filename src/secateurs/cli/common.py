"""What the commands share: options, progress, output."""

from __future__ import annotations

import json as jsonlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from secateurs.core.certificate import Certificate
from secateurs.core.solution import Progress as TrainingProgress
from secateurs.core.solution import ProgressCallback

TEST_SHARE = 0.2  # rows set aside for the score where a data set has no test rows
BAD_INPUT, INTERRUPTED = 2, 130

out = Console()
err = Console(stderr=True)


class UsageError(ValueError):
    """Options that make no sense together."""


def integers(option: str, text: str) -> tuple[int, ...]:
    """Read integers >= 1 separated by commas."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise UsageError(f"{option} {text!r}: expected integers >= 1 such as 300,100")
    return numbers


def check_seed(seed: int) -> None:
    """Refuse a seed that numpy and torch do not take."""
    if not 0 <= seed < 2**32:
        raise UsageError(f"--seed {seed}: expected an integer from 0 to 2**32 - 1")


def check_outputs(output: Path | None, plot: Path | None) -> None:
    """Refuse a file that could not be written before any work is done."""
    for file in (output, plot):
        if file is None:
            continue
        if file.is_dir():
            raise UsageError(f"{file}: is a directory; give the name of a file")
        if not file.parent.is_dir():
            raise UsageError(f"{file}: there is no directory {file.parent}; make it first")
        if not os.access(file.parent, os.W_OK):
            raise UsageError(f"{file}: the directory {file.parent} is not writable")
    if plot is not None:
        from secateurs.core.figures import figure_format

        figure_format(plot)


@contextmanager
def progress(quiet: bool, counted: str = "weights") -> Iterator[Callable[[str], ProgressCallback]]:
    """One bar per method on standard error: loss, what is counted, and time left."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn(f"loss {{task.fields[loss]:.4g}}  {counted} {{task.fields[count]}}"),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=quiet or not err.is_terminal,
    ) as bars:

        def show(label: str) -> ProgressCallback:
            bar = bars.add_task(label, total=None, loss=float("nan"), count=0)

            def update(state: TrainingProgress) -> None:
                bars.update(
                    bar,
                    total=state.n_steps,
                    completed=state.step,
                    loss=state.loss,
                    count=state.n_nonzero,
                )

            return update

        yield show


def print_certificate(certificate: Certificate) -> None:
    """One line a check: verdict, name, statement."""
    out.print("Certificate:")
    for check in certificate.checks:
        out.print(f"  {check.verdict:8}{check.name}: {check.statement}", highlight=False)


def size(n_bytes: int) -> str:
    """Bytes as a person reads them."""
    if n_bytes < 1000:
        return f"{n_bytes} B"
    if n_bytes < 1_000_000:
        return f"{n_bytes / 1000:.1f} kB"
    return f"{n_bytes / 1_000_000:.1f} MB"


def print_written(*files: Path | None) -> None:
    """One line for each file that was written."""
    for file in files:
        if file is not None:
            out.print(f"written: {file}", highlight=False, soft_wrap=True)


def print_json(record: dict[str, Any]) -> None:
    """One JSON object on standard output."""
    sys.stdout.write(jsonlib.dumps(record, allow_nan=False) + "\n")
