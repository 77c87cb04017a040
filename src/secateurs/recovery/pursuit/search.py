"""Exact recovery of sparse ReLU networks: sign-free pursuit, then signs, then a ReLU polish.

    y = sum_j relu(w_j.x) = x.beta + sum_j |x.u_j|,   u = w / 2, beta = sum_j sigma_j u_j     (1)

Searching for the u_j alone removes the local minima of wrong signs; the signs sigma_j follow
from linear algebra at the end.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from secateurs.core.interrupt import uninterrupted
from secateurs.core.parameters import check_integer, is_integer
from secateurs.core.solution import Progress, ProgressCallback, Solution
from secateurs.recovery.pursuit.binary_inputs import absorb_linear, lower_centres
from secateurs.recovery.pursuit.candidates import best_gain, candidates
from secateurs.recovery.pursuit.columns import (
    Columns,
    check_data,
    useful_columns,
)
from secateurs.recovery.pursuit.levenberg_marquardt import (
    Fit,
    FloatArray,
    HeldRows,
    Network,
    Rows,
    directions_times,
    entry_gradient,
    evaluate,
    levenberg_marquardt,
    network,
    saliency,
)
from secateurs.recovery.pursuit.moves import (
    add_entries,
    add_linear,
    add_neurons,
    add_relu_neuron,
    join_neurons,
    merge_neurons,
    prune_linear,
    prune_to,
    raise_centres,
    shrink,
    split_neurons,
    t_test_prune,
)
from secateurs.recovery.pursuit.plus_minus_inputs import relu_of_signs
from secateurs.recovery.pursuit.signs import relu_neurons, resolve_signs
from secateurs.recovery.uniqueness import doubt

EXACT = 1e-10  # relative residual over all rows of an exact fit
SOLVED = 1e-12  # of a search that need not go on
TRUSTED = 1e-6  # of a search whose rows were enough
ROUNDING = 1e-15  # of a weight relative to the largest, columns at unit scale
MAX_STALLS = 8  # rounds without progress
ROWS_PER_UNKNOWN = 10  # of the first search; four times as many of each next one
POLISH_STEPS = 20
MAX_EXCHANGES = 10
NOISE_ROWS = 8  # rows for each of the s + d unknowns from which a residual is called noise
MAX_GROWTH, GROWTH_NEURONS = 50, 10  # steps, neurons that share what is left of the budget
STRICTNESS = (1.0, 0.75, 0.5)  # of the threshold of a sparse linear part, in turns
DENSE_ROWS = 2.5  # rows for each of the s + d unknowns from which the linear part is dense
SIGNIFICANT = 5.0  # standard errors: what noise does not do among thousands of entries


@dataclass(frozen=True, eq=False)
class ReLUFit:
    """The function intercept + sum_j relu(w_j . x).

    Attributes
    ----------
    weights : CSR array [m, d]
        Live neurons first, empty rows after them.
    intercept : float
    """

    weights: sparse.csr_array[np.float64]
    intercept: float

    def predict(self, X: FloatArray) -> FloatArray:
        """Output on rows X [n, d], shape [n]; O(n nnz)."""
        live = sparse.csr_array(self.weights[np.diff(self.weights.indptr) > 0])
        output = np.full(len(X), self.intercept)
        rows = max(1, (1 << 21) // max(1, live.shape[0]))
        for start in range(0, len(X), rows):
            block = slice(start, start + rows)
            output[block] += np.maximum(directions_times(live, X[block].T), 0.0).sum(axis=0)
        return output


def relu_pursuit(
    X: ArrayLike,
    y: ArrayLike,
    n_nonzero: int,
    n_neurons: int | None = None,
    *,
    fit_intercept: bool = False,
    max_rounds: int = 100,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> Solution[ReLUFit]:
    """Find the sparse ReLU network behind data, exactly where there is one.

    Parameters
    ----------
    X : array [n, d]
    y : array [n]
    n_nonzero : int
        The budget s: most nonzero weights, the intercept not counted.
    n_neurons : int, optional
        Most neurons m, default s.  A smaller m tells the search that neurons are larger.
    fit_intercept : bool
        Add one constant to the output.  For a bias in every neuron append a column of ones
        to `X` instead.
    max_rounds : int
        Rounds of the search, over all its restarts.
    random_state : int
        Chooses the rows of the search and how neurons are split.
    progress : callable, optional
        Called with a `Progress` after every round: rounds, relative residual, nonzeros.

    Returns
    -------
    Solution of ReLUFit
        With at most s nonzeros in at most m rows, always.  Its status:

        - "exact": ||y - f(X)|| < 1e-10 ||y|| over all rows, and the rows speak against every
          other network that `identified.doubt` looks at.  No proof that there is none.
        - "converged": ||y - f(X)|| < 1e-10 ||y||, but another network may fit as well:
          ``measured["doubt"]`` says why.  Or no entry of a neuron in use, nor any of the
          directions tried, correlates with the residual by more than 5 standard errors, and no
          few rows carry it: what is left looks like noise.  Said from 8 (s + d) rows on.
        - "stalled": structure is left that the search, or the budget, could not use, or the
          rows are too few to tell.
        - "budget": max_rounds are spent while the residual still fell.
        - "interrupted": stopped by the user; the best network so far.

        ``history`` has the relative residual on the rows searched and the nonzeros of the
        sign-free form by round; ``measured`` has residual (relative, all rows), rounds,
        restarts, n_search (rows of the last search), doubt (text, empty without one) and cpu
        (seconds of this process).

    Raises
    ------
    ValueError
        Data or settings that cannot be used.

    Notes
    -----
    A round costs O(d) candidate directions of O(n' d) flops and about ten
    Levenberg-Marquardt steps of O(n' (s + d)^2), on n' = min(n, 10 (s + d)) rows, four times
    as many after a search without success; the polish O(n s^2) a step.  Memory beyond X:
    O(n + n' d + (s + d)^2).  Beyond 3000 unknowns in the network of the moment steps are
    matrix-free: O(n' (s + d)) for each of at most 150 iterations and n' bytes a neuron in place
    of the square; pruning then judges entries by the diagonal of J^T J alone, which overrates
    those of nearly dependent columns.

    On planted networks it is exact from about n = 5 (s + d) rows on, and with fewer rows than
    inputs (a sparse linear part takes the place of the dense one) from about 4 s log(d) on for
    small s.  Measured limits: neurons whose boundary few rows cross (non-negative inputs),
    inputs that are zero on 95 % of the rows (exact with ten times the rows), and, on inputs that
    are all +-1 or all 0 and 1, wide networks of several entries a neuron: different weights then
    give the same function, and the ones found are some of them.  Where rows tell two networks
    apart by nothing, the one with fewer nonzeros is preferred.

    Computes in float64: targets rounded to float32 can be fitted to about 1e-7 only.
    Source: derived, for the problem of Fridovich-Keil & Pilanci (2026); no guarantee is known.
    """
    X, y = check_data(X, y)
    s = check_integer("n_nonzero", n_nonzero)
    m = s if n_neurons is None else check_integer("n_neurons", n_neurons)
    max_rounds = check_integer("max_rounds", max_rounds)
    if not is_integer(random_state, 0):
        raise ValueError(f"random_state={random_state!r}: expected an integer >= 0")

    started = time.process_time()
    rng = np.random.default_rng(int(random_state))
    columns = useful_columns(X, bool(fit_intercept))
    y_scale = root_mean_square(y)
    target = y / y_scale
    norm = float(np.linalg.norm(target)) or 1.0
    n_search = min(len(y), ROWS_PER_UNKNOWN * (s + columns.d))
    best = Search(columns.sample(X, target, n_search, rng), max_rounds, progress, s)
    net, residual = columns.nothing(), target
    ended, noise = "", False
    try:
        while True:
            ended = pursue(best, s, min(s, m), rng)
            best.net, best.fit = shrink(best.rows, best.net, best.fit, s)
            last = ended == "budget" or n_search == len(y)
            n_search = min(len(y), 4 * n_search)
            if (
                last
                or best.relative < TRUSTED
                or looks_like_noise(best.rows, best.net, best.fit, s)
            ):
                net, residual = better((net, residual), polish(columns, X, target, best, s, m))
                # a wrong network may fit the rows of its search; more rows tell
                sample = replace(columns.sample(X, target, n_search, rng), activation="relu")
                noise = looks_like_noise(sample, net, evaluate(sample, net), s)
                if last or noise or np.linalg.norm(residual) < EXACT * norm:
                    break
            best.restart(columns.sample(X, target, n_search, rng))
    except KeyboardInterrupt:
        ended = "interrupted"
        with uninterrupted():
            so_far = polish(columns, X, target, best, s, m, quick=True)
            net, residual = better((net, residual), so_far)

    found = to_fit(columns, net, y_scale, m, X.shape[1])
    relative = float(np.linalg.norm(residual)) / norm
    uncertain = ""
    try:
        if relative < EXACT:
            uncertain = doubt(X, found.weights, s, intercept=columns.intercept)
    except KeyboardInterrupt:
        ended = "interrupted"
    if ended == "interrupted":
        status = ended
    elif relative < EXACT:
        status = "converged" if uncertain else "exact"
    elif ended == "budget":
        status = "budget"
    else:
        status = "converged" if noise else "stalled"
    measured: dict[str, Any] = {
        "residual": relative,
        "rounds": best.rounds,
        "restarts": best.restarts,
        "n_search": best.rows.n,
        "doubt": uncertain,
        "cpu": time.process_time() - started,
    }
    return Solution(found, status, best.history, measured)


class Search:
    """The best network so far on the rows of the search, and the record of the rounds."""

    def __init__(
        self, rows: HeldRows, max_rounds: int, progress: ProgressCallback | None, n_nonzero: int
    ):
        self.n_nonzero = n_nonzero
        self.max_rounds, self.progress = max_rounds, progress
        self.rounds = 0
        self.restarts = -1
        self.history: dict[str, list[float]] = {"round": [], "residual": [], "n_nonzero": []}
        self.restart(rows)

    def restart(self, rows: HeldRows) -> None:
        """Forget the network, search on other rows."""
        nothing = np.empty(0, dtype=np.intp)
        # with few rows beta is sparse: what neurons use and what correlates with the residual
        self.sparse_linear = rows.n < DENSE_ROWS * (self.n_nonzero + rows.d)
        linear = np.arange(rows.d if self.sparse_linear else 0, rows.width, dtype=np.intp)
        empty = network(linear, np.zeros(len(linear)), nothing, nothing, np.empty(0))
        self.rows = rows
        self.net, self.fit = empty, evaluate(rows, empty)
        self.restarts += 1

    @property
    def relative(self) -> float:
        """||r|| / ||y||."""
        return self.fit.norm / self.rows.scale

    def offer(self, net: Network, fit: Fit) -> None:
        """Keep a network that fits better."""
        if fit.norm < self.fit.norm:
            self.net, self.fit = net, fit

    def record(self) -> None:
        """A round is over."""
        self.rounds += 1
        self.history["round"].append(self.rounds)
        self.history["residual"].append(self.relative)
        self.history["n_nonzero"].append(self.net.nnz)
        if self.progress is not None:
            self.progress(Progress(self.rounds, self.max_rounds, self.relative, self.net.nnz))


def pursue(best: Search, n_nonzero: int, n_neurons: int, rng: np.random.Generator) -> str:
    """Rounds of the sign-free pursuit until solved, stalled or out of rounds.

    Parameters
    ----------
    best : Search
        Where the best network is kept.
    n_nonzero, n_neurons : int
        What the planted network is believed to have; the search may use more on its way.
    rng : Generator

    Returns
    -------
    {"solved", "stalled", "budget"}
    """
    rows, s, m = best.rows, n_nonzero, n_neurons
    cap = int(min(1.5 * s + 20, rows.n / 3))
    q_max = min(rows.d, max(2, 3 * s // m + 3))
    net, fit = levenberg_marquardt(rows, best.net, 2)
    best.offer(net, fit)
    stall = 0
    while best.relative >= SOLVED:
        if rows.d == 0 or stall >= (2 if best.sparse_linear else 1) * MAX_STALLS:
            return "stalled"
        if best.rounds >= best.max_rounds:
            return "budget"
        relative, record = fit.norm / rows.scale, best.fit.norm
        z = 4.0 if relative < 5e-3 else 1.5
        if stall >= 2:  # weak weights may be what is missing: keep them all, or more of them
            z = 0.0 if relative > 5e-3 else (4.0, 1.5)[stall % 2]

        if best.sparse_linear:  # few rows for many coordinates: chance would add too much
            chance = float(np.sqrt(2.0 * np.log(1.0 + rows.width)))
            z = max(z, STRICTNESS[stall % len(STRICTNESS)] * chance)
        n_most = max(1, int((0.25 if stall == 0 else 0.1) * m))
        net = add_neurons(net, candidates(rows, net.linear, fit.residual, q_max, n_most))
        net = add_entries(rows, net, evaluate(rows, net), max(z, 2.0), max(2, s // 5))
        if best.sparse_linear:
            net = add_linear(rows, net, fit, max(2, s // 3))
        net, fit = levenberg_marquardt(rows, raise_centres(rows, net), 6)
        net = merge_neurons(net, rows.d, float(np.clip(fit.norm / rows.scale, 1e-9, 5e-3)))
        fit = evaluate(rows, net)
        if z > 0.0:
            net, fit = t_test_prune(rows, net, fit, z)
        if best.sparse_linear:
            net = prune_linear(rows, net, fit, z, rows.n // 4)
        net, fit = levenberg_marquardt(rows, prune_to(rows, net, cap), 3)
        stall = 0 if fit.norm < 0.8 * record else stall + 1
        best.offer(net, fit)

        if stall >= 1:
            net, fit = join_neurons(rows, net, fit)
            best.offer(net, fit)
        if stall >= 2 and SOLVED < fit.norm / rows.scale < 0.05:
            split, split_fit = split_neurons(rows, net, fit, rng)
            if split_fit.norm < fit.norm:
                net, fit = t_test_prune(rows, split, split_fit, 4.0)
                net, fit = levenberg_marquardt(rows, prune_to(rows, net, cap), 4)
                best.offer(net, fit)
        best.record()
    return "solved"


def looks_like_noise(rows: HeldRows, net: Network, fit: Fit, n_nonzero: int) -> bool:
    """Whether the search sees nothing in a residual that noise would not show.

    No absent entry of a neuron in use and no direction that `candidates` finds correlates with
    it by `SIGNIFICANT` standard errors, and no hundredth of the rows carries a third of it.
    Fewer than `NOISE_ROWS` rows for each unknown cannot tell.
    """
    square = np.sort(fit.residual**2)
    concentrated = square[-max(1, rows.n // 100) :].sum() > square.sum() / 3
    if concentrated or rows.n < NOISE_ROWS * (n_nonzero + rows.d):
        return False
    G = entry_gradient(rows, net, fit)
    linear = np.arange(rows.width, dtype=np.intp)
    entries = float(np.abs(G).max(initial=0.0)) / (fit.norm or 1.0)
    return max(entries, best_gain(rows, linear, fit.residual)) <= SIGNIFICANT


def to_relu(columns: Columns, rows: HeldRows, net: Network, fit: Fit, *, quick: bool) -> Network:
    """The ReLU form of a sign-free network."""
    d = columns.d
    U = net.directions(d)
    dof = max(1, rows.n - net.nnz - len(net.linear))
    error = fit.norm / np.sqrt(dof * rows.n)  # of an entry of beta, columns at unit scale
    inputs = net.linear < d
    beta = np.zeros(d)
    beta[net.linear[inputs]] = net.beta[inputs]
    found = None
    if columns.signs and not quick:
        constant = None if columns.intercept else float(net.beta[~inputs].sum())
        found = relu_of_signs(U, beta, constant, error)
    if found is None:
        binary, height = rows.binary, rows.XT[:d].max(axis=1, initial=0.0)
        if binary:
            U, beta = lower_centres(U, beta, height)
        sigma, w = resolve_signs(
            U, beta, nonnegative=columns.nonnegative, error=error, exhaustive=not quick
        )
        if binary:
            found = absorb_linear(relu_neurons(U, sigma, np.zeros(d)), w, height)
        else:
            found = relu_neurons(U, sigma, w)
    W = found.tocoo()
    neuron, coordinate = (np.asarray(c, dtype=np.intp) for c in W.coords)
    kept = ~inputs & columns.intercept
    return network(net.linear[kept], net.beta[kept], neuron, coordinate, W.data)


def polish(
    columns: Columns,
    X: FloatArray,
    y: FloatArray,
    best: Search,
    n_nonzero: int,
    n_neurons: int,
    *,
    quick: bool = False,
) -> tuple[Network, FloatArray]:
    """Signs, then Levenberg-Marquardt on the ReLU weights and all rows, within both budgets.

    Returns
    -------
    Network, array [n]
        In the coordinates of `columns`, and its residual.
    """
    net = to_relu(columns, best.rows, best.net, best.fit, quick=quick)
    steps = 1 if quick else POLISH_STEPS
    rows, local, live = columns.stream(X, y, net)
    local, fit = levenberg_marquardt(rows, local, steps)
    local, fit = enforce(rows, local, fit, n_nonzero, n_neurons, steps)
    net = replace(local, linear=net.linear, coordinate=live[local.coordinate])
    if quick or fit.norm < EXACT * rows.scale:
        return net, fit.residual
    rows = columns.stream_all(X, y)
    net, fit = exchange(rows, net, fit, n_nonzero)
    net, fit = grow(rows, net, fit, n_nonzero, n_neurons)
    return net, fit.residual


def exchange(rows: Rows, net: Network, fit: Fit, n_nonzero: int) -> tuple[Network, Fit]:
    """Swap weak entries for better absent ones on the neurons there are, while that helps."""
    for _ in range(MAX_EXCHANGES):
        trial = add_entries(rows, net, fit, 2.0, max(2, n_nonzero // 10))
        if trial is net:
            break
        trial, trial_fit = levenberg_marquardt(rows, trial, 3)
        trial, trial_fit = levenberg_marquardt(rows, prune_to(rows, trial, n_nonzero), 10)
        if trial_fit.norm > (1.0 - 1e-3) * fit.norm:
            break
        net, fit = trial, trial_fit
    return net, fit


def grow(rows: Rows, net: Network, fit: Fit, n_nonzero: int, n_neurons: int) -> tuple[Network, Fit]:
    """Spend what is left of the budgets on new ReLU neurons and entries, while that helps.

    For data without a sparse sign-free form: the linear part then has no ReLU form either.
    """
    for _ in range(MAX_GROWTH):
        room = n_nonzero - net.nnz
        trial = net
        if net.n_neurons < n_neurons and room > 0:
            share = -(-room // min(n_neurons - net.n_neurons, GROWTH_NEURONS))
            trial = add_relu_neuron(rows, net, fit, max(1, share))
        room = n_nonzero - trial.nnz
        if room > 0 and trial.nnz:
            trial = add_entries(rows, trial, fit, 2.0, -(-room // GROWTH_NEURONS))
        if trial.nnz == net.nnz:
            break
        trial, trial_fit = levenberg_marquardt(rows, trial, 10)
        if trial_fit.norm > (1.0 - 1e-3) * fit.norm:
            break
        net, fit = trial, trial_fit
    return net, fit


def enforce(
    rows: Rows, net: Network, fit: Fit, n_nonzero: int, n_neurons: int, n_steps: int
) -> tuple[Network, Fit]:
    """Drop the least salient neurons, then entries, until both budgets hold; refit."""
    while net.n_neurons > n_neurons or net.nnz > n_nonzero:
        weight = saliency(rows, net)
        if net.n_neurons > n_neurons:
            excess = net.n_neurons - n_neurons
            by_neuron = np.bincount(net.neuron, weight, minlength=net.n_neurons)
            drop = np.argsort(by_neuron, kind="stable")[: max(1, excess // 4)]
            net = net.without(np.isin(net.neuron, drop))
        else:
            excess = net.nnz - n_nonzero
            net = prune_to(rows, net, net.nnz - max(1, excess // 4))
        net, fit = levenberg_marquardt(rows, net, min(n_steps, 3))
        if net.n_neurons <= n_neurons and net.nnz <= n_nonzero:
            net, fit = levenberg_marquardt(rows, net, n_steps)
    return net, fit


def better(
    a: tuple[Network, FloatArray], b: tuple[Network, FloatArray]
) -> tuple[Network, FloatArray]:
    """The network with the smaller residual, `b` if both are the same."""
    return a if np.linalg.norm(a[1]) < np.linalg.norm(b[1]) else b


def to_fit(columns: Columns, net: Network, y_scale: float, m: int, d: int) -> ReLUFit:
    """Weights in the units of the data, without those that rounding left."""
    net = net.without(np.abs(net.value) < ROUNDING * np.abs(net.value).max(initial=0.0))
    value = net.value * y_scale / columns.scale[net.coordinate]
    indptr = np.full(m + 1, net.nnz)
    indptr[: net.n_neurons + 1] = np.concatenate([[0], np.cumsum(net.counts)])
    W = sparse.csr_array((value, columns.index[net.coordinate], indptr), shape=(m, d))
    return ReLUFit(W, float(net.beta.sum()) * y_scale)


def root_mean_square(y: FloatArray) -> float:
    """RMS without overflow; 1 for zeros."""
    largest = float(np.abs(y).max())
    return largest * float(np.sqrt(np.mean((y / largest) ** 2))) if largest > 0 else 1.0
