"""The error of a pruned neuron on great circles: all its local maxima, and an ascent along them.

Between kinks h = <c, x> and f = <b, x>, with c and b the sums over the active neurons: running
sums over the sorted kinks.  On an arc |f - h| is largest at an end or at the peak +-(b - c);
|f - relu(h)| at an end, at +-(b - c), at +-b (where h < 0) or at a zero of h.  All of them are
evaluated: O(N log N) for N neurons.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]


@njit(cache=True)
def circle_maxima(V: Array, signs: Array, target: Array, form_b: bool) -> tuple[Array, Array]:
    """Points [k, 2] among which the maximum over the circle is, and the error at each.

    V is [N, 2], the target [2]; h = sum signs_i relu(<V_i, x>).
    """
    n = len(V)
    kinks, row, gain = np.empty(2 * n + 2), np.empty(2 * n + 2, np.int64), np.empty(2 * n + 2)
    m = 0
    for i in range(n + 1):
        v = V[i] if i < n else target
        if v[0] != 0.0 or v[1] != 0.0:
            angle = np.arctan2(v[1], v[0])
            kinks[m], row[m], gain[m] = (angle - np.pi / 2) % (2 * np.pi), i, 1.0
            kinks[m + 1], row[m + 1], gain[m + 1] = (angle + np.pi / 2) % (2 * np.pi), i, -1.0
            m += 2
    if m == 0:
        return np.array([[1.0, 0.0]]), np.zeros(1)
    order = np.argsort(kinks[:m], kind="mergesort")
    first, longest = 0, -1.0
    for k in range(m):  # the sums start in the middle of the longest arc
        length = _length(kinks, order, k, m)
        if length > longest:
            first, longest = k, length
    middle = kinks[order[first]] + longest / 2
    ux, uy = np.cos(middle), np.sin(middle)
    c0, c1, b0, b1 = 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        if V[i, 0] * ux + V[i, 1] * uy > 0:
            c0, c1 = c0 + signs[i] * V[i, 0], c1 + signs[i] * V[i, 1]
    if target[0] * ux + target[1] * uy > 0:
        b0, b1 = target[0], target[1]
    points, errors = np.empty((4 * m, 2)), np.empty(4 * m)
    filled = 0
    turns = np.zeros(4)
    for step in range(1, m + 1):
        k = (first + step) % m
        event = order[k]
        i, change = row[event], gain[event]
        if i < n:
            c0, c1 = c0 + change * signs[i] * V[i, 0], c1 + change * signs[i] * V[i, 1]
        else:
            b0, b1 = b0 + change * target[0], b1 + change * target[1]
        edge, length = kinks[event], _length(kinks, order, k, m)
        count = 2
        turns[1] = (np.arctan2(b1 - c1, b0 - c0) - edge) % np.pi
        if form_b:
            count = 4
            turns[2] = (np.arctan2(b1, b0) - edge) % np.pi
            turns[3] = (np.arctan2(c0, -c1) - edge) % np.pi
        for t in range(count):
            if turns[t] <= length:
                x, y = np.cos(edge + turns[t]), np.sin(edge + turns[t])
                h = c0 * x + c1 * y
                points[filled, 0], points[filled, 1] = x, y
                errors[filled] = abs(b0 * x + b1 * y - (max(h, 0.0) if form_b else h))
                filled += 1
    return points[:filled], errors[:filled]


@njit(cache=True)
def _length(kinks: Array, order: NDArray[np.int64], k: int, m: int) -> float:
    """Length of the arc after kink k."""
    if k + 1 < m:
        return float(kinks[order[k + 1]] - kinks[order[k]])
    return float(kinks[order[0]] + 2 * np.pi - kinks[order[k]])


@njit(cache=True)
def climb(
    V: Array,
    signs: Array,
    target: Array,
    form_b: bool,
    x: Array,
    directions: Array,
    patience: int,
) -> tuple[Array, float]:
    """Maximise over great circles through x: along the gradient, or else a given direction.

    Ends after `patience` failures in a row, or when the directions [k, d] are spent.
    """
    n, d = V.shape
    x = x.copy()
    value = _error(V, signs, target, form_b, x)
    plane, flat = np.empty((n, 2)), np.empty(2)
    failed = 0
    for t in range(len(directions)):
        p = _gradient(V, signs, target, form_b, x) if failed == 0 else directions[t].copy()
        along, size, whole = 0.0, 0.0, 0.0
        for a in range(d):
            along += p[a] * x[a]
            whole += p[a] ** 2
        for a in range(d):
            p[a] -= along * x[a]
            size += p[a] ** 2
        size = np.sqrt(size)
        failed += 1
        if size > 1e-12 * np.sqrt(whole):
            p /= size
            plane[:] = 0.0
            flat[:] = 0.0
            for a in range(d):
                flat[0] += target[a] * x[a]
                flat[1] += target[a] * p[a]
                for i in range(n):
                    plane[i, 0] += V[i, a] * x[a]
                    plane[i, 1] += V[i, a] * p[a]
            points, errors = circle_maxima(plane, signs, flat, form_b)
            best = errors.argmax()
            if errors[best] > value * (1 + 1e-9):
                y = points[best, 0] * x + points[best, 1] * p
                y /= np.sqrt((y**2).sum())
                found = _error(V, signs, target, form_b, y)
                if found > value:
                    x, value, failed = y, found, 0
        if failed > patience:
            break
    return x, value


@njit(cache=True)
def _error(V: Array, signs: Array, target: Array, form_b: bool, x: Array) -> float:
    """E at x."""
    f, h = 0.0, 0.0
    for a in range(len(x)):
        f += target[a] * x[a]
    for i in range(len(V)):
        value = 0.0
        for a in range(len(x)):
            value += V[i, a] * x[a]
        h += signs[i] * max(value, 0.0)
    return float(abs(max(f, 0.0) - (max(h, 0.0) if form_b else h)))


@njit(cache=True)
def _gradient(V: Array, signs: Array, target: Array, form_b: bool, x: Array) -> Array:
    """Gradient of f - relu(h) or f - h at x up to its sign; one side's at a kink."""
    g, f = np.zeros(len(x)), 0.0
    for i in range(len(V)):
        value = 0.0
        for a in range(len(x)):
            value += V[i, a] * x[a]
        if value > 0:
            for a in range(len(x)):
                g[a] -= signs[i] * V[i, a]
    h = 0.0
    for a in range(len(x)):
        h -= g[a] * x[a]
        f += target[a] * x[a]
    if form_b and h < 0:
        g[:] = 0.0
    if f > 0:
        g += target
    return g
