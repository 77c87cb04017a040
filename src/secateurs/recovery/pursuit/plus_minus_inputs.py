"""ReLU neurons from the sign-free form where every input is +1 or -1.

There x_k^2 = 1, so that different weights give the same function.  A neuron whose entry u_k
outweighs the others together is a star of products around its centre k,

    |x.u| = |u_k| + sum_l p_kl x_k x_l,   p_kl = sgn(u_k) u_l,                                  (1)

for every |u_k| >= sum_l |p_kl|, and one of three entries without such a centre a triangle,

    |x.u| = P + sum_{k<l} p_kl x_k x_l,   P = sum |p_kl|,   |u_k| = sum_l |p_kl|.               (2)

So the products p_kl, summed over the neurons, are what data tell.  Which star or triangle each
belongs to, with which sign, follows from the linear part and the constant: a star (k, +-) of
height h >= sum |p_kl| adds +-p_kl to beta_l, +-h to beta_k and h to the constant.  A star without
products is the neuron of one entry relu(+-2 h x_k).
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

FloatArray = NDArray[np.float64]

MILP_SECONDS = 20.0
SLACKS = (1e-8, 1e-6)  # relative misfits of beta and the constant
NEGLIGIBLE = 1e-7  # of a product or a height, relative to the largest coefficient
HARD = 1e-8  # relative error of beta up to which it is taken for exact
STANDARD_ERRORS = 4.0  # the unit of a misfit otherwise


class Choice(NamedTuple):
    """One way to explain some products: in a star, or as a triangle.

    Attributes
    ----------
    pairs : the products explained
    star : (centre, sign), or None
    weights : what it adds to w / 2 of its neuron, by coordinate, without a star's height
    """

    pairs: tuple[tuple[int, int], ...]
    star: tuple[int, int] | None
    weights: dict[int, float]


def centres(U: sparse.csr_array[np.float64]) -> NDArray[np.intp]:
    """Position in `U.data` of the entry that outweighs the others of its row, or -1; shape [p]."""
    found = np.full(U.shape[0], -1, dtype=np.intp)
    for j in range(U.shape[0]):
        size = np.abs(U.data[U.indptr[j] : U.indptr[j + 1]])
        k = int(np.argmax(size))
        if 2.0 * size[k] >= (1.0 - 1e-9) * size.sum():
            found[j] = U.indptr[j] + k
    return found


def relu_of_signs(
    U: sparse.csr_array[np.float64], beta: FloatArray, constant: float | None, error: float = 0.0
) -> sparse.csr_array[np.float64] | None:
    """ReLU weights of constant + x.beta + sum_j |x.u_j| on inputs of +-1, as few as possible.

    Parameters
    ----------
    U : CSR array [p, d]
    beta : array [d]
    constant : float, optional
        None if the network has an intercept, which takes what is left.
    error : float
        Standard error of an entry of beta and of the constant.

    Returns
    -------
    CSR array [r, d] or None
        None where none were found.

    Notes
    -----
    A mixed-integer programme, exact but exponential at worst: 20 s at most.  Products that two
    planted neurons share are given to one.
    Source: derived.
    """
    scale = float(np.abs(beta).max(initial=0.0) + np.abs(U.data).max(initial=0.0)) or 1.0
    products, others = _products(U, NEGLIGIBLE * scale)
    if constant is not None:  # |x.u| = its height + products
        constant += sum(_heights(U))
    choices = _choices(products)
    for slack in SLACKS if error <= HARD * scale else (np.inf,):
        found = _programme(products, choices, others, beta, constant, scale, error, slack)
        if found is not None:
            return found
    return None


def _kept(U: sparse.csr_array[np.float64]) -> NDArray[np.bool_]:
    """Neurons that are neither stars nor triangles."""
    return np.asarray((centres(U) < 0) & (np.diff(U.indptr) != 3))


def _heights(U: sparse.csr_array[np.float64]) -> list[float]:
    """The constant in |x.u| of every star (1) and triangle (2)."""
    centre, heights = centres(U), []
    for j in np.flatnonzero(~_kept(U)):
        u = np.abs(U.data[U.indptr[j] : U.indptr[j + 1]])
        heights.append(float(u.max() if centre[j] >= 0 else u.sum() / 2.0))
    return heights


def _products(
    U: sparse.csr_array[np.float64], least: float
) -> tuple[dict[tuple[int, int], float], sparse.csr_array[np.float64]]:
    """p_kl for k < l of all stars and triangles, and the other neurons."""
    products: dict[tuple[int, int], float] = {}
    centre, kept = centres(U), _kept(U)
    for j in np.flatnonzero(~kept):
        row = slice(U.indptr[j], U.indptr[j + 1])
        k, u = U.indices[row], U.data[row]
        middle = centre[j] - U.indptr[j]
        for a, b in combinations(range(len(k)), 2):
            if centre[j] < 0:
                size = np.abs(u).sum() / 2.0 - abs(u[3 - a - b])
            else:
                size = min(abs(u[a]), abs(u[b])) if middle in (a, b) else 0.0
            pair = (int(min(k[a], k[b])), int(max(k[a], k[b])))
            products[pair] = products.get(pair, 0.0) + float(np.sign(u[a] * u[b]) * size)
    return {e: p for e, p in products.items() if abs(p) > least}, sparse.csr_array(U[kept])


def _choices(products: dict[tuple[int, int], float]) -> list[Choice]:
    """Every star and triangle that a product could belong to."""
    choices = []
    neighbours: dict[int, set[int]] = {}
    for (i, j), p in products.items():
        neighbours.setdefault(i, set()).add(j)
        for centre, leaf in ((i, j), (j, i)):
            for sign in (1, -1):
                choices.append(Choice(((i, j),), (centre, sign), {leaf: sign * p}))
    for i, j in products:
        for k in sorted(neighbours[i] & neighbours.get(j, set())):  # i < j < k
            pairs = ((i, j), (i, k), (j, k))
            ij, ik, jk = (products[pair] for pair in pairs)
            if ij * ik * jk > 0:
                u_i = abs(ij) + abs(ik)
                u_j = float(np.sign(ij)) * (abs(ij) + abs(jk))
                u_k = float(np.sign(ik)) * (abs(ik) + abs(jk))
                for sign in (1, -1):
                    u = {i: sign * u_i, j: sign * u_j, k: sign * u_k}
                    choices.append(Choice(pairs, None, u))
    return choices


def _programme(
    products: dict[tuple[int, int], float],
    choices: list[Choice],
    U: sparse.csr_array[np.float64],
    beta: FloatArray,
    constant: float | None,
    scale: float,
    error: float,
    slack: float,
) -> sparse.csr_array[np.float64] | None:
    """The fewest weights that give beta and the constant, by mixed-integer programming.

    Variables: sigma, b, split of the neurons that are no star (as in `signs`), chosen, the
    heights of the stars, used (binary), misfits of (beta, constant).
    """
    p, d = U.shape
    exact = np.isfinite(slack)
    unit = scale if exact else STANDARD_ERRORS * error
    seen = np.abs(beta) > NEGLIGIBLE * scale
    seen[U.indices] = True
    for pair in products:
        seen[list(pair)] = True
    stars = [(int(k), sign) for k in np.flatnonzero(seen) for sign in (1, -1)]
    star_at = {star: i for i, star in enumerate(stars)}
    edge_at = {pair: i for i, pair in enumerate(products)}
    c, h, e = len(choices), len(stars), len(products)
    widths = (p, p, p, c, h, h, d + 1)
    size = sum(widths)
    start = np.concatenate([[0], np.cumsum(widths)])
    at = [np.arange(start[i], start[i + 1]) for i in range(len(widths))]
    sigma, b, split, chosen, height, used, misfit = at

    M = np.zeros((d + 1, size))  # what the variables add to (beta, constant)
    M[:d, sigma] = U.T.toarray()
    cover, load = np.zeros((e, size)), np.zeros((h, size))
    for i, choice in enumerate(choices):
        for k, value in choice.weights.items():
            M[k, chosen[i]] += value
        total = sum(abs(products[pair]) for pair in choice.pairs)
        if choice.star is None:
            M[d, chosen[i]] = total
        else:
            load[star_at[choice.star], chosen[i]] = total
        for pair in choice.pairs:
            cover[edge_at[pair], chosen[i]] = 1.0
    for i, (k, sign) in enumerate(stars):
        M[k, height[i]], M[d, height[i]] = sign, 1.0
    target = np.concatenate([beta, [0.0 if constant is None else constant]])
    n_equations = d if constant is None else d + 1
    M, target = M[:n_equations] / unit, target[:n_equations] / unit
    D = np.zeros((n_equations, size))
    D[np.arange(n_equations), misfit[:n_equations]] = 1.0
    load[np.arange(h), height] = -1.0
    reach = 4.0 * (np.abs(beta).sum() + abs(constant or 0.0) + np.abs(U.data).sum())
    reach += 4.0 * sum(abs(v) for v in products.values())
    big = np.zeros((h, size))
    big[np.arange(h), height], big[np.arange(h), used] = 1.0 / reach, -1.0
    link = np.zeros((2 * p, size))
    j = np.arange(p)
    link[j, sigma] = link[p + j, sigma] = 1.0
    link[j, b] = link[p + j, b] = -2.0
    link[j, split], link[p + j, split] = -2.0, 2.0
    rows: list[tuple[Any, Any, Any]] = [
        (M + D, target, np.inf),
        (M - D, -np.inf, target),
        (cover, np.ones(e), np.ones(e)),
        (load, -np.inf, np.zeros(h)),
        (big, -np.inf, np.zeros(h)),
        (link[:p], -np.inf, -np.ones(p)),
        (link[p:], -np.ones(p), np.inf),
    ]
    low, high = np.zeros(size), np.ones(size)
    low[sigma], high[height], high[misfit] = -1.0, reach, slack
    cost = np.zeros(size)
    cost[split], cost[used] = np.diff(U.indptr), 1.0
    cost[misfit] = 0.0 if exact else 1.0
    whole = np.zeros(size, dtype=np.intp)
    whole[np.concatenate([b, split, chosen, used])] = 1
    result = optimize.milp(
        c=cost,
        constraints=[
            optimize.LinearConstraint(sparse.csr_array(A), low_row, high_row)
            for A, low_row, high_row in rows
            if len(A)
        ],
        bounds=optimize.Bounds(low, high),
        integrality=whole,
        options={"time_limit": MILP_SECONDS},
    )
    if result.x is None:
        return None
    x = np.asarray(result.x)
    is_split = x[split] > 0.5
    signs = np.where(is_split, x[sigma], np.where(x[b] > 0.5, 1.0, -1.0))
    found = np.zeros((h + c, d))
    for i, (k, sign) in enumerate(stars):
        found[i, k] = sign * x[height[i]] if x[height[i]] > NEGLIGIBLE * scale else 0.0
    for i, choice in enumerate(choices):
        if x[chosen[i]] > 0.5:
            row = h + i if choice.star is None else star_at[choice.star]
            for k, value in choice.weights.items():
                found[row, k] += value
    W = np.vstack([2.0 * found, (1.0 + signs)[:, None] * U.toarray()])
    W = np.vstack([W, (signs - 1.0)[:, None] * U.toarray()])
    return sparse.csr_array(W[W.any(axis=1)])
