"""The subset of random neurons that is nearest to a target neuron, and a bound for every subset.

    min over S of  sup over the ball |relu(<w*, x>) - network_S(x)|

The sup is replaced by the largest error over points of the sphere.  Whenever a subset is tried, its
worst points are added to them (constraint generation).  The minimum over the points is a lower
bound for all 2^N subsets.  The sup of a subset that was found is an upper bound.

    N <= 20            every subset, in Gray code order: one neuron changes at a time
    d = 2, N <= 64     integer program (HiGHS) over the points, where |alpha| w is at most 1e6
    otherwise          local search by swaps over the neurons nearest to +-w*, those of the
                       relaxation and random ones; the lower bound is over all N neurons
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from secateurs.core.driver import Iterations
from secateurs.core.parameters import check_real
from secateurs.core.short_repr import short_repr
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.tickets.neuron.bounds import (
    any_output_bound,
    breakpoint_points,
    cosines,
    relaxation_bound,
)
from secateurs.tickets.neuron.local_search import REFRESH, best_code, kicked, local_search
from secateurs.tickets.neuron.pruned_neuron import Array, Form, PrunedNeuron, checked, unit_rows
from secateurs.tickets.neuron.sup_error import bracket, large_errors

EXHAUSTIVE, INTEGER = 20, 64  # most neurons for every subset; for the integer program (d = 2)
LARGEST = 1e6  # most |alpha| w, in units of the target's, for the tolerances of the integer program
ROUNDS = {"gray": 12, "milp": 6, "local": 10}  # of constraint generation
NODE_LIMIT = 4000  # of each integer program: a count, so that a run can be repeated
MILP_TOLERANCE = (
    1e-6  # feasibility tolerance of HiGHS; times 1 + N, it is subtracted from its bound
)
MILP_GAP = 0.01  # relative gap at which HiGHS stops
NEAREST, RANDOM = 200, 40  # neurons of the local search, besides those of the relaxation
NEAREST_ROOT = 5.0  # times sqrt(N), where that is more than NEAREST
STARTS, KICKS = 3, 100  # of the local search
CUTS, CUT_KICKS = 15, 10  # times that worst points are added, and kicks of the search after each
CLOSE = 1.02  # ratio of the error to that at the points, below which no worst points are added
GRID, GRID_KINKS, SPHERE_POINTS = 48, 16, 32  # first points: of a circle, or for each dimension
DENSE = 96  # random points for each dimension that only the local search sees, for d > 2
NEW_POINTS = 8  # worst points that are added in a round
QUICK_CELLS = 20_000  # of the sphere, for all subsets but the last, which gets `max_cells`

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class NeuronSubset:
    """Neurons that were kept, and what is proven about them.

    Parameters
    ----------
    mask : array of bool, shape [N]
        True for the neurons that are kept.
    error : float
        Upper bound of the subset's sup error.
    error_at_least : float
        Lower bound of the same.
    lower_bound : float
        No subset of the N neurons has a smaller sup error.  It is proven by enumeration or by
        duality.  With method "milp" it may be the dual bound of HiGHS, and then relies on that
        solver.
    method : {"gray", "milp", "local"}
        The search: every subset in Gray code order, an integer program, or a local search.
    """

    __repr__ = short_repr

    mask: Mask
    error: float
    error_at_least: float
    lower_bound: float
    method: str


def select_neurons(
    W: ArrayLike,
    alpha: ArrayLike,
    target: ArrayLike,
    form: Form = "A",
    *,
    tolerance: float = 1e-3,
    max_cells: int = 200_000,
    node_limit: int = NODE_LIMIT,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> Solution[NeuronSubset]:
    """Select the neurons of a random network that come nearest to relu(<w*, x>).

    No weight is changed or trained, and the result is judged by its sup error, not by a loss on
    data.  `secateurs.nn.prune_neurons` removes neurons of a trained module.

    Parameters
    ----------
    W : array, shape [N, d]
        Input weights w_i of the random neurons.
    alpha : array, shape [N]
        Their output weights.
    target : array, shape [d]
        The weights w* of the neuron to approximate, of any length but 0.
    form : {"A", "B"}
        As in `sup_error`.
    tolerance : float
        In units of ||w*||.  A subset this near to the lower bound is "exact"; an interval of the
        sup error is not made narrower than this.
    max_cells : int
        As in `sup_error`, for the subset that is returned.
    node_limit : int
        The most nodes of each integer program.
    random_state : int
        Random seed of the points, the ascents and the local search.
    progress : callable, optional
        Called with a `Progress` after every round; its loss is the error so far.

    Returns
    -------
    Solution of NeuronSubset
        Status "exact" (no subset is better by more than the tolerance), "budget" (all rounds were
        done; `value` gives the gap) or "interrupted" (the best subset so far; its bounds hold).
        History: step, loss (error), n_nonzero (neurons kept) and lower_bound.

    Raises
    ------
    ValueError
        A shape, a value or the form is wrong.

    Notes
    -----
    A round with K points costs 2^N K flops for N <= 20, and at most `node_limit` linear programs
    of size [2 K, N] for the integer program.  Otherwise each least-squares start of the local
    search costs n^2 K for n = max(300, 100 + 5 sqrt(N)) neurons.  A pass of swaps tries up to
    n^2 / 2 of them, of which few get beyond the worst points.
    The first call after an installation also compiles its kernels, which takes seconds.  Integer
    programs of 64 neurons may take tens of seconds; a smaller `node_limit` ends sooner, with a
    wider gap.
    Source: Ferre et al. (2026) for the problem; algorithms and bounds derived.
    """
    given = checked(W, alpha, target, form)
    check_real("tolerance", tolerance, above=0)
    size = float(np.linalg.norm(given.target))
    problem = given._replace(V=given.V / size, target=given.target / size)
    n, d = problem.V.shape
    solvable = d == 2 and n <= INTEGER and np.abs(problem.V).max(initial=0) <= LARGEST
    method = "gray" if n <= EXHAUSTIVE else "milp" if solvable else "local"
    columns = ("step", "loss", "n_nonzero", "lower_bound")
    with Iterations(ROUNDS[method], progress, columns) as run:
        search = Search(problem, run, tolerance, random_state, np.zeros(n, dtype=bool))
        if not problem.form_b and n:  # none of these bounds is proven for form B
            search.lower = any_output_bound(problem.V, problem.target, random_state)
        X = first_points(problem, random_state)
        if method == "gray":
            _every_subset(search, X)
        elif method == "milp":
            _integer_program(search, X, node_limit)
        else:
            _nearby_neurons(search, X)
        if search.error - search.at_least > tolerance:
            search.offer(search.mask, max_cells)
            search.record_extra()
    error, at_least, lower = search.error, search.at_least, search.lower
    value = NeuronSubset(search.mask, size * error, size * at_least, size * lower, method)
    gap = error / lower - 1 if lower > 0 else math.inf
    return run.solution(value, gap=gap, n_kept=int(search.mask.sum()))


@dataclass
class Search:
    """The best subset so far and a lower bound for all; the target has length 1."""

    problem: PrunedNeuron
    run: Iterations
    tolerance: float
    random_state: int
    mask: Mask
    error: float = 1.0  # of the empty subset, which is known exactly
    at_least: float = 1.0
    lower: float = 0.0

    def offer(self, mask: Mask, max_cells: int = QUICK_CELLS) -> Array:
        """Bound the error of a subset and keep it if it is the best; return its worst points."""
        part = self.problem.subset(mask)
        at_least, error, worst = bracket(part, self.tolerance / 2, max_cells, self.random_state)
        if error < self.error:
            self.mask, self.error, self.at_least = mask.copy(), error, at_least
        return _spread(worst)

    def raise_bound(self, bound: float) -> None:
        """Raise the lower bound, where this one is larger."""
        self.lower = max(self.lower, bound)

    def record(self) -> None:
        """Record a round, and end the run when no subset is better by more than the tolerance."""
        kept = int(self.mask.sum())
        self.run.record(loss=self.error, n_nonzero=kept, lower_bound=self.lower)
        if self.error - self.lower <= self.tolerance:
            self.run.end("exact")

    def record_extra(self) -> None:
        """Record the work that was done after the last round."""
        self.run.step += 1
        self.record()

    def relax(self, X: Array, taus: list[float]) -> tuple[Array, list[Array]]:
        """Raise the bound by the relaxation; return its points and fractional neurons."""
        fractions = []
        for tau in taus if self.problem.form_b else [0.0]:
            bound, X, z = relaxation_bound(self.problem, X, tau)
            self.raise_bound(bound)
            fractions.append(z)
        return X, fractions


def first_points(problem: PrunedNeuron, random_state: int) -> Array:
    """Return both ends of w*, the points of the breakpoint proof, and a grid or a sample."""
    V, b = problem.V, problem.target
    d = len(b)
    if d == 1:
        return np.array([[1.0], [-1.0]])
    if d == 2:
        t = np.arange(GRID) * (2 * np.pi / GRID)
        near = np.argsort(-np.abs(V @ b), kind="stable")[:GRID_KINKS]
        kinks = V[near][:, ::-1] * [-1.0, 1.0]
        grid = np.vstack([np.stack([np.cos(t), np.sin(t)], axis=1), kinks, -kinks])
    else:
        grid = np.random.default_rng(random_state).standard_normal((SPHERE_POINTS * d, d))
    return unit_rows(np.vstack([b, -b, breakpoint_points(V, b, random_state), grid]))


def _spread(worst: Array) -> Array:
    """Return the first few of the worst points; on a circle, none next to a worse one."""
    if worst.shape[1] > 2:
        return worst[:NEW_POINTS]
    chosen: list[Array] = []
    for x in worst[:400]:
        if all(x @ y < 1 - 1e-4 for y in chosen):
            chosen.append(x)
        if len(chosen) == NEW_POINTS:
            break
    return np.array(chosen)


def _every_subset(search: Search, X: Array) -> None:
    problem, last = search.problem, -1
    rounding = problem.rounding(sum(problem.V.shape) + REFRESH + 4)
    for _ in search.run:
        rows = np.ascontiguousarray(problem.neuron_values(X).T)
        code, least = best_code(rows, problem.target_values(X), problem.form_b)
        search.raise_bound(least - rounding)
        mask = (code >> np.arange(len(problem.V))) & 1 == 1
        X = np.vstack([X, search.offer(mask)])
        search.record()
        if code == last:  # the same subset again: no point is worse than these
            return
        last = code


def _integer_program(search: Search, X: Array, node_limit: int) -> None:
    problem, every = search.problem, np.arange(len(search.problem.V))
    X, _ = search.relax(X, [search.error / 2, search.error / 8])
    X = np.vstack([X, _improve(search, X, every, search.random_state)])
    for step in search.run:
        search.record()
        if search.run.ended:
            return
        f = problem.target_values(X)
        # form B: below tau the lower side is left out, and the bound ends at tau
        tau = 0.0 if not problem.form_b else (search.lower + search.error) / 2
        both = f > tau if problem.form_b else f >= 0
        mask, bound = milp_subset(problem.neuron_values(X), f, both, search.error, node_limit)
        search.raise_bound((min(bound, tau) if problem.form_b else bound) - problem.slack)
        if mask is None:
            X = np.vstack([X, _improve(search, X, every, search.random_state + step)])
        else:
            X = np.vstack([X, search.offer(mask)])
    search.record_extra()


def milp_subset(
    A: Array, f: Array, both: Mask, upper: float, node_limit: int
) -> tuple[Mask | None, float]:
    """Find the subset of least error over the points by an integer program.

    Returns
    -------
    mask, bound : array of bool or None, float
        None where no subset has an error below `upper`; a lower bound for all subsets.
    """
    n = A.shape[1]
    rows = np.vstack([-A[both], A])
    rows = np.column_stack([rows, -np.ones(len(rows))])
    solved = optimize.milp(
        np.append(np.zeros(n), 1.0),
        integrality=np.append(np.ones(n), 0),
        bounds=optimize.Bounds(np.zeros(n + 1), np.append(np.ones(n), upper)),
        constraints=optimize.LinearConstraint(rows, -np.inf, np.concatenate([-f[both], f])),
        # with presolve HiGHS has returned bounds above the optimum
        options={"node_limit": node_limit, "mip_rel_gap": MILP_GAP, "presolve": False},
    )
    if solved.status == 2:  # infeasible: no subset is better than `upper`
        return None, upper - MILP_TOLERANCE * (1 + n)
    bound = getattr(solved, "mip_dual_bound", None)
    lower = 0.0 if bound is None else float(bound) - MILP_TOLERANCE * (1 + n)
    return None if solved.x is None else solved.x[:n] > 0.5, lower


def _nearby_neurons(search: Search, X: Array) -> None:
    problem, (n, d) = search.problem, search.problem.V.shape
    X, fractions = search.relax(X, [0.4, 0.1])
    near = np.argsort(-np.abs(cosines(problem.V, problem.target)), kind="stable")
    near = near[: max(NEAREST, int(NEAREST_ROOT * math.sqrt(n)))]
    rng = np.random.default_rng(search.random_state)
    columns = np.union1d(near, rng.choice(n, min(RANDOM, n), replace=False))
    for z in fractions:
        most = np.argsort(-z, kind="stable")[: int((z > 1e-6).sum())][:64]
        columns = np.union1d(columns, most)
    if d > 2:
        X = np.vstack([X, unit_rows(rng.standard_normal((DENSE * d, d)))])
    for step in search.run:
        X = np.vstack([X, _improve(search, X, columns, search.random_state + step - 1)])
        search.record()


def _improve(search: Search, X: Array, columns: NDArray[np.intp], seed: int) -> Array:
    """Search these neurons, from the best subset and random ones; return the worst points.

    A subset that is good at the points is poor between them.  Its worst points are added, and the
    search goes on from it, until it is as good everywhere.  The best subset on the way is offered.
    """
    problem, form_b = search.problem, search.problem.form_b
    rng = np.random.default_rng(seed)
    n, n_given = len(columns), len(X)
    starts = rng.random((STARTS, n)) < np.linspace(0, 0.5, STARTS)[:, None]
    starts[-1] = search.mask[columns]
    kicks = rng.integers(n, size=(KICKS, 3))
    least, best = math.inf, search.mask
    for cut in range(CUTS):
        rows = np.ascontiguousarray(problem.neuron_values(X)[:, columns].T)
        f = problem.target_values(X)
        if cut == 0:
            z = local_search(rows, f, form_b, starts, kicks)
        else:
            z = kicked(rows, f, form_b, z, kicks)
        mask = np.zeros(len(problem.V), dtype=bool)
        mask[columns[z]] = True
        points, errors = large_errors(problem.subset(mask), search.random_state + cut)
        if errors[0] < least:
            least, best = float(errors[0]), mask
        if errors[0] <= CLOSE * problem.compare(f, rows[z].sum(axis=0)).max():
            break
        X, kicks = np.vstack([X, _spread(points)]), rng.integers(n, size=(CUT_KICKS, 3))
    return np.vstack([X[n_given:], search.offer(best)])
