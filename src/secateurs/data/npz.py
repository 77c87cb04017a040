"""Reading of NumPy archives; nothing in them is executed."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.data.checked_dataset import Dataset, dataset_from_arrays
from secateurs.data.errors import DatasetError, bad_data, check_file, listed, one_line, unreadable

SPLIT_NAMES = ("x_train", "y_train", "x_test", "y_test")
PLAIN_NAMES = ("x", "y")
HOW_TO_WRITE = "write it with numpy.savez"


@contextmanager
def open_npz(path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """Open an archive; give it and its array names, by their lower case."""
    check_file(path)
    if not zipfile.is_zipfile(path):
        raise bad_data(path, "a file that is not an .npz archive", "one", HOW_TO_WRITE)
    try:
        with zipfile.ZipFile(path) as packed:
            check_file(path, sum(one.file_size for one in packed.infolist()))
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            keys = {key.lower(): key for key in archive.files}
            if len(keys) < len(archive.files):
                got = "array names that differ only by case"
                raise bad_data(path, got, "distinct names", "rename them")
            yield archive, keys
    except DatasetError:
        raise
    except Exception as error:  # a damaged file can raise any error of zipfile and numpy
        raise unreadable(path, error, "an .npz archive", HOW_TO_WRITE) from error


def npz_array(archive: Any, key: str, path: Path) -> NDArray[Any]:
    """Read an array of an open archive.  A pickled array is refused."""
    try:
        array = archive[key]
    except Exception as error:
        got = f"array {key!r}, which cannot be read ({one_line(error)})"
        raise bad_data(path, got, "a plain array of numbers or text") from error
    if not isinstance(array, np.ndarray):
        raise bad_data(path, f"{key!r}, which is not an array", "arrays", HOW_TO_WRITE)
    if array.dtype.kind == "U" and array.size and array.dtype.itemsize:
        codes = np.ascontiguousarray(array).view(f"{array.dtype.byteorder}u4".replace("=", ""))
        if codes.max() > sys.maxunicode:  # Python could not make a text of it
            raise bad_data(path, f"array {key!r} of characters that do not exist", "text")
    if array.dtype.itemsize == 0:  # any number of them takes no bytes
        raise bad_data(path, f"array {key!r} of empty entries", "numbers or text")
    return array


def dataset_from_npz(path: Path, task: str | None) -> Dataset:
    """Read inputs and targets, and test rows if the archive has them."""
    with open_npz(path) as (archive, keys):
        names = next((n for n in (SPLIT_NAMES, PLAIN_NAMES) if set(n[:2]) <= keys.keys()), None)
        if names is None:
            expected = "the arrays x_train, y_train and optionally x_test, y_test, or X, y"
            raise bad_data(path, listed(archive.files), expected)
        test_names = [name for name in names[2:] if name in keys]
        if len(test_names) == 1:
            raise bad_data(path, f"{test_names[0]} alone", "both of x_test and y_test, or neither")
        arrays = {name: npz_array(archive, keys[name], path) for name in (*names[:2], *test_names)}
    X, y = (arrays[name] for name in names[:2])
    return dataset_from_arrays(
        path, X, y, task, "y", X_test=arrays.get("x_test"), y_test=arrays.get("y_test")
    )


def inputs_from_npz(path: Path) -> NDArray[Any]:
    """Read the array X or, without one, x_test."""
    with open_npz(path) as (archive, keys):
        for name in ("x", "x_test"):
            if name in keys:
                return npz_array(archive, keys[name], path)
        raise bad_data(path, listed(archive.files), "an array X or x_test")
