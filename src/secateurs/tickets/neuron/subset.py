"""The subset of random neurons that is nearest to a target neuron, and how near any could be.

    min over S of  sup over the ball |relu(<w*, x>) - network_S(x)|

The sup is replaced by the largest error over points of the sphere, which grow by the worst
points of every subset that is tried (constraint generation).  Over points the minimum is a lower
bound for all 2^N subsets; the sup of a subset that was found is an upper one.

    N <= 20            every subset, in Gray code order: one neuron changes at a time
    d = 2, N <= 64     integer program (HiGHS) over the points, where |alpha| w is at most 1e6
    otherwise          local search by exchanges over the neurons nearest to +-w*, those of the
                       relaxation and random ones, cut by cut; the lower bound is over all N all
                       the same
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from secateurs.core.solution import Progress, ProgressCallback, Solution, Status
from secateurs.tickets.neuron.bounds import (
    breakpoint_bound,
    breakpoint_direction,
    breakpoint_points,
    latitude_bound,
    nearest_angle,
    point_matrix,
    relaxation_bound,
)
from secateurs.tickets.neuron.local_search import REFRESH, best_code, kicked, local_search
from secateurs.tickets.neuron.sup_error import (
    Array,
    Form,
    PrunedNeuron,
    bracket,
    checked,
    large_errors,
)

EXHAUSTIVE, INTEGER = 20, 64  # most neurons for every subset; for the integer program (d = 2)
LARGEST = 1e6  # weight |alpha| w, in units of the target's, for the integer program's tolerances
ROUNDS = {"gray": 12, "milp": 6, "local": 10}  # of constraint generation
NODE_LIMIT = 4000  # of each integer program: a count, so that a run can be repeated
NEAREST, RANDOM = 200, 40  # neurons the local search chooses from, with the relaxation's
NEAREST_ROOT = 5.0  # times sqrt(N), where that is more than NEAREST
STARTS, KICKS = 3, 100  # of the local search
CUTS, CUT_KICKS = 15, 10  # worst points added, and searched on with, before a subset is bounded
DENSE = 96  # random points for each dimension that only the local search sees, from d = 3 on
NEW_POINTS = 8  # a round or a cut
CLOSE = 1.02  # times the error at the points: a subset that is as good everywhere
QUICK_CELLS = 20_000  # of the sphere, for the subsets on the way; the last gets `max_cells`
MILP_TOLERANCE = 1e-6  # HiGHS's feasibility tolerances, times 1 + N taken off its bound

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class NeuronSubset:
    """Neurons that were kept, and what is proven about them.

    Attributes
    ----------
    mask : array of bool, shape [N]
    error : float
        Upper bound of the subset's sup error.
    error_at_least : float
        Lower bound of the same.
    lower_bound : float
        No subset of the N neurons has a smaller sup error.  Proven by enumeration or by duality;
        with method "milp" it may be the dual bound of HiGHS, and rests on that solver.
    method : {"gray", "milp", "local"}
    """

    mask: Mask
    error: float
    error_at_least: float
    lower_bound: float
    method: str


def prune_neurons(
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
    """Keep the neurons of a random network that come nearest to relu(<w*, x>), weights untouched.

    Not to be confused with pruning the neurons of a trained torch module: nothing is trained
    here, and the result is judged by its sup error, not by a loss on data.

    Parameters
    ----------
    W : array, shape [N, d], alpha : array, shape [N], target : array, shape [d]
    form : {"A", "B"}
        As in `sup_error`.
    tolerance : float
        Over ||w*||: a subset this near to the lower bound is "exact", an interval of the sup
        error this wide is closed.
    max_cells : int
        As in `sup_error`, for the subset that is returned.
    node_limit : int
        Of each integer program.
    random_state : int
        Of the points, the ascents and the local search.
    progress : callable, optional
        Called with a `Progress` after every round; its loss is the error so far.

    Returns
    -------
    Solution of NeuronSubset
        Status "exact" (no subset is better by more than the tolerance), "budget" (the rounds
        are spent, the gap is what `value` says) or "interrupted" (the best so far; its bounds
        hold).  History: step, loss (error), n_nonzero (neurons kept) and lower_bound.

    Raises
    ------
    ValueError
        On shapes, values or a form that cannot be.

    Notes
    -----
    Costs a round, with K points: 2^N K flops for N <= 20; at most `node_limit` linear programs
    of size [2 K, N]; otherwise n^2 K for each least-squares start of the local search,
    n = max(300, 100 + 5 sqrt(N)) neurons, and up to n^2 / 2 a pass of exchanges, of which few go
    beyond the worst points.
    Source: Ferre et al. (2026) for the problem; algorithms and bounds derived.
    """
    given = checked(W, alpha, target, form)
    if not tolerance > 0:
        raise ValueError(f"got tolerance = {tolerance}; expected a positive number such as 1e-3")
    size = float(np.linalg.norm(given.target))
    problem = PrunedNeuron(given.V / size, given.signs, given.target / size, given.form)
    n, d = problem.V.shape
    solvable = d == 2 and n <= INTEGER and np.abs(problem.V).max(initial=0) <= LARGEST
    method = "gray" if n <= EXHAUSTIVE else "milp" if solvable else "local"
    run = _Run(problem, method, tolerance, random_state, progress, np.zeros(n, dtype=bool))
    try:
        run.lower = _general_bound(problem, random_state)
        X = _first_points(problem, random_state)
        if method == "gray":
            _every_subset(run, X)
        elif method == "milp":
            _integer_program(run, X, node_limit)
        else:
            _nearby_neurons(run, X)
        run.finish(max_cells)
    except KeyboardInterrupt:
        run.status = "interrupted"
    value = NeuronSubset(run.mask, size * run.error, size * run.at_least, size * run.lower, method)
    gap = run.error / run.lower - 1 if run.lower > 0 else math.inf
    return Solution(value, run.status, run.history, {"gap": gap, "n_kept": int(run.mask.sum())})


@dataclass
class _Run:
    """The best subset so far and the bound for all; a unit target."""

    problem: PrunedNeuron
    method: str
    tolerance: float
    random_state: int
    progress: ProgressCallback | None
    mask: Mask
    error: float = 1.0  # the empty subset's, known exactly
    at_least: float = 1.0
    lower: float = 0.0
    step: int = 0
    status: Status = "budget"
    history: dict[str, list[float]] = field(
        default_factory=lambda: {"step": [], "loss": [], "n_nonzero": [], "lower_bound": []}
    )

    def offer(self, mask: Mask, max_cells: int = QUICK_CELLS) -> Array:
        """Bound a subset's error, keep it when it is the best; its worst points."""
        p = self.problem
        part = PrunedNeuron(p.V[mask], p.signs[mask], p.target, p.form)
        at_least, error, worst = bracket(part, self.tolerance / 2, max_cells, self.random_state)
        if error < self.error:
            self.mask, self.error, self.at_least = mask.copy(), error, at_least
        return _spread(worst)

    def closed(self) -> bool:
        """Record a round; True when no subset is better by more than the tolerance."""
        self.step += 1
        kept = int(self.mask.sum())
        for key, value in zip(self.history, (self.step, self.error, kept, self.lower), strict=True):
            self.history[key].append(value)
        if self.progress is not None:
            self.progress(Progress(self.step, ROUNDS[self.method], self.error, kept))
        if self.error - self.lower <= self.tolerance:
            self.status = "exact"
        return self.status == "exact"

    def finish(self, max_cells: int) -> None:
        """Bound the best subset's error with all the cells there are."""
        if self.error - self.at_least > self.tolerance:
            self.offer(self.mask, max_cells)
            self.closed()


