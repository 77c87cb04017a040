"""The screening statistic of columns that are standardised but not ranked.

    z = (x - mean) / s;   h_k(z) expanded in powers of x
    n^(-1/2) sum_i T_c(i) h_k(z_ij)  from  sum_i T_c(i) x_ij^k,  k <= 3

Sums of powers need one pass and no copy of the columns.  A column whose mean is large against its
spread loses digits in float32; it is centred first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.data.columns import Columns
from secateurs.features.ranks import NARROW, FloatArray, SingleArray, require_finite

TILE = 1 << 20  # numbers of a tile of columns
ACROSS = 1 << 13  # columns of a tile of a matrix that is stored by rows
FAR = 16.0  # a column is centred first if its squared mean exceeds this many variances


def unranked_statistics(
    block: NDArray[Any], T: SingleArray, degrees: int, source: Columns, at: int
) -> SingleArray:
    """Return the statistic of a block [n, B] of columns, [B, C, K]."""
    A = _with_mean(T)
    S = _power_sums(block, A, degrees)
    if _far(S, source, at).any():
        centre = block.mean(axis=0, dtype=np.float64)
        rounding = np.abs(centre) * np.finfo(np.float32).eps
        return _from_sums(_power_sums(block - centre, A, degrees), len(T), degrees, rounding)
    return _from_sums(S, len(T), degrees)


def unranked_by_rows(Z: SingleArray, T: SingleArray, source: Columns) -> None:
    """Fill Z [d, C, K] for a matrix that is stored by rows; the rows are read once, in order."""
    assert source.rows is not None
    A, degrees = _with_mean(T), Z.shape[2]
    S = np.zeros((max(2, degrees), len(A), source.d))
    for r, rows in source.rows():
        part = np.ascontiguousarray(A[:, r : r + len(rows)])
        for a in range(0, source.d, ACROSS):
            S[:, :, a : a + ACROSS] += _power_sums(rows[:, a : a + ACROSS], part, degrees)
    far = np.flatnonzero(_far(S, source, 0))
    Z[...] = _from_sums(S, source.n, degrees)
    for a in range(0, len(far), NARROW):
        columns = far[a : a + NARROW]
        Z[columns] = unranked_statistics(source.read(columns), T, degrees, source, int(columns[0]))


def _with_mean(T: SingleArray) -> SingleArray:
    """Return a row that takes the mean, followed by the transforms as rows, [1 + C, n]."""
    n = len(T)
    return np.concatenate([np.full((1, n), 1.0 / n, dtype=np.float32), T.T])


def _far(S: FloatArray, source: Columns, at: int) -> NDArray[np.bool_]:
    """Return which columns must be centred first."""
    mean, square = S[0, 0], S[1, 0]
    require_finite(np.isfinite(square), source, at)
    return np.asarray(mean**2 > FAR * (square - mean**2))


def _from_sums(
    S: FloatArray, n: int, degrees: int, rounding: FloatArray | float = 0.0
) -> SingleArray:
    """Return the statistic from sums of powers, [B, C, K]; a spread below `rounding` is 0."""
    mean, square = S[0, 0], S[1, 0]
    size = np.sqrt(np.maximum(square - mean**2 - np.square(rounding), 0.0))
    size = np.where(size > 0, size, np.inf)  # a constant column scores 0
    Z = np.empty((len(mean), S.shape[1] - 1, degrees), dtype=np.float32)
    first = S[0, 1:] / size
    Z[:, :, 0] = first.T
    if degrees > 1:
        Z[:, :, 1] = ((S[1, 1:] - 2.0 * mean * S[0, 1:]) / size**2).T
    if degrees > 2:
        third = S[2, 1:] - 3.0 * mean * S[1, 1:] + 3.0 * mean**2 * S[0, 1:]
        Z[:, :, 2] = (third / size**3 - 3.0 * first).T
    return np.asarray(Z / np.sqrt(n * np.array([1.0, 2.0, 6.0][:degrees])), dtype=np.float32)


def _power_sums(block: NDArray[Any], A: SingleArray, degrees: int) -> FloatArray:
    """Return A @ x^k for k = 1, ..., max(2, K), [max(2, K), 1 + C, B].

    Tiles stay in the cache, and each product is with one vector: a narrow matrix product first
    copies its operands, which takes longer.
    """
    powers = max(2, degrees)
    out = np.zeros((powers, len(A), block.shape[1]), dtype=np.float64)
    rows = max(1, TILE // block.shape[1])
    order: Any = "F" if block.flags.f_contiguous else "C"
    buffer = np.empty((min(rows, len(block)), block.shape[1]), dtype=np.float32, order=order)
    with np.errstate(invalid="ignore", over="ignore"):
        for r in range(0, len(block), rows):
            x = power = np.asarray(block[r : r + rows], dtype=np.float32)
            for k in range(powers):
                if k > 0:
                    power = np.multiply(power, x, out=buffer[: len(x)])
                for c, a in enumerate(A[:, r : r + rows]):
                    if c or k < 2:  # the mean of x^3 is not needed
                        out[k, c] += a @ power
    return out
