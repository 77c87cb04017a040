"""The error of every data file, in the grammar ``SOURCE: got X; expected Y; do Z``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from secateurs.core.input_files import check_unpacked
from secateurs.core.parameters import Shown, bad_value

MAX_LISTED = 30  # names in a message
MAX_CAUSE = 300  # characters of another error in a message


class DatasetError(ValueError):
    """Data that cannot be used.  The message is one line."""


def bad_data(source: str | Path, got: str, expected: str, do: str = "") -> DatasetError:
    """Make the error for a file or data set that cannot be used."""
    return DatasetError(f"{source}: got {got}; expected {expected}" + (f"; {do}" if do else ""))


def bad_column(name: str, got: str, expected: str, do: str = "") -> ValueError:
    """Make the error for a column of a table that cannot be used."""
    return bad_value(f"column {name!r}", Shown(got), expected, do)


def unreadable(source: str | Path, error: BaseException, expected: str, do: str) -> DatasetError:
    """Make the error for a file that another library could not read."""
    return bad_data(source, f"a file that cannot be read ({one_line(error)})", expected, do)


def refuse_non_finite(values: NDArray[np.generic], source: str | Path, label: str) -> None:
    """Raise DatasetError if there is a NaN or an infinity, and say where the first one is."""
    if values.dtype.kind != "f":
        return
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):  # cheap, and enough unless the sum itself overflows
            return
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        first = tuple(bad[0].tolist())
        got = f"{label} with {len(bad)} NaN or infinite entries, the first at {first}"
        raise bad_data(source, got, "finite numbers", "fill these entries or delete their rows")


def check_file(path: Path, n_unpacked: int = 0) -> None:
    """Raise DatasetError unless a file is a regular one whose content has a bounded size.

    Parameters
    ----------
    path : Path
    n_unpacked : int
        Bytes that the file says it unpacks to.
    """
    try:
        check_unpacked(path, n_unpacked)
    except (ValueError, FileNotFoundError) as error:
        raise DatasetError(one_line(error)) from error


def listed(names: list[str], most: int = MAX_LISTED) -> str:
    """Write names for a message; at most `most` of them."""
    shown = ", ".join(repr(name) for name in names[:most])
    more = len(names) - most
    return f"{shown} and {more} more" if more > 0 else shown or "nothing"


def one_line(error: BaseException) -> str:
    """Write the message of an error in one line of at most `MAX_CAUSE` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= MAX_CAUSE else text[: MAX_CAUSE - 3] + "..."
