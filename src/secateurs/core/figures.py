"""Figures as files, and the colours that all of them share."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from secateurs.core.atomic_write import write_atomically

FORMATS = ("png", "pdf", "svg")
OURS, OTHERS, SOFT = "#1b6e3c", "#8a8f98", "#d9dce1"
_DPI = 150


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure in the format its name ends in, atomically.

    Raises
    ------
    ValueError
        The name ends in none of `FORMATS`.
    """
    kind = figure_format(path)
    stream = io.BytesIO()
    # no date in the file: the same figure gives the same bytes
    metadata: dict[str, Any] = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}[
        kind
    ]
    figure.savefig(stream, format=kind, dpi=_DPI, metadata=metadata)
    write_atomically(path, stream.getvalue())


def figure_format(path: str | Path) -> str:
    """Format a figure is written in, from the end of its name."""
    kind = Path(path).suffix.lower().lstrip(".")
    if kind not in FORMATS:
        raise ValueError(f"{path}: a figure's name must end in .{', .'.join(FORMATS)}")
    return kind
