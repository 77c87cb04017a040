"""Normal scores of sums of products whose values have ties, one by one.

    S = n^(-1/2) sum_i a_i b_pi(i),   pi a random permutation;  a has the larger fourth moment
    K(t) = sum_i log mean_j exp(t a_i b_j / sqrt n),   K'(t) = z                            (1)
    w = sqrt(2 (t z - K)),  v = t sqrt(K''),  z* = w + log(v / w) / w                       (2)
    P(S >= z) <= exp(K - t z) = exp(-w^2 / 2)                                               (3)
    P(S >= z) <= P(S + V >= z) = exp(K - t z) (1 / pi) int_0^inf Re f(theta) d theta        (4)
        f(theta) = exp(K(t + i theta) - K(t) - i theta z) M_V(t + i theta) / (t + i theta)

(1) draws b with replacement.  Its third moment is that of a permutation, and its fourth exceeds
that of a permutation by 3 (m4(b) - 1) / n to first order (Pitman 1937 has the moments), which
is never negative: the tails are not too light.  The choice of a makes the excess small.
(2) holds for smooth distributions only.  Where S has large atoms it may be too large, so a score
that would pass the threshold by (2) but not by (3) is computed again by (4), Fourier inversion of
the tilted distribution.  V >= 0 is a sum of four uniform variables on [0, 1 / (16 t)]: it makes
the integral converge, and raises the probability by at most exp(1 / 4).
If a or b has two values, S depends only on how many rows of each value of the other have the rarer
one of the two.  These counts are multivariate hypergeometric, and the tail is summed exactly where
they take few values.

Source: (2) is Barndorff-Nielsen (1990), (3) Chernoff (1952); the combination is derived.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ndtri_exp

from secateurs.features.null_scores import Binned, binned
from secateurs.features.ranks import FloatArray

TAIL, MIDDLE = 10, 24  # values that are kept of a distribution; see `binned`
MOST_TERMS = 1 << 22  # numbers of (1) that are computed at once
NEWTON_STEPS = 40
LARGEST_EXPONENT = 500.0
MOST_COUNTS = 20_000  # combinations of counts up to which the tail is summed exactly
FEW_PRODUCTS = 100  # with so few products of values, (4) is used as well for scores that are
NEAR = 1.0  # below the threshold by less than this
SMOOTHING = 0.25  # t times the largest value of V
PERIODS = 64  # of V, over which (4) is integrated
SAME_TAIL = 1e-9  # relative difference below which two tails count as equally likely
SLACK = 2e-4  # relative error of a statistic in float32


@dataclass(frozen=True, eq=False)
class Values:
    """Standardised numbers, one for each row."""

    distinct: FloatArray  # increasing
    counts: NDArray[np.int64]  # how many rows have each of them
    groups: Binned

    @classmethod
    def of(cls, values: FloatArray, counts: NDArray[np.int64]) -> Values:
        """Standardise values that so many rows have."""
        n = int(counts.sum())
        v, at = np.unique(values, return_inverse=True)
        total = np.bincount(at.reshape(-1), weights=counts)
        v = v - total @ v / n
        scale = np.sqrt(total @ v**2 / n)
        v = v / scale if scale > 0 else v
        return cls(v, total.astype(np.int64), binned(v, total / n, TAIL, MIDDLE))

    @property
    def fourth_moment(self) -> float:
        """Return the mean of the fourth powers."""
        return float(self.counts @ self.distinct**4) / float(self.counts.sum())


@dataclass(frozen=True, eq=False)
class Cell:
    """One statistic: `z` of a transform of y and a column."""

    label: Values
    column: Values
    z: float


def tail_scores(cells: list[Cell], n: int, threshold: float) -> FloatArray:
    """Return the signed normal scores of statistics on noise.

    Parameters
    ----------
    cells : list of Cell
    n : int
        Rows.
    threshold : float
        The score that a column must exceed.

    Returns
    -------
    array [len(cells)]

    Notes
    -----
    O(a b) time for each cell with a and b distinct values, at most 44 of each.
    """
    out = np.zeros(len(cells))
    others = []
    for i, cell in enumerate(cells):
        p = _exact_tail(cell, n) if cell.z else 0.0
        if p is None:
            others.append(i)
        else:
            out[i] = -ndtri_exp(p)
    if others:
        out[others] = _saddlepoint_scores([cells[i] for i in others], n, threshold)
    signs = np.sign([cell.z for cell in cells])
    return np.asarray(signs * np.maximum(out, 0.0))


# -- exact --------------------------------------------------------------------------------------


def _exact_tail(cell: Cell, n: int) -> float | None:
    """Return the logarithm of half the two-sided probability, or None if there are many counts.

    One side must have two values.  The two-sided probability is that of all sums in a tail that is
    no more likely than the tail of z on its own side.
    """
    pair, other = cell.label, cell.column
    if len(other.distinct) == 2:
        pair, other = other, pair
    if len(pair.distinct) != 2:
        return None
    rare = int(np.argmin(pair.counts))
    m = int(pair.counts[rare])
    sizes = np.minimum(np.sort(other.counts)[:-1], m) + 1.0
    if np.log(sizes).sum() > np.log(MOST_COUNTS):
        return None
    step = float(pair.distinct[rare] - pair.distinct[1 - rare])
    sums, log_tails = _sums(m, other.distinct.tobytes(), other.counts.tobytes())
    aim = cell.z * np.sqrt(n) / step  # of the sum over the m rows
    aim -= np.sign(aim) * SLACK * abs(aim)
    upper, lower = log_tails
    if aim > 0:
        log_p, rest = upper[min(int(np.searchsorted(sums, aim)), len(sums) - 1)], lower
    else:
        at = max(int(np.searchsorted(sums, aim, side="right")) - 1, 0)
        log_p, rest = lower[at], upper[::-1]
    # the other side counts only where it can be as unlikely
    at = int(np.searchsorted(rest, log_p + SAME_TAIL, side="right")) - 1
    return float(np.logaddexp(log_p, rest[at] if at >= 0 else -np.inf) - np.log(2.0))


@lru_cache(maxsize=64)
def _sums(m: int, values: bytes, counts: bytes) -> tuple[FloatArray, tuple[FloatArray, FloatArray]]:
    """Return the sums of m values drawn without replacement, increasing, and their log tails."""
    v, c = np.frombuffer(values), np.frombuffer(counts, dtype=np.int64)
    order = np.argsort(c, kind="stable")
    total, used, log_ways = np.zeros(1), np.zeros(1, dtype=np.int64), np.zeros(1)
    for j in order[:-1]:
        k = np.arange(min(int(c[j]), m) + 1)
        fits = used[:, None] + k <= m
        total = (total[:, None] + k * v[j])[fits]
        log_ways = (log_ways[:, None] + _log_binomial(c[j], k))[fits]
        used = (used[:, None] + k)[fits]
    rest, last = m - used, order[-1]
    fits = rest <= c[last]
    total = (total + rest * v[last])[fits]
    log_ways = log_ways[fits] + _log_binomial(c[last], rest[fits]) - _log_binomial(c.sum(), m)
    at = np.argsort(total, kind="stable")
    upper = np.logaddexp.accumulate(log_ways[at][::-1])[::-1]
    lower = np.logaddexp.accumulate(log_ways[at])
    return total[at], (np.minimum(upper, 0.0), np.minimum(lower, 0.0))


def _log_binomial(n: int | np.integer, k: int | NDArray[np.int64]) -> FloatArray:
    return np.asarray(gammaln(n + 1.0) - gammaln(np.add(k, 1.0)) - gammaln(np.subtract(n, k) + 1.0))


# -- saddlepoint --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Side:
    """Values of many cells, padded with values of weight 0 to the same number."""

    values: FloatArray  # [cells, most values]
    weights: FloatArray

    @classmethod
    def of(cls, groups: list[Binned]) -> _Side:
        shape = (len(groups), max(len(g.values) for g in groups))
        values, weights = np.zeros(shape), np.zeros(shape)
        for i, g in enumerate(groups):
            values[i, : len(g.values)], weights[i, : len(g.values)] = g.values, g.weights
        return cls(values, weights)


def _saddlepoint_scores(cells: list[Cell], n: int, threshold: float) -> FloatArray:
    """Return the sizes of the scores by (2), or (4) where needed."""
    fixed, drawn, z = [], [], np.empty(len(cells))
    for i, cell in enumerate(cells):
        a, b = sorted((cell.label, cell.column), key=lambda v: -v.fourth_moment)
        flip = -1.0 if cell.z < 0 else 1.0
        fixed.append(a.groups)
        drawn.append(Binned(flip * b.groups.values, b.groups.weights))
        # a permutation has variance n / (n - 1), draws with replacement 1
        z[i] = abs(cell.z) * np.sqrt((n - 1.0) / n)
    out = np.empty(len(cells))
    sizes = np.array([len(a.values) * len(b.values) for a, b in zip(fixed, drawn, strict=True)])
    order = np.argsort(sizes, kind="stable")
    start = 0
    while start < len(order):
        step = max(1, MOST_TERMS // int(sizes[order[min(start + 256, len(order) - 1)]]))
        at = order[start : start + min(step, 256)]
        out[at] = _batch([fixed[i] for i in at], [drawn[i] for i in at], z[at], n, threshold)
        start += len(at)
    return out


def _batch(
    fixed: list[Binned], drawn: list[Binned], z: FloatArray, n: int, threshold: float
) -> FloatArray:
    a, b = _Side.of(fixed), _Side.of(drawn)
    t, K, variance = _saddlepoints(a, b, z, n)
    log_chernoff = np.minimum(K - t * z, 0.0)
    w = np.sqrt(np.maximum(-2.0 * log_chernoff, 1e-12))
    v = np.maximum(t * np.sqrt(variance), 1e-12)
    bound = -ndtri_exp(log_chernoff)
    score = np.maximum(w + np.log(v / w) / w, bound)
    for i, (x, y) in enumerate(zip(fixed, drawn, strict=True)):
        near = NEAR if len(x.values) * len(y.values) <= FEW_PRODUCTS else 0.0
        if bound[i] <= threshold < score[i] + near:
            share = _inversion(x, y, float(t[i]), float(z[i]), float(w[i]), float(variance[i]), n)
            log_p = log_chernoff[i] + np.log(min(max(share, 1e-6), 1.0))
            score[i] = max(float(-ndtri_exp(log_p)), bound[i])
    return np.asarray(score)


def _saddlepoints(
    a: _Side, b: _Side, z: FloatArray, n: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Solve (1) by Newton steps inside a bracket; return t, K(t) and K''(t)."""
    A = a.values[:, :, None] * b.values[:, None, :] / np.sqrt(n)
    largest = np.abs(A).max(axis=(1, 2))
    low, high = np.zeros(len(z)), LARGEST_EXPONENT / np.maximum(largest, 1e-12)
    t = np.minimum(z, high)
    for _ in range(NEWTON_STEPS):
        K, mean, variance = _cumulants(A, a.weights, b.weights, t, n)
        low, high = np.where(mean < z, t, low), np.where(mean < z, high, t)
        step = t + (z - mean) / np.maximum(variance, 1e-12)
        inside = (step > low) & (step < high)
        new = np.where(inside, step, 0.5 * (low + high))
        done = np.abs(new - t) <= 1e-6 * t
        t = new
        if done.all():
            break
    K, _, variance = _cumulants(A, a.weights, b.weights, t, n)
    return t, K, variance


