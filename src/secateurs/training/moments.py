"""Scales of the columns of a data set: their form, and mean and variance in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from secateurs.core.group import ALONE, Group

_MOMENT_ELEMENTS = 1 << 16  # entries of a block of rows over which columns are averaged


@dataclass(frozen=True)
class Scaling:
    """The scaling of the inputs: the network reads ``(x - shift) * scale``.

    Attributes
    ----------
    shift : array of float64, shape [d], or None
        None keeps every zero at zero.
    scale : array of float64, shape [d]
        0 for a constant column.
    variance : array of float64, shape [d], optional
        The variance of the scaled inputs without their outliers, where it is known.
    """

    shift: NDArray[np.float64] | None
    scale: NDArray[np.float64]
    variance: NDArray[np.float64] | None = None


def column_moments(
    X: Any,
    rows: NDArray[np.int64] | None = None,
    group: Group = ALONE,
    power: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and variance of each column in one pass over blocks of rows.

    Parameters
    ----------
    X : array [n, d] or scipy CSR
    rows : array of int64, optional
        Rows to use; all by default.
    group : Group
        Processes whose rows are used too.
    power : array, shape [d], optional
        Multiply the columns by these numbers first.

    Returns
    -------
    mean, variance : arrays of float64, shape [d]
        Cost O(n d) time and O(d + block) memory.  The sums are of deviations from the mean of the
        first block, or of the stored entries of a sparse matrix, for accuracy.
    """
    n = X.shape[0] if rows is None else len(rows)
    if is_sparse(X):
        mean, variance = _sparse_moments(X if rows is None else X[rows], power)
        return (mean, variance) if group.size == 1 else _pooled(mean, variance, n, group)
    d = X.shape[1]
    step = max(1, min(n, _MOMENT_ELEMENTS // max(1, d)))
    origin, total, square = np.zeros(d), np.zeros(d), np.zeros(d)
    for start in range(0, n, step):
        where = slice(start, start + step)
        block = np.asarray(X[where] if rows is None else X[rows[where]], dtype=np.float64)
        if power is not None:
            block = block * power
        if start == 0:
            origin = block.mean(axis=0)
        block = block - origin
        total += block.sum(axis=0)
        square += np.einsum("ij,ij->j", block, block)
    shift = total / n
    mean, variance = origin + shift, np.maximum(square / n - shift**2, 0.0)
    return (mean, variance) if group.size == 1 else _pooled(mean, variance, n, group)


def _sparse_moments(
    X: sparse.csr_array, power: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and variance of the columns of a CSR matrix, zeros included."""
    n, d = X.shape
    data = X.data.astype(np.float64) if power is None else X.data * power[X.indices]
    stored = np.bincount(X.indices, minlength=d)
    centre = np.bincount(X.indices, data, minlength=d) / np.maximum(stored, 1)
    around = np.bincount(X.indices, np.square(data - centre[X.indices]), minlength=d)
    share = stored / n
    return share * centre, around / n + share * (1 - share) * centre**2


def _pooled(
    mean: NDArray[np.float64], variance: NDArray[np.float64], n: int, group: Group
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Combine mean and variance of each process (Chan et al. 1983)."""
    n_all = group.total(n)
    whole = group.sum_(torch.from_numpy(mean * (n / n_all))).numpy()
    around = variance + (mean - whole) ** 2
    return whole, group.sum_(torch.from_numpy(around * (n / n_all))).numpy()


def is_sparse(X: Any) -> bool:
    """Tell whether `X` is a scipy sparse array or matrix."""
    return bool(sparse.issparse(X))


def scaled_inputs(X: Any, scaling: Scaling, at: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the scaled inputs of some rows as a dense float64 array [n, d]."""
    part = X[at]
    dense = np.array(part.toarray() if is_sparse(part) else part, dtype=np.float64, order="C")
    if scaling.shift is not None:
        dense -= scaling.shift
    result: NDArray[np.float64] = dense * scaling.scale
    return result
