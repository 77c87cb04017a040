"""ReLU neurons from the sign-free form where every input is +1 or -1.

There x_k^2 = 1, so that different weights give the same function.  A neuron whose entry u_k is at
least as large as the others together is a star of products around its centre k,

    |x.u| = |u_k| + sum_l p_kl x_k x_l,   p_kl = sgn(u_k) u_l,                                  (1)

for every |u_k| >= sum_l |p_kl|.  A neuron of three entries without such a centre is a triangle,

    |x.u| = P + sum_{k<l} p_kl x_k x_l,   P = sum |p_kl|,   |u_k| = sum_l |p_kl|.               (2)

So the data determine the products p_kl, summed over the neurons.  The linear part and the constant
determine the star or triangle that each product belongs to, and its sign: a star (k, +-) of
height h >= sum |p_kl| adds +-p_kl to beta_l, +-h to beta_k and h to the constant.  A star without
products is the neuron of one entry relu(+-2 h x_k).
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy import sparse

from secateurs.recovery.programme import Programme, chosen_signs
from secateurs.recovery.pursuit.relu_rows import FloatArray, IntArray
from secateurs.recovery.pursuit.signs import HARD, STANDARD_ERRORS, relu_neurons

SLACKS = (1e-8, 1e-6)  # relative errors of beta and the constant that are allowed in turn
NEGLIGIBLE = 1e-7  # a product or height counts as zero, relative to the largest coefficient
AS_LARGE = 1.0 - 1e-9  # share of the others that an entry must reach to be a centre
REACH = 4.0  # upper bound of a height, in sums of all coefficients

ProductsByPair = dict[tuple[int, int], float]
Star = tuple[int, int]  # centre, sign


class Choice(NamedTuple):
    """One way to explain some products: as a part of a star, or as a triangle (no star)."""

    pairs: tuple[tuple[int, int], ...]
    star: Star | None
    weights: dict[int, float]  # added to w / 2 of the neuron, without the height of a star


def centres(U: sparse.csr_array[np.float64]) -> IntArray:
    """Return the position in `U.data` of the entry that outweighs its row, or -1; shape [p]."""
    found = np.full(U.shape[0], -1, dtype=np.intp)
    for j in range(U.shape[0]):
        size = np.abs(U.data[U.indptr[j] : U.indptr[j + 1]])
        k = int(np.argmax(size))
        if 2.0 * size[k] >= AS_LARGE * size.sum():
            found[j] = U.indptr[j] + k
    return found


def relu_of_signs(
    U: sparse.csr_array[np.float64], beta: FloatArray, constant: float | None, error: float = 0.0
) -> sparse.csr_array[np.float64] | None:
    """Find the fewest ReLU weights of constant + x.beta + sum_j |x.u_j| on inputs of +-1.

    `constant` is None where the network has an intercept, which takes the rest.  `error` is the
    standard error of an entry of beta and of the constant.  Returns None where none were found.

    Solves a mixed-integer programme.  It is exact, but exponential in the worst case, and ends
    after 20 s.  Products that two planted neurons share are assigned to one.
    Source: derived.
    """
    scale = float(np.abs(beta).max(initial=0.0) + np.abs(U.data).max(initial=0.0)) or 1.0
    products, others, heights = _products(U, NEGLIGIBLE * scale)
    if constant is not None:  # |x.u| = its height + products
        constant += sum(heights)
    choices = _choices(products)
    seen = np.abs(beta) > NEGLIGIBLE * scale
    seen[others.indices] = True
    seen[[k for pair in products for k in pair]] = True
    stars = [(int(k), sign) for k in np.flatnonzero(seen) for sign in (1, -1)]
    for slack in SLACKS if error <= HARD * scale else (np.inf,):
        unit = scale if np.isfinite(slack) else STANDARD_ERRORS * error
        programme = _programme(products, choices, stars, others, beta, constant, unit, slack)
        solution = programme.solve()
        if solution is not None:
            return _weights(choices, stars, others, solution, NEGLIGIBLE * scale)
    return None


def _products(
    U: sparse.csr_array[np.float64], least: float
) -> tuple[ProductsByPair, sparse.csr_array[np.float64], list[float]]:
    """Return p_kl for k < l of stars and triangles, the other neurons, and the constants P, |u_k|.

    Products of at most `least` are left out.
    """
    products: ProductsByPair = {}
    heights = []
    centre = centres(U)
    other = (centre < 0) & (np.diff(U.indptr) != 3)
    for j in np.flatnonzero(~other):
        row = slice(U.indptr[j], U.indptr[j + 1])
        k, u = U.indices[row], U.data[row]
        size = np.abs(u)
        triangle, middle = centre[j] < 0, centre[j] - U.indptr[j]
        heights.append(float(size.sum() / 2.0 if triangle else size.max()))
        for a, b in combinations(range(len(k)), 2):
            if triangle:
                p = size.sum() / 2.0 - size[3 - a - b]
            else:
                p = min(size[a], size[b]) if middle in (a, b) else 0.0
            pair = (int(min(k[a], k[b])), int(max(k[a], k[b])))
            products[pair] = products.get(pair, 0.0) + float(np.sign(u[a] * u[b]) * p)
    kept = {pair: p for pair, p in products.items() if abs(p) > least}
    return kept, sparse.csr_array(U[other]), heights


def _choices(products: ProductsByPair) -> list[Choice]:
    """List every star and triangle that a product could belong to."""
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
    products: ProductsByPair,
    choices: list[Choice],
    stars: list[Star],
    U: sparse.csr_array[np.float64],
    beta: FloatArray,
    constant: float | None,
    unit: float,
    slack: float,
) -> Programme:
    """Choose stars and triangles that give beta and the constant with the fewest weights.

    Variables: the signs of the other neurons U, the choices, the heights of the stars, whether a
    star is used, and the errors of (beta, constant) in units of `unit`.
    """
    d, n_equations = len(beta), len(beta) + (constant is not None)
    star_at = {star: i for i, star in enumerate(stars)}
    product_at = {pair: i for i, pair in enumerate(products)}
    # what each choice and height adds to (beta, constant), the products that a choice explains,
    # and the least height that it needs of its star
    adds, rises = np.zeros((d + 1, len(choices))), np.zeros((d + 1, len(stars)))
    cover, load = np.zeros((len(products), len(choices))), np.zeros((len(stars), len(choices)))
    for i, choice in enumerate(choices):
        adds[list(choice.weights), i] = list(choice.weights.values())
        cover[[product_at[pair] for pair in choice.pairs], i] = 1.0
        total = sum(abs(products[pair]) for pair in choice.pairs)
        if choice.star is None:
            adds[d, i] = total
        else:
            load[star_at[choice.star], i] = total
    for i, (k, sign) in enumerate(stars):
        rises[k, i], rises[d, i] = sign, 1.0
    signed = np.vstack([U.T.toarray(), np.zeros((1, U.shape[0]))])
    equations = {
        name: matrix[:n_equations] / unit
        for name, matrix in (("sigma", signed), ("chosen", adds), ("height", rises))
    }
    target = np.append(beta, 0.0 if constant is None else constant)[:n_equations] / unit
    misfit, one = sparse.eye_array(n_equations, d + 1), sparse.eye_array(len(stars))
    reach = REACH * (np.abs(beta).sum() + abs(constant or 0.0) + np.abs(U.data).sum())
    reach += REACH * sum(abs(p) for p in products.values())

    programme = Programme()
    programme.sign_variables(np.diff(U.indptr))
    programme.variables("chosen", len(choices), integer=True)
    programme.variables("height", len(stars), high=reach)
    programme.variables("used", len(stars), cost=1.0, integer=True)
    programme.variables("misfit", d + 1, high=slack, cost=0.0 if np.isfinite(slack) else 1.0)
    programme.constrain(target, np.inf, **equations, misfit=misfit)
    programme.constrain(-np.inf, target, **equations, misfit=-misfit)
    programme.constrain(1.0, 1.0, chosen=cover)
    programme.constrain(-np.inf, 0.0, chosen=load, height=-one)
    programme.constrain(-np.inf, 0.0, height=one / reach, used=-one)
    programme.link_signs()
    return programme


def _weights(
    choices: list[Choice],
    stars: list[Star],
    U: sparse.csr_array[np.float64],
    solution: dict[str, FloatArray],
    least: float,
) -> sparse.csr_array[np.float64]:
    """Return the ReLU weights of a solution: stars, triangles, and the other neurons."""
    found = np.zeros((len(stars) + len(choices), U.shape[1]))
    for i, (k, sign) in enumerate(stars):
        height = solution["height"][i]
        found[i, k] = sign * height if height > least else 0.0
    for i, choice in enumerate(choices):
        if solution["chosen"][i] > 0.5:
            row = len(stars) + i if choice.star is None else stars.index(choice.star)
            for k, value in choice.weights.items():
                found[row, k] += value
    W = sparse.csr_array(2.0 * found[found.any(axis=1)])
    others = relu_neurons(U, chosen_signs(solution), np.zeros(U.shape[1]))
    return sparse.csr_array(sparse.vstack([W, others]))
