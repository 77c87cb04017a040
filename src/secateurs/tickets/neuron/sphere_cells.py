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

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from secateurs.core.compiled import compiled
from secateurs.tickets.neuron.pruned_neuron import Array, PrunedNeuron

Integers = NDArray[np.int64]

KINK = 1e-13  # <w_i, v_j> below this share of ||w_i|| counts as 0
MAX_CUTS = 1 << 22  # pairs (cell, neuron that cuts it) held at once
TIE = 1e-12  # difference of two cosines that does not count


class Cells(NamedTuple):
    """Simplicial cones, and for each the neurons that are linear on it or cut it.

    Attributes
    ----------
    edges : array, shape [m, d, d]
        Unit edges, one a row.
    base : array, shape [m, d]
        The sum of the neurons that are linear on the cell.
    start : array, shape [m + 1], and cuts : array
        The other neurons of cell c are ``cuts[start[c] : start[c + 1]]``.
    """

    edges: Array
    base: Array
    start: Integers
    cuts: Integers

    def take(self, kept: NDArray[np.intp]) -> Cells:
        """Return the cells with these numbers, in increasing order."""
        counts = np.diff(self.start)
        mask = np.zeros(len(self.edges), dtype=bool)
        mask[kept] = True
        start = np.concatenate([[0], counts[kept].cumsum()]).astype(np.int64)
        return Cells(self.edges[kept], self.base[kept], start, self.cuts[np.repeat(mask, counts)])


def bound_by_cells(
    problem: PrunedNeuron, lower: float, width: float, max_cells: int
) -> tuple[float, Array, float]:
    """Return the largest error found, its point, and an upper bound of the sup.

    Parameters
    ----------
    problem : PrunedNeuron
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
    d = len(problem.target)
    Q, b = _basis(problem.target), float(np.linalg.norm(problem.target))
    rotated = problem._replace(V=problem.V @ Q, target=b * np.eye(d)[0])
    lengths = np.linalg.norm(rotated.V, axis=1)
    cells, bounds = _orthants(d, len(lengths)), np.full(2**d, np.inf)
    point, spent, dropped = np.zeros(d), 0, 0.0
    halve = False  # the first pass bounds the orthants themselves, the others halve what is left
    while len(cells.edges):
        if halve:  # when not all fit, take the worst cells; the others keep their bound
            order = np.argsort(-bounds, kind="stable")
            held = np.diff(cells.start)[order].cumsum()
            fit = int(np.searchsorted(held, MAX_CUTS, side="right"))
            room = min(fit, (max_cells - spent) // 2)
            kept = np.sort(order[: max(room, 0)])
            dropped = max(dropped, float(np.delete(bounds, kept).max(initial=0.0)))
            cells = cells.take(kept)
            if not len(kept):
                break
        cells, bounds, found, x = _refine(cells, rotated, lengths * KINK, lower + width, halve)
        spent += len(bounds)
        if found > lower:
            lower, point = found, x
        kept = np.flatnonzero(bounds > lower + width)
        dropped = max(dropped, float(np.delete(bounds, kept).max(initial=0.0)))
        cells, bounds = cells.take(kept), bounds[kept]
        halve = True
    # sum lambda_j <= sqrt(d) times the error of counting small <w_i, v_j> as 0
    upper = max(dropped, lower) + d**0.5 * KINK * float(lengths.sum() + b)
    return lower, Q @ point, upper


def _basis(target: Array) -> Array:
    """Return orthonormal columns [d, d], the first along the target."""
    Q = np.linalg.qr(np.column_stack([target, np.eye(len(target))]))[0]
    Q[:, 0] *= np.sign(Q[:, 0] @ target)
    return np.asarray(Q)


def _orthants(d: int, n: int) -> Cells:
    """Return the 2^d orthants, which all n neurons may cut."""
    m = 2**d
    corner = 1.0 - 2.0 * (np.arange(m)[:, None] >> np.arange(d) & 1)
    start = np.arange(m + 1, dtype=np.int64) * n
    cuts = np.tile(np.arange(n, dtype=np.int64), m)
    return Cells(corner[:, :, None] * np.eye(d), np.zeros((m, d)), start, cuts)


@compiled()
def _refine(
    cells: Cells, problem: PrunedNeuron, near: Array, enough: float, halve: bool
) -> tuple[Cells, Array, float, Array]:
    """Halve every cell (or take it as it is) and bound the children.

    Returns
    -------
    children, bounds, found, point
        The children, their bounds, and the largest error at a new edge with its point.
    """
    n, d = cells.base.shape
    parts = 2 if halve else 1
    edges, base = np.empty((parts * n, d, d)), np.empty((parts * n, d))
    start = np.zeros(parts * n + 1, dtype=np.int64)
    cuts = np.empty(parts * len(cells.cuts), dtype=np.int64)
    bounds, values, middle = np.empty(parts * n), np.empty((3, d)), np.empty(d)
    found, point = -1.0, np.zeros(d)
    for c in range(n):
        j1, j2 = longest_edge(cells.edges[c])
        middle[:] = cells.edges[c, j1] + cells.edges[c, j2]
        middle /= np.sqrt((middle**2).sum())
        parent_cuts = cells.cuts[cells.start[c] : cells.start[c + 1]]
        for part in range(parts):
            k = parts * c + part
            edges[k], base[k] = cells.edges[c], cells.base[c]
            if halve:
                edges[k, j1 if part == 0 else j2] = middle
            own = cuts[start[k] :]
            n_cuts = _sort_neurons(problem, near, edges[k], parent_cuts, base[k], values, own)
            start[k + 1] = start[k] + n_cuts
            bounds[k] = _bound(problem, edges[k], base[k], values, enough)
        # both children have the same error at the new edge, because their cuts are the same there
        error = _error(problem, middle, cells.base[c], parent_cuts)
        if found < error:
            found = error
            point = middle.copy()
    return Cells(edges, base, start, cuts[: start[-1]]), bounds, found, point


@compiled(inline="always")
def _sort_neurons(
    problem: PrunedNeuron,
    near: Array,
    cell: Array,
    cuts: Integers,
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
    d, V, signs = len(cell), problem.V, problem.signs
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


@compiled(inline="always")
def _bound(problem: PrunedNeuron, cell: Array, base: Array, values: Array, enough: float) -> float:
    """Return the bound of the error on a cell, from the `values` of `_sort_neurons`."""
    d, b = len(cell), problem.target[0]
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
    if problem.form_b and above > enough:
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


@compiled(inline="always")
def _error(problem: PrunedNeuron, x: Array, base: Array, cuts: Integers) -> float:
    """Return the error at a point of a cell."""
    h = _dot(base, x)
    for i in cuts:
        h += problem.signs[i] * max(_dot(problem.V[i], x), 0.0)
    if problem.form_b:
        h = max(h, 0.0)
    return float(abs(max(problem.target[0] * x[0], 0.0) - h))
