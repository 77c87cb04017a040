"""The latitude bound: how far every network is whose neurons all point away from the target.

Form A, every number of neurons, every subset and every alpha.  docs/theory/latitude.md has the
theorem with its proof; the numbers of equations and lemmas below are those of that page.

    M(t) = mean of e = f - h over the points of the sphere at the latitudes t and -t from w*
    M(t) / cos(t) = T / 2 - Q(T),  T = tan(t),  Q an even polynomial of degree D - 2       (Lemma 4)

for t up to the angle delta of the nearest line +-w_i, where D is d, or d + 1 for odd d.  No even
polynomial is near |T| on an interval, so some |M(t)| <= sup |e| is large.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ANGLE_ROUNDING = 1e-14  # of an angle, for each 32 inputs
PAIR_ROUNDING = 1e-14  # of a divided difference, for each pair of its nodes
SUM_ROUNDING = 1e-15  # of a sum of terms with closed forms, for each of them
MANY_TERMS = 128  # above it (d > 256) the nodes are not exchanged, which costs a third or more
SHARES, LARGEST_ANGLE = 41, 1.55  # intervals of latitudes that are tried


def latitude_bound(delta: float, d: int) -> float:
    """Bound the sup error from below for a unit target that no line +-w_i is within `delta` of.

    At least `latitude_constant(d)` sin(delta) up to rounding, and larger where delta is large.

    Notes
    -----
    Any latitudes 0 <= t_0 < .. < t_m in [0, delta], m = D / 2, give a bound (Lemma 7): with the
    divided difference weights c_k = 1 / prod_(j != k) (T_k^2 - T_j^2), sum c_k Q(T_k) = 0, so

        |sum c_k T_k| / 2 = |sum c_k M(t_k) / cos(t_k)| <= sup |e| sum |c_k| / cos(t_k).

    The function uses the latitudes where the best even polynomial is furthest from |T|, on the best
    interval [0, delta'].  Costs O(d) after the latitudes are found, once for each d.
    """
    delta = min(delta, np.pi / 2) - ANGLE_ROUNDING * max(1.0, d / 32)
    if delta <= 0:
        return 0.0
    nodes, c, rounding = _annihilator((d + 1) // 2)
    sizes, best = np.abs(c), 0.0
    for share in np.linspace(0.2, 1, SHARES):
        T = np.tan(min(share * delta, LARGEST_ANGLE)) * nodes
        best = max(best, abs(float((c * T).sum())) / float((sizes * np.hypot(1, T)).sum()))
    plain = explicit_constant(d) * math.sin(delta) * (1 - PAIR_ROUNDING)
    return max(best / 2 - rounding, plain)


def latitude_constant(d: int) -> float:
    """Return kappa_d: the sup error is at least kappa_d sin(delta).

    1 / 4 for d = 2, 1 / 16 for d = 3 and 4, and about .14 / d up to d = 256.  It is half the error
    of the best approximation of |x| on [-1, 1] by polynomials of degree D - 2, rounded down; for
    d > 256 it is a smaller number that is proven too.
    """
    nodes, c, rounding = _annihilator((d + 1) // 2)
    found = abs(float((c * nodes).sum())) / float(np.abs(c).sum())
    return max(found / 2 - rounding, explicit_constant(d))


def explicit_constant(d: int) -> float:
    """Return a lower bound of kappa_d in closed form: 1 / 4, 1 / 16, and 1 / (8 pi (D - 2))."""
    degree = d + d % 2 - 2
    return {0: 1 / 4, 2: 1 / 16}.get(degree) or 1 / (8 * math.pi * degree)


@cache
def _annihilator(terms: int) -> tuple[Array, Array, float]:
    """Return nodes in [0, 1], weights c with sum c_k p(x_k) = 0, and the rounding of a bound.

    p is any even polynomial with this number of terms.  Up to `MANY_TERMS` the nodes are those
    where the best approximation of |x| is furthest from it.  Above, they are 0 and the extremes
    of a Chebyshev polynomial of odd degree n, where the weights have a closed form (Lemma 7): +-1
    at 0, +-1 / n at 1, and +-2 / (n x) at the others.
    """
    n = 2 * terms - 1
    nodes = np.append(0.0, np.cos(np.arange(terms) * np.pi / n)[::-1])
    if terms > MANY_TERMS:
        sizes = 2 / (n * np.append(2 / n, nodes[1:]))  # 1 at 0
        sizes[-1] /= 2
        signs = (-1.0) ** np.arange(terms + 1)
        return nodes, signs * sizes, SUM_ROUNDING * terms
    nodes = _exchanged(nodes, terms)
    gaps = nodes[:, None] ** 2 - nodes**2
    np.fill_diagonal(gaps, 1.0)
    log_c = -np.log(np.abs(gaps)).sum(axis=1)  # their product may leave float64
    signs = np.sign(gaps).prod(axis=1)
    return nodes, signs * np.exp(log_c - log_c.max()), PAIR_ROUNDING * (terms + 1) ** 2


def _exchanged(nodes: Array, terms: int) -> Array:
    """Move the nodes to the points of largest error of the best approximation: Remez's exchange."""
    grid = np.sin(np.linspace(0, np.pi / 2, 60 * terms + 1))
    basis = np.arange(0, 2 * terms, 2)
    signs = (-1.0) ** np.arange(terms + 1)
    for _ in range(30):
        system = np.column_stack([np.cos(np.outer(np.arccos(nodes), basis)), signs])
        solution = np.linalg.solve(system, nodes)
        error = grid - np.cos(np.outer(np.arccos(grid), basis)) @ solution[:-1]
        peaks = [0]
        for k in range(1, len(grid)):  # one extremum for each run of one sign
            if error[k] * error[peaks[-1]] <= 0:
                peaks.append(k)
            elif abs(error[k]) > abs(error[peaks[-1]]):
                peaks[-1] = k
        if len(peaks) != terms + 1 or np.array_equal(grid[peaks], nodes):
            break
        nodes = grid[peaks]
    return nodes
