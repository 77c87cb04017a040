"""Screens: noise of every kind of column, and planted columns among independent ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.coverage.judging import Case, attempt, judge, never
from benchmarks.coverage.scenario import Generator, Scenario, seed_of
from secateurs import SparseMultiIndexClassifier, SparseMultiIndexRegressor
from secateurs.core import Check
from secateurs.features import screen

Array = NDArray[Any]
ALPHA = 0.1  # of every screen
Draw = Callable[[Generator, int, int], Array]

COLUMNS: dict[str, Draw] = {
    "gaussian": lambda rng, n, d: rng.standard_normal((n, d)),
    "cauchy": lambda rng, n, d: rng.standard_cauchy((n, d)),
    "0/1 at 50 %": lambda rng, n, d: _ones(rng, n, d, 0.5),
    "0/1 at 5 %": lambda rng, n, d: _ones(rng, n, d, 0.05),
    "0/1 at 1 %": lambda rng, n, d: _ones(rng, n, d, 0.01),
    "genotypes": lambda rng, n, d: rng.binomial(2, rng.uniform(0.02, 0.5, d), (n, d)) * 1.0,
    "poisson": lambda rng, n, d: rng.poisson(0.01, (n, d)) * 1.0,
    "one-hot ids": lambda rng, n, d: np.eye(d)[rng.integers(0, d, n)],
    "zero-inflated": lambda rng, n, d: rng.exponential(size=(n, d)) * _ones(rng, n, d, 0.05),
    "heavy": lambda rng, n, d: rng.standard_t(2, (n, d)),
}
TARGETS: dict[str, Callable[[Generator, int], Array]] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
    "zero-inflated": lambda rng, n: rng.exponential(size=n) * (rng.random(n) < 0.05),
    "counts": lambda rng, n: rng.poisson(0.3, n) * 1.0,
    "labels at 8 %": lambda rng, n: (rng.random(n) < 0.08).astype(int),
}


def _ones(rng: Generator, n: int, d: int, share: float) -> Array:
    return (rng.random((n, d)) < share) * 1.0


@dataclass(frozen=True)
class ScreenTruth:
    """A model, the columns that y depends on, and a way to draw the data again."""

    model: Any
    relevant: Array
    again: Callable[[], tuple[Array, Array]]


# -- the judges ------------------------------------------------------------------------------


@judge("screen", "signal", nominal=ALPHA)
def signal(_: Check, truth: ScreenTruth) -> bool:
    """There is something to find."""
    return len(truth.relevant) > 0


@judge("screen", "screen", nominal=ALPHA)
def no_false_column(_: Check, truth: ScreenTruth) -> bool:
    """No column passes that is independent of y."""
    passed = np.flatnonzero(truth.model.scores_ > truth.model.threshold_)
    return bool(np.isin(passed, truth.relevant).all())


@judge("screen", "needed columns", nominal=ALPHA)
def every_kept_column_matters(_: Check, truth: ScreenTruth) -> bool:
    """No column is kept that is independent of y and of the other columns."""
    return bool(np.isin(truth.model.support_, truth.relevant).all())


@judge("screen", "gap")
def kept_above_dropped(_: Check, truth: ScreenTruth) -> bool:
    """The weakest kept score is above the strongest dropped one; both are read from the model."""
    scores, kept = truth.model.scores_, truth.model.support_
    return bool(scores[kept].min() > np.delete(scores, kept).max())


@judge("screen", "rows", nominal=ALPHA)
def rows_are_enough(_: Check, truth: ScreenTruth) -> bool:
    """On as many fresh rows, the median kept column passes the screen by itself."""
    found = screen(*truth.again(), alpha=ALPHA)
    return bool(np.median(found.scores[truth.model.support_]) > found.threshold)


never("screen", "validation", "lower bound", "inputs")


# -- the instances ---------------------------------------------------------------------------


def fit_screen(
    rng: Generator,
    columns: str,
    target: str = "normal",
    n: int = 300,
    d: int = 60,
    repeats: int = 1,
    relevant: int = 0,
) -> list[Case]:
    """Fit noise, or a target that depends on the first `relevant` columns."""
    seed, weights = seed_of(rng), rng.choice([-1.0, 1.0], relevant)

    def draw(number: int) -> tuple[Array, Array]:
        rows = np.random.default_rng([seed, number])
        X = COLUMNS[columns](rows, n // repeats, d)
        y = TARGETS[target](rows, len(X))
        if relevant:
            y = X[:, :relevant] @ weights + 0.5 * y
        return X, y

    X, y = (np.repeat(a, repeats, axis=0) for a in draw(0))
    classes = target.startswith("labels")
    estimator = SparseMultiIndexClassifier if classes else SparseMultiIndexRegressor
    model = estimator(alpha=ALPHA, random_state=seed_of(rng))
    found = attempt(lambda: model.fit(X, y))
    checks = () if found is None else model.certificate_.checks
    truth = ScreenTruth(model, np.arange(relevant), lambda: draw(1))
    return [Case(estimator.__name__, "screen", checks, truth)]


NOISE: dict[str, dict[str, Any]] = {
    **{f"{name} columns": {"columns": name} for name in COLUMNS if name != "heavy"},
    "zero-inflated y": {"columns": "gaussian", "target": "zero-inflated"},
    "zero-inflated X and y": {"columns": "zero-inflated", "target": "zero-inflated"},
    "class labels at 8 %": {"columns": "gaussian", "target": "labels at 8 %"},
    "labels and 0/1 columns": {"columns": "0/1 at 5 %", "target": "labels at 8 %"},
    "counts and genotypes": {"columns": "genotypes", "target": "counts"},
    "cauchy y": {"columns": "gaussian", "target": "cauchy"},
    "rows repeated ten times": {"columns": "gaussian", "n": 1000, "repeats": 10},
    "few rows": {"columns": "gaussian", "n": 24},
}
PLANTED: dict[str, dict[str, Any]] = {
    "gaussian": {"columns": "gaussian"},
    "genotypes": {"columns": "genotypes", "n": 400},
    "heavy tails": {"columns": "heavy"},
}
SCENARIOS = [
    *(
        Scenario(f"screen of noise, {name}", fit_screen, options, full=300, small=2, chunk=5)
        for name, options in NOISE.items()
    ),
    *(
        Scenario(
            f"planted columns, {name}", fit_screen, options | {"relevant": 3},
            full=300, small=2, chunk=5,
        )
        for name, options in PLANTED.items()
    ),
]  # fmt: skip
