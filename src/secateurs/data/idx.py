"""Reading of IDX files, the format of MNIST."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from secateurs.data.checked_dataset import Dataset, dataset_from_arrays
from secateurs.data.errors import bad_data, check_file, unreadable

#: Largest content of a compressed file, in bytes.  The user must unpack a larger one.
MAX_IDX_GZ_BYTES = 4 << 30

FETCH_AGAIN = "fetch the file again"
_NAME = re.compile(r"(?P<stem>.*)(?P<kind>images|labels)(?P<sep>[-.])idx\d-ubyte(\.gz)?")
_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CHUNK = 1 << 20  # bytes read at once


def is_idx_name(path: Path) -> bool:
    """Whether a file is named like an IDX file of images or labels."""
    return _NAME.fullmatch(path.name) is not None


def dataset_from_idx_directory(path: Path, task: str | None) -> Dataset:
    """Read the four files of MNIST: images and labels, to train on and to test on."""
    found: list[Path] = []
    for stem in ("train", "t10k"):
        for kind, ndim in (("images", 3), ("labels", 1)):
            names = [f"{stem}-{kind}{separator}idx{ndim}-ubyte" for separator in "-."]
            files = [path / (name + suffix) for suffix in ("", ".gz") for name in names]
            present = [file for file in files if file.is_file()]
            if not present:
                expected = "the four IDX files of MNIST (train-* and t10k-*), with or without .gz"
                raise bad_data(path, f"a directory without {names[0]}", expected)
            found.append(present[0])
    X, y, X_test, y_test = (read_idx(file) for file in found)
    return dataset_from_arrays(path, X, y, task, "label", X_test=X_test, y_test=y_test)


def dataset_from_idx_images(path: Path, task: str | None) -> Dataset:
    """Read a file of images, and their labels from the file beside it."""
    match = _NAME.fullmatch(path.name)
    assert match is not None
    if match["kind"] == "labels":
        raise bad_data(path, "a file of labels", "the file of images beside it")
    name = f"{match['stem']}labels{match['sep']}idx1-ubyte"
    for labels in (path.with_name(name), path.with_name(name + ".gz")):
        if labels.is_file():
            return dataset_from_arrays(path, read_idx(path), read_idx(labels), task, "label")
    raise bad_data(path, "images without labels", f"a file {name} beside it, with or without .gz")


def read_idx(path: Path) -> NDArray[Any]:
    """Parse an IDX file: 0, 0, type, ndim, the dimensions (big-endian uint32), the entries.

    The size that the header announces is compared with the size of the file before the entries
    are read.  A compressed file is unpacked up to one byte beyond the announced size.
    """
    packed = path.suffix.lower() == ".gz"
    check_file(path)
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            dtype, shape, header = _read_header(file, path)
            entries = math.prod(shape) * dtype.itemsize
            if entries == 0:
                raise bad_data(path, f"an empty array of shape {shape}", "at least one entry")
            expected = f"{header + entries} for shape {shape}"
            if packed and entries > MAX_IDX_GZ_BYTES:
                got = f"a compressed file of {entries} bytes"
                raise bad_data(path, got, f"at most {MAX_IDX_GZ_BYTES}", "unpack it first")
            check_file(path, entries)
            size = path.stat().st_size
            if not packed and size != header + entries:
                raise bad_data(path, f"{size} bytes", expected, FETCH_AGAIN)
            content = bytearray()
            while chunk := file.read(min(_CHUNK, entries + 1 - len(content))):
                content += chunk
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error, "an IDX file", FETCH_AGAIN) from error
    if len(content) != entries:
        more = " or more" if len(content) > entries else ""
        raise bad_data(path, f"{header + len(content)} bytes{more}", expected, FETCH_AGAIN)
    array = np.frombuffer(content, dtype=dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_header(
    file: IO[bytes] | gzip.GzipFile, path: Path
) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Read the type and shape of the entries, and the length of the header in bytes."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES:
        got = f"a file that starts with {magic.hex() or 'nothing'}"
        raise bad_data(path, got, "the IDX header 00 00, a type and a number of dimensions")
    if not 1 <= magic[3] <= 3:
        raise bad_data(path, f"{magic[3]} dimensions", "1 for labels, 2 or 3 for images")
    raw = file.read(4 * magic[3])
    length = 4 + 4 * magic[3]
    if 4 + len(raw) < length:
        raise bad_data(path, f"{4 + len(raw)} bytes", f"{length} for the IDX header alone")
    shape = tuple(int(size) for size in np.frombuffer(raw, dtype=">u4"))
    return np.dtype(_DTYPES[magic[2]]), shape, length
