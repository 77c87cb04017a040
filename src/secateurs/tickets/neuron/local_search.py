"""The subset of rows whose sum is nearest to a target at the worst of K points, compiled.

    min over z in {0, 1}^n of  max_k |f_k - h_k|,  h = sum_i z_i rows_i   (or relu(h), form B)

Every subset in Gray code order, one row added or removed at a time; or iterated local search by
changes of one or two rows, each candidate cut short at the first point that is too far, the
worst points first.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

REFRESH = 64  # steps of the Gray code
LAWSON = 8  # reweighted least squares a start
WORST = 8  # points that a change has to pass before it meets all of them


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
    """The best subset that the starts lead to, searched on from there by `kicked`.

    The largest error alone is flat around most subsets; a start is first led by weighted least
    squares (`_reweighted`).
    """
    best, best_error = np.zeros(len(rows), dtype=np.bool_), np.inf
    for s in range(len(starts)):
        z = starts[s].copy()
        _reweighted(rows, f, form_b, z)
        error = _descend(rows, f, form_b, z)
        if error < best_error:
            best, best_error = z, error
    return kicked(rows, f, form_b, best, kicks)


@njit(cache=True)
def kicked(rows: Array, f: Array, form_b: bool, z: Mask, kicks: NDArray[np.int64]) -> Mask:
    """Iterated local search: a descent from z, then from the best subset with three changes."""
    best = z.copy()
    best_error = _descend(rows, f, form_b, best)
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
    """Change the one or two neurons that lower the largest error most, until none does.

    Neurons are sorted by what changing them does at the worst point: those that mend it together
    with a given one are neighbours in this order.
    """
    n, k = rows.shape
    m = min(WORST, k)
    h, signs = np.zeros(k), np.ones(n)
    for i in range(n):
        if z[i]:
            h += rows[i]
            signs[i] = -1.0
    changes, sums, goals = np.empty((n, m)), np.empty(m), np.empty(m)
    while True:
        errors = np.abs(f - np.maximum(h, 0.0)) if form_b else np.abs(f - h)
        worst_points = np.argsort(-errors, kind="mergesort")[:m]
        for q in range(m):
            p = worst_points[q]
            sums[q], goals[q] = h[p], f[p]
            for i in range(n):
                changes[i, q] = signs[i] * rows[i, p]
        error = float(errors[worst_points[0]])
        order = np.argsort(changes[:, 0], kind="mergesort")
        sorted_changes = changes[order, 0]
        best, a, b = error * (1 - 1e-12), -1, -1
        for u in range(n):
            i = order[u]
            # what a second change may do there; with form B a value below 0 may be right
            above = goals[0] - sums[0] - best - sorted_changes[u]
            first = 0 if form_b and goals[0] < best else np.searchsorted(sorted_changes, above)
            last = np.searchsorted(sorted_changes, above + 2 * best)
            alone = max(first, u + 1) - 1  # stands for no second change
            for v in range(alone, max(last, alone + 1)):
                j, second = (i, 0.0) if v == alone else (order[v], 1.0)
                passed = True
                for q in range(m):
                    value = sums[q] + changes[i, q] + second * changes[j, q]
                    if form_b:
                        value = max(value, 0.0)
                    if abs(goals[q] - value) >= best:
                        passed = False
                        break
                if not passed:
                    continue
                worst = 0.0
                for p in range(k):
                    value = h[p] + signs[i] * rows[i, p] + second * signs[j] * rows[j, p]
                    if form_b:
                        value = max(value, 0.0)
                    worst = max(worst, abs(f[p] - value))
                    if worst >= best:
                        break
                if worst < best:
                    best, a, b = worst, i, j
        if a < 0:
            return error
        z[a], signs[a] = not z[a], -signs[a]
        if b != a:
            z[b], signs[b] = not z[b], -signs[b]
        h[:] = 0.0
        for i in range(n):
            if z[i]:
                h += rows[i]


@njit(cache=True)
def _largest(f: Array, h: Array, form_b: bool) -> float:
    """Largest error over the points."""
    worst = 0.0
    for p in range(len(f)):
        value = max(h[p], 0.0) if form_b else h[p]
        worst = max(worst, abs(f[p] - value))
    return worst
