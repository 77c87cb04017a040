"""The solvers of `SparseReLURegressor`, and the order in which "auto" tries them.

few rows: sampling on all rows, at most nine runs; return an exact fit                   (1)
          where another network may fit too: the same on the rows of the fit; return a fit
pursuit;  return an exact fit, or one that leaves noise
something close to a fit: sampling from the weights of the pursuit;  return a fit
thresholding, polish, exchanges, polish
few rows, and something close to a fit: sampling on all rows again, more and longer runs (2)
the result that is best on the held-out rows, where they are enough

Where rows are few, a tenth of them can decide whether the network is found.  So (1) and (2) use the
held-out rows too.  Such a fit is kept only if it leaves no residual, and has no held-out rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from secateurs.core.solution import ProgressCallback, Solution
from secateurs.recovery.pursuit.search import relu_pursuit
from secateurs.recovery.sampling.search import (
    MOST_RUNS,
    WARM_SWEEPS,
    relu_sampling,
    sweeps_of_run,
)
from secateurs.recovery.thresholding.exchange import exchange
from secateurs.recovery.thresholding.gauss_newton import gauss_newton
from secateurs.recovery.thresholding.iht import iht
from secateurs.sparse.stack import ReLUStack

IHT_STEPS = 100
NO_RESIDUAL = 1e-10  # relative residual of a network that fits its rows
FEW_ROWS = 2.5  # rows for each of the s + d unknowns below which the sampler is tried
TOO_FEW = 0.5  # rows over s log(d m / s) below which it finds nothing
MOST_VALUES = 3_000_000  # most n m d of a sweep of the sampler, about 1 ms
FIRST_RUNS = 9  # runs of the sampler before other solvers are tried
FIRST_WORK, MOST_WORK = 4e9, 3e10  # values of the first and of all later sweeps, 1e9 a second
MOST_WARM_VALUES = 30_000_000  # most n m d of a sweep from the weights of the pursuit
WARM_RUNS = 20  # runs from the weights of the pursuit, at most
WARM_WORK = 2.5e11  # values of the sweeps of these runs, about a minute
HOPELESS = 0.15  # relative residual above which the sampler makes no longer runs
JUDGED_SHARE = 20  # held-out rows choose the solver where they are a twentieth of the others

Array = NDArray[np.float64]
Solver = Literal["pursuit", "iht", "sampling"]


class Split(NamedTuple):
    """The rows of the fit, the rows that are held out, and all of them."""

    X: Array
    y: Array
    X_held_out: Array
    y_held_out: Array
    X_all: Array
    y_all: Array

    def without_held_out(self) -> Split:
        """Return the split in which all rows are rows of the fit."""
        return self._replace(
            X=self.X_all, y=self.y_all, X_held_out=self.X_all[:0], y_held_out=self.y_all[:0]
        )


class Found(NamedTuple):
    """A solver and its result.

    `used_all`: the held-out rows were rows of the fit.  `settled`: no other solver is needed.
    """

    solver: Solver
    solution: Solution[Any]
    weights: sparse.csr_array
    intercept: float
    used_all: bool = False
    settled: bool = False

    def left(self, X: Array, y: Array) -> float:
        """Return ||y - f(X)|| / ||y||."""
        size = float(np.linalg.norm(y)) or 1.0
        return float(np.linalg.norm(y - relu_sum(X, self.weights) - self.intercept)) / size

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the solver."""
        return self.solution.status == "interrupted"


