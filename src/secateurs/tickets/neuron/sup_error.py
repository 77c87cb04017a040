"""The largest error over the unit ball of a pruned random network that replaces a neuron.

    f(x) = relu(<w*, x>),   h(x) = sum_{i in S} alpha_i relu(<w_i, x>)
    form A: E = |f - h|,    form B: E = |f - relu(h)|

E is positively homogeneous, so its sup over the ball is the sup over the sphere.  The maximum on
a great circle is exact (`great_circles`).  That is the answer for d = 2, and the line search of an
ascent for d > 2.  The upper bound for d > 2 comes from `sphere_cells` and three closed forms.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from secateurs.core.parameters import check_real
from secateurs.tickets.neuron.great_circles import circle_maxima, climb
from secateurs.tickets.neuron.pruned_neuron import Array, Form, PrunedNeuron, checked, unit_rows
from secateurs.tickets.neuron.sphere_cells import bound_by_cells

TOLERANCE = 1e-3  # width of the interval asked for, in units of ||w*||
MAX_CELLS = 200_000
MAX_DIMENSION = 10  # above it the 2^d first cells cost more than they help
STARTS, CIRCLES, PATIENCE = 12, 60, 12  # of the ascent
SAMPLES = 64  # random points for each dimension, from which the starts are chosen
TRIED_NEURONS = 512  # neurons whose directions are tried as starts


def sup_error(
    W: ArrayLike,
    alpha: ArrayLike,
    target: ArrayLike,
    form: Form = "A",
    subset: ArrayLike | None = None,
    *,
    tolerance: float = TOLERANCE,
    max_cells: int = MAX_CELLS,
    random_state: int = 0,
) -> tuple[float, float]:
    """Bound the sup over the unit ball of ``|relu(<w*, x>) - network(x)|``.

    Parameters
    ----------
    W : array, shape [N, d]
        Input weights w_i of the random neurons.
    alpha : array, shape [N]
        Their output weights.
    target : array, shape [d]
        The weights w* of the neuron to approximate, of any length but 0.
    form : {"A", "B"}
        The network is h = sum alpha_i relu(<w_i, x>) in form A, relu(h) in form B.
    subset : array of bool, shape [N], or of indices, optional
        Neurons that are kept; all of them by default.
    tolerance : float
        For d > 2, the search stops when the interval is this narrow, in units of ||w*||.
    max_cells : int
        For d > 2, the most cells of the sphere that the upper bound may look at.
    random_state : int
        Random seed of the starts of the ascent.  The bounds are valid for any seed.

    Returns
    -------
    lower : float
        The sup of the functions in exact arithmetic is at least this; the rounding of this
        computation is included.  For d > 2 it is the error at a point that was found.
    upper : float
        The sup is at most this, which is proven.  For d <= 2 the two bounds differ by rounding
        only.  When `max_cells` is reached (in practice for d >= 5) they may stay far apart.

    Raises
    ------
    ValueError
        A shape, a value or the form is wrong, the target is below 1e-140 in size, or ``|alpha| W``
        and target are above 1e140.

    Notes
    -----
    d = 2 costs O(N log N).  For d > 2 there are 2^d cells at first, and a cell costs O(d^2) for
    each neuron whose kink crosses it.  Sources: the forms, Ferre et al. (2026), Malach et al.
    (2020); the method and its bounds, derived (`sphere_cells`, `closed_bound`).
    """
    problem = checked(W, alpha, target, form, subset)
    check_real("tolerance", tolerance, above=0)
    lower, upper, _ = bracket(problem, tolerance, max_cells, random_state)
    return lower, upper


def bracket(
    problem: PrunedNeuron,
    tolerance: float = TOLERANCE,
    max_cells: int = MAX_CELLS,
    random_state: int = 0,
) -> tuple[float, float, Array]:
    """Return bounds of the sup, and points [k, d] of large error, the worst first."""
    d, slack = len(problem.target), problem.slack
    X, E = large_errors(problem, random_state)
    best = float(E[0])
    if d <= 2:
        return max(best - slack, 0.0), best + slack, X
    upper = closed_bound(problem)
    if d <= MAX_DIMENSION:
        width = tolerance * float(np.linalg.norm(problem.target))
        found, point, bound = bound_by_cells(problem, best, width, max_cells)
        upper = min(upper, bound)
        if found > best:
            x, best = _climb(problem, point, np.random.default_rng(random_state))
            X = np.vstack([x, X])
    return max(best - slack, 0.0), float(upper) + slack, X


def large_errors(problem: PrunedNeuron, random_state: int = 0) -> tuple[Array, Array]:
    """Return points [k, d] of large error and their errors, the worst first.

    For d <= 2 the first error is the sup.
    """
    d = len(problem.target)
    if d == 1:
        X = np.array([[1.0], [-1.0]])
        E = problem.errors(X)
    elif d == 2:
        X, E = circle_maxima(problem)
    else:
        X, E = _ascend(problem, random_state)
    order = np.argsort(-E, kind="stable")
    return X[order], E[order]


def closed_bound(problem: PrunedNeuron) -> float:
    """Return the least of three upper bounds of the sup, in O(N d^2).

    Lipschitz: E vanishes at 0 and both functions are Lipschitz.
    Cone: with c_i = <w_i, w*> / ||w*||, |relu(<w_i, x>) - relu(<c_i w*, x>)| is at most the
    distance of w_i from the line of w*, and the rest is a function of <w*, x>.
    Even and odd parts: h = <sum alpha_i w_i, x> / 2 + sum alpha_i |<w_i, x>| / 2, and by Cauchy
    and Schwarz sum a_i |<w_i, x>| <= (sum a_i  largest eigenvalue of sum a_i w_i w_i^T)^(1/2).
    Form B: |f - relu(h)| <= |f - h| because f >= 0.
    """
    V, s, b = problem.V, problem.signs, problem.target
    size, lengths = float(np.linalg.norm(b)), np.linalg.norm(V, axis=1)
    lipschitz = size + float(lengths.sum())
    along = V @ b / size
    # lengths^2 - along^2 would lose distances below 1e-8
    off = np.linalg.norm(V - along[:, None] * (b / size), axis=1).sum()
    up, down = s @ np.maximum(along, 0), s @ np.maximum(-along, 0)
    cone = max(abs(size - up), abs(down)) + float(off)
    odd = float(np.linalg.norm(b - s @ V)) / 2
    even = max(_spectral(np.vstack([b, V[s < 0]])), _spectral(V[s > 0]))
    return float(min(lipschitz, float(cone), odd + even / 2))


def _spectral(V: Array) -> float:
    """Bound sum |<v_i, x>| over the sphere, with a_i = ||v_i|| and w_i = v_i / a_i."""
    lengths = np.linalg.norm(V, axis=1)
    V, lengths = V[lengths > 0], lengths[lengths > 0]
    if not len(V):
        return 0.0
    return math.sqrt(float(lengths.sum()) * float(np.linalg.norm((V.T / lengths) @ V, 2)))


def _ascend(problem: PrunedNeuron, random_state: int) -> tuple[Array, Array]:
    """Return points of large error: exact maxima over great circles, from several starts."""
    rng = np.random.default_rng(random_state)
    d, V, b = len(problem.target), problem.V, problem.target
    sample = rng.standard_normal((SAMPLES * d, d))
    some = V[:TRIED_NEURONS]
    sample = unit_rows(np.vstack([sample, b, -b, b - problem.signs @ V, some, -some]))
    chosen = np.argsort(-problem.errors(sample), kind="stable")[:STARTS]
    ends = [_climb(problem, sample[k], rng) for k in chosen]
    return np.array([x for x, _ in ends]), np.array([value for _, value in ends])


def _climb(problem: PrunedNeuron, x: Array, rng: np.random.Generator) -> tuple[Array, float]:
    directions = rng.standard_normal((CIRCLES, len(x)))
    return climb(problem, x, directions, PATIENCE)
