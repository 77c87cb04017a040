"""Sparse perceptrons, budget paths and quadratic functions on tables from a known source."""

from __future__ import annotations

import re
import warnings
from inspect import signature
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from benchmarks.coverage.judging import Case, attempt, exceeds, judge, only
from benchmarks.coverage.scenario import Generator, Scenario, seed_of
from benchmarks.coverage.tables import (
    FRESH,
    Array,
    TableTruth,
    grouped_rows,
    source,
    uneven_sizes,
)
from secateurs import QuadraticRegressor, SparseMLPClassifier, SparseMLPRegressor, budget_path
from secateurs.core import Check

FIT: dict[str, Any] = {
    "n_nonzero": 400, "hidden_layer_sizes": (30,), "max_epochs": 60, "batch_size": 50
}  # fmt: skip
BUDGETS = (1000, 800, 600)
PATH: dict[str, Any] = {"max_epochs": 60, "batch_size": 50, "input_noise": 0.0}  # it memorises


# -- the judges ------------------------------------------------------------------------------


@judge("table", "budget")
def budget(check: Check, truth: TableTruth) -> bool:
    """The weights are counted again, and the budget is the one that was given."""
    arrays = [*(W.data for W in truth.model.coefs_), *truth.model.intercepts_]
    n = sum(int(np.count_nonzero(array)) for array in arrays)
    return n <= check.measured <= check.threshold == truth.model.n_nonzero


@judge("table", "support")
def support(check: Check, truth: TableTruth) -> bool:
    """The history never shows more weights, and overshoot * budget is what was allowed."""
    largest = max(truth.model.history_["n_nonzero"], default=0)
    allowed = truth.model.overshoot * truth.model.n_nonzero
    return largest <= check.measured <= check.threshold <= allowed


@judge("table", "held-out error", "Occam bound", nominal=0.05)
def error_on_new_rows(check: Check, truth: TableTruth) -> bool:
    """The error rate on fresh rows is at most the bound."""
    return not exceeds(truth.fresh_errors, FRESH, check.measured)


@judge("table", "held-out gain", nominal=0.05)
def gain_on_new_rows(check: Check, truth: TableTruth) -> bool:
    """The mean of the clipped squared errors on fresh rows is below that of the training mean.

    The model gets the benefit of the sampling error, and of the doubt about the training rows.
    """
    X, y = truth.fresh
    error = y - truth.model.predict(X)
    stated = re.search(r"no row counts for more than ([-+.e\d]*\d)", check.statement)
    clip = float(stated[1]) if stated else np.inf
    return any(_gain(y, error, mean, scale, clip) for mean, scale in _training_units(truth))


def _gain(y: Array, error: Array, mean: float, scale: float, clip: float) -> bool:
    """Whether fresh rows leave it open that there is a gain."""
    by_mean, by_model = (np.minimum((e / scale) ** 2, clip) for e in (y - mean, error))
    gain = by_mean - by_model
    return bool(gain.mean() + 3 * gain.std() / np.sqrt(len(y)) > 0)


def _training_units(truth: TableTruth) -> list[tuple[float, float]]:
    """Mean of the training targets, as known or as it may be, and the unit of squared errors.

    The statement of perceptrons is in variances of the training targets, that of others in
    squared units of y.
    """
    if hasattr(truth.model, "fitted_"):
        return [(float(truth.model.fitted_.out_shift[0]), float(truth.model.fitted_.out_scale[0]))]
    doubt = 3 * truth.y.std() / np.sqrt(len(truth.y))
    return [(truth.y.mean() + sign * doubt, 1.0) for sign in (-1, 0, 1)]


@judge("table", "held-out wins", nominal=0.05)
def nearer_on_new_rows(_: Check, truth: TableTruth) -> bool:
    """The prediction is nearer than the training mean on more than half of the fresh rows."""
    X, y = truth.fresh
    model = np.abs(y - truth.model.predict(X))
    return any(
        not exceeds(int((model >= np.abs(y - mean)).sum()), FRESH, 0.5)
        for mean, _ in _training_units(truth)
    )


# -- the instances ---------------------------------------------------------------------------


class Stop:
    """A progress callback that presses Ctrl-C at its k-th call."""

    def __init__(self, k: int) -> None:
        self.left = k

    def __call__(self, _: Any) -> None:
        """Count a call."""
        self.left -= 1
        if self.left <= 0:
            raise KeyboardInterrupt


