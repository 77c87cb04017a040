"""NumPy archives, read without trust, and the error of every data file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class DatasetError(ValueError):
    """Data that cannot be used, and why, in one line."""


@contextmanager
def open_npz(path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """An open archive and the names of its arrays by their lower case."""
    if not zipfile.is_zipfile(path):
        raise DatasetError(f"{path}: not an .npz archive; write it with numpy.savez")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            keys = {key.lower(): key for key in archive.files}
            if len(keys) < len(archive.files):
                raise DatasetError(f"{path}: array names differ only by case; rename them")
            yield archive, keys
    except DatasetError:
        raise
    except Exception as error:  # zipfile and numpy raise what they please on damaged files
        raise DatasetError(f"{path}: cannot be read ({one_line(error)})") from error


def npz_array(archive: Any, key: str, path: Path) -> NDArray[Any]:
    """An array of an open archive; never a pickle."""
    try:
        array = archive[key]
    except Exception as error:
        raise DatasetError(
            f"{path}: array {key!r} cannot be read ({one_line(error)}); expected a plain array "
            "of numbers or text"
        ) from error
    if not isinstance(array, np.ndarray):
        raise DatasetError(f"{path}: {key!r} is not an array; write it with numpy.savez")
    return array


def refuse_non_finite(values: NDArray[Any], source: str | Path, label: str) -> None:
    """Raise DatasetError at the first NaN or infinity."""
    if values.dtype.kind != "f":
        return
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):  # cheap, and enough unless the sum itself overflows
            return
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        raise DatasetError(
            f"{source}: {label} has {len(bad)} entries that are NaN or infinite, the first at "
            f"{tuple(bad[0].tolist())}; fill them or delete their rows"
        )


def listed(names: list[str]) -> str:
    """Names for a message, not too many of them."""
    shown = ", ".join(repr(name) for name in names[:30])
    return f"{shown} and {len(names) - 30} more" if len(names) > 30 else shown or "nothing"


def one_line(error: BaseException) -> str:
    """What an error says, for a message."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
