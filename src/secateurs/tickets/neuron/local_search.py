"""The subset of rows whose sum is nearest to a target at the worst of K points, compiled.

    min over z in {0, 1}^n of  max_k |f_k - h_k|,  h = sum_i z_i rows_i   (or relu(h), form B)

There are two searches.  One visits every subset in Gray code order, so that one row is added or
removed at a time.  The other is an iterated local search that swaps one or two rows at a time.
It rejects a candidate at the first point where the error is too large, and tries the worst
points first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateurs.core.compiled import compiled

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

REFRESH = 64  # steps of the Gray code after which the running sum starts again
LAWSON_ROUNDS = 8  # rounds of reweighted least squares for a start
LEAST_WEIGHT = 0.05  # of a point without error, relative to the worst point
WORST_POINTS = 8  # points at which a swap is tried before all the others
LEAST_DROP = 1e-12  # of the squared or relative error, so that rounding is not an improvement


@compiled()
def best_code(rows: Array, f: Array, form_b: bool) -> tuple[int, float]:
    """Return the subset (as bits) of least largest error over the points, and that error.

    `rows` [N, K] holds one neuron a row.
    """
    n, k = rows.shape
    h = np.zeros(k)
    chosen, best = 0, f.max()
    code = 0
    for step in range(1, 1 << n):
        i = 0
        while not (step >> i) & 1:
            i += 1
        code ^= 1 << i
        if step % REFRESH == 0:  # a fresh sum, so that its rounding stays bounded
            h[:] = 0.0
            for j in range(n):
                if (code >> j) & 1:
                    h += rows[j]
        elif (code >> i) & 1:
            h += rows[i]
        else:
            h -= rows[i]
        error = _largest(f, h, form_b, best)
        if error < best:
            chosen, best = code, error
    return chosen, best


@compiled()
def local_search(
    rows: Array, f: Array, form_b: bool, starts: Mask, kicks: NDArray[np.int64]
) -> Mask:
    """Return the best subset that the starts lead to, improved further by `kicked`.

    Around most subsets no swap changes the largest error.  Weighted least squares
    (`_reweighted`) therefore leads each start to a better one first.
    """
    best, best_error = np.zeros(len(rows), dtype=np.bool_), np.inf
    for s in range(len(starts)):
        z = starts[s].copy()
        _reweighted(rows, f, form_b, z)
        error = _descend(rows, f, form_b, z)
        if error < best_error:
            best, best_error = z, error
    return kicked(rows, f, form_b, best, kicks)


@compiled()
def kicked(rows: Array, f: Array, form_b: bool, z: Mask, kicks: NDArray[np.int64]) -> Mask:
    """Descend from z, then again and again from the best subset with three rows changed."""
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


@compiled()
def _reweighted(rows: Array, f: Array, form_b: bool, z: Mask) -> None:
    """Replace z by the subset of least largest error that Lawson's method meets.

    A round minimises the weighted squared error by swaps, and then multiplies the weight of every
    point by its error.
    """
    k = rows.shape[1]
    weights, best, best_error = np.ones(k), z.copy(), np.inf
    for _ in range(LAWSON_ROUNDS):
        weighted = rows * weights
        _least_squares(weighted @ rows.T, weighted @ (f - _total(rows, z)), z)
        h = _total(rows, z)
        error = _largest(f, h, form_b, np.inf)
        if error < best_error:
            best, best_error = z.copy(), error
        if error == 0.0:
            break
        for p in range(k):
            value = max(h[p], 0.0) if form_b else h[p]
            weights[p] *= LEAST_WEIGHT + abs(f[p] - value) / error
        weights *= k / weights.sum()
    z[:] = best


@compiled()
def _least_squares(gram: Array, slope: Array, z: Mask) -> None:
    """Swap the one or two rows that lower the squared error most, until none does."""
    n = len(z)
    while True:
        least, a, b = -LEAST_DROP, -1, -1
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
            return
        slope -= gram[a] * (-1.0 if z[a] else 1.0)
        z[a] = not z[a]
        if b != a:
            slope -= gram[b] * (-1.0 if z[b] else 1.0)
            z[b] = not z[b]


@compiled()
def _descend(rows: Array, f: Array, form_b: bool, z: Mask) -> float:
    """Swap the one or two rows that lower the largest error most, until none does.

    The rows are sorted by the change that a swap makes at the worst point.  The rows that can
    correct that point together with a given one are then neighbours.
    """
    n, k = rows.shape
    m = min(WORST_POINTS, k)
    h, signs = _total(rows, z), np.where(z, -1.0, 1.0)
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
        best, a, b = error * (1 - LEAST_DROP), -1, -1
        for u in range(n):
            i = order[u]
            # the range of a second change that can help; in form B any sum below 0 may do
            above = goals[0] - sums[0] - best - sorted_changes[u]
            first = 0 if form_b and goals[0] < best else np.searchsorted(sorted_changes, above)
            last = np.searchsorted(sorted_changes, above + 2 * best)
            alone = max(first, u + 1) - 1  # stands for no second change
            for v in range(alone, max(last, alone + 1)):
                j, second = (i, 0.0) if v == alone else (order[v], 1.0)
                if not _passes(changes, sums, goals, i, j, second, best, form_b):
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
        h = _total(rows, z)


@compiled()
def _passes(
    changes: Array,
    sums: Array,
    goals: Array,
    i: int,
    j: int,
    second: float,
    best: float,
    form_b: bool,
) -> bool:
    """Return whether a swap leaves an error below `best` at the worst points."""
    for q in range(len(sums)):
        value = sums[q] + changes[i, q] + second * changes[j, q]
        if form_b:
            value = max(value, 0.0)
        if abs(goals[q] - value) >= best:
            return False
    return True


@compiled()
def _total(rows: Array, z: Mask) -> Array:
    """Return the sum of the chosen rows."""
    h = np.zeros(rows.shape[1])
    for i in range(len(z)):
        if z[i]:
            h += rows[i]
    return h


@compiled()
def _largest(f: Array, h: Array, form_b: bool, enough: float) -> float:
    """Return the largest error over the points, or the first that is at least `enough`."""
    worst = 0.0
    for p in range(len(f)):
        value = max(h[p], 0.0) if form_b else h[p]
        worst = max(worst, abs(f[p] - value))
        if worst >= enough:
            break
    return worst
