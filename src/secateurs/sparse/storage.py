"""The file of a sparse network: safetensors with 1-D arrays, and one JSON text.

    layer.0.keys     uint16, uint32 or int64    row * (n_in + 1) + column, increasing
    layer.0.values   float32, or float64 where exactness is the point
    ...              whatever 1-D arrays the caller adds
    __metadata__     {"secateurs": JSON with "format", "widths" and the caller's "record"}

A file is untrusted: everything is checked against its declared sizes before arrays are made.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from secateurs.files import write_atomically
from secateurs.sparse.network import MAX_INPUTS, MAX_UNITS, SparseNetwork

FORMAT = 1
MAX_LAYERS = 1000
MAX_JSON = 1 << 26  # characters of metadata
_KEY_TYPES = {"U16": np.uint16, "U32": np.uint32, "I64": np.int64}
_METADATA = "secateurs"


class DamagedFileError(ValueError):
    """A model file that cannot be used, and why, in one line."""


def network_bytes(
    network: SparseNetwork, record: dict[str, Any], arrays: dict[str, NDArray[Any]] | None = None
) -> bytes:
    """Content of the file of a network; the same input gives the same bytes.

    Parameters
    ----------
    network : SparseNetwork
    record : dict
        Anything JSON can hold; finite numbers only.
    arrays : dict of 1-D arrays, optional
        Stored beside the weights.

    Returns
    -------
    bytes
        About 6 to 8 bytes a weight plus the JSON.
    """
    tensors: dict[str, NDArray[Any]] = dict(arrays or {})
    for layer, (keys, values) in enumerate(zip(network.keys, network.values, strict=True)):
        n_keys = (network.widths[layer] + 1) * network.widths[layer + 1]
        tensors[f"layer.{layer}.keys"] = keys.astype(_key_type(n_keys))
        tensors[f"layer.{layer}.values"] = values
    body = {"format": FORMAT, "widths": list(network.widths), "record": record}
    # one metadata entry: safetensors writes several in no fixed order
    text = json.dumps(body, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return safetensors.numpy.save(tensors, metadata={_METADATA: text})


def write_network(
    path: str | Path,
    network: SparseNetwork,
    record: dict[str, Any],
    arrays: dict[str, NDArray[Any]] | None = None,
) -> int:
    """Write a network to a file, atomically; the number of bytes is returned."""
    content = network_bytes(network, record, arrays)
    write_atomically(path, content)
    return len(content)


def read_network(
    path: str | Path,
) -> tuple[SparseNetwork, dict[str, Any], dict[str, NDArray[Any]]]:
    """Read and check a file made by `write_network`.

    Returns
    -------
    network : SparseNetwork
    record : dict
        As decoded from JSON; its content is for the caller to check.
    arrays : dict of 1-D arrays
        The arrays that are not weights.

    Raises
    ------
    FileNotFoundError
    DamagedFileError
        The file is no safetensors file, is cut short, or holds anything a network cannot:
        unordered or out-of-range keys, lengths that differ, values that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no model file at {path}")
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            body = _decode((file.metadata() or {}).get(_METADATA), path)
            widths = _check_widths(body.get("widths"), path)
            shapes = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            _check_layout(shapes, widths, path)
            arrays = {name: file.get_tensor(name) for name in shapes}
    except (safetensors.SafetensorError, OSError, TypeError) as error:
        raise DamagedFileError(f"{path}: not a readable safetensors file ({error})") from error
    keys, values = [], []
    for layer, (n_in, n_out) in enumerate(pairwise(widths)):
        key = arrays.pop(f"layer.{layer}.keys").astype(np.int64)
        value = arrays.pop(f"layer.{layer}.values")
        _check_weights(key, value, (n_in + 1) * n_out, f"{path}: layer {layer}")
        keys.append(key)
        values.append(value)
    record = body.get("record")
    if not isinstance(record, dict):
        raise DamagedFileError(f"{path}: the metadata has no record")
    return SparseNetwork(widths, keys, values), record, arrays


def _key_type(n_keys: int) -> type[np.integer[Any]]:
    for dtype in (np.uint16, np.uint32):
        if n_keys <= np.iinfo(dtype).max:
            return dtype
    return np.int64


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
    return body


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a finite number")


def _check_widths(widths: Any, path: Path) -> tuple[int, ...]:
    valid = (
        isinstance(widths, list)
        and 2 <= len(widths) <= MAX_LAYERS
        and all(type(width) is int and width >= 1 for width in widths)
        and widths[0] <= MAX_INPUTS
        and all(width <= MAX_UNITS for width in widths[1:])
        and all((a + 1) * b < 2**63 for a, b in pairwise(widths))
    )
    if not valid:
        shown = repr(widths)[:80]
        raise DamagedFileError(f"{path}: widths {shown} are not those of a network")
    return tuple(widths)


def _check_layout(shapes: dict[str, Any], widths: tuple[int, ...], path: Path) -> None:
    """Names, types and lengths, from the header alone."""
    for name, view in shapes.items():
        if len(view.get_shape()) != 1:
            raise DamagedFileError(f"{path}: array {name!r} is not one-dimensional")
    for layer in range(len(widths) - 1):
        names = f"layer.{layer}.keys", f"layer.{layer}.values"
        for name in names:
            if name not in shapes:
                raise DamagedFileError(f"{path}: array {name!r} is missing")
        keys, values = (shapes[name] for name in names)
        if keys.get_dtype() not in _KEY_TYPES or values.get_dtype() not in ("F32", "F64"):
            raise DamagedFileError(f"{path}: layer {layer} has arrays of the wrong type")
        if keys.get_shape() != values.get_shape():
            raise DamagedFileError(
                f"{path}: layer {layer} has keys and values of different lengths"
            )
        n_keys = (widths[layer] + 1) * widths[layer + 1]
        if keys.get_shape()[0] > n_keys:
            raise DamagedFileError(f"{path}: layer {layer} has more weights than places")


def _check_weights(keys: NDArray[np.int64], values: NDArray[Any], n_keys: int, where: str) -> None:
    if len(keys) and (keys[0] < 0 or keys[-1] >= n_keys or (np.diff(keys) <= 0).any()):
        raise DamagedFileError(f"{where}: keys are not increasing or point outside the layer")
    if not np.isfinite(values).all():
        raise DamagedFileError(f"{where}: some weights are not finite")
