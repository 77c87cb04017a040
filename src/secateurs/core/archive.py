"""The file of every fitted model: a safetensors file with arrays and one JSON text.

    __metadata__     {"secateurs": JSON with "checksum", "format", "record" and what a kind adds}
    ...              named arrays

The checksum is the SHA-256 of the whole file with zeros for its own digits.  So every change of a
byte is noticed.  Files of format 1 have no checksum and can still be read.

A file is untrusted.  safetensors compares the sizes that the file declares with its length, and
this module checks that the JSON is sound.  The reader of each kind of file checks what its record
and its arrays mean.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from secateurs.core.input_files import check_input

FORMAT = 2
READABLE = (1, FORMAT)
MAX_JSON = 1 << 26  # characters of metadata
_METADATA = "secateurs"
_DIGITS = 64  # of a checksum
# The JSON stands inside the JSON of the header, so its quotes are escaped.
_BEFORE = b'{\\"checksum\\":\\"'
_HEADER = 1 << 16  # bytes of a file within which the checksum begins
_PIECE = 1 << 20  # bytes that are hashed at once
RecordType = TypeVar("RecordType", bound=BaseModel)


class DamagedFileError(ValueError):
    """A model file cannot be used; the message says why in one line."""


@dataclass(frozen=True)
class Archive:
    """The content of a file as `read_archive` found it.

    Attributes
    ----------
    path : Path
        The path of the file, for messages.
    body : dict
        The decoded JSON.  ``body["record"]`` is a dict; nothing else has been checked.
    arrays : dict of arrays
    """

    path: Path
    body: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    def record(self, kind: type[RecordType]) -> RecordType:
        """Return the validated record, or raise DamagedFileError with the first fault."""
        try:
            return kind.model_validate_json(json.dumps(self.body["record"]))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise self.damaged(f"metadata {where}: {first['msg']}") from error

    def float_arrays(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, NDArray[np.float64]]:
        """Return the arrays, which must be exactly these: finite float64 of these shapes."""
        if set(self.arrays) != set(shapes):
            raise self.damaged(f"arrays {sorted(self.arrays)}; expected {sorted(shapes)}")
        for name, shape in shapes.items():
            array = self.arrays[name]
            if array.dtype != np.float64 or array.shape != shape or not np.isfinite(array).all():
                raise self.damaged(f"array {name!r} is not finite float64 of shape {shape}")
        return self.arrays

    def require(self, condition: bool, what: str) -> None:
        """Raise DamagedFileError unless the condition holds."""
        if not condition:
            raise self.damaged(f"inconsistent metadata ({what})")

    def damaged(self, what: str) -> DamagedFileError:
        """Return an error that names this file."""
        return DamagedFileError(f"{self.path}: {what}")


def archive_bytes(record: dict[str, Any], arrays: dict[str, NDArray[Any]], **layout: Any) -> bytes:
    """Return the content of a file; the same input gives the same bytes.

    Parameters
    ----------
    record : dict
        Any JSON object whose numbers are finite.
    arrays : dict of arrays
    **layout
        Further entries beside the record.
    """
    body = {"checksum": "0" * _DIGITS, "format": FORMAT, "record": record, **layout}
    # a single metadata entry, because safetensors writes several in no fixed order
    text = json.dumps(body, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return sealed(safetensors.numpy.save(arrays, metadata={_METADATA: text}))


def sealed(content: bytes) -> bytes:
    """Return the content of a file of format 2 with the checksum that it should have."""
    start = content.index(_BEFORE) + len(_BEFORE)
    zeros = b"0" * _DIGITS
    unsealed = b"".join((content[:start], zeros, content[start + _DIGITS :]))
    digits = hashlib.sha256(unsealed).hexdigest().encode()
    return b"".join((content[:start], digits, content[start + _DIGITS :]))


def is_archive(path: str | Path) -> bool:
    """Whether the header of a file says that it is a safetensors file written by secateurs."""
    check_input(path)
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            return _METADATA in (file.metadata() or {})
    except (safetensors.SafetensorError, OSError):
        return False


def read_archive(path: str | Path) -> Archive:
    """Read a file whose content is from `archive_bytes`.

    Raises
    ------
    FileNotFoundError
    DamagedFileError
        The file is not a safetensors file, is cut short, was not written by secateurs, its JSON
        is not sound, or its content does not match its checksum.
    ValueError
        The path is a device, a pipe or a socket, or the file is too large.
    """
    path = Path(path)
    if not path.exists() or path.is_dir():
        raise FileNotFoundError(f"no model file at {path}")
    check_input(path)
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            body = _decode((file.metadata() or {}).get(_METADATA), path)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, TypeError) as error:
        raise DamagedFileError(f"{path}: not a readable safetensors file ({error})") from error
    if body["format"] != 1 or "checksum" in body:
        _check_checksum(path, body.get("checksum"))
    return Archive(path, body, arrays)


def _check_checksum(path: Path, written: Any) -> None:
    """Compare the checksum in a file with that of its content."""
    with path.open("rb") as file:
        piece = file.read(_HEADER)
        start = piece.find(_BEFORE) + len(_BEFORE)
        digits = piece[start : start + _DIGITS]
        found = hashlib.sha256(piece[:start] + b"0" * _DIGITS + piece[start + _DIGITS :])
        while piece := file.read(_PIECE):
            found.update(piece)
    if written != found.hexdigest() or digits.decode(errors="replace") != written:
        raise DamagedFileError(
            f"{path}: got content that does not match its checksum; expected the bytes that were "
            "written; copy the file again from where it came from"
        )


def _decode(text: str | None, path: Path) -> dict[str, Any]:
    if text is None:
        raise DamagedFileError(f"{path}: a safetensors file, but not one of secateurs")
    if len(text) > MAX_JSON:
        raise DamagedFileError(f"{path}: metadata of {len(text)} characters, at most {MAX_JSON}")
    try:
        body = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path}: the metadata is not JSON ({error})") from error
    if not isinstance(body, dict):
        raise DamagedFileError(f"{path}: the metadata is not a JSON object")
    version = body.get("format")
    if type(version) is not int or version not in READABLE:
        raise DamagedFileError(
            f"{path}: format {version!r}, this version reads format {FORMAT} and older"
        )
    if not isinstance(body.get("record"), dict):
        raise DamagedFileError(f"{path}: the metadata has no record")
    return body


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a finite number")
