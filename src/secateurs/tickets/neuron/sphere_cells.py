"""An upper bound of the error of a pruned neuron over the sphere, by bisecting simplicial cones.

In coordinates whose first axis is w*, f is linear on each of the 2^d orthants, which are cones.  On
a cone with unit edges v_1 .. v_d, a point of the sphere is x = sum lambda_j v_j with lambda >= 0,
and sum lambda_j <= 1 / rho for two values of rho.  One is min_j <m, v_j>, where m is the unit mean
of the edges.  The other is 1 / sqrt(d): in one orthant |v_j|_1 >= 1, and
sum lambda_j |v_j|_1 = |x|_1 <= sqrt(d).

A neuron whose <w_i, v_j> have one sign for all j is linear on the cone.  Any other lies between
two linear functions:

    b <w_i, x>  <=  relu(<w_i, x>)  <=  sum_j lambda_j relu(<w_i, v_j>),   b in {0, 1}      (1)

so f - h is below and above linear functions, with values u_j on the edges, and

    sup sum_j lambda_j u_j  <=  min( max_j u_j / rho, ||q|| ),   <q, v_j> = u_j             (2)

In form B, |f - relu(h)| <= max(h - f, min(f, f - h)).  Cells whose bound is below the error
found plus the tolerance are dropped.  The others are cut in two at their longest edge.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateurs.core.compiled import compiled

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

KINK = 1e-13  # <w_i, v_j> below this share of ||w_i|| counts as 0
MAX_CUTS = 1 << 22  # pairs (cell, neuron that cuts it) held at once
TIE = 1e-12  # difference of two cosines that does not count


def bound_by_cells(
    V: Array,
    signs: Array,
    target: Array,
    form_b: bool,
    lower: float,
    width: float,
    max_cells: int,
) -> tuple[float, Array, float]:
    """Return the largest error found, its point, and an upper bound of the sup.

    Parameters
    ----------
    V : array, shape [N, d], signs : array, shape [N], and target : array, shape [d]
        h = sum signs_i relu(<V_i, x>), f = relu(<target, x>).
    form_b : bool
        Bound |f - relu(h)| instead of |f - h|.
    lower : float
        An error that is known to be reached.
    width : float
        Stop when the bound is within this distance of the largest error found.
    max_cells : int
        Stop after this number of cells.

    Returns
    -------
    lower, point, upper : float, array [d], float

    Notes
    -----
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
        if halve:  # when not all fit, take the worst cells; the others keep their bound
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
    # sum lambda_j <= sqrt(d) times the error of counting small <w_i, v_j> as 0
    upper = max(dropped, lower) + d**0.5 * KINK * float(lengths.sum() + b)
    return lower, Q @ point, upper


def _basis(target: Array) -> Array:
    """Return orthonormal columns [d, d], the first along the target."""
    Q = np.linalg.qr(np.column_stack([target, np.eye(len(target))]))[0]
    Q[:, 0] *= np.sign(Q[:, 0] @ target)
    return np.asarray(Q)


def _take(
    kept: NDArray[np.intp], cells: Array, base: Array, start: Integers, cuts: Integers
) -> tuple[Array, Array, Integers, Integers]:
    """Return the cells with these numbers."""
    counts = np.diff(start)
    mask = np.zeros(len(cells), dtype=bool)
    mask[kept] = True
    starts = np.concatenate([[0], counts[kept].cumsum()]).astype(np.int64)
    return cells[kept], base[kept], starts, cuts[np.repeat(mask, counts)]


@compiled()
def _refine(
    cells: Array,
    base: Array,
    start: Integers,
    cuts: Integers,
    V: Array,
    signs: Array,
    near: Array,
    b: float,
    form_b: bool,
    enough: float,
    halve: bool,
) -> tuple[Array, Array, Integers, Integers, Array, float, Array]:
    """Halve every cell (or take it as it is) and bound the children.

    A cell c has edges ``cells[c]``; the neurons that are linear on it add up to ``base[c]``, and
    ``cuts[start[c] : start[c + 1]]`` are the others.

    Returns
    -------
    cells, base, start, cuts, bounds, found, point
        The children, their bounds, and the largest error at a new edge with its point.
    """
    n, d = len(cells), cells.shape[1]
    parts = 2 if halve else 1
    new = np.empty((parts * n, d, d))
    new_base = np.empty((parts * n, d))
    new_start = np.zeros(parts * n + 1, dtype=np.int64)
    new_cuts = np.empty(parts * len(cuts), dtype=np.int64)
    bounds = np.empty(parts * n)
    values, middle = np.empty((3, d)), np.empty(d)
    found, point = -1.0, np.zeros(d)
    for c in range(n):
        j1, j2 = longest_edge(cells[c])
        middle[:] = cells[c, j1] + cells[c, j2]
        middle /= np.sqrt((middle**2).sum())
        parent_cuts = cuts[start[c] : start[c + 1]]
        for part in range(parts):
            k = parts * c + part
            new[k] = cells[c]
            if halve:
                new[k, j1 if part == 0 else j2] = middle
            new_base[k] = base[c]
            own_cuts = new_cuts[new_start[k] :]
            n_cuts = _sort_neurons(
                new[k], parent_cuts, V, signs, near, new_base[k], values, own_cuts
            )
            new_start[k + 1] = new_start[k] + n_cuts
            bounds[k] = _bound(new[k], new_base[k], values, b, form_b, enough)
        # both children have the same error at the new edge, because their cuts are the same there
        error = _error(middle, base[c], parent_cuts, V, signs, b, form_b)
        if found < error:
            found = error
            point = middle.copy()
    return new, new_base, new_start, new_cuts[: new_start[-1]], bounds, found, point


