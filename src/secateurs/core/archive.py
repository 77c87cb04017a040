"""The file of every fitted model: a safetensors file with arrays and one JSON text.

    __metadata__     {"secateurs": JSON with "format", "record" and what a kind of file adds}
    ...              named arrays

A file is untrusted.  safetensors compares the sizes that the file declares with its length, and
this module checks that the JSON is sound.  The reader of each kind of file checks what its record
and its arrays mean.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

FORMAT = 1
MAX_JSON = 1 << 26  # characters of metadata
_METADATA = "secateurs"
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
    body = {"format": FORMAT, "record": record, **layout}
    # a single metadata entry, because safetensors writes several in no fixed order
    text = json.dumps(body, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return safetensors.numpy.save(arrays, metadata={_METADATA: text})


def is_archive(path: str | Path) -> bool:
    """Whether the header of a file says that it is a safetensors file written by secateurs."""
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
        The file is not a safetensors file, is cut short, was not written by secateurs, or its
        JSON is not sound.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no model file at {path}")
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            body = _decode((file.metadata() or {}).get(_METADATA), path)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, TypeError) as error:
        raise DamagedFileError(f"{path}: not a readable safetensors file ({error})") from error
    return Archive(path, body, arrays)


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
    if body.get("format") != FORMAT:
        raise DamagedFileError(
            f"{path}: format {body.get('format')!r}, this version reads format {FORMAT}"
        )
    if not isinstance(body.get("record"), dict):
        raise DamagedFileError(f"{path}: the metadata has no record")
    return body


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a finite number")
