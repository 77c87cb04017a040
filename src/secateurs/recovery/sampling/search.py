"""Recover a sparse ReLU network from few rows: annealed sampling, then Levenberg-Marquardt.

    T <- 300
    repeat until a fit leaves no residual:
        three times:
            W <- T sweeps of `spike_slab`, while the noise variance falls from var(y) by 1e-6
            W <- `finish` of W
        T <- 2 T

At a high noise level the sampler averages over supports, neurons and signs, and decides late,
where greedy methods decide early.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from secateurs.core.driver import Iterations
from secateurs.core.parameters import check_integer, check_real
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.recovery.pursuit.columns import check_data, useful_columns
from secateurs.recovery.pursuit.levenberg_marquardt import evaluate
from secateurs.recovery.pursuit.relu_rows import NO_INDICES, FloatArray, HeldRows, linear_only
from secateurs.recovery.pursuit.search import ReLUFit, root_mean_square, to_fit
from secateurs.recovery.sampling.finish import Found, finish
from secateurs.recovery.sampling.spike_slab import sweeps
from secateurs.recovery.uniqueness import doubt

FIRST_SWEEPS, RUNS = 300, 3  # sweeps of the first runs, and runs before the number doubles
MOST_RUNS = 21
COLDEST = 1e-6  # last noise variance, relative to that of y
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
    n_runs : int
        The most runs.  Three have 300 sweeps, the next three 600, and so on.
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
        "stalled" (`hopeless`), "budget" (runs or time are used up) or "interrupted".  ``history``
        has the run, its relative residual and its weights.  ``measured`` has residual, runs,
        sweeps, doubt and cpu.

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
    with run:
        if search.relative < EXACT or not rows.d:
            run.end("exact" if search.relative < EXACT else "stalled")
        for i in run:
            search.improve(sweeps_of_run(i - 1), rng)
            if search.relative < EXACT:
                run.end("exact")
            elif i % RUNS == 0 and search.relative > hopeless:
                run.end("stalled")
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

    def improve(self, n_sweeps: int, rng: np.random.Generator) -> None:
        """Sample and finish once, and keep the result if it fits better."""
        net, fit = finish(self.rows, self._sampled(n_sweeps, rng), self.n_nonzero, self.n_neurons)
        if fit.norm < self.best[1].norm:
            self.best = (net, fit)
        relative = fit.norm / self.rows.scale
        self.run.history.record(run=self.run.step, residual=relative, n_nonzero=net.nnz)
        self.run.report(self.relative, self.best[0].nnz)

    def _sampled(self, n_sweeps: int, rng: np.random.Generator) -> FloatArray:
        """Return the weights W [m, d] at the end of a run of the sampler."""
        rows, s, m, d = self.rows, self.n_nonzero, self.n_neurons, self.rows.d
        XT = rows.XT[:d].astype(np.float32)
        variance = float(rows.y.var()) or 1.0
        scale = math.sqrt(WEIGHT_VARIANCE * s / variance)  # so that tau = 1 fits the weights
        y = (scale * rows.y).astype(np.float32)
        W, Z, r = np.zeros((m, d), np.float32), np.zeros((m, rows.n), np.float32), y.copy()
        counts, order = np.zeros(m, np.int64), np.arange(m * d)
        scratch = np.zeros((3, rows.n), np.float32)
        noise = scale**2 * variance * np.geomspace(1.0, COLDEST, n_sweeps)
        share = min(s / (m * d), 0.5)
        prior, spread = math.log(share / (1.0 - share)), 1.0
        block = max(1, BLOCK_VALUES // (m * d * rows.n))
        for first in range(0, n_sweeps, block):
            part = noise[first : first + block]
            spread = sweeps(
                *(XT, y, W, Z, r, counts, order, scratch), part, prior, spread, first, rng
            )
            self.n_sweeps += len(part)
            self.run.report(self.relative, self.best[0].nnz)
            if time.monotonic() >= self.until:
                break
        return W.astype(np.float64) / scale
