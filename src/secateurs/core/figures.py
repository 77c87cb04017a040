"""Write figures to files, and the colours that all figures share."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import (
    FixedFormatter,
    FuncFormatter,
    LogFormatter,
    LogFormatterSciNotation,
)

from secateurs.core.atomic_write import write_atomically
from secateurs.core.output_files import check_output
from secateurs.core.parameters import bad_value
from secateurs.core.visible_text import visible

FORMATS = ("png", "pdf", "svg")
OURS, OTHERS, SOFT = "#1b6e3c", "#8a8f98", "#d9dce1"
_DPI = 150
_RAISED = str.maketrans("0123456789-.", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻·")


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure atomically, in the format given by the ending of its name.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Its dollars begin no formulas: all texts are shown as they are.
    path : str or Path
        The file; a figure that is there is replaced.

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
    with rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing|constrained_layout not applied")
        _names_are_text(figure)
        figure.savefig(stream, format=kind, dpi=_DPI, metadata=metadata)
    write_atomically(path, stream.getvalue())


def _names_are_text(figure: Figure) -> None:
    """Let dollars in a text begin no formula, and show what cannot be seen as escapes."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            major, minor = axis.get_major_formatter(), axis.get_minor_formatter()
            if isinstance(major, LogFormatter) and isinstance(minor, LogFormatter):
                axis.set_major_formatter(_Powers(labelOnlyBase=major.labelOnlyBase))
                axis.set_minor_formatter(_Powers(labelOnlyBase=minor.labelOnlyBase))
            elif isinstance(major, FuncFormatter | FixedFormatter):
                named: Any = major  # names that were given for the ticks
                axis.set_major_formatter(FuncFormatter(lambda x, at, f=named: visible(f(x, at))))
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
        text.set_text(visible(text.get_text(), lines=True))


class _Powers(LogFormatterSciNotation):
    """Ticks of a logarithmic axis, as 10³ instead of a formula."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        formula = super().__call__(x, pos)
        text = re.sub(r"^\$\\mathdefault\{(.*)\}\$$", r"\1", formula).replace(r"\times", "×")
        return re.sub(r"\^\{(.*?)\}", lambda power: power[1].translate(_RAISED), text)


def figure_format(path: str | Path) -> str:
    """Return the format of a figure from the ending of its name."""
    kind = Path(path).suffix.lower().lstrip(".")
    if kind not in FORMATS:
        raise bad_value("figure", str(path), f"a name that ends in .{', .'.join(FORMATS)}")
    return kind