def _general_bound(problem: PrunedNeuron, random_state: int) -> float:
    """The bounds for every alpha; none is proven for form B."""
    if problem.form == "B" or not len(problem.V):
        return 0.0
    _, delta = breakpoint_direction(problem.V, problem.target, random_state)
    angle = nearest_angle(problem.V, problem.target)
    return max(breakpoint_bound(delta), latitude_bound(angle, len(problem.target)))


def _first_points(problem: PrunedNeuron, random_state: int) -> Array:
    """Both ends of w*, the points of the breakpoint proof, and a grid or a sample."""
    V, b = problem.V, problem.target
    d = len(b)
    if d == 1:
        return np.array([[1.0], [-1.0]])
    if d == 2:
        t = np.arange(48) * (2 * np.pi / 48)
        near = np.argsort(-np.abs(V @ b), kind="stable")[:16]
        kinks = V[near][:, ::-1] * [-1.0, 1.0]
        grid = np.vstack([np.stack([np.cos(t), np.sin(t)], axis=1), kinks, -kinks])
    else:
        grid = np.random.default_rng(random_state).standard_normal((32 * d, d))
    points = np.vstack([b, -b, breakpoint_points(V, b, random_state), grid])
    size = np.linalg.norm(points, axis=1)
    return np.asarray(points[size > 0] / size[size > 0, None])


