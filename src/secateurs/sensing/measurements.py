"""Linear measurements of a matrix, from a file.

An .npz archive of y [n] and one of

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

from secateurs.data.errors import DatasetError, listed, refuse_non_finite
from secateurs.data.npz import npz_array, open_npz
from secateurs.sensing.operators.base import SensingOperator
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


def load_measurements(path: str | Path) -> tuple[SensingOperator, NDArray[np.float64], str]:
    """Read measurements and what was measured.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    operator : SensingOperator
    y : array, shape [n]
    kind : str
        In words.

    Raises
    ------
    DatasetError
        The file, the array and what is wrong with it.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetError(f"{path}: no such file; give an .npz archive with y and A, X or rows")
    with open_npz(path) as (archive, keys):
        found = [name for name in KINDS if name in keys]
        if "y" not in keys or len(found) != 1:
            raise DatasetError(
                f"{path}: holds {listed(archive.files)}; expected y and one of: A, X, paulis, or "
                "rows with columns and d"
            )
        wanted = {"rows": ("rows", "columns", "d")}.get(found[0], (found[0],))
        missing = [name for name in wanted if name not in keys]
        if missing:
            raise DatasetError(f"{path}: has rows but no {missing[0]}; give rows, columns and d")
        arrays = {name: npz_array(archive, keys[name], path) for name in ("y", *wanted)}
    y = _real(arrays.pop("y"), path, "y").astype(np.float64)
    try:
        operator = _operator(arrays, path)
    except DatasetError:
        raise
    except ValueError as error:
        raise DatasetError(f"{path}: {error}") from error
    if y.shape != (operator.shape[0],):
        raise DatasetError(
            f"{path}: y has shape {y.shape}, but there are {operator.shape[0]} measurements"
        )
    return operator, y, KINDS[found[0]]


def _operator(arrays: dict[str, NDArray[Any]], path: Path) -> SensingOperator:
    if "a" in arrays:
        A = _real(arrays["a"], path, "A")
        if A.ndim == 3:
            if A.shape[1] != A.shape[2] or not np.allclose(A, A.transpose(0, 2, 1)):
                raise DatasetError(
                    f"{path}: A of shape {A.shape} does not hold symmetric matrices; use "
                    "(A + A transposed) / 2, which measures a symmetric M alike"
                )
            A = pack(A)
        return PackedDense(A)
    if "x" in arrays:
        return RankOne(_real(arrays["x"], path, "X"))
    if "rows" in arrays:
        d = arrays["d"]
        if d.size != 1 or d.dtype.kind not in "iu":
            raise DatasetError(f"{path}: d of shape {d.shape}, type {d.dtype}; expected an integer")
        return Entries(int(d.reshape(())), arrays["rows"], arrays["columns"])
    return Pauli(*_masks(arrays["paulis"], path))


def _masks(strings: NDArray[Any], path: Path) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Number of qubits and the masks x and z of strings of I, X, Y and Z."""
    if strings.ndim != 1 or strings.dtype.kind != "U" or not len(strings):
        raise DatasetError(
            f"{path}: paulis has shape {strings.shape}, type {strings.dtype}; expected [n] texts"
        )
    n_qubits = len(strings[0])
    x, z = (np.zeros(len(strings), dtype=np.int64) for _ in range(2))
    for i, text in enumerate(strings.tolist()):
        if len(text) != n_qubits or set(text) - set("IXYZ"):
            raise DatasetError(
                f"{path}: Pauli string {text[:40]!r}; expected {n_qubits} letters of I, X, Y, Z"
            )
        for letter in text:
            x[i] = 2 * x[i] + (letter in "XY")
            z[i] = 2 * z[i] + (letter in "YZ")
    return n_qubits, x, z


def _real(array: NDArray[Any], path: Path, label: str) -> NDArray[Any]:
    """Finite real numbers, in float32 or float64."""
    if array.dtype.kind not in "fiub":
        raise DatasetError(f"{path}: {label} has type {array.dtype}; expected real numbers")
    refuse_non_finite(array, path, label)
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
