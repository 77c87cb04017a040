"""The file of every fitted model: a safetensors file with arrays and one JSON text.

    __metadata__     {"secateurs": JSON with "format", "record" and what a kind of file adds}
    ...              named arrays

A file is untrusted: safetensors checks the sizes it declares against its length, this module
that the JSON is sound; what the record and the arrays mean is checked by whoever asks for them.
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
    """A model file that cannot be used, and why, in one line."""


@dataclass(frozen=True)
class Archive:
    """Content of a file, as `read_archive` found it.

    Attributes
    ----------
    path : Path
        Where it was read from, for messages.
    body : dict
        The decoded JSON; ``body["record"]`` is a dict, nothing else is checked.
    arrays : dict of arrays
    """

    path: Path
    body: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    def record(self, kind: type[RecordType]) -> RecordType:
        """The record, validated; DamagedFileError with the first thing that is wrong."""
        try:
            return kind.model_validate_json(json.dumps(self.body["record"]))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise self.damaged(f"metadata {where}: {first['msg']}") from error

    def float_arrays(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, NDArray[np.float64]]:
        """The arrays, if they are just these: finite float64 of these shapes."""
        if set(self.arrays) != set(shapes):
            raise self.damaged(f"arrays {sorted(self.arrays)}; expected {sorted(shapes)}")
        for name, shape in shapes.items():
            array = self.arrays[name]
            if array.dtype != np.float64 or array.shape != shape or not np.isfinite(array).all():
                raise self.damaged(f"array {name!r} is not finite float64 of shape {shape}")
        return self.arrays

    def require(self, condition: bool, what: str) -> None:
        """Refuse the file unless the condition holds."""
        if not condition:
            raise self.damaged(f"inconsistent metadata ({what})")

    def damaged(self, what: str) -> DamagedFileError:
        """The error that names this file."""
        return DamagedFileError(f"{self.path}: {what}")


def archive_bytes(record: dict[str, Any], arrays: dict[str, NDArray[Any]], **layout: Any) -> bytes:
    """Content of a file; the same input gives the same bytes.

    Parameters
    ----------
    record : dict
        Anything JSON can hold; finite numbers only.
    arrays : dict of arrays
    **layout
        What a kind of file keeps beside its record.
    """
    body = {"format": FORMAT, "record": record, **layout}
    # one metadata entry: safetensors writes several in no fixed order
    text = json.dumps(body, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return safetensors.numpy.save(arrays, metadata={_METADATA: text})


def is_archive(path: str | Path) -> bool:
    """Whether a file is a safetensors file of ours, by its header alone."""
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            return _METADATA in (file.metadata() or {})
    except (safetensors.SafetensorError, OSError):
        return False


def read_archive(path: str | Path) -> Archive:
    """Read a file made of `archive_bytes`.

    Raises
    ------
    FileNotFoundError
    DamagedFileError
        The file is no safetensors file, is cut short, is none of ours, or its JSON is not sound.
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
