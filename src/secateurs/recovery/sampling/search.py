"""Recover a sparse ReLU network from few rows: annealed sampling, then Levenberg-Marquardt.

    T <- 300
    repeat until a fit leaves no residual:
        three times:
            W <- T sweeps of `spike_slab`, while the noise variance falls from var(y) by 1e-6
            W <- `finish` of W
        T <- 2 T

From given weights, which are close to a fit, every run warms the best network so far:

    repeat until a fit leaves no residual, or eight runs do not lower it:
        h <- 10, 30 in turn
        W <- 1000 sweeps from W, while the noise falls from h times the residual to a tenth of it
        W <- `finish` of W

At a high noise level the sampler averages over supports, neurons and signs, and decides late,
where greedy methods decide early.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from secateurs.core.driver import Iterations
from secateurs.core.parameters import check_integer, check_real
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.recovery.pursuit.columns import UsefulColumns, check_data, useful_columns
from secateurs.recovery.pursuit.levenberg_marquardt import evaluate
from secateurs.recovery.pursuit.relu_rows import (
    NO_INDICES,
    FloatArray,
    HeldRows,
    NeuronSum,
    linear_only,
    neuron_sum,
)
from secateurs.recovery.pursuit.search import ReLUFit, root_mean_square, to_fit
from secateurs.recovery.sampling.finish import VERY_CLOSE, Found, finish
from secateurs.recovery.sampling.spike_slab import sweeps
from secateurs.recovery.uniqueness import doubt

FIRST_SWEEPS, RUNS = 300, 3  # sweeps of the first runs, and runs before the number doubles
MOST_RUNS = 21
COLDEST = 1e-6  # last noise variance, relative to that of y
WARM_SWEEPS = 1000  # sweeps of a run from given weights
HEATS = (10.0, 30.0)  # first noise levels of these runs, relative to the residual
COOL = 0.1  # their last noise level, relative to the residual
PATIENCE = 8  # such runs without progress
PROGRESS = 0.95  # factor by which a run with progress lowers the residual
EXACT = 1e-10  # relative residual of an exact fit
BLOCK_VALUES = 1 << 23  # values of a sweep, m d n, between two looks at the clock
WEIGHT_VARIANCE = 1.0 / 3.0  # variance of y for each weight of variance 1


def sweeps_of_run(number: int) -> int:
    """Return the sweeps of a run, counted from 0."""
    return FIRST_SWEEPS << (number // RUNS)


def relu_sampling(
    X: ArrayLike,
    y: ArrayLike,
    n_nonzero: int,
    n_neurons: int | None = None,
    *,
    start: sparse.csr_array | None = None,
    n_runs: int = MOST_RUNS,
    hopeless: float = 1.0,
    max_seconds: float | None = None,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> Solution[ReLUFit]:
    """Find the sparse ReLU network behind few rows by sampling while the noise level falls.

    Parameters
    ----------
    X : array [n, d]
        Rows of finite numbers; they are used as float64.
    y : array [n]
        The outputs to explain.
    n_nonzero : int
        The budget s: the most weights.
    n_neurons : int, optional
        The most neurons m; s by default.
    start : CSR array [m, d], optional
        Weights that are close to a fit, from another search.  Runs then have 1000 sweeps and go on
        from the best network so far; its residual decides how much noise they begin with.
    n_runs : int
        The most runs.  Without `start` three have 300 sweeps, the next three 600, and so on.
    hopeless : float
        Relative residual above which no longer runs follow: if the best of the runs so far leaves
        more, the data are taken not to be such a network.
    max_seconds : float, optional
        Seconds after which the search ends with the best network so far.
    random_state : int
        Random seed.
    progress : callable, optional
        Called with a `Progress` some times a second: run, the best relative residual so far, and
        its weights.

    Returns
    -------
    Solution of ReLUFit
        It always has at most s weights in at most m rows.  Its status is "exact" (a relative
        residual below 1e-10, and `uniqueness.doubt` finds no other network), "converged" (the
        same, but another network may fit as well, for the reason in ``measured["doubt"]``),
        "stalled" (`hopeless`, or from `start` eight runs without progress), "budget" (runs or time
        are used up) or "interrupted".  ``history`` has the run, its relative residual and its
        weights.  ``measured`` has residual, runs, sweeps, doubt and cpu.

    Raises
    ------
    ValueError
        The data or a setting cannot be used.

    Notes
    -----
    A sweep costs O(n m d), about 0.1 ms at (n, m, d) = (100, 5, 100).  Memory O(n (m + d) + m d).
    Equal seeds give equal results on one machine, unless `max_seconds` ends the search.
    Source: derived; spike-and-slab priors of George & McCulloch (1993), annealing of Kirkpatrick
    et al. (1983).  No guarantee is known.
    """
    X, y = check_data(X, y)
    s = check_integer("n_nonzero", n_nonzero)
    m = s if n_neurons is None else check_integer("n_neurons", n_neurons)
    check_real("hopeless", hopeless, least=0)
    if max_seconds is not None:
        check_real("max_seconds", max_seconds, above=0)
    n_runs = check_integer("n_runs", n_runs)
    rng = np.random.default_rng(check_integer("random_state", random_state, 0))
    started = time.process_time()
    columns = useful_columns(X, fit_intercept=False)
    y_scale = root_mean_square(y)
    rows = replace(columns.sample(X, y / y_scale, len(y), rng), activation="relu")
    run = Iterations(n_runs, progress, ("run", "residual", "n_nonzero"), max_seconds)
    search = _Search(rows, s, min(s, m), run, max_seconds)
    if start is not None:
        search.keep(_in_units(columns, start, y_scale))
    with run:
        if search.relative < EXACT or not rows.d:
            run.end("exact" if search.relative < EXACT else "stalled")
        elif start is not None:
            _warm_runs(search, run, rng)
        else:
            _cold_runs(search, run, hopeless, rng)
    net, fit = search.best
    found, why = to_fit(columns, net, y_scale, m, X.shape[1]), ""
    with run:
        if run.status == "exact":
            why = doubt(X, found.weights, s, residual=fit.norm * y_scale)
    if why and run.status == "exact":
        run.end("converged")
    return run.solution(
        found,
        residual=search.relative,
        runs=len(run.history["run"]),
        sweeps=search.n_sweeps,
        doubt=why,
        cpu=time.process_time() - started,
    )


def _in_units(columns: UsefulColumns, weights: sparse.csr_array, y_scale: float) -> NeuronSum:
    """Return a network in the units of the search; the inverse of `to_fit`."""
    W = sparse.csr_array(weights).toarray()[:, columns.index] * columns.scale / y_scale
    neuron, coordinate = np.nonzero(W)
    return neuron_sum(neuron, coordinate, W[neuron, coordinate])


def _cold_runs(search: _Search, run: Iterations, hopeless: float, rng: np.random.Generator) -> None:
    """Make runs from no weights."""
    for i in run:
        search.improve(sweeps_of_run(i - 1), rng)
        if search.relative < EXACT:
            run.end("exact")
        elif i % RUNS == 0 and search.relative > hopeless:
            run.end("stalled")


def _warm_runs(search: _Search, run: Iterations, rng: np.random.Generator) -> None:
    """Make runs from the best network so far."""
    waited = 0
    for i in run:
        before = search.relative
        search.improve(WARM_SWEEPS, rng, HEATS[(i - 1) % len(HEATS)])
        waited = 0 if search.relative < PROGRESS * before else waited + 1
        if search.relative < EXACT:
            run.end("exact")
        elif waited == PATIENCE:
            run.end("stalled")


class _Search:
    """The best network so far on rows whose inputs and targets have unit root mean square."""

    def __init__(
        self, rows: HeldRows, n_nonzero: int, n_neurons: int, run: Iterations, limit: float | None
    ) -> None:
        self.rows, self.n_nonzero, self.n_neurons, self.run = rows, n_nonzero, n_neurons, run
        self.until = math.inf if limit is None else time.monotonic() + limit
        nothing = linear_only(NO_INDICES)
        self.best: Found = (nothing, evaluate(rows, nothing))
        self.n_sweeps = 0

    @property
    def relative(self) -> float:
        """||r|| / ||y|| of the best network."""
        return self.best[1].norm / self.rows.scale

    def keep(self, net: NeuronSum) -> None:
        """Keep a network if it fits better."""
        fit = evaluate(self.rows, net)
        if fit.norm < self.best[1].norm:
            self.best = (net, fit)

    def improve(self, n_sweeps: int, rng: np.random.Generator, heat: float | None = None) -> None:
        """Sample and finish once, and keep the result if it fits better.

        The run starts from no weights, or from the best network and `heat` times its residual.
        """
        hottest, coldest, divided_below = 1.0, COLDEST, VERY_CLOSE
        if heat is not None:
            divided_below = min(VERY_CLOSE, self.relative)
            hottest = min(1.0, (heat * self.relative) ** 2)
            coldest = min(COLDEST, (COOL * self.relative) ** 2)
        W = self._sampled(np.geomspace(hottest, coldest, n_sweeps), rng, warm=heat is not None)
        net, fit = finish(self.rows, W, self.n_nonzero, self.n_neurons, divided_below)
        if fit.norm < self.best[1].norm:
            self.best = (net, fit)
        relative = fit.norm / self.rows.scale
        self.run.history.record(run=self.run.step, residual=relative, n_nonzero=net.nnz)
        self.run.report(self.relative, self.best[0].nnz)

    def _sampled(self, noise: FloatArray, rng: np.random.Generator, *, warm: bool) -> FloatArray:
        """Return the weights W [m, d] after sweeps at these variances, relative to that of y."""
        rows, s, m, d = self.rows, self.n_nonzero, self.n_neurons, self.rows.d
        XT = rows.XT[:d].astype(np.float32)
        variance = float(rows.y.var()) or 1.0
        scale = math.sqrt(WEIGHT_VARIANCE * s / variance)  # so that tau = 1 fits the weights
        y = (scale * rows.y).astype(np.float32)
        W, Z, r = np.zeros((m, d), np.float32), np.zeros((m, rows.n), np.float32), y.copy()
        if warm:
            net = self.best[0]
            W[net.neuron, net.coordinate] = scale * net.value
        counts, order = np.count_nonzero(W, axis=1), np.arange(m * d)
        scratch = np.zeros((3, rows.n), np.float32)
        noise = scale**2 * variance * noise
        share = min(s / (m * d), 0.5)
        prior, spread = math.log(share / (1.0 - share)), 1.0
        block = max(1, BLOCK_VALUES // (m * d * rows.n))
        for first in range(0, len(noise), block):
            part = noise[first : first + block]
            spread = sweeps(
                *(XT, y, W, Z, r, counts, order, scratch), part, prior, spread, first, rng
            )
            self.n_sweeps += len(part)
            self.run.report(self.relative, self.best[0].nnz)
            if time.monotonic() >= self.until:
                break
        return W.astype(np.float64) / scale
