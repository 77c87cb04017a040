"""From hits to directions, and from directions to more hits.

    D = { mean T x_J ;  top <= 4 eigenvectors of mean T (x x^T - I)_J               (1)
          with |lambda| > 1.3 (2 sqrt(p/n) + p/n) ;  sign(z) |z|^(1/3) if k = 3 }
    R = T_c h_l(D x_J), l <= 2, standardised                                         (2)
    J = { max |X^T R| / sqrt n > threshold } + { hits of the screen }                (3)

Once a direction is known, the gradient over all d columns is linear in v_j: (3) needs about
M log d rows where the screen needed M^k (derived, and measured).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from secateurs.data.columns import Columns
from secateurs.features.screening import NARROW, SingleArray, rank_block, standardised

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

KEPT_ELEMENTS = 1 << 26  # ranked columns up to this many numbers are kept (256 MB)
EIGENVECTORS = 4
ABOVE_NOISE = 1.3  # an eigenvalue against the edge of those of noise


@dataclass(frozen=True, eq=False)
class RankedColumns:
    """Normal scores of the columns, kept when they are few, computed again when not."""

    n: int
    d: int
    kept: SingleArray | None
    source: Columns

    def take(self, columns: IntArray) -> FloatArray:
        """Normal scores of the given columns, [n, k], float64."""
        if self.kept is not None:
            return self.kept[columns].T.astype(np.float64)
        return rank_block(self.source.read(columns))[0].T.astype(np.float64)

    def products(self, R: FloatArray) -> FloatArray:
        """X^T R / sqrt n for all columns, [d, c]: one pass."""
        single = np.ascontiguousarray(R, dtype=np.float32) / np.float32(np.sqrt(self.n))
        if self.kept is not None:
            return (self.kept @ single).astype(np.float64)
        out = np.empty((self.d, single.shape[1]))
        for start, block in self.source.blocks():
            for a in range(0, block.shape[1], NARROW):
                x, _ = rank_block(block[:, a : a + NARROW])
                out[start + a : start + a + len(x)] = x @ single
        return out


def ranked_columns(source: Columns) -> RankedColumns:
    """Ranks of all columns if they fit in 256 MB."""
    kept = None
    if source.n * source.d <= KEPT_ELEMENTS:
        kept = np.empty((source.d, source.n), dtype=np.float32)
        for start, block in source.blocks():
            for a in range(0, block.shape[1], NARROW):
                x, _ = rank_block(block[:, a : a + NARROW])
                kept[start + a : start + a + len(x)] = x
    return RankedColumns(source.n, source.d, kept, source)


def directions(x: FloatArray, T: FloatArray, k: int, z: FloatArray) -> FloatArray:
    """(1) for one label transform.

    Parameters
    ----------
    x : array [n, p]
        Normal scores of the columns J.
    T : array [n]
    k : int
        Degree of the channel that found J.
    z : array [p]
        Its scores.

    Returns
    -------
    array [r, p]
        Unit rows, 1 <= r <= 6.  O(n p^2).
    """
    n, p = x.shape
    found = []
    mean = x.T @ T / n
    if k == 1 or np.linalg.norm(mean) > ABOVE_NOISE * np.sqrt(p / n):
        found.append(mean)
    M = (x * T[:, None]).T @ x / n
    M -= np.diag(np.full(p, T.mean()))
    values, vectors = np.linalg.eigh(M)
    order = np.argsort(-np.abs(values), kind="stable")[:EIGENVECTORS]
    edge = ABOVE_NOISE * (2 * np.sqrt(p / n) + p / n)
    found += [vectors[:, i] for i in order if abs(values[i]) > edge]
    if k == 3:
        found.append(np.sign(z) * np.abs(z) ** (1 / 3))
    if not found:
        found.append(vectors[:, order[0]])
    return np.stack([v / max(float(np.linalg.norm(v)), 1e-300) for v in found])


def anchors(x: FloatArray, T: FloatArray, D: FloatArray) -> FloatArray:
    """(2) for every label transform, index and l, [n, 2 C r]."""
    U = standardised(x @ D.T)
    columns = [T * h[:, None] for u in U.T for h in (u, u * u - 1.0)]
    return standardised(np.concatenate(columns, axis=1))


def strongest(scores: FloatArray, threshold: float, always: IntArray, cap: int) -> IntArray:
    """(3): at most `cap` columns above the threshold, `always` first, ascending."""
    order = np.argsort(-scores, kind="stable")
    hits = [int(j) for j in order[: cap + len(always)] if scores[j] > threshold]
    chosen = list(dict.fromkeys([*(int(j) for j in always), *hits]))[:cap]
    return np.sort(np.asarray(chosen, dtype=np.int64))


def level(alpha: float, cells: int) -> float:
    """Normal score that noise exceeds in one of `cells` with chance alpha."""
    return float(-ndtri(alpha / (2.0 * cells)))