def fit_table(
    rng: Generator,
    estimator: Any,
    target: str,
    inputs: str = "gaussian",
    n: int = 300,
    repeats: int = 1,
    settings: dict[str, Any] | None = None,
    near: float = 0.0,
    *,
    groups: bool = False,
    interrupt: bool = False,
    continued: bool = False,
) -> list[Case]:
    """Fit one table.

    Parameters
    ----------
    estimator : class
    target, inputs : str
        Names of `tables.source`.
    n : int
        Rows; with `repeats`, every distinct row stands so many times.
    settings : dict, optional
    near : float
        Relative noise on the inputs, after the rows were repeated.
    groups : bool
        Rows are repeated with a little noise on X, and named by `groups=`.
    interrupt : bool
        Stop the fit early.
    continued : bool
        Fit on half of the rows, and continue by `partial_fit` on the others.
    """
    law, seed = source(rng, inputs, target), seed_of(rng)
    X, y = (np.repeat(a, repeats, axis=0) for a in law.table(rng, n // repeats))
    X = X * (1 + near * rng.standard_normal(X.shape)) if near else X
    more: dict[str, Any] = {}
    if groups:
        X = X + 1e-3 * rng.standard_normal(X.shape)
        more["groups"] = np.repeat(np.arange(n // repeats), repeats)
    if interrupt:
        more["progress"] = Stop(int(rng.integers(2, 20)))
    model = estimator(**(settings or {}), random_state=seed_of(rng))
    half = len(y) // 2 if continued else len(y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = attempt(lambda: model.fit(X[:half], y[:half], **more))
        if found is not None and continued:
            found = attempt(lambda: model.partial_fit(X[half:], y[half:]))
    checks = () if found is None else model.certificate_.checks
    if estimator is QuadraticRegressor:  # the other checks need a planted matrix
        checks = only(checks, "held-out gain", "held-out wins")
    return [Case(estimator.__name__, "table", checks, TableTruth(model, law, y[:half], seed))]


def fit_uneven_groups(
    rng: Generator, estimator: Any, target: str, n_groups: int, settings: dict[str, Any]
) -> list[Case]:
    """Fit groups of which a few are large and cannot be learned."""
    law, seed = source(rng, "gaussian", target), seed_of(rng)
    sizes = uneven_sizes(rng, n_groups)
    groups = np.repeat(np.arange(n_groups), sizes)
    X, y = grouped_rows(rng, law, sizes[groups] > 1)
    model = estimator(**settings, random_state=seed_of(rng))
    found = attempt(lambda: model.fit(X, y, groups=groups))
    checks = () if found is None else model.certificate_.checks
    truth = TableTruth(model, law, y, seed, uneven_sizes)
    return [Case(estimator.__name__, "table", checks, truth)]


def fit_path(
    rng: Generator,
    estimator: Any,
    target: str,
    hidden: Any,
    n: int,
    *,
    seeded: bool,
) -> list[Case]:
    """Fit a path of budgets to noise, with an integer seed or without any."""
    law, seed = source(rng, "wide", target), seed_of(rng)
    X, y = law.table(rng, n)
    np.random.seed(seed)  # noqa: NPY002 - from which random_state=None draws
    model = estimator(hidden_layer_sizes=hidden, random_state=seed if seeded else None, **PATH)
    path = attempt(lambda: budget_path(model, X, y, BUDGETS, X, y))
    names = [f"budget_path, {place} {estimator.__name__}" for place in ("1st", "2nd", "3rd")]
    if path is None:
        return [Case(name, "table", ()) for name in names]
    return [
        Case(name, "table", fitted.certificate_.checks, TableTruth(fitted, law, y, seed))
        for name, fitted in zip(names, path.estimators, strict=False)
    ]


CLASSES: dict[str, dict[str, Any]] = {
    "usual": {"target": "classes"},
    "noise labels": {"target": "noise labels"},
    "imbalance": {"target": "imbalance"},
    "planted imbalance": {"target": "planted imbalance", "n": 600},
    "many noise classes": {"target": "many noise classes"},
    "many rare classes": {"target": "rare classes"},
    "repeated rows": {"target": "noise labels", "n": 1500, "repeats": 10},
    "auto widths": {"target": "noise labels", "settings": {"hidden_layer_sizes": "auto"}},
    "interrupted": {"target": "classes", "interrupt": True},
    "partial_fit": {"target": "noise labels", "continued": True},
    "outliers": {"target": "classes", "inputs": "outliers"},
    "tiny": {"target": "clear classes", "n": 40},
    "tiny noise": {"target": "noise labels", "n": 40},
    "discrete": {"target": "classes", "inputs": "discrete"},
    "one-hot": {"target": "classes", "inputs": "one-hot"},
    "heavy tails": {"target": "classes", "inputs": "heavy"},
    "empty rows": {"target": "empty rows, classes", "n": 500},
    "copies with a little noise": {
        "target": "noise labels",
        "n": 1500,
        "repeats": 10,
        "near": 1e-9,
    },
}
NUMBERS: dict[str, dict[str, Any]] = {
    "usual": {"target": "number"},
    "noise": {"target": "noise", "n": 600},
    "repeated rows": {"target": "noise", "n": 1500, "repeats": 10},
    "auto widths": {"target": "noise", "n": 600, "settings": {"hidden_layer_sizes": "auto"}},
    "interrupted": {"target": "number", "n": 600, "interrupt": True},
    "partial_fit": {"target": "noise", "n": 1000, "continued": True},
    "outliers": {"target": "number", "inputs": "outliers", "n": 800},
    "tiny": {"target": "number", "n": 40},
    "discrete": {"target": "number", "inputs": "discrete", "n": 600},
    "one-hot": {"target": "number", "inputs": "one-hot", "n": 600},
    "heavy tails": {"target": "heavy noise", "inputs": "heavy", "n": 600},
    "mostly zero": {"target": "mostly zero", "n": 600},
    "empty rows": {"target": "empty rows, numbers", "n": 600},
    "copies with a little noise": {"target": "noise", "n": 1500, "repeats": 10, "near": 1e-9},
}
GROUPS = {"n": 1500, "repeats": 10, "groups": True}
OCCAM = {
    "n_nonzero": 4, "hidden_layer_sizes": (1,), "max_epochs": 20, "batch_size": 200
}  # fmt: skip


def _scenarios() -> list[Scenario]:
    found = []
    for estimator, tables in (
        (SparseMLPClassifier, CLASSES),
        (SparseMLPRegressor, NUMBERS),
        (QuadraticRegressor, NUMBERS),
    ):
        own = {} if estimator is QuadraticRegressor else FIT
        supported = signature(estimator.fit).parameters
        for name, table in tables.items():
            if not own and ("settings" in table or "continued" in table):
                continue  # it has neither widths nor partial_fit
            options = table | {"estimator": estimator, "settings": own | table.get("settings", {})}
            found.append(Scenario(f"{estimator.__name__}, {name}", fit_table, options))
        if "groups" in supported:
            noise = "noise labels" if estimator is SparseMLPClassifier else "noise"
            options = GROUPS | {"estimator": estimator, "target": noise, "settings": own}
            found.append(Scenario(f"{estimator.__name__}, groups", fit_table, options))
    uneven = {"target": "clear classes", "n_groups": 400, "settings": FIT}
    uneven["estimator"] = SparseMLPClassifier
    found.append(Scenario("SparseMLPClassifier, uneven groups", fit_uneven_groups, uneven))
    for name, table in (
        ("large table", {"target": "clear classes"}),
        ("rows repeated 1000 times", {"target": "noise labels", "repeats": 1000}),
    ):
        options = table | {"estimator": SparseMLPClassifier, "inputs": "few", "settings": OCCAM}
        found.append(Scenario(f"SparseMLPClassifier, {name}", fit_table, options | {"n": 6000}))
    for estimator, target in (
        (SparseMLPClassifier, "noise labels"), (SparseMLPRegressor, "noise")
    ):  # fmt: skip
        n = 200 if estimator is SparseMLPClassifier else 400
        for name, seeded, hidden in (
            ("integer seed", True, (50,)),
            ("no integer seed", False, (50,)),
            ("auto widths", True, "auto"),
        ):
            options = {"estimator": estimator, "target": target, "hidden": hidden}
            options |= {"seeded": seeded, "n": n}
            title = f"budget_path of {estimator.__name__}, {name}"
            found.append(Scenario(title, fit_path, options))
    return found


SCENARIOS = _scenarios()