@dataclass(frozen=True)
class Solvers:
    """The settings of all solvers for a budget of s weights in at most m neurons."""

    solver: str
    n_nonzero: int
    n_neurons: int
    fit_intercept: bool
    max_seconds: float | None
    seed: int
    progress: ProgressCallback | None

    def best(self, data: Split, *, may_use_all: bool) -> tuple[Found, int]:
        """Return the best result, and how many results the held-out rows compared."""
        X, y = data.X, data.y
        if self.solver != "auto":
            run = {"sampling": self.sampling, "pursuit": self.pursuit, "iht": self.thresholding}
            return run[self.solver](X, y), 1
        found: list[Found] = []
        for result in self._in_order(data, found, may_use_all=may_use_all):
            found.append(result)
            if result.interrupted:
                best = min(found, key=lambda each: each.left(X, y))
                stopped = replace(best.solution, status="interrupted")
                return best._replace(solution=stopped), 1
            if result.settled:
                return result, 1
        found = [each for each in found if not each.used_all]
        enough = len(data.y_held_out) >= len(y) // JUDGED_SHARE > 0
        judges = (data.X_held_out, data.y_held_out) if enough else (X, y)
        best = min(found, key=lambda each: each.left(*judges))
        return best, len(found) if enough else 1

    def _in_order(self, data: Split, found: list[Found], *, may_use_all: bool) -> Iterator[Found]:
        """Yield the results of "auto"; `found` has those so far."""
        X, y = data.X, data.y
        few = self._few_rows(X)
        again = few
        if few and may_use_all:
            rows = (data.X_all, data.y_all)
            n_first = min(FIRST_RUNS, self._runs(X, FIRST_WORK))
            first = self.sampling(*rows, n_runs=n_first, used_all=True)  # (1)
            again = first.solution.status == "converged"
            yield first._replace(settled=first.settled and not again)
        if again:
            yield self.sampling(X, y, n_runs=min(FIRST_RUNS, self._runs(X, FIRST_WORK)))
        pursued = self.pursuit(X, y)
        yield pursued
        if self._close(X, y, pursued):
            n_runs = self._warm_runs(X)
            yield self.sampling(X, y, n_runs=n_runs, start=pursued.weights)
        if not self.fit_intercept:
            yield self.thresholding(X, y)
        left = min(each.left(X, y) for each in found if not each.used_all)
        if few and NO_RESIDUAL < left < HOPELESS:  # (2)
            rows = (data.X_all, data.y_all) if may_use_all else (X, y)
            n_runs = self._runs(X, MOST_WORK)
            yield self.sampling(*rows, n_runs=n_runs, used_all=may_use_all)

    def _few_rows(self, X: Array) -> bool:
        """Whether rows are few, but not too few, and sweeps of the sampler are cheap."""
        n, d = X.shape
        s, m = self.n_nonzero, min(self.n_neurons, self.n_nonzero)
        least = max(s + 1, TOO_FEW * s * math.log(max(1.0, d * m / s)))
        few = least <= n < FEW_ROWS * (s + d) and not self.fit_intercept
        return few and n * d * m <= MOST_VALUES

    def _close(self, X: Array, y: Array, found: Found) -> bool:
        """Whether a result is close to a fit, and sweeps of the sampler are not too long."""
        values = X.size * min(self.n_neurons, self.n_nonzero)
        cheap = values <= MOST_WARM_VALUES and not self.fit_intercept
        return cheap and NO_RESIDUAL < found.left(X, y) < HOPELESS

    def _warm_runs(self, X: Array) -> int:
        values = X.size * min(self.n_neurons, self.n_nonzero) * WARM_SWEEPS
        return max(1, min(WARM_RUNS, int(WARM_WORK // values)))

    def _runs(self, X: Array, work: float) -> int:
        """Return the runs of the sampler that compute at most about so many values."""
        values = X.size * min(self.n_neurons, self.n_nonzero)
        n_runs = 0
        while n_runs < MOST_RUNS and work > 0:
            work -= values * sweeps_of_run(n_runs)
            n_runs += 1
        return n_runs

    def sampling(self, X: Array, y: Array, *, used_all: bool = False, **settings: Any) -> Found:
        """Return the result of sampling."""
        solution = relu_sampling(
            *(X, y, self.n_nonzero, self.n_neurons),
            hopeless=HOPELESS if self.solver == "auto" else 1.0,
            max_seconds=self.max_seconds,
            random_state=self.seed,
            progress=self.progress,
            **settings,
        )
        fits = solution.status in ("exact", "converged")
        return Found("sampling", solution, solution.value.weights, 0.0, used_all, settled=fits)

    def pursuit(self, X: Array, y: Array) -> Found:
        """Return the result of the pursuit."""
        solution = relu_pursuit(
            *(X, y, self.n_nonzero, self.n_neurons),
            fit_intercept=self.fit_intercept,
            random_state=self.seed,
            progress=self.progress,
        )
        value, sure = solution.value, not solution.measured["doubt"]
        settled = sure and solution.status in ("exact", "converged")
        return Found("pursuit", solution, value.weights, value.intercept, settled=settled)

    def thresholding(self, X: Array, y: Array) -> Found:
        """Return the result of thresholding, polish and exchanges."""
        s, seeded = self.n_nonzero, {"random_state": self.seed, "progress": self.progress}
        solution = iht(X, y, s, self.n_neurons, n_steps=IHT_STEPS, **seeded)  # type: ignore[arg-type]
        for refine in ("polish", "exchange", "polish"):
            if solution.status == "interrupted":
                break
            if refine == "polish":
                solution = gauss_newton(X, y, solution.value, progress=self.progress)
            else:
                solution = exchange(X, y, solution.value, s, **seeded)  # type: ignore[arg-type]
        return Found("iht", solution, solution.value.weights, 0.0)


def relu_sum(X: Array, weights: sparse.csr_array) -> Array:
    """Return sum_j relu(w_j . x) on rows X [n, d], shape [n]."""
    return np.asarray(ReLUStack((sparse.csr_array(weights),), fused=True).predict(X), dtype=float)
