"""Read linear measurements of a matrix from a file.

The file is an .npz archive of y [n] and one of

    A        [n, d, d] symmetric matrices, or [n, d (d + 1) / 2] packed ones
    X        [n, d]: the measurements are x_i^T M x_i
    rows, columns [n] and d: entries of M
    paulis   [n] texts such as XIZY: expectations of Pauli strings

"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.core.parameters import Shown, bad_value
from secateurs.data.errors import DatasetError, listed, refuse_non_finite
from secateurs.data.npz import npz_array, open_npz
from secateurs.sensing.operators.base import SensingOperator, shape_of
from secateurs.sensing.operators.dense import PackedDense, pack
from secateurs.sensing.operators.entries import Entries
from secateurs.sensing.operators.pauli import Pauli
from secateurs.sensing.operators.rank_one import RankOne

KINDS = {
    "a": "stored matrices",
    "x": "rank-one measurements",
    "rows": "entries",
    "paulis": "Pauli strings",
}
ARRAYS = {"a": ("a",), "x": ("x",), "rows": ("rows", "columns", "d"), "paulis": ("paulis",)}


def load_measurements(path: str | Path) -> tuple[SensingOperator, NDArray[np.float64], str]:
    """Read measurements and their operator.

    Parameters
    ----------
    path : str or Path
        An .npz archive with y and one of A, X, paulis, or rows with columns and d.

    Returns
    -------
    operator : SensingOperator
        `PackedDense`, `RankOne`, `Pauli` or `Entries`, by the arrays of the file.
    y : array, shape [n]
        The measurements, in float64.
    kind : str
        The kind of measurements, in words.

    Raises
    ------
    DatasetError
        The message names the file, the array and the problem.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetError(f"{path}: no such file; give an .npz archive with y and A, X or rows")
    with open_npz(path) as (archive, keys):
        found = [name for name in KINDS if name in keys]
        if "y" not in keys or len(found) != 1:
            raise DatasetError(
                f"{path}: got {listed(archive.files)}; expected y and one of: A, X, paulis, or "
                "rows with columns and d"
            )
        (kind,) = found
        for name in ARRAYS[kind]:
            if name not in keys:
                raise DatasetError(f"{path}: got rows but no {name}; give rows, columns and d")
        arrays = {name: npz_array(archive, keys[name], path) for name in ("y", *ARRAYS[kind])}
    for name, label in (("y", "y"), ("a", "A"), ("x", "X")):
        if name in arrays:
            arrays[name] = _real(arrays[name], path, label)
    y = arrays.pop("y").astype(np.float64)
    try:
        operator = _operator(kind, *arrays.values())
    except ValueError as error:
        raise DatasetError(f"{path}: {error}") from error
    if y.shape != (operator.shape[0],):
        raise DatasetError(f"{path}: y: got {shape_of(y)}; expected shape [{operator.shape[0]}]")
    return operator, y, KINDS[kind]


def _operator(kind: str, first: NDArray[Any], *others: NDArray[Any]) -> SensingOperator:
    if kind == "a":
        return PackedDense(_packed(first) if first.ndim == 3 else first)
    if kind == "x":
        return RankOne(first)
    if kind == "rows":
        columns, d = others
        if d.size != 1 or d.dtype.kind not in "iu":
            raise bad_value("d", Shown(f"shape {d.shape}, type {d.dtype}"), "an integer")
        return Entries(int(d.reshape(())), first, columns)
    return Pauli(*_masks(first))


def _packed(A: NDArray[Any]) -> NDArray[Any]:
    if A.shape[1] != A.shape[2] or not np.allclose(A, A.transpose(0, 2, 1)):
        raise bad_value(
            "A",
            shape_of(A),
            "symmetric matrices",
            "use (A + A transposed) / 2, which gives a symmetric M the same measurements",
        )
    return pack(A)


def _masks(strings: NDArray[Any]) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Convert strings of I, X, Y and Z to the number of qubits and the masks x and z."""
    if strings.ndim != 1 or strings.dtype.kind != "U" or not len(strings):
        got = Shown(f"shape {strings.shape}, type {strings.dtype}")
        raise bad_value("paulis", got, "[n] texts")
    n_qubits = len(strings[0])
    x, z = (np.zeros(len(strings), dtype=np.int64) for _ in range(2))
    for i, text in enumerate(strings.tolist()):
        if len(text) != n_qubits or set(text) - set("IXYZ"):
            raise bad_value("paulis", text, f"{n_qubits} letters of I, X, Y, Z")
        for letter in text:
            x[i] = 2 * x[i] + (letter in "XY")
            z[i] = 2 * z[i] + (letter in "YZ")
    return n_qubits, x, z


def _real(array: NDArray[Any], path: Path, label: str) -> NDArray[Any]:
    """Return finite real numbers as float32 or float64."""
    if array.dtype.kind not in "fiub":
        raise DatasetError(f"{path}: {label}: got type {array.dtype}; expected real numbers")
    refuse_non_finite(array, path, label)
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