@compiled()
def _sort_neurons(
    cell: Array,
    cuts: Integers,
    V: Array,
    signs: Array,
    near: Array,
    base: Array,
    values: Array,
    own_cuts: Integers,
) -> int:
    """Add the neurons that are linear on a cell to `base`, and list the others in `own_cuts`.

    The first two rows of `values` become the bounds (1) of -h on the edges, from below and above,
    without `base`.

    Returns
    -------
    int
        How many neurons cut the cell.
    """
    d = len(cell)
    low, high, z = values[0], values[1], values[2]
    low[:] = 0.0
    high[:] = 0.0
    n_cuts = 0
    for i in cuts:
        least, most, total = np.inf, -np.inf, 0.0
        for j in range(d):
            value = _dot(V[i], cell[j])
            z[j] = value
            least, most, total = min(least, value), max(most, value), total + value
        if least >= -near[i]:
            base += signs[i] * V[i]
        elif most > near[i]:
            own_cuts[n_cuts] = i
            n_cuts += 1
            for j in range(d):  # (1)
                line = z[j] if total > 0 else 0.0
                chord = max(z[j], 0.0)
                if signs[i] > 0:
                    high[j] -= line
                    low[j] -= chord
                else:
                    high[j] += chord
                    low[j] += line
    return n_cuts


@compiled()
def _bound(cell: Array, base: Array, values: Array, b: float, form_b: bool, enough: float) -> float:
    """Return the bound of the error on a cell, from the `values` of `_sort_neurons`."""
    d = len(cell)
    low, high, target = values[0], values[1], values[2]
    side = 0.0
    for j in range(d):
        side += cell[j, 0]
    for j in range(d):
        f = b * cell[j, 0] if side > 0 else 0.0
        h = _dot(base, cell[j])
        high[j] += f - h
        low[j] += f - h
        target[j] = f
    rho = depth(cell)
    above = _most(high, cell, rho, enough)
    low[:] = -low
    below = _most(low, cell, rho, enough)
    if form_b and above > enough:
        above = min(above, _most(target, cell, rho, enough))
    return max(above, below)


@compiled()
def _dot(u: Array, v: Array) -> float:
    total = 0.0
    for a in range(len(u)):
        total += u[a] * v[a]
    return total


@compiled()
def longest_edge(cell: Array) -> tuple[int, int]:
    """Return the two edges of the cone that are furthest apart; the first two of equal ones."""
    d = len(cell)
    j1, j2, least = 0, 1, np.inf
    for j in range(d):
        for k in range(j + 1, d):
            value = _dot(cell[j], cell[k])
            if value < least - TIE:
                j1, j2, least = j, k, value
    return j1, j2


@compiled()
def depth(cell: Array) -> float:
    """Return the larger rho: 1 / sqrt(d), or the least product of an edge with the unit mean."""
    d = len(cell)
    m = np.zeros(d)
    for j in range(d):
        m += cell[j]
    m /= np.sqrt((m**2).sum())
    least = np.inf
    for j in range(d):
        least = min(least, _dot(m, cell[j]))
    return float(max(least, d**-0.5))


@compiled()
def _most(u: Array, cell: Array, rho: float, enough: float) -> float:
    """Return the bound (2), at least 0.

    The second part is only computed where the first is not below `enough`.
    """
    first = float(max(u.max(), 0.0) / rho)
    if first <= enough:
        return first
    d = len(u)
    q = np.linalg.solve(cell, u)
    length, worst = 0.0, 0.0
    for j in range(d):  # the residual of the solution on the edges is added
        missed = u[j]
        for a in range(d):
            missed -= cell[j, a] * q[a]
        worst = max(worst, abs(missed))
        length += q[j] ** 2
    return float(min(first, np.sqrt(length) + worst / rho))


@compiled()
def _error(
    x: Array, base: Array, cuts: Integers, V: Array, signs: Array, b: float, form_b: bool
) -> float:
    """Return the error at a point of a cell."""
    h = _dot(base, x)
    for i in cuts:
        h += signs[i] * max(_dot(V[i], x), 0.0)
    if form_b:
        h = max(h, 0.0)
    return float(abs(max(b * x[0], 0.0) - h))
