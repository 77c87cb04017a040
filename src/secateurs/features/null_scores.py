"""The distribution of a sum of products on noise, far into its tails.

    S = n^(-1/2) sum_i T_i h_pi(i),   pi a random permutation
    K(t) = sum_i log mean_j exp(t T_i h_j / sqrt n)            h drawn with replacement    (1)
    z(t) = K'(t),  w = sqrt(2 (t z - K)),  v = t sqrt(K''),  z* = w + log(v / w) / w       (2)

P(S > z) = 1 - Phi(z*) is the saddlepoint approximation in the form of Barndorff-Nielsen (1990).
If both T and h are functions of ranks, their values are known in advance, so z* is valid for every
distribution of the data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from secateurs.features.ranks import FloatArray

TAIL = 16  # extreme values on each side that are kept one by one
MIDDLE = 48  # groups into which the other values are averaged
STEPS = 64  # values of t
LARGEST = 12.0  # z* at the end of the table; beyond it the last slope is continued


def normal_threshold(alpha: float, cells: float) -> float:
    """Return the size that any of `cells` normal scores exceeds with probability at most alpha.

    Phi^-1(1 - alpha / (2 cells)), by the union bound.
    """
    return float(-ndtri(alpha / (2.0 * cells)))


@dataclass(frozen=True, eq=False)
class Binned:
    """A distribution given by a few values, with weights that sum to one."""

    values: FloatArray
    weights: FloatArray


def binned(
    values: NDArray[np.floating],
    weights: FloatArray | None = None,
    tail: int = TAIL,
    middle: int = MIDDLE,
) -> Binned:
    """Standardise a distribution, and average neighbouring values in groups.

    Up to ``2 tail + middle`` distinct values are kept as they are.  Of more, the `tail` extremes on
    each side and every value with a weight above ``1 / middle`` are kept, and the others are
    averaged.
    """
    v, counts = _distinct(np.asarray(values, dtype=np.float64), weights)
    if len(v) > 2 * tail + middle:
        group = np.floor(middle * (np.cumsum(counts) - counts))
        alone = counts > 1.0 / middle
        alone[:tail] = alone[len(v) - tail :] = True
        new = np.ones(len(v), dtype=bool)
        new[1:] = (group[1:] != group[:-1]) | alone[1:] | alone[:-1]
        starts = np.flatnonzero(new)
        total = np.add.reduceat(counts, starts)
        v, counts = np.add.reduceat(counts * v, starts) / total, total
    v = v - counts @ v
    scale = np.sqrt(counts @ v**2)
    return Binned(v / scale if scale > 0 else v, counts)


def _distinct(values: FloatArray, weights: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    """Return the distinct values, increasing, and their weights, which sum to one."""
    if weights is None:
        v, counts = np.unique(values, return_counts=True)
        return v, counts / len(values)
    v, at = np.unique(values, return_inverse=True)
    return v, np.bincount(at.reshape(-1), weights=weights) / weights.sum()


def product(a: Binned, b: Binned) -> Binned:
    """Return the standardised distribution of the product of two independent values."""
    return binned(np.outer(a.values, b.values).ravel(), np.outer(a.weights, b.weights).ravel())


@dataclass(frozen=True, eq=False)
class NullTable:
    """Statistics and the corresponding normal scores, for the upper and the lower tail."""

    z: tuple[FloatArray, FloatArray]
    score: tuple[FloatArray, FloatArray]

    def __call__(self, Z: NDArray[np.floating]) -> FloatArray:
        """Return signed normal scores; on noise they are standard normal far into the tails."""
        out = np.empty(Z.shape)
        for side, (z, score) in enumerate(zip(self.z, self.score, strict=True)):
            mask = Z >= 0 if side == 0 else Z < 0
            size = np.abs(Z[mask])
            slope = (score[-1] - score[-2]) / (z[-1] - z[-2])
            beyond = score[-1] + slope * (size - z[-1])
            value = np.where(size > z[-1], beyond, np.interp(size, z, score))
            out[mask] = value if side == 0 else -value
        return out


def null_table(T: Binned, h: Binned, n: int) -> NullTable:
    """Tabulate the tails of S for `n` rows and values distributed like `T` and `h`; O(bins^2).

    The one with the larger fourth moment is held fixed, and the other is drawn with replacement.
    The fourth moment of S is then least above that of a permutation; it is never below.
    """
    T, h = sorted((T, h), key=lambda v: -float(v.weights @ v.values**4))
    sides = [_one_side(T, h, n), _one_side(T, Binned(-h.values, h.weights), n)]
    return NullTable((sides[0][0], sides[1][0]), (sides[0][1], sides[1][1]))


def _one_side(T: Binned, h: Binned, n: int) -> tuple[FloatArray, FloatArray]:
    """Evaluate (1) and (2) on a grid of t; return z and z*, which both increase from 0."""
    A = np.outer(T.values, h.values) / np.sqrt(n)
    z, score = [0.0], [0.0]
    largest = float(A.max())
    for t in np.geomspace(0.1, 60.0, STEPS):
        if t * largest > 500.0:
            break
        E = np.exp(t * A) * h.weights
        mass = E.sum(axis=1)
        first = (E * A).sum(axis=1) / mass
        second = (E * A * A).sum(axis=1) / mass - first**2
        K = n * float(T.weights @ np.log(mass))
        mean = n * float(T.weights @ first)
        variance = n * float(T.weights @ second)
        w = np.sqrt(max(2.0 * (t * mean - K), 1e-300))
        v = t * np.sqrt(max(variance, 1e-300))
        value = float(w + np.log(v / w) / w)
        if mean <= z[-1] + 1e-9 or value <= score[-1]:
            continue
        z.append(mean)
        score.append(value)
        if value > LARGEST:
            break
    if len(z) < 2:
        return np.array([0.0, 1.0]), np.array([0.0, 1.0])
    return np.array(z), np.array(score)