def _spread(worst: Array) -> Array:
    """The first few of the worst points; on a circle those that are not next to a worse one."""
    if worst.shape[1] > 2:
        return worst[:NEW_POINTS]
    chosen: list[Array] = []
    for x in worst[:400]:
        if all(x @ y < 1 - 1e-4 for y in chosen):
            chosen.append(x)
        if len(chosen) == NEW_POINTS:
            break
    return np.array(chosen)


def _every_subset(run: _Run, X: Array) -> None:
    problem, last = run.problem, -1
    for _ in range(ROUNDS["gray"]):
        A = point_matrix(problem, X)
        f = np.maximum(X @ problem.target, 0)
        code, least = best_code(np.ascontiguousarray(A.T), f, problem.form == "B")
        run.lower = max(run.lower, least - problem.rounding(sum(problem.V.shape) + REFRESH + 4))
        mask = (code >> np.arange(len(problem.V))) & 1 == 1
        X = np.vstack([X, run.offer(mask)])
        if run.closed() or code == last:  # a subset met again: no point is worse than these
            break
        last = code


def _integer_program(run: _Run, X: Array, node_limit: int) -> None:
    problem, n = run.problem, len(run.problem.V)
    X = _relaxed(run, X)
    X = np.vstack([X, _improve(run, X, np.arange(n))])
    for _ in range(ROUNDS["milp"]):
        if run.closed():
            return
        A = point_matrix(problem, X)
        f = np.maximum(X @ problem.target, 0)
        # form B: below tau the lower side is dropped, and the bound ends at tau
        tau = 0.0 if problem.form == "A" else (run.lower + run.error) / 2
        both = f > tau if problem.form == "B" else f >= 0
        mask, bound = _milp(A, f, both, run.error, node_limit)
        bound = min(bound, tau) if problem.form == "B" else bound
        run.lower = max(run.lower, bound - problem.slack)
        if mask is None:
            X = np.vstack([X, _improve(run, X, np.arange(n))])
        else:
            X = np.vstack([X, run.offer(mask)])
    run.closed()


def _milp(
    A: Array, f: Array, both: Mask, upper: float, node_limit: int
) -> tuple[Mask | None, float]:
    """Subset of least error over the points and a lower bound for all; None if none < upper."""
    n = A.shape[1]
    rows = np.vstack([-A[both], A])
    rows = np.column_stack([rows, -np.ones(len(rows))])
    solved = optimize.milp(
        np.append(np.zeros(n), 1.0),
        integrality=np.append(np.ones(n), 0),
        bounds=optimize.Bounds(np.zeros(n + 1), np.append(np.ones(n), upper)),
        constraints=optimize.LinearConstraint(rows, -np.inf, np.concatenate([-f[both], f])),
        # with presolve HiGHS has returned bounds above the optimum
        options={"node_limit": node_limit, "mip_rel_gap": 0.01, "presolve": False},
    )
    if solved.status == 2:  # no subset is better than the one there is
        return None, upper - MILP_TOLERANCE * (1 + n)
    bound = getattr(solved, "mip_dual_bound", None)
    lower = 0.0 if bound is None else float(bound) - MILP_TOLERANCE * (1 + n)
    return None if solved.x is None else solved.x[:n] > 0.5, lower


