"""Directions that could be neurons: sparse v with a large gain <r, |X v|>.

The stationary points of the gain satisfy v ~ X^T (sign(X v) o r).  This is iterated from many
starts at once, in single precision, because the results are only starting points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateurs.recovery.pursuit.relu_rows import FloatArray, HeldRows, IntArray

SingleArray = NDArray[np.float32]

ASCENT_STEPS = 8
NOISE_CUT = 3.5  # standard errors below which an entry of a direction is noise
SHARE_CUT = 0.15  # least entry of a direction, relative to its largest
SCORE_CUT = 0.3  # least gain of a candidate, relative to the best
COSINE_CUT = 0.7  # largest |cos| of a candidate with a better one
SAME_DIRECTION = 0.999  # |cos| of starts that have met
TAILS = (0.003, 0.01, 0.03, 0.1)  # shares of the rows with the largest residuals
MAX_STARTS = 300  # most coordinates from which starts are made
FAR = 0.3  # |mean| / root mean square from which a column counts as not centred
NEW_ENOUGH = 1e-3  # least share of ||a||^2 that the linear part leaves
GRAM_RIDGE = 1e-6  # relative to the diagonal of the Gram matrix of the linear part


def candidates(
    rows: HeldRows, linear: IntArray, residual: FloatArray, q_max: int, n_most: int
) -> FloatArray:
    """Return at most `n_most` sparse directions [c, d] that explain the residual, best first.

    The residual is orthogonal to the coordinates `linear`.  A direction has at most `q_max`
    nonzeros and is scaled by half its least-squares coefficient.  O(n d) flops for each start and
    step.
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
    """Return the largest gain among the directions tried, in standard errors."""
    V = _ascend(rows, residual, rows.d)
    if not len(V) or not residual.any():
        return 0.0
    gain, _ = _gains(V, rows, linear, residual)
    return float(gain.max(initial=0.0) / np.sqrt(np.mean(residual**2)))


def _ascend(rows: HeldRows, residual: FloatArray, q_max: int) -> SingleArray:
    """Return unit directions [c, d] after steps v <- threshold(cov(x, sign(x.v) r) / var(x)).

    The covariance is used instead of the second moment, because with inputs far from zero every
    coordinate correlates with sign(x.v) r through its mean.
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


def _products(rows: HeldRows, r: SingleArray, cut: float) -> SingleArray:
    """Return directions [c, d] for the products x_k x_l that correlate most with the residual.

    |2 x_k +- x_l| = 2 +- x_k x_l on inputs of +-1, |2 x_k - x_l| = 2 x_k + x_l - 2 x_k x_l on
    inputs of 0 and 1.  The ascent cannot hold such directions: x_l alone has the same gradient.
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
    V: SingleArray, rows: HeldRows, linear: IntArray, residual: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return <r, a> / ||P a|| and <r, a> / ||P a||^2 for a = |X v|; P removes the linear part."""
    A = np.abs(V @ rows.single)
    gain = (A @ residual.astype(np.float32)).astype(np.float64)
    square = np.einsum("ij,ij->i", A, A).astype(np.float64)
    inputs = linear[linear < rows.d]
    B = (A @ rows.single[inputs].T).astype(np.float64)
    if len(inputs) < len(linear):  # the constant
        B = np.hstack([B, A.sum(axis=1, dtype=np.float64)[:, None]])
    G = rows.gram[np.ix_(linear, linear)]
    G.flat[:: len(G) + 1] *= 1.0 + GRAM_RIDGE
    try:
        explained = np.linalg.solve(G, B.T)
    except np.linalg.LinAlgError:  # dependent columns
        explained = np.linalg.lstsq(G, B.T)[0]
    left = square - np.einsum("ij,ij->i", B, explained.T)
    new = left > NEW_ENOUGH * square  # the others are linear on these rows, up to rounding
    gain = np.where(new, gain, 0.0)
    left = np.where(new, left, square)
    return gain / np.sqrt(left), gain / left


def _starts(rows: HeldRows, r: SingleArray) -> SingleArray:
    """Return the starts of the ascent.

    They are e_k for every k, and e_k +- e_l for the 2d largest |P_kl| of the pair statistic.  For
    inputs far from zero there are also the pairs x_k / mean_k - x_l / mean_l, whose boundary passes
    through the middle of the data.  The last ones are the means of the rows with the largest
    residuals, because a boundary that few rows cross is visible only there.
    """
    XT, mean, d = rows.single, rows.mean, rows.d
    short = np.arange(d)
    if d > MAX_STARTS:
        absolute = np.abs((np.sign(XT) * XT) @ r)
        short = np.sort(np.argsort(-absolute, kind="stable")[:MAX_STARTS])
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
        # r is orthogonal to X, so that the products need no centring
        M = ((X_short * r) @ X_short.T) / np.float32(rows.n)
        both = far[first] & far[second]
        i, j, first, second = i[both], j[both], first[both], second[both]
        ratio = -mean[first] / mean[second]
        curvature = M[i, i] + ratio * (2 * M[i, j] + ratio * M[j, j])
        order = np.argsort(-curvature / (1 + ratio**2), kind="stable")[: 2 * len(short)]
        sets.append((first[order], second[order], ratio[order]))
    V = np.zeros((sum(len(k) for k, _, _ in sets), d), dtype=np.float32)
    start = 0
    for k, other, value in sets:
        at = start + np.arange(len(k))
        V[at, other] = value
        V[at, k] = 1.0
        start += len(k)
    return np.vstack([V, _tail_means(rows, r)])


def _tail_means(rows: HeldRows, r: SingleArray) -> SingleArray:
    """Return the significant shifts of the mean on the rows with the largest residuals."""
    V = []
    order = np.argsort(r, kind="stable")
    for share in TAILS:
        size = max(2, int(share * rows.n))
        for tail in (order[:size], order[-size:]):
            shift = (rows.single[:, tail].mean(axis=1) - rows.mean) / rows.std
            least = max(SHARE_CUT * np.abs(shift).max(), NOISE_CUT / np.sqrt(size))
            shift[np.abs(shift) < least] = 0.0
            V.append(shift / rows.std)
    return np.array(V, dtype=np.float32)


def _threshold(T: SingleArray, cut: float, q_max: int) -> SingleArray:
    """Set the small entries of every row to zero."""
    A = np.abs(T)
    least = np.maximum(np.float32(cut), np.float32(SHARE_CUT) * A.max(axis=1))
    if q_max < T.shape[1]:
        least = np.maximum(least, np.partition(A, -q_max, axis=1)[:, -q_max])
    return np.asarray(T * (least[:, None] <= A))


def _distinct(V: SingleArray) -> SingleArray:
    """Return the first of each group of rows that point the same way."""
    same = np.abs(V @ V.T) > SAME_DIRECTION
    return np.asarray(V[~np.triu(same, 1).any(axis=0)])
