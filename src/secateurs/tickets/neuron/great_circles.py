"""The error of a pruned neuron on great circles: all its local maxima, and an ascent along them.

Between kinks h = <c, x> and f = <b, x>, where c and b are sums over the active neurons: running
sums over the sorted kinks.  On an arc |f - h| is largest at an end or at the peak +-(b - c).
|f - relu(h)| is largest at an end, at +-(b - c), at +-b (where h < 0) or at a zero of h.  All of
these points are evaluated, in O(N log N) for N neurons.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateurs.core.compiled import compiled
from secateurs.tickets.neuron.pruned_neuron import Array, PrunedNeuron

PARALLEL = 1e-12  # relative size below which a gradient points along x
GAIN = 1e-9  # relative gain that is worth a step


@compiled()
def circle_maxima(problem: PrunedNeuron) -> tuple[Array, Array]:
    """Return points [k, 2] among which the maximum over the circle is, and the error at each.

    The problem has d = 2.
    """
    V, signs, target, form_b = problem
    kinks, neurons, gains = _kinks(V, target)
    n, m = len(V), len(kinks)
    if m == 0:
        return np.array([[1.0, 0.0]]), np.zeros(1)
    order = np.argsort(kinks, kind="mergesort")
    first, longest = 0, -1.0
    for k in range(m):  # the sums start in the middle of the longest arc
        length = _arc(kinks, order, k)
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
    n_points = 0
    turns = np.zeros(4)
    for step in range(1, m + 1):
        k = (first + step) % m
        event = order[k]
        i, gain = neurons[event], gains[event]
        if i < n:
            c0, c1 = c0 + gain * signs[i] * V[i, 0], c1 + gain * signs[i] * V[i, 1]
        else:
            b0, b1 = b0 + gain * target[0], b1 + gain * target[1]
        edge, length = kinks[event], _arc(kinks, order, k)
        turns[1] = (np.arctan2(b1 - c1, b0 - c0) - edge) % np.pi
        if form_b:
            turns[2] = (np.arctan2(b1, b0) - edge) % np.pi
            turns[3] = (np.arctan2(c0, -c1) - edge) % np.pi
        for t in range(4 if form_b else 2):
            if turns[t] <= length:
                x, y = np.cos(edge + turns[t]), np.sin(edge + turns[t])
                h = c0 * x + c1 * y
                points[n_points, 0], points[n_points, 1] = x, y
                errors[n_points] = abs(b0 * x + b1 * y - (max(h, 0.0) if form_b else h))
                n_points += 1
    return points[:n_points], errors[:n_points]


@compiled()
def _kinks(V: Array, target: Array) -> tuple[Array, NDArray[np.int64], Array]:
    """Return the angles of all kinks, their neurons (N for the target) and +1 or -1.

    The neuron becomes active at a kink with +1 and inactive at one with -1.
    """
    n, m = len(V), 0
    size = 2 * n + 2
    kinks, neurons, gains = np.empty(size), np.empty(size, np.int64), np.empty(size)
    for i in range(n + 1):
        v = V[i] if i < n else target
        if v[0] != 0.0 or v[1] != 0.0:
            angle = np.arctan2(v[1], v[0])
            kinks[m], neurons[m], gains[m] = (angle - np.pi / 2) % (2 * np.pi), i, 1.0
            kinks[m + 1], neurons[m + 1] = (angle + np.pi / 2) % (2 * np.pi), i
            gains[m + 1] = -1.0
            m += 2
    return kinks[:m], neurons[:m], gains[:m]


@compiled()
def _arc(kinks: Array, order: NDArray[np.int64], k: int) -> float:
    """Return the length of the arc after kink k."""
    if k + 1 < len(order):
        return float(kinks[order[k + 1]] - kinks[order[k]])
    return float(kinks[order[0]] + 2 * np.pi - kinks[order[k]])


@compiled()
def climb(problem: PrunedNeuron, x: Array, directions: Array, patience: int) -> tuple[Array, float]:
    """Maximise the error over great circles through x; return the point and its error.

    The circles go along the gradient, or along the next of the `directions` [k, d] after a
    failure.  The ascent ends after `patience` failures in a row, or when no direction is left.
    """
    V, signs, target, form_b = problem
    n, d = V.shape
    x = x.copy()
    value = _error(problem, x)
    plane, flat = np.empty((n, 2)), np.empty(2)
    failed = 0
    for t in range(len(directions)):
        p = _gradient(problem, x) if failed == 0 else directions[t].copy()
        along, whole, size = _dot(p, x), 0.0, 0.0
        for a in range(d):
            whole += p[a] ** 2
            p[a] -= along * x[a]
            size += p[a] ** 2
        size = np.sqrt(size)
        failed += 1
        if size > PARALLEL * np.sqrt(whole):
            p /= size
            flat[0], flat[1] = _dot(target, x), _dot(target, p)
            for i in range(n):
                plane[i, 0], plane[i, 1] = _dot(V[i], x), _dot(V[i], p)
            points, errors = circle_maxima(PrunedNeuron(plane, signs, flat, form_b))
            best = errors.argmax()
            if errors[best] > value * (1 + GAIN):
                y = points[best, 0] * x + points[best, 1] * p
                y /= np.sqrt((y**2).sum())
                found = _error(problem, y)
                if found > value:
                    x, value, failed = y, found, 0
        if failed > patience:
            break
    return x, value


@compiled()
def _dot(u: Array, v: Array) -> float:
    total = 0.0
    for a in range(len(u)):
        total += u[a] * v[a]
    return total


@compiled()
def _error(problem: PrunedNeuron, x: Array) -> float:
    """Return the error at x."""
    V, signs, target, form_b = problem
    h = 0.0
    for i in range(len(V)):
        h += signs[i] * max(_dot(V[i], x), 0.0)
    return float(abs(max(_dot(target, x), 0.0) - (max(h, 0.0) if form_b else h)))


@compiled()
def _gradient(problem: PrunedNeuron, x: Array) -> Array:
    """Return the gradient of f - relu(h) or f - h at x; at a kink that of one side."""
    V, signs, target, form_b = problem
    g = np.zeros(len(x))
    for i in range(len(V)):
        if _dot(V[i], x) > 0:
            for a in range(len(x)):
                g[a] -= signs[i] * V[i, a]
    if form_b and -_dot(g, x) < 0:
        g[:] = 0.0
    if _dot(target, x) > 0:
        g += target
    return g
