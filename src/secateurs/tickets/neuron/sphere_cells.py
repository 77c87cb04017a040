"""An upper bound of the error of a pruned neuron over the sphere, by bisecting simplicial cones.

In coordinates whose first axis is w*, the 2^d orthants are cones on which f is linear.  On a
cone with unit edges v_1 .. v_d a point of the sphere is x = sum lambda_j v_j, lambda >= 0, and
sum lambda_j <= 1 / rho for rho = min_j <m, v_j> with m the unit mean of the edges, and for
rho = 1 / sqrt(d): in one orthant |v_j|_1 >= 1, and sum lambda_j |v_j|_1 = |x|_1 <= sqrt(d).  A
neuron with <w_i, v_j> of one sign for all j is linear there.  One that is cut lies between lines:

    b <w_i, x>  <=  relu(<w_i, x>)  <=  sum_j lambda_j relu(<w_i, v_j>),   b in {0, 1}      (1)

so f - h is below and above linear functions, with values u_j on the edges, and

    sup sum_j lambda_j u_j  <=  min( max_j u_j / rho, ||q|| ),   <q, v_j> = u_j             (2)

In form B |f - relu(h)| <= max(h - f, min(f, f - h)).  Cells whose bound is below the error
found plus the tolerance are dropped, the others cut in two at their longest edge.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

KINK = 1e-13  # <w_i, v_j> of this share of ||w_i|| is 0: it costs sum KINK ||w_i|| in the bound
MAX_CUTS = 1 << 22  # pairs (cell, neuron) held at once


def bound_by_cells(
    V: Array,
    signs: Array,
    target: Array,
    form_b: bool,
    lower: float,
    width: float,
    max_cells: int,
) -> tuple[float, Array, float]:
    """Largest error found, its point, and an upper bound of the sup.

    Parameters
    ----------
    V : array, shape [N, d], signs : array, shape [N], and target : array, shape [d]
        h = sum signs_i relu(<V_i, x>), f = relu(<target, x>).
    form_b : bool
        |f - relu(h)| instead of |f - h|.
    lower : float
        An error that is known to be reached.
    width : float
        Stop when the bound is within this of the largest error found.
    max_cells : int
        Stop after so many cells.

    Returns
    -------
    lower, point, upper : float, array [d], float
        A cell costs O(d^2) for each neuron that cut its parent, and O(d^3).
    """
    d = len(target)
    Q = _basis(target)
    V, b = V @ Q, float(np.linalg.norm(target))
    lengths = np.linalg.norm(V, axis=1)
    n_orthants = 2**d
    corner = 1.0 - 2.0 * (np.arange(n_orthants)[:, None] >> np.arange(d) & 1)
    cells = corner[:, :, None] * np.eye(d)
    base = np.zeros((n_orthants, d))
    start = np.arange(n_orthants + 1, dtype=np.int64) * len(V)
    cuts = np.tile(np.arange(len(V), dtype=np.int64), n_orthants)
    bounds = np.full(n_orthants, np.inf)
    point, spent, dropped = np.zeros(d), 0, 0.0
    halve = False  # the first pass bounds the orthants themselves, the others halve what is left
    while len(cells):
        if halve:  # when not all fit, the worst cells; the others keep their bound
            order = np.argsort(-bounds, kind="stable")
            held = np.diff(start)[order].cumsum()
            fit = int(np.searchsorted(held, MAX_CUTS, side="right"))
            room = min(fit, (max_cells - spent) // 2)
            kept = np.sort(order[: max(room, 0)])
            dropped = max(dropped, float(np.delete(bounds, kept).max(initial=0.0)))
            cells, base, start, cuts = _take(kept, cells, base, start, cuts)
            if not len(cells):
                break
        cells, base, start, cuts, bounds, found, x = _refine(
            cells, base, start, cuts, V, signs, lengths * KINK, b, form_b, lower + width, halve
        )
        spent += len(cells)
        if found > lower:
            lower, point = found, x
        keep = np.flatnonzero(bounds > lower + width)
        dropped = max(dropped, float(np.delete(bounds, keep).max(initial=0.0)))
        cells, base, start, cuts = _take(keep, cells, base, start, cuts)
        bounds = bounds[keep]
        halve = True
    # sum lambda_j <= sqrt(d) times what the near kinks may hide
    upper = max(dropped, lower) + d**0.5 * KINK * float(lengths.sum() + b)
    return lower, Q @ point, upper


def _basis(target: Array) -> Array:
    """Orthonormal columns [d, d], the first along the target."""
    Q = np.linalg.qr(np.column_stack([target, np.eye(len(target))]))[0]
    Q[:, 0] *= np.sign(Q[:, 0] @ target)
    return np.asarray(Q)


def _take(
    kept: NDArray[np.intp], cells: Array, base: Array, start: Ints, cuts: Ints
) -> tuple[Array, Array, Ints, Ints]:
    """The cells with these numbers."""
    counts = np.diff(start)
    mask = np.zeros(len(cells), dtype=bool)
    mask[kept] = True
    starts = np.concatenate([[0], counts[kept].cumsum()]).astype(np.int64)
    return cells[kept], base[kept], starts, cuts[np.repeat(mask, counts)]


@njit(cache=True)
def _refine(
    cells: Array,
    base: Array,
    start: Ints,
    cuts: Ints,
    V: Array,
    signs: Array,
    near: Array,
    b: float,
    form_b: bool,
    enough: float,
    halve: bool,
) -> tuple[Array, Array, Ints, Ints, Array, float, Array]:
    """Halve every cell (or take it as it is), bound the children; the worst point met."""
    n, d = len(cells), cells.shape[1]
    parts = 2 if halve else 1
    new = np.empty((parts * n, d, d))
    new_base = np.empty((parts * n, d))
    new_start = np.zeros(parts * n + 1, dtype=np.int64)
    new_cuts = np.empty(parts * len(cuts), dtype=np.int64)
    bounds = np.empty(parts * n)
    low, high, z, middle = np.empty(d), np.empty(d), np.empty(d), np.empty(d)
    found, point = -1.0, np.zeros(d)
    for c in range(n):
        j1, j2 = _longest(cells[c])
        middle[:] = cells[c, j1] + cells[c, j2]
        middle /= np.sqrt((middle**2).sum())
        for part in range(parts):
            k = parts * c + part
            new[k] = cells[c]
            if halve:
                new[k, j1 if part == 0 else j2] = middle
            new_base[k] = base[c]
            low[:] = 0.0
            high[:] = 0.0
            fill = new_start[k]
            for position in range(start[c], start[c + 1]):
                i = cuts[position]
                least, most, total = np.inf, -np.inf, 0.0
                for j in range(d):
                    value = 0.0
                    for a in range(d):
                        value += V[i, a] * new[k, j, a]
                    z[j] = value
                    least, most, total = min(least, value), max(most, value), total + value
                if least >= -near[i]:
                    new_base[k] += signs[i] * V[i]
                elif most > near[i]:
                    new_cuts[fill] = i
                    fill += 1
                    for j in range(d):  # (1)
                        line = z[j] if total > 0 else 0.0
                        chord = max(z[j], 0.0)
                        if signs[i] > 0:
                            high[j] -= line
                            low[j] -= chord
                        else:
                            high[j] += chord
                            low[j] += line
            new_start[k + 1] = fill
            f_most, side = 0.0, 0.0
            for j in range(d):
                side += new[k, j, 0]
            for j in range(d):
                f = b * new[k, j, 0] if side > 0 else 0.0
                h = 0.0
                for a in range(d):
                    h += new_base[k, a] * new[k, j, a]
                high[j] += f - h
                low[j] += f - h
                z[j] = f
                f_most = max(f_most, f)
            rho = _depth(new[k])
            above = _most(high, new[k], rho, enough)
            low[:] = -low
            below = _most(low, new[k], rho, enough)
            if form_b and above > enough:
                above = min(above, _most(z, new[k], rho, enough))
            bounds[k] = max(above, below)
        # the error at the new edge: both children see it, their cuts are the same there
        E = _error(middle, base[c], cuts[start[c] : start[c + 1]], V, signs, b, form_b)
        if found < E:
            found = E
            point = middle.copy()
    return new, new_base, new_start, new_cuts[: new_start[-1]], bounds, found, point


@njit(cache=True)
def _longest(cell: Array) -> tuple[int, int]:
    """The two edges of the cone that are furthest apart."""
    d = len(cell)
    j1, j2, least = 0, 1, np.inf
    for j in range(d):
        for k in range(j + 1, d):
            value = 0.0
            for a in range(d):
                value += cell[j, a] * cell[k, a]
            if value < least - 1e-12:  # ties by index
                j1, j2, least = j, k, value
    return j1, j2


@njit(cache=True)
def _depth(cell: Array) -> float:
    """rho: the larger of 1 / sqrt(d) and what the unit mean of the edges leaves with each."""
    d = len(cell)
    m = np.zeros(d)
    for j in range(d):
        m += cell[j]
    m /= np.sqrt((m**2).sum())
    least = np.inf
    for j in range(d):
        value = 0.0
        for a in range(d):
            value += m[a] * cell[j, a]
        least = min(least, value)
    return float(max(least, d**-0.5))


@njit(cache=True)
def _most(u: Array, cell: Array, rho: float, enough: float) -> float:
    """Bound (2), at least 0; the second part only where the first does not settle it."""
    first = float(max(u.max(), 0.0) / rho)
    if first <= enough:
        return first
    d = len(u)
    q = np.linalg.solve(cell, u)
    length, worst = 0.0, 0.0
    for j in range(d):  # what the solution misses on the edges is added back
        missed = u[j]
        for a in range(d):
            missed -= cell[j, a] * q[a]
        worst = max(worst, abs(missed))
        length += q[j] ** 2
    return float(min(first, np.sqrt(length) + worst / rho))


@njit(cache=True)
def _error(
    x: Array, base: Array, cuts: Ints, V: Array, signs: Array, b: float, form_b: bool
) -> float:
    """E at a point of a cell."""
    h = 0.0
    for a in range(len(x)):
        h += base[a] * x[a]
    for i in cuts:
        value = 0.0
        for a in range(len(x)):
            value += V[i, a] * x[a]
        h += signs[i] * max(value, 0.0)
    if form_b:
        h = max(h, 0.0)
    return float(abs(max(b * x[0], 0.0) - h))
