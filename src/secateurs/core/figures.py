"""Write figures to files, and the colours that all figures share."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from secateurs.core.atomic_write import write_atomically
from secateurs.core.output_files import check_output
from secateurs.core.parameters import bad_value

FORMATS = ("png", "pdf", "svg")
OURS, OTHERS, SOFT = "#1b6e3c", "#8a8f98", "#d9dce1"
_DPI = 150


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure atomically, in the format given by the ending of its name.

    Raises
    ------
    ValueError
        The name does not end in one of `FORMATS`, the path cannot be written, or a file is there
        that is no figure.
    """
    kind = figure_format(path)
    check_output(path, "figure")
    stream = io.BytesIO()
    # without a date, so that the same figure gives the same bytes
    metadata: dict[str, Any] = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}[
        kind
    ]
    figure.savefig(stream, format=kind, dpi=_DPI, metadata=metadata)
    write_atomically(path, stream.getvalue())


def figure_format(path: str | Path) -> str:
    """Return the format of a figure from the ending of its name."""
    kind = Path(path).suffix.lower().lstrip(".")
    if kind not in FORMATS:
        raise bad_value("figure", str(path), f"a name that ends in .{', .'.join(FORMATS)}")
    return kind
