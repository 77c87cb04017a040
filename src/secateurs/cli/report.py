"""A run as one page."""

from __future__ import annotations

from pathlib import Path

from secateurs.cli.common import check_outputs, out, size
from secateurs.experiments.report import write_report


def report(run: Path, /, *, output: Path = Path("report.html")) -> int:
    """Write one page of a run: settings, environment, claims, an interactive chart, all cells.

    Parameters
    ----------
    run
        Folder that sweep or reproduce made.
    output
        The page (.html); it holds all it needs and opens without a network.
    """
    check_outputs(output, None)
    n_bytes = write_report(run, output)
    out.print(f"written: {output}, {size(n_bytes)}", highlight=False, soft_wrap=True)
    return 0
