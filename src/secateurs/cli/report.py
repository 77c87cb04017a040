"""The report of a run: one page that opens without a network."""

from __future__ import annotations

from pathlib import Path

from secateurs.cli import recipe
from secateurs.cli.terminal import show_line
from secateurs.core.description import format_bytes
from secateurs.experiments.report import write_report


def report(run: Path, /, *, output: Path = Path("report.html")) -> int:
    """Write one page about a run: settings, environment, claims, an interactive chart, all cells.

    Parameters
    ----------
    run
        Folder that sweep or reproduce made.
    output
        The page (.html); it contains everything it needs and opens without a network.
    """
    recipe.check_options(page=output)
    show_line(f"written: {output}, {format_bytes(write_report(run, output))}")
    return 0
