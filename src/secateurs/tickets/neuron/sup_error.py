"""How far a pruned random network is from a neuron, at worst over the unit ball.

    f(x) = relu(<w*, x>),   h(x) = sum_{i in S} alpha_i relu(<w_i, x>)
    form A: E = |f - h|,    form B: E = |f - relu(h)|

E is positively homogeneous: its sup over the ball is that over the sphere.  On a great circle
its maximum is exact (`great_circles`): the answer for d = 2, and the line search of the ascent
above.  The upper bound for d > 2 comes from `sphere_cells` and three closed forms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from secateurs.tickets.neuron.great_circles import circle_maxima, climb
from secateurs.tickets.neuron.sphere_cells import bound_by_cells

Form = Literal["A", "B"]
Array = NDArray[np.float64]

TOLERANCE = 1e-3  # width of the interval asked for, over ||w*||
MAX_CELLS = 200_000
MAX_DIMENSION = 10  # above it 2^d first cells cost more than they tell
STARTS, CIRCLES, PATIENCE = 12, 60, 12  # of the ascent
BLOCK = 1 << 22  # entries of <w_i, x> formed at once
LEAST, MOST = 1e-140, 1e140  # sizes of which products of two stay inside float64


@dataclass(frozen=True)
class PrunedNeuron:
    """A target and the neurons that stand in for it: V_i = |alpha_i| w_i, signs of alpha_i."""

    V: Array
    signs: Array
    target: Array
    form: Form

    @property
    def slack(self) -> float:
        """Bounds the rounding of one value of E at a point of the sphere."""
        return self.rounding(sum(self.V.shape) + 4)

    def rounding(self, operations: int) -> float:
        """Bounds the rounding of so many additions of values of the size of f and h."""
        scale = np.linalg.norm(self.target) + np.linalg.norm(self.V, axis=1).sum()
        return float(4 * operations * np.finfo(float).eps * scale)

    def errors(self, X: Array) -> Array:
        """E at the rows of X [k, d]; 2 k N d flops."""
        found = np.empty(len(X))
        step = max(1, BLOCK // max(1, len(self.V)))
        for a in range(0, len(X), step):
            x = X[a : a + step]
            h = np.maximum(x @ self.V.T, 0) @ self.signs
            found[a : a + step] = self._compare(np.maximum(x @ self.target, 0), h)
        return found

    def _compare(self, f: Array, h: Array) -> Array:
        return np.abs(f - (np.maximum(h, 0) if self.form == "B" else h))


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
    """Bounds of the sup over the unit ball of ``|relu(<w*, x>) - network(x)|``.

    Parameters
    ----------
    W : array, shape [N, d], and alpha : array, shape [N]
        Input and output weights of the random network.
    target : array, shape [d]
        w*, of any length but 0.
    form : {"A", "B"}
        The network is h = sum alpha_i relu(<w_i, x>) in form A, relu(h) in form B.
    subset : array of bool, shape [N], or of indices, optional
        Neurons that are kept; all of them by default.
    tolerance : float
        For d > 2, the width of the interval over ||w*|| at which the search stops.
    max_cells : int
        For d > 2, how many cells of the sphere the upper bound may look at.
    random_state : int
        Of the starts of the ascent; no bound rests on it.

    Returns
    -------
    (lower, upper) : (float, float)
        The sup is between them, rounding included.  For d <= 2 they differ by rounding only.
        Above, `lower` is the error at a point that was found and `upper` a proven bound; when
        `max_cells` is spent (in practice for d >= 5) they may stay far apart.

    Raises
    ------
    ValueError
        On shapes, values or a form that cannot be, a target below 1e-140 in size, and
        ``|alpha| W`` and target above 1e140; the message says what to do.

    Notes
    -----
    d = 2 costs O(N log N).  Above, a cell costs O(d^2) for each neuron whose kink crosses it,
    and 2^d cells are the first.  Sources: the forms, Ferre et al. (2026), Malach et al. (2020);
    the method and its bounds, derived (`sphere_cells`, `closed_bound`).
    """
    problem = checked(W, alpha, target, form, subset)
    if not tolerance > 0:
        raise ValueError(f"got tolerance = {tolerance}; expected a positive number such as 1e-3")
    lower, upper, _ = bracket(problem, tolerance, max_cells, random_state)
    return lower, upper


def bracket(
    problem: PrunedNeuron,
    tolerance: float = TOLERANCE,
    max_cells: int = MAX_CELLS,
    random_state: int = 0,
) -> tuple[float, float, Array]:
    """Lower and upper bound of the sup, and points [k, d] of large error, the worst first."""
    d, slack = len(problem.target), problem.slack
    X, E = large_errors(problem, random_state)
    best = float(E[0])
    if d <= 2:
        return max(best - slack, 0.0), best + slack, X
    upper = closed_bound(problem)
    if d <= MAX_DIMENSION:
        width = tolerance * float(np.linalg.norm(problem.target))
        found, point, bound = bound_by_cells(
            problem.V, problem.signs, problem.target, problem.form == "B", best, width, max_cells
        )
        upper = min(upper, bound)
        if found > best:
            x, best = _climb(problem, point, np.random.default_rng(random_state))
            X = np.vstack([x, X])
    return max(best - slack, 0.0), float(upper) + slack, X


def large_errors(problem: PrunedNeuron, random_state: int = 0) -> tuple[Array, Array]:
    """Points [k, d] of large error and their errors, the worst first; for d <= 2 it is the sup."""
    d = len(problem.target)
    if d == 1:
        X = np.array([[1.0], [-1.0]])
        E = problem.errors(X)
    elif d == 2:
        X, E = circle_maxima(problem.V, problem.signs, problem.target, problem.form == "B")
    else:
        X, E = _ascend(problem, random_state)
    order = np.argsort(-E, kind="stable")
    return X[order], E[order]


def closed_bound(problem: PrunedNeuron) -> float:
    """The least of three upper bounds of the sup, in O(N d^2).

    Lipschitz: E vanishes at 0 and both functions are Lipschitz.
    Cone: with c_i = <w_i, w*> / ||w*||, |relu(<w_i, x>) - relu(<c_i w*, x>)| is at most the
    distance of w_i from the line of w*, and what is left is a function of <w*, x>.
    Even and odd parts: h = <sum alpha_i w_i, x> / 2 + sum alpha_i |<w_i, x>| / 2, and by Cauchy
    and Schwarz sum a_i |<w_i, x>| <= (sum a_i  largest eigenvalue of sum a_i w_i w_i^T)^(1/2).
    Form B: |f - relu(h)| <= |f - h| because f >= 0.
    """
    V, s, b = problem.V, problem.signs, problem.target
    size, lengths = float(np.linalg.norm(b)), np.linalg.norm(V, axis=1)
    lipschitz = size + float(lengths.sum())
    along = V @ b / size
    # not from lengths^2 - along^2, which loses distances below 1e-8
    off = np.linalg.norm(V - along[:, None] * (b / size), axis=1).sum()
    up, down = s @ np.maximum(along, 0), s @ np.maximum(-along, 0)
    cone = max(abs(size - up), abs(down)) + float(off)
    odd = float(np.linalg.norm(b - s @ V)) / 2
    even = max(_spectral(np.vstack([b, V[s < 0]])), _spectral(V[s > 0]))
    return float(min(lipschitz, float(cone), odd + even / 2))


def _spectral(V: Array) -> float:
    """Bound of sum |<v_i, x>| over the sphere: a_i = ||v_i||, w_i = v_i / a_i."""
    lengths = np.linalg.norm(V, axis=1)
    V, lengths = V[lengths > 0], lengths[lengths > 0]
    if not len(V):
        return 0.0
    return math.sqrt(float(lengths.sum()) * float(np.linalg.norm((V.T / lengths) @ V, 2)))


def _ascend(problem: PrunedNeuron, random_state: int) -> tuple[Array, Array]:
    """Points of large error: exact maxima over great circles, from several starts."""
    rng = np.random.default_rng(random_state)
    d, b = len(problem.target), problem.target
    sample = rng.standard_normal((64 * d, d))
    fixed = np.vstack([b, -b, b - problem.signs @ problem.V, problem.V[:512], -problem.V[:512]])
    sample = np.vstack([sample, fixed])
    size = np.linalg.norm(sample, axis=1)
    sample = sample[size > 0] / size[size > 0, None]
    E = problem.errors(sample)
    chosen = np.argsort(-E, kind="stable")[:STARTS]
    ends = [_climb(problem, sample[k], rng) for k in chosen]
    return np.array([x for x, _ in ends]), np.array([value for _, value in ends])


def _climb(problem: PrunedNeuron, x: Array, rng: np.random.Generator) -> tuple[Array, float]:
    directions = rng.standard_normal((CIRCLES, len(x)))
    p = problem
    return climb(p.V, p.signs, p.target, p.form == "B", x, directions, PATIENCE)


def checked(
    W: ArrayLike,
    alpha: ArrayLike,
    target: ArrayLike,
    form: str,
    subset: ArrayLike | None = None,
) -> PrunedNeuron:
    """The problem with its arrays in float64, or a ValueError that says what is wrong."""
    W = np.asarray(W, dtype=float)
    alpha, target = np.asarray(alpha, dtype=float), np.asarray(target, dtype=float)
    if W.ndim != 2 or not W.shape[1] or alpha.shape != W.shape[:1] or target.shape != W.shape[1:]:
        raise ValueError(
            f"got W of shape {W.shape}, alpha {alpha.shape} and target {target.shape}; expected "
            "[N, d], [N] and [d]"
        )
    if not (np.isfinite(W).all() and np.isfinite(alpha).all() and np.isfinite(target).all()):
        raise ValueError("got values that are not finite; expected finite W, alpha and target")
    if not target.any():
        raise ValueError("got target = 0; expected a direction w*, not zero")
    if form not in ("A", "B"):
        raise ValueError(
            f"got form = {form!r}; expected 'A' (network h) or 'B' (network relu(h)): bounds "
            "proved for one are false for the other"
        )
    if subset is not None:
        kept = _indices(subset, len(W))
        W, alpha = W[kept], alpha[kept]
    with np.errstate(over="ignore"):
        V = np.abs(alpha)[:, None] * W
        total = float(np.abs(V).sum() + np.abs(target).sum())
    least = float(np.abs(target).max())
    if not (least >= LEAST and total <= MOST):  # a product that overflows is not <= MOST either
        raise ValueError(
            f"got a target of size {least:.3g} and |alpha| W and target that add up to "
            f"{total:.3g}; expected at least {LEAST:g} and at most {MOST:g}: squares beyond them "
            "leave float64. Divide W and target by one number, the error is divided by it too"
        )
    return PrunedNeuron(V, np.sign(alpha), target, "A" if form == "A" else "B")


def scaled_rows(W: Array) -> Array:
    """Every row times a power of two, its largest entry in [1/2, 1): lines stay, to the bit."""
    _, exponents = np.frexp(np.abs(W).max(axis=-1, keepdims=True, initial=0.0))
    return np.asarray(np.ldexp(W, -exponents))


def _indices(subset: ArrayLike, n: int) -> NDArray[np.int64]:
    given = np.asarray(subset)
    if given.dtype == bool and given.shape == (n,):
        return np.flatnonzero(given).astype(np.int64)
    if given.ndim == 1 and (given.size == 0 or given.dtype.kind in "iu"):
        found = given.astype(np.int64)
        if len(np.unique(found)) == len(found) and (found >= 0).all() and (found < n).all():
            return found
    raise ValueError(
        f"got subset of shape {given.shape} and dtype {given.dtype}; expected a boolean mask "
        f"[{n}] or distinct indices from 0 to {n - 1}"
    )
