"""The file of a sparse network: an archive with the keys and values of every layer.

layer.0.keys     uint16, uint32 or int64    row * (n_in + 1) + column, increasing
layer.0.values   float32, or float64 where a solver is exact
...              1-D arrays that the caller adds
"widths"         in the JSON: inputs, hidden units, outputs
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.core.archive import Archive, archive_bytes
from secateurs.sparse.network import MAX_INPUTS, MAX_UNITS, SparseNetwork

MAX_LAYERS = 1000
_KEY_TYPES = (np.uint16, np.uint32, np.int64)
_VALUE_TYPES = (np.float32, np.float64)


def network_bytes(
    network: SparseNetwork, record: dict[str, Any], arrays: dict[str, NDArray[Any]] | None = None
) -> bytes:
    """Return the content of the file of a network; the same input gives the same bytes.

    Parameters
    ----------
    network : SparseNetwork
    record : dict
        Any JSON object whose numbers are finite.
    arrays : dict of 1-D arrays, optional
        Further arrays to store.

    Returns
    -------
    bytes
        About 6 to 8 bytes for each weight, plus the JSON.
    """
    tensors: dict[str, NDArray[Any]] = dict(arrays or {})
    for layer, (keys, values) in enumerate(zip(network.keys, network.values, strict=True)):
        n_keys = (network.widths[layer] + 1) * network.widths[layer + 1]
        tensors[f"layer.{layer}.keys"] = keys.astype(_key_type(n_keys))
        tensors[f"layer.{layer}.values"] = values
    return archive_bytes(record, tensors, widths=list(network.widths))


def archived_network(archive: Archive) -> tuple[SparseNetwork, dict[str, NDArray[Any]]]:
    """Return the network in a file, and the arrays that are not its weights.

    Raises
    ------
    DamagedFileError
        The weights are not those of a network: keys are not increasing or out of range, lengths
        differ, or values are not finite.
    """
    widths = _checked_widths(archive)
    arrays = dict(archive.arrays)
    for name, array in arrays.items():
        if array.ndim != 1:
            raise archive.damaged(f"array {name!r} is not one-dimensional")
    keys, values = [], []
    for layer, (n_in, n_out) in enumerate(pairwise(widths)):
        for name in (f"layer.{layer}.keys", f"layer.{layer}.values"):
            if name not in arrays:
                raise archive.damaged(f"array {name!r} is missing")
        key, value = arrays.pop(f"layer.{layer}.keys"), arrays.pop(f"layer.{layer}.values")
        fault = _fault(key, value, (n_in + 1) * n_out)
        if fault is not None:
            raise archive.damaged(f"layer {layer}: {fault}")
        keys.append(key.astype(np.int64))
        values.append(value)
    return SparseNetwork(widths, keys, values), arrays


def _key_type(n_keys: int) -> type[np.integer[Any]]:
    for dtype in (np.uint16, np.uint32):
        if n_keys <= np.iinfo(dtype).max:
            return dtype
    return np.int64


def _checked_widths(archive: Archive) -> tuple[int, ...]:
    widths = archive.body.get("widths")
    valid = (
        isinstance(widths, list)
        and 2 <= len(widths) <= MAX_LAYERS
        and all(type(width) is int and width >= 1 for width in widths)
        and widths[0] <= MAX_INPUTS
        and all(width <= MAX_UNITS for width in widths[1:])
        and all((a + 1) * b < 2**63 for a, b in pairwise(widths))
    )
    if not isinstance(widths, list) or not valid:
        raise archive.damaged(f"widths {repr(widths)[:80]} are not those of a network")
    return tuple(widths)


def _fault(keys: NDArray[Any], values: NDArray[Any], n_keys: int) -> str | None:
    """Describe the first fault in the weights of a layer with `n_keys` places, or return None."""
    if keys.dtype not in _KEY_TYPES or values.dtype not in _VALUE_TYPES:
        return "arrays of the wrong type"
    if len(keys) != len(values):
        return "keys and values of different lengths"
    if len(keys) and (keys[0] < 0 or int(keys[-1]) >= n_keys or (keys[1:] <= keys[:-1]).any()):
        return "keys are not increasing or point outside the layer"
    if not np.isfinite(values).all():
        return "some weights are not finite"
    return None