def _cumulants(
    A: FloatArray, wa: FloatArray, wb: FloatArray, t: FloatArray, n: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return K, K' and K'' at t."""
    E = A * t[:, None, None]
    top = E.max(axis=2, keepdims=True)
    E -= top
    np.exp(E, out=E)
    E *= wb[:, None, :]
    mass = E.sum(axis=2)
    first = np.einsum("iab,iab->ia", E, A) / mass
    E *= A
    second = np.einsum("iab,iab->ia", E, A) / mass - first**2
    K = n * (wa * (np.log(mass) + top[:, :, 0])).sum(axis=1)
    return K, n * (wa * first).sum(axis=1), n * (wa * second).sum(axis=1)


def _inversion(
    a: Binned, b: Binned, t: float, z: float, w: float, variance: float, n: int
) -> float:
    """Return P(S + V >= z) exp(t z - K), the integral (4), by the trapezoidal rule.

    The rule replaces the integral by a sum over copies of the distribution at a distance that
    makes all but one of them negligible.
    """
    distance = max(10.0 * np.sqrt(variance), (w**2 / 2.0 + 15.0) / t)
    step, width = 2.0 * np.pi / distance, SMOOTHING / t
    theta = step * np.arange(int(PERIODS / (width * step)) + 2)
    A = np.outer(a.values, b.values) / np.sqrt(n)
    tilted = b.weights * np.exp(t * A - (t * A).max(axis=1, keepdims=True))
    tilted /= tilted.sum(axis=1, keepdims=True)
    rows = np.rint(n * a.weights)
    log_f = -1j * theta * z
    for value, share, count in zip(A, tilted, rows, strict=True):
        mean = np.exp(1j * np.outer(theta, value)) @ share
        log_f = log_f + count * np.log(np.where(mean == 0, 1e-300, mean))
    s = t + 1j * theta
    smooth = ((np.exp(s * width / 4.0) - 1.0) / (s * width / 4.0)) ** 4
    f = (np.exp(log_f) * smooth / s).real
    return float(step / np.pi * (f.sum() - 0.5 * f[0]))
