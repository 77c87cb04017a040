"""The subset of rows whose sum is nearest to a target at the worst of K points, compiled.

    min over z in {0, 1}^n of  max_k |f_k - h_k|,  h = sum_i z_i rows_i   (or relu(h), form B)

Every subset in Gray code order, one row added or removed at a time; or iterated local search by
changes of one or two rows, each candidate cut short at the first point that is too far.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

REFRESH = 64  # steps of the Gray code
LAWSON = 8  # reweighted least squares a start


@njit(cache=True)
def best_code(rows: Array, f: Array, form_b: bool) -> tuple[int, float]:
    """The subset (as bits) of least largest error over the points; rows [N, K] are neurons."""
    n, k = rows.shape
    h = np.zeros(k)
    chosen, best = 0, f.max()
    code = 0
    for step in range(1, 1 << n):
        i = 0
        while not (step >> i) & 1:
            i += 1
        code ^= 1 << i
        if step % REFRESH == 0:  # the running sum starts afresh: rounding stays bounded
            h[:] = 0.0
            for j in range(n):
                if (code >> j) & 1:
                    h += rows[j]
        elif (code >> i) & 1:
            h += rows[i]
        else:
            h -= rows[i]
        error = 0.0
        for p in range(k):
            value = max(h[p], 0.0) if form_b else h[p]
            error = max(error, abs(f[p] - value))
            if error >= best:
                break
        if error < best:
            chosen, best = code, error
    return chosen, best


@njit(cache=True)
def local_search(
    rows: Array, f: Array, form_b: bool, starts: Mask, kicks: NDArray[np.int64]
) -> Mask:
    """Iterated local search: descents from the starts, then from the best with three changes.

    The largest error alone is flat around most subsets; a start is first led by weighted least
    squares (`_reweighted`).
    """
    n = len(rows)
    best, best_error = np.zeros(n, dtype=np.bool_), np.inf
    for s in range(len(starts)):
        z = starts[s].copy()
        _reweighted(rows, f, form_b, z)
        error = _descend(rows, f, form_b, z)
        if error < best_error:
            best, best_error = z, error
    for t in range(len(kicks)):
        z = best.copy()
        for i in kicks[t]:
            z[i] = not z[i]
        error = _descend(rows, f, form_b, z)
        if error < best_error:
            best, best_error = z, error
    return best


@njit(cache=True)
def _reweighted(rows: Array, f: Array, form_b: bool, z: Mask) -> None:
    """Lawson's steps: least squares by exchanges, then weights of the points times their error.

    Leaves in z the subset of least largest error on the way.
    """
    n, k = rows.shape
    weights, best, best_error = np.ones(k), z.copy(), np.inf
    for _ in range(LAWSON):
        h = np.zeros(k)
        for i in range(n):
            if z[i]:
                h += rows[i]
        weighted = rows * weights
        gram, slope = weighted @ rows.T, weighted @ (f - h)
        while True:
            least, a, b = -1e-12, -1, -1
            for i in range(n):
                si = -1.0 if z[i] else 1.0
                alone = gram[i, i] - 2 * si * slope[i]
                if alone < least:
                    least, a, b = alone, i, i
                for j in range(i + 1, n):
                    sj = -1.0 if z[j] else 1.0
                    change = alone + gram[j, j] - 2 * sj * slope[j] + 2 * si * sj * gram[i, j]
                    if change < least:
                        least, a, b = change, i, j
            if a < 0:
                break
            slope -= gram[a] * (-1.0 if z[a] else 1.0)
            z[a] = not z[a]
            if b != a:
                slope -= gram[b] * (-1.0 if z[b] else 1.0)
                z[b] = not z[b]
        h[:] = 0.0
        for i in range(n):
            if z[i]:
                h += rows[i]
        error = _largest(f, h, form_b)
        if error < best_error:
            best, best_error = z.copy(), error
        if error == 0.0:
            break
        for p in range(k):
            value = max(h[p], 0.0) if form_b else h[p]
            weights[p] *= 0.05 + abs(f[p] - value) / error
        weights *= k / weights.sum()
    z[:] = best


@njit(cache=True)
def _descend(rows: Array, f: Array, form_b: bool, z: Mask) -> float:
    """Change the one or two neurons that lower the largest error most, until none does."""
    n, k = rows.shape
    h = np.zeros(k)
    for i in range(n):
        if z[i]:
            h += rows[i]
    error = _largest(f, h, form_b)
    while True:
        best, a, b = error * (1 - 1e-12), -1, -1
        for i in range(n):
            si = -1.0 if z[i] else 1.0
            for j in range(i, n):
                sj = 0.0 if i == j else (-1.0 if z[j] else 1.0)
                worst = 0.0
                for p in range(k):
                    value = h[p] + si * rows[i, p] + sj * rows[j, p]
                    if form_b:
                        value = max(value, 0.0)
                    worst = max(worst, abs(f[p] - value))
                    if worst >= best:
                        break
                if worst < best:
                    best, a, b = worst, i, j
        if a < 0:
            return error
        z[a] = not z[a]
        if b != a:
            z[b] = not z[b]
        h[:] = 0.0
        for i in range(n):
            if z[i]:
                h += rows[i]
        error = _largest(f, h, form_b)


@njit(cache=True)
def _largest(f: Array, h: Array, form_b: bool) -> float:
    """Largest error over the points."""
    worst = 0.0
    for p in range(len(f)):
        value = max(h[p], 0.0) if form_b else h[p]
        worst = max(worst, abs(f[p] - value))
    return worst
