"""Planted ReLU networks on inputs of many kinds: an exact fit must be the planted function.

Where two columns are the same on the rows, only fresh rows in which they differ show which one
the planted network reads.  So the probes of such a kind are general points of the space; for
inputs such as 0/1 they are fresh rows of the same kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.coverage.judging import Case, attempt, judge, never, status_check
from benchmarks.coverage.scenario import Generator, Scenario, seed_of
from secateurs import SparseReLURegressor
from secateurs.core import Check

Array = NDArray[np.float64]
PROBES = 20_000
WRONG = 1e-6  # error on a probe, over the largest value, from which the function is another one


def relu_sum(X: Array, W: Array) -> Array:
    return np.maximum(X @ W.T, 0).sum(axis=1)


@dataclass(frozen=True)
class NetworkTruth:
    """A model, the planted network, the rows of the fit and probes."""

    model: SparseReLURegressor
    W: Array
    intercept: float
    X: Array
    y: Array
    probes: Array
    noise: bool

    @cached_property
    def is_planted(self) -> bool:
        """Whether the model is the planted function at all probes."""
        if self.noise:
            return False
        wanted = self.intercept + relu_sum(self.probes, self.W)
        error = np.abs(self.model.predict(self.probes) - wanted).max()
        return bool(error <= WRONG * np.abs(wanted).max())

    @cached_property
    def distinct(self) -> tuple[Array, Array]:
        """The rows (X, y) without copies."""
        rows = np.unique(np.column_stack([self.X, self.y]), axis=0)
        return rows[:, :-1], rows[:, -1]

    @cached_property
    def residual(self) -> Array:
        """Squared residuals of the distinct rows, smallest first."""
        X, y = self.distinct
        return np.sort((self.model.predict(X) - y) ** 2)

    @property
    def n_held_out(self) -> int:
        """Distinct rows that were not fitted."""
        return int(self.model.validation_fraction * len(self.residual))

    @property
    def n_fitted(self) -> int:
        """Distinct rows that were fitted."""
        return len(self.residual) - self.n_held_out

    @cached_property
    def patterns(self) -> tuple[Array, Array]:
        """On which distinct rows each neuron may be open, and may be closed, [p, n] both.

        A row on the kink of a neuron, to rounding, may be either.
        """
        W = self.model.coef_.toarray()
        W = W[np.abs(W).any(axis=1)]
        X = self.distinct[0]
        Z, rounding = W @ X.T, 1e-9 * (np.abs(W) @ np.abs(X).T)
        return -rounding < Z, rounding >= Z


# -- the judges ------------------------------------------------------------------------------


@judge("network", "status exact", "identification")
def no_other_network(_: Check, truth: NetworkTruth) -> bool:
    """The function is the planted one."""
    return truth.is_planted


@judge("network", "budget")
def budget(check: Check, truth: NetworkTruth) -> bool:
    """The weights are counted again."""
    n = int(np.count_nonzero(truth.model.coef_.toarray()))
    return n <= check.measured <= check.threshold == truth.model.budget_


@judge("network", "residual")
def residual(check: Check, truth: NetworkTruth) -> bool:
    """There are as many rows as were fitted that are fitted so well."""
    fitted = truth.residual[: truth.n_fitted].sum()
    return bool(fitted <= (check.threshold * np.linalg.norm(truth.distinct[1])) ** 2)


@judge("network", "held-out PSNR")
def psnr(check: Check, truth: NetworkTruth) -> bool:
    """There are as many rows as were held out with such an error, and a peak so large."""
    mean = truth.residual[: truth.n_held_out].mean()
    return bool(mean <= 10 ** (-check.threshold / 10) * np.abs(truth.y).max() ** 2)


@judge("network", "separation", "trace")
def share_of_rows(check: Check, truth: NetworkTruth) -> bool:
    """The share is counted on all distinct rows; it can differ by the held-out rows only."""
    counts = truth.patterns[0].sum(axis=1) if check.name == "trace" else _distances(truth)
    return bool(counts.min() >= check.threshold * truth.n_fitted - 1e-9)


def _distances(truth: NetworkTruth) -> Array:
    """On how many rows each two neurons may differ."""
    up, down = (part.astype(int) for part in truth.patterns)
    differ = (np.maximum(up[:, None] * down, down[:, None] * up)).sum(axis=2)
    return differ[np.triu_indices(len(up), 1)]


@judge("network", "duplicates")
def no_equal_patterns(_: Check, truth: NetworkTruth) -> bool:
    """No two neurons are open on the same rows."""
    distances = _distances(truth)
    return not len(distances) or bool(distances.min() > 0)


@judge("network", "sample size")
def enough_rows(check: Check, truth: NetworkTruth) -> bool:
    """There are so many distinct rows for each weight; copies of a row show nothing new."""
    s, p = int(np.count_nonzero(truth.model.coef_.toarray())), len(truth.patterns[0])
    needed = check.threshold * s * max(1.0, np.log(truth.X.shape[1] * p / s))
    return len(np.unique(truth.X, axis=0)) >= needed * (1 - 1e-9)


never("network", "restricted isometry", "dictionary")


# -- the inputs ------------------------------------------------------------------------------


def _with(X: Array, column: Array) -> Array:
    """Put one more column at the front."""
    return np.column_stack([column, X])


def _correlated(rng: Generator, n: int, d: int) -> Array:
    X = rng.standard_normal((n, d))
    for j in range(1, d):
        X[:, j] = 0.95 * X[:, j - 1] + np.sqrt(1 - 0.95**2) * X[:, j]
    return X


Draw = Callable[[Generator, int, int], Array]
GENERAL: Draw = lambda rng, n, d: rng.standard_normal((n, d))  # noqa: E731
OWN_PROBES: dict[str, Draw] = {  # new rows are of the same kind
    "gaussian": GENERAL,
    "shifted": lambda rng, n, d: rng.normal(2.5, 1.0, (n, d)),
    "sparse": lambda rng, n, d: rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.2),
    "0/1": lambda rng, n, d: rng.integers(0, 2, (n, d)) * 1.0,
    "+-1": lambda rng, n, d: rng.choice([-1.0, 1.0], (n, d)),
    "non-negative": lambda rng, n, d: np.abs(rng.standard_normal((n, d))),
    "integer": lambda rng, n, d: rng.integers(-3, 4, (n, d)) * 1.0,
    "heavy tails": lambda rng, n, d: rng.standard_t(1.5, (n, d)),
    "correlated": _correlated,
    "units": lambda rng, n, d: rng.standard_normal((n, d)) * 10.0 ** np.linspace(-3, 3, d),
}
GENERAL_PROBES: dict[str, Draw] = {  # a relation between columns need not hold on new rows
    "copied column": lambda rng, n, d: _with(X := GENERAL(rng, n, d - 1), X[:, 0]),
    "negated column": lambda rng, n, d: _with(X := GENERAL(rng, n, d - 1), -X[:, 0]),
    "rescaled column": lambda rng, n, d: _with(X := GENERAL(rng, n, d - 1), 2.5 * X[:, 0]),
    "nearly equal columns": lambda rng, n, d: _with(
        X := GENERAL(rng, n, d - 1), X[:, 0] + 1e-8 * rng.standard_normal(n)
    ),
    "nearly equal columns, any gap": lambda rng, n, d: _with(
        X := GENERAL(rng, n, d - 1),
        X[:, 0] + 10.0 ** rng.uniform(-12, -3) * rng.standard_normal(n),
    ),
    "sum of columns": lambda rng, n, d: _with(X := GENERAL(rng, n, d - 1), X[:, 0] + X[:, 1]),
    "constant column": lambda rng, n, d: _with(GENERAL(rng, n, d - 1), np.ones(n)),
    "low rank": lambda rng, n, d: GENERAL(rng, n, d - 2) @ GENERAL(rng, d - 2, d),
    "empty column": lambda rng, n, d: _with(GENERAL(rng, n, d - 1), np.zeros(n)),
}
INPUTS = OWN_PROBES | GENERAL_PROBES


def _planted(rng: Generator, d: int, m: int, s: int, twins: str) -> Array:
    """Weights [m, d] with s nonzero; with `twins` the last neuron is close to the first."""
    W = np.zeros((m, d))
    for j in range(m):
        chosen = rng.choice(d, min(d, max(1, s // m)), replace=False)
        W[j, chosen] = rng.choice([-1, 1], len(chosen)) * rng.uniform(0.5, 1.5, len(chosen))
    if twins:
        used = np.flatnonzero(W[0])
        if twins == "near":
            angle = 10 ** rng.uniform(-3, -1)
            W[-1] = 0
            W[-1, used] = W[0, used] + angle * rng.standard_normal(len(used))
        else:
            W[-1] = {"parallel": 0.7, "opposite": -1.0}[twins] * W[0]
    return W


def _probes(rng: Generator, inputs: str, W: Array, found: Array) -> Array:
    """Fresh rows, and in general space also points close to the kinks of both networks."""
    d = W.shape[1]
    if inputs in OWN_PROBES and inputs != "gaussian":
        return INPUTS[inputs](rng, PROBES, d)
    points = GENERAL(rng, PROBES, d)
    normals = np.vstack([W, found])
    normals = normals[np.linalg.norm(normals, axis=1) > 0]
    if len(normals) and d > 1:
        h = normals[rng.integers(0, len(normals), PROBES)]
        h /= np.linalg.norm(h, axis=1, keepdims=True)
        offset = rng.choice([-1, 1], PROBES) * 10 ** rng.uniform(-4, 0, PROBES)
        points = np.vstack([points, points + (offset - (points * h).sum(axis=1))[:, None] * h])
    return points


def fit_network(
    rng: Generator,
    inputs: str,
    rows: tuple[int, int] = (4, 16),
    twins: str = "",
    repeats: int = 1,
    *,
    intercept: bool = False,
    noise: bool = False,
    auto: bool = False,
    spare: bool = True,
) -> list[Case]:
    """Fit rows of a planted network.

    Parameters
    ----------
    inputs : str
    rows : (int, int)
        Distinct rows for each weight and column, between these factors of s + d.
    twins : {"", "near", "parallel", "opposite"}
    repeats : int
        How often each distinct row stands in the data.
    intercept : bool
        A constant is planted and fitted.
    noise : bool
        y is noise, so that no fit is right.
    auto : bool
        The budget is found and not given.
    spare : bool
        The budget is sometimes larger than planted, which leaves room for more networks that fit.
    """
    d, m = int(rng.integers(4, 11)), int(rng.integers(1, 4)) if not twins else 2
    W = _planted(rng, d, m, int(rng.integers(m, 3 * m + 3)), twins)
    s = int(np.count_nonzero(W))
    n = max(2, int(rng.uniform(*rows) * (s + d)))
    X = np.repeat(INPUTS[inputs](rng, n, d), repeats, axis=0)
    b = float(rng.standard_normal()) if intercept else 0.0
    y = np.repeat(rng.standard_normal(n), repeats) if noise else b + relu_sum(X, W)
    settings: dict[str, Any] = {"fit_intercept": intercept, "random_state": seed_of(rng)}
    budget, neurons = s + int(rng.choice([0, 0, 1, 3, s])), m if rng.random() < 0.7 else None
    budget, neurons = (budget, neurons) if spare else (s, m)
    model = SparseReLURegressor("auto" if auto else budget, neurons, **settings)
    found = attempt(lambda: model.fit(X, y))
    if found is None:
        return [Case("SparseReLURegressor", "network", ())]
    checks = (status_check(model.status_), *model.certificate_.checks)
    probes = _probes(rng, inputs, W, model.coef_.toarray())
    truth = NetworkTruth(model, W, b, X, y, probes, noise)
    return [Case("SparseReLURegressor", "network", checks, truth)]


KINDS: dict[str, dict[str, Any]] = {
    "gaussian, budget as planted": {"inputs": "gaussian", "spare": False},
    **{name: {"inputs": name} for name in INPUTS},
    "gaussian, few rows": {"inputs": "gaussian", "rows": (0.3, 2.0)},
    "shifted, few rows": {"inputs": "shifted", "rows": (0.5, 3.0)},
    "twins": {"inputs": "gaussian", "twins": "near"},
    "twins, many rows": {"inputs": "gaussian", "twins": "near", "rows": (20, 60)},
    "parallel neurons": {"inputs": "gaussian", "twins": "parallel"},
    "opposite neurons": {"inputs": "gaussian", "twins": "opposite"},
    "duplicated rows": {"inputs": "gaussian", "rows": (0.5, 3.0), "repeats": 10},
    "constant column and intercept": {"inputs": "constant column", "intercept": True},
    "gaussian and intercept": {"inputs": "gaussian", "intercept": True},
    "0/1 and intercept": {"inputs": "0/1", "intercept": True},
    "budget found": {"inputs": "gaussian", "auto": True},
    "noise, few rows": {"inputs": "gaussian", "rows": (0.2, 1.0), "noise": True},
}
SCENARIOS = [
    Scenario(f"network, {name}", fit_network, options, full=300, small=6)
    for name, options in KINDS.items()
]
