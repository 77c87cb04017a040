"""Directions that could be neurons: sparse v with a large gain <r, |X v|>.

The stationary points of the gain satisfy v ~ X^T (sign(X v) o r), which is iterated from many
starts at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateurs.recovery.pursuit.levenberg_marquardt import FloatArray, HeldRows, IntArray

ASCENT_STEPS = 8
NOISE_CUT, SHARE_CUT = 3.5, 0.15  # an entry of a direction: standard errors, share of the largest
SCORE_CUT, COSINE_CUT = 0.3, 0.7  # a candidate: share of the best gain, distance to better ones
SAME_DIRECTION = 0.999  # starts that have met
TAILS = (0.003, 0.01, 0.03, 0.1)  # shares of the rows with the largest residuals
MAX_STARTS = 300  # coordinates that starts are made of, where there are more
FAR = 0.3  # |mean| / root mean square of a column that is not centred


def candidates(
    rows: HeldRows, linear: IntArray, residual: FloatArray, q_max: int, n_most: int
) -> FloatArray:
    """Sparse directions that explain the residual, best first.

    Parameters
    ----------
    rows : HeldRows
    linear : int array
        Coordinates of the linear part, to which the residual is orthogonal.
    residual : array [n]
    q_max : int
        Most nonzeros of a direction.
    n_most : int
        Most directions returned.

    Returns
    -------
    array [c, d]
        Scaled by half their least-squares coefficient.  O(n d) flops a start and step, in
        single precision: what comes out is a starting point.
    """
    V = _ascend(rows, residual, q_max)
    if not len(V):
        return np.empty((0, rows.d))
    gain, coefficient = _gains(V, rows, linear, residual)
    order = np.argsort(-gain, kind="stable")
    order = order[gain[order] > SCORE_CUT * max(gain[order[0]], 0.0)]
    cosine = np.abs(V @ V.T)
    kept: list[int] = []
    for i in order:
        if len(kept) == n_most:
            break
        if not kept or cosine[i, kept].max() < COSINE_CUT:
            kept.append(int(i))
    return V[kept].astype(np.float64) * (0.5 * coefficient[kept])[:, None]


def best_gain(rows: HeldRows, linear: IntArray, residual: FloatArray) -> float:
    """Largest gain among the directions tried, in standard errors."""
    V = _ascend(rows, residual, rows.d)
    if not len(V) or not residual.any():
        return 0.0
    gain, _ = _gains(V, rows, linear, residual)
    return float(gain.max(initial=0.0) / np.sqrt(np.mean(residual**2)))


def _ascend(rows: HeldRows, residual: FloatArray, q_max: int) -> NDArray[np.float32]:
    """Unit directions [c, d] after a few steps v <- threshold(cov(x, sign(x.v) r) / var(x)).

    The covariance, not the moment: with inputs far from zero every coordinate correlates with
    sign(x.v) r through its mean.
    """
    XT, mean, std = rows.single, rows.mean, rows.std
    r = residual.astype(np.float32)
    cut = float(NOISE_CUT * np.sqrt(np.mean(residual**2) / rows.n))
    V = _starts(rows, r) if rows.d else np.empty((0, 0), dtype=np.float32)
    for step in range(ASCENT_STEPS if len(V) else 0):
        Z = V @ XT
        np.sign(Z, out=Z)
        Z *= r
        covariance = (Z @ XT.T) / np.float32(rows.n) - np.outer(Z.mean(axis=1), mean)
        V = _threshold(np.divide(covariance, std, dtype=np.float32), cut, q_max) / std
        norm = np.linalg.norm(V, axis=1)
        V = V[norm > 0.0] / norm[norm > 0.0, None]
        if step in (1, 3, 5):
            V = _distinct(V)
        if not len(V):
            break
    two_values = rows.d > 1 and (rows.signs or rows.binary)
    return np.vstack([V, _products(rows, r, cut)]) if two_values else V


def _products(rows: HeldRows, r: NDArray[np.float32], cut: float) -> NDArray[np.float32]:
    """Directions [c, d] of the largest correlations of the residual with products x_k x_l.

    |2 x_k +- x_l| = 2 +- x_k x_l on inputs of +-1, |2 x_k - x_l| = 2 x_k + x_l - 2 x_k x_l on
    inputs of 0 and 1.  The ascent leaves these: x_l alone has the same gradient.
    """
    XT, d = rows.single, rows.d
    first, second = np.triu_indices(d, 1)
    P = (((XT * r) @ XT.T) / np.float32(rows.n))[first, second]
    if rows.binary:
        P = np.minimum(P, 0.0)
    best = np.argsort(-np.abs(P), kind="stable")[:d]
    best = best[np.abs(P[best]) > cut]
    V = np.zeros((len(best), d), dtype=np.float32)
    V[np.arange(len(best)), first[best]] = 2.0
    V[np.arange(len(best)), second[best]] = np.sign(P[best])
    V /= XT.max(axis=1)
    return np.asarray(V / np.linalg.norm(V, axis=1, keepdims=True))


def _gains(
    V: NDArray[np.float32], rows: HeldRows, linear: IntArray, residual: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """<r, a> / ||P a|| of a = |X v|, P projecting out the linear part; <r, a> / ||P a||^2."""
    A = np.abs(V @ rows.single)
    gain = (A @ residual.astype(np.float32)).astype(np.float64)
    square = np.einsum("ij,ij->i", A, A).astype(np.float64)
    inputs = linear[linear < rows.d]
    B = (A @ rows.single[inputs].T).astype(np.float64)
    if len(inputs) < len(linear):  # the constant
        B = np.hstack([B, A.sum(axis=1, dtype=np.float64)[:, None]])
    G = rows.gram[np.ix_(linear, linear)]
    G.flat[:: len(G) + 1] *= 1.0 + 1e-6
    left = square - np.einsum("ij,ij->i", B, np.linalg.solve(G, B.T).T)
    new = left > 1e-3 * square  # the rest is linear on these rows, up to rounding
    gain = np.where(new, gain, 0.0)
    left = np.where(new, left, square)
    return gain / np.sqrt(left), gain / left


def _starts(rows: HeldRows, r: NDArray[np.float32]) -> NDArray[np.float32]:
    """e_k for every k, and e_k +- e_l for the 2d largest |P_kl| of the pair statistic.

    For inputs far from zero also the pairs x_k / mean_k - x_l / mean_l, whose boundary passes
    through the middle of the data.  Last, what the rows with the largest residuals have in
    common: a boundary that few rows cross shows on these alone.
    """
    XT, mean, d = rows.single, rows.mean, rows.d
    absolute = np.abs((np.sign(XT) * XT) @ r) if d > MAX_STARTS else np.empty(0)
    some = np.sort(np.argsort(-absolute, kind="stable")[:MAX_STARTS]) if d > MAX_STARTS else None
    short = np.arange(d) if some is None else some
    X_short = XT[short]
    P = ((np.sign(X_short) * r) @ X_short.T) / np.float32(rows.n)
    P += P.T
    i, j = np.triu_indices(len(short), 1)
    first, second = short[i], short[j]
    sets = [(short, short, np.zeros(len(short), dtype=np.float32))]
    best = np.argsort(-np.abs(P[i, j]), kind="stable")[: 2 * len(short)]
    negative = P[i[best], j[best]] < 0
    sets.append((first[best], second[best], np.where(negative, np.float32(-1), np.float32(1))))
    far = np.abs(mean) > FAR
    if far.any():
        M = ((X_short * r) @ X_short.T) / np.float32(rows.n)  # r orthogonal to X: no centring
        both = far[first] & far[second]
        i, j, first, second = i[both], j[both], first[both], second[both]
        ratio = -mean[first] / mean[second]
        curvature = M[i, i] + ratio * (2 * M[i, j] + ratio * M[j, j])
        order = np.argsort(-curvature / (1 + ratio**2), kind="stable")[: 2 * len(short)]
        sets.append((first[order], second[order], ratio[order]))
    V = np.zeros((sum(len(k) for k, _, _ in sets) + 2 * len(TAILS), d), dtype=np.float32)
    start = 0
    for k, other, value in sets:
        at = start + np.arange(len(k))
        V[at, other] = value
        V[at, k] = 1.0
        start += len(k)
    order = np.argsort(r, kind="stable")
    for share in TAILS:
        size = max(2, int(share * rows.n))
        for tail in (order[:size], order[-size:]):
            shift = (XT[:, tail].mean(axis=1) - mean) / rows.std
            shift[np.abs(shift) < max(SHARE_CUT * np.abs(shift).max(), 3.5 / np.sqrt(size))] = 0.0
            V[start] = shift / rows.std
            start += 1
    return V


def _threshold(T: NDArray[np.float32], cut: float, q_max: int) -> NDArray[np.float32]:
    """Hard threshold of every row."""
    A = np.abs(T)
    least = np.maximum(np.float32(cut), np.float32(SHARE_CUT) * A.max(axis=1))
    if q_max < T.shape[1]:
        least = np.maximum(least, np.partition(A, -q_max, axis=1)[:, -q_max])
    return np.asarray(T * (least[:, None] <= A))


def _distinct(V: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first of each group of rows that point the same way."""
    same = np.abs(V @ V.T) > SAME_DIRECTION
    return np.asarray(V[~np.triu(same, 1).any(axis=0)])