def _relaxed(run: _Run, X: Array) -> Array:
    """Raise the lower bound by the relaxation; its points."""
    taus = [0.0] if run.problem.form == "A" else [run.error / 2, run.error / 8]
    for tau in taus:
        bound, X, _ = relaxation_bound(run.problem, X, tau)
        run.lower = max(run.lower, bound)
    return X


def _nearby_neurons(run: _Run, X: Array) -> None:
    problem, n = run.problem, len(run.problem.V)
    taus = [0.0] if problem.form == "A" else [0.4, 0.1]
    support = np.zeros(0, dtype=np.intp)
    for tau in taus:
        bound, X, z = relaxation_bound(problem, X, tau)
        run.lower = max(run.lower, bound)
        support = np.union1d(support, np.argsort(-z, kind="stable")[: int((z > 1e-6).sum())][:64])
    lengths = np.linalg.norm(problem.V, axis=1)
    lengths[lengths == 0] = np.inf
    near = np.argsort(-np.abs(problem.V @ problem.target / lengths), kind="stable")
    near = near[: max(NEAREST, int(NEAREST_ROOT * math.sqrt(n)))]
    rng = np.random.default_rng(run.random_state)
    drawn = rng.choice(n, min(RANDOM, n), replace=False)
    columns = np.union1d(np.union1d(near, drawn), support).astype(np.intp)
    d = len(problem.target)
    if d > 2:
        dense = rng.standard_normal((DENSE * d, d))
        X = np.vstack([X, dense / np.linalg.norm(dense, axis=1)[:, None]])
    for _ in range(ROUNDS["local"]):
        X = np.vstack([X, _improve(run, X, columns)])
        if run.closed():
            return


def _improve(run: _Run, X: Array, columns: NDArray[np.intp]) -> Array:
    """Local search over these neurons, from the best subset and random ones; the worst points.

    A subset that is good at the points is poor between them: its worst points are added, and the
    search goes on from it, until it is as good everywhere.  The best on the way is offered.
    """
    problem, form_b = run.problem, run.problem.form == "B"
    rng = np.random.default_rng(run.random_state + run.step)
    n, n_given = len(columns), len(X)
    starts = rng.random((STARTS, n)) < np.linspace(0, 0.5, STARTS)[:, None]
    starts[-1] = run.mask[columns]
    kicks = rng.integers(n, size=(KICKS, 3))
    least, best = math.inf, run.mask
    for cut in range(CUTS):
        rows = np.ascontiguousarray(point_matrix(problem, X)[:, columns].T)
        f = np.maximum(X @ problem.target, 0)
        if cut == 0:
            z = local_search(rows, f, form_b, starts, kicks)
        else:
            z = kicked(rows, f, form_b, z, kicks)
        mask = np.zeros(len(problem.V), dtype=bool)
        mask[columns[z]] = True
        part = PrunedNeuron(problem.V[mask], problem.signs[mask], problem.target, problem.form)
        points, errors = large_errors(part, run.random_state + cut)
        if errors[0] < least:
            least, best = float(errors[0]), mask
        h = rows[z].sum(axis=0)
        if errors[0] <= CLOSE * np.abs(f - (np.maximum(h, 0) if form_b else h)).max():
            break
        X, kicks = np.vstack([X, _spread(points)]), rng.integers(n, size=(CUT_KICKS, 3))
    return np.vstack([X[n_given:], run.offer(best)])
