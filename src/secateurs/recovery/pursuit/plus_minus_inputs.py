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

from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from secateurs.recovery.pursuit.programme import Programme, chosen_signs
from secateurs.recovery.pursuit.relu_rows import FloatArray, IntArray
from secateurs.recovery.pursuit.signs import HARD, STANDARD_ERRORS, relu_neurons

SLACKS = (1e-8, 1e-6)  # relative errors of beta and the constant that are allowed in turn
NEGLIGIBLE = 1e-7  # a product or height counts as zero, relative to the largest coefficient
AS_LARGE = 1.0 - 1e-9  # share of the others that an entry must reach to be a centre
REACH = 4.0  # upper bound of a height, in sums of all coefficients

ProductsByPair = dict[tuple[int, int], float]


class Choice(NamedTuple):
    """One way to explain some products: as a part of a star, or as a triangle.

    Attributes
    ----------
    pairs : the products it explains
    star : (centre, sign), or None for a triangle
    weights : its contribution to w / 2 of the neuron by coordinate, without the height of a star
    """

    pairs: tuple[tuple[int, int], ...]
    star: tuple[int, int] | None
    weights: dict[int, float]


@dataclass(frozen=True)
class _Problem:
    """What the ReLU weights must explain: products, the other neurons, beta and the constant."""

    products: ProductsByPair
    others: sparse.csr_array[np.float64]
    beta: FloatArray
    constant: float | None
    scale: float


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
    Solves a mixed-integer programme.  It is exact, but exponential in the worst case, and ends
    after 20 s.  Products that two planted neurons share are assigned to one.
    Source: derived.
    """
    scale = float(np.abs(beta).max(initial=0.0) + np.abs(U.data).max(initial=0.0)) or 1.0
    products, others, heights = _products(U, NEGLIGIBLE * scale)
    if constant is not None:  # |x.u| = its height + products
        constant += sum(heights)
    problem = _Problem(products, others, beta, constant, scale)
    for slack in SLACKS if error <= HARD * scale else (np.inf,):
        found = _fewest_weights(problem, _choices(products), error, slack)
        if found is not None:
            return found
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


def _fewest_weights(
    problem: _Problem, choices: list[Choice], error: float, slack: float
) -> sparse.csr_array[np.float64] | None:
    """Choose stars and triangles that give beta and the constant, by a mixed-integer programme.

    Variables: the signs of the other neurons, the choices, the heights of the stars, whether a
    star is used, and the errors of (beta, constant).
    """
    products, U, beta, constant = problem.products, problem.others, problem.beta, problem.constant
    d, exact = U.shape[1], bool(np.isfinite(slack))
    unit = problem.scale if exact else STANDARD_ERRORS * error
    stars = _possible_stars(problem)
    n_equations = d if constant is None else d + 1
    target = np.append(beta, 0.0 if constant is None else constant)[:n_equations] / unit
    equations = {
        name: sparse.csr_array(np.asarray(matrix)[:n_equations] / unit)
        for name, matrix in _contributions(problem, choices, stars).items()
    }
    misfit = sparse.eye_array(n_equations, d + 1)
    cover, load = _loads(products, choices, stars)
    reach = REACH * (np.abs(beta).sum() + abs(constant or 0.0) + np.abs(U.data).sum())
    reach += REACH * sum(abs(v) for v in products.values())
    one = sparse.eye_array(len(stars))

    programme = Programme()
    programme.sign_variables(np.diff(U.indptr))
    programme.variables("chosen", len(choices), integer=True)
    programme.variables("height", len(stars), high=reach)
    programme.variables("used", len(stars), cost=1.0, integer=True)
    programme.variables("misfit", d + 1, high=slack, cost=0.0 if exact else 1.0)
    programme.constrain(target, np.inf, **equations, misfit=misfit)
    programme.constrain(-np.inf, target, **equations, misfit=-misfit)
    programme.constrain(1.0, 1.0, chosen=cover)
    programme.constrain(-np.inf, 0.0, chosen=load, height=-one)
    programme.constrain(-np.inf, 0.0, height=one / reach, used=-one)
    programme.link_signs()
    solution = programme.solve()
    if solution is None:
        return None
    height = np.where(solution["height"] > NEGLIGIBLE * problem.scale, solution["height"], 0.0)
    found = np.zeros((len(stars) + len(choices), d))
    for i, (k, sign) in enumerate(stars):
        found[i, k] = sign * height[i]
    for i, choice in enumerate(choices):
        if solution["chosen"][i] > 0.5:
            row = len(stars) + i if choice.star is None else stars.index(choice.star)
            for k, value in choice.weights.items():
                found[row, k] += value
    W = sparse.csr_array(2.0 * found[found.any(axis=1)])
    others = relu_neurons(U, chosen_signs(solution), np.zeros(d))
    return sparse.csr_array(sparse.vstack([W, others]))


def _possible_stars(problem: _Problem) -> list[tuple[int, int]]:
    """List (centre, sign) for every coordinate that occurs."""
    seen = np.abs(problem.beta) > NEGLIGIBLE * problem.scale
    seen[problem.others.indices] = True
    for pair in problem.products:
        seen[list(pair)] = True
    return [(int(k), sign) for k in np.flatnonzero(seen) for sign in (1, -1)]


def _contributions(
    problem: _Problem, choices: list[Choice], stars: list[tuple[int, int]]
) -> dict[str, NDArray[np.float64]]:
    """Return what each group of variables adds to (beta, constant), matrices of d + 1 rows."""
    p, d = problem.others.shape
    sigma = np.zeros((d + 1, p))
    sigma[:d] = problem.others.T.toarray()
    chosen, height = np.zeros((d + 1, len(choices))), np.zeros((d + 1, len(stars)))
    for i, choice in enumerate(choices):
        for k, value in choice.weights.items():
            chosen[k, i] = value
        if choice.star is None:
            chosen[d, i] = sum(abs(problem.products[pair]) for pair in choice.pairs)
    for i, (k, sign) in enumerate(stars):
        height[k, i], height[d, i] = sign, 1.0
    return {"sigma": sigma, "chosen": chosen, "height": height}


def _loads(
    products: ProductsByPair, choices: list[Choice], stars: list[tuple[int, int]]
) -> tuple[sparse.csr_array[np.float64], sparse.csr_array[np.float64]]:
    """Return the products that each choice explains, and the least height it needs of its star."""
    product_at = {pair: i for i, pair in enumerate(products)}
    star_at = {star: i for i, star in enumerate(stars)}
    cover, load = np.zeros((len(products), len(choices))), np.zeros((len(stars), len(choices)))
    for i, choice in enumerate(choices):
        for pair in choice.pairs:
            cover[product_at[pair], i] = 1.0
        if choice.star is not None:
            load[star_at[choice.star], i] = sum(abs(products[pair]) for pair in choice.pairs)
    return sparse.csr_array(cover), sparse.csr_array(load)
