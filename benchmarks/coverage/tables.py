"""Sources of tables: a law of inputs and targets, a table for a fit, and fresh rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.coverage.scenario import Generator

Array = NDArray[Any]
Rows = tuple[Array, Array]
FRESH = 20_000  # rows on which a statement about new rows is judged
D = 8  # columns of a table, where its kind does not say otherwise
FAR = 50.0  # factor of an outlier


def gaussian(rng: Generator, n: int) -> Array:
    return rng.standard_normal((n, D))


def outliers(rng: Generator, n: int) -> Array:
    """One row in a hundred is fifty times as far out."""
    return rng.standard_normal((n, D)) * np.where(rng.random((n, 1)) < 0.01, FAR, 1.0)


def discrete(rng: Generator, n: int) -> Array:
    return rng.integers(0, 3, (n, D)).astype(float)


def one_hot(rng: Generator, n: int) -> Array:
    """A category of 20 values in 20 columns."""
    return np.eye(20)[rng.integers(0, 20, n)]


def heavy(rng: Generator, n: int) -> Array:
    return rng.standard_t(1.5, (n, D))


def wide(rng: Generator, n: int) -> Array:
    return rng.standard_normal((n, 20))


def few_columns(rng: Generator, n: int) -> Array:
    return rng.standard_normal((n, 2))


INPUTS: dict[str, Callable[[Generator, int], Array]] = {
    "gaussian": gaussian,
    "outliers": outliers,
    "discrete": discrete,
    "one-hot": one_hot,
    "heavy": heavy,
    "wide": wide,
    "few": few_columns,
}


@dataclass(frozen=True)
class Source:
    """A law of rows: `inputs` draws X, `target` draws y for each row of X."""

    inputs: Callable[[Generator, int], Array]
    target: Callable[[Generator, Array], Array]

    def rows(self, rng: Generator, n: int) -> Rows:
        """Independent rows."""
        X = self.inputs(rng, n)
        return X, self.target(rng, X)

    def table(self, rng: Generator, n: int) -> Rows:
        """The rows of a fit, independent where a source does not say otherwise."""
        return self.rows(rng, n)


@dataclass(frozen=True)
class Empty(Source):
    """Half of the rows are equal, all zeros, and their targets are noise of two values.

    Such are empty documents among texts.  A sample of distinct rows seldom has one of them.
    """

    noise: tuple[float, float]
    share: float  # of the first value

    def rows(self, rng: Generator, n: int) -> Rows:
        """Independent rows."""
        X, y = super().rows(rng, n)
        empty = rng.random(n) < 0.5
        y = np.where(empty, np.where(rng.random(n) < self.share, *self.noise), y)
        return np.where(empty[:, None], 0.0, X), y


@dataclass(frozen=True)
class RareClasses(Source):
    """Half of the classes have sixteen rows each, half have four, and these cannot be learned.

    A common class is a point with a little noise.  New rows have the same shares of classes.
    """

    codes: Array

    def of_classes(self, rng: Generator, y: Array) -> Array:
        """Inputs for given classes."""
        noise = rng.standard_normal((len(y), self.codes.shape[1]))
        common = y < len(self.codes)
        centres = self.codes[np.where(common, y, 0)]
        return np.where(common[:, None], centres + 0.1 * noise, noise)

    def rows(self, rng: Generator, n: int) -> Rows:
        """Independent rows."""
        k = len(self.codes)
        y = rng.integers(0, k, n) + np.where(rng.random(n) < 0.2, k, 0)
        return self.of_classes(rng, y), y

    def table(self, rng: Generator, n: int) -> Rows:  # noqa: ARG002 - the counts are given
        """The rows of a fit."""
        k = len(self.codes)
        y = rng.permutation(np.repeat(np.arange(2 * k), np.repeat([16, 4], k)))
        return self.of_classes(rng, y), y


def source(rng: Generator, inputs: str, target: str) -> Source:
    """Draw the parameters of a law."""
    if target == "rare classes":
        return RareClasses(gaussian, lambda _, X: X, rng.standard_normal((20, D)))
    if target.startswith("empty"):
        return _with_empty_rows(rng, target)
    draw = INPUTS[inputs]
    width = draw(np.random.default_rng(0), 1).shape[1]
    w = rng.standard_normal(width) * (rng.random(width) < 0.5) + 0.5
    # the signal is bounded, so that an outlier in X has no special target
    centre = float(np.median(draw(np.random.default_rng(1), 1000) @ w))

    def signal(X: Array) -> Array:
        return np.tanh(X @ w - centre)

    def noise_labels(share: float) -> Callable[[Generator, Array], Array]:
        return lambda rng, X: (rng.random(len(X)) < share).astype(int)

    targets: dict[str, Callable[[Generator, Array], Array]] = {
        "classes": lambda rng, X: (signal(X) + 0.5 * rng.standard_normal(len(X)) > 0).astype(int),
        "clear classes": lambda _, X: (signal(X) > 0).astype(int),
        "noise labels": noise_labels(0.5),
        "imbalance": noise_labels(0.05),
        "planted imbalance": lambda rng, X: (
            signal(X) + 0.3 * rng.standard_normal(len(X)) > 0.97
        ).astype(int),
        "many noise classes": lambda rng, X: rng.integers(0, 20, len(X)),
        "number": lambda rng, X: 2 * signal(X) + rng.standard_normal(len(X)),
        "noise": lambda rng, X: rng.standard_normal(len(X)),
        "heavy noise": lambda rng, X: signal(X) + rng.standard_t(1.5, len(X)),
        "mostly zero": lambda rng, X: rng.exponential(size=len(X)) * (rng.random(len(X)) < 0.05),
    }
    return Source(draw, targets[target])


def _with_empty_rows(rng: Generator, target: str) -> Source:
    """Clear classes, or numbers, of which the empty rows have noise."""
    w = rng.standard_normal(D)
    if target == "empty rows, classes":
        return Empty(gaussian, lambda _, X: (X @ w > 0).astype(int), (0, 1), 0.5)
    return Empty(gaussian, lambda _, X: X @ w, (-6.0, 6.0), 0.9)


@dataclass(frozen=True)
class TableTruth:
    """A model fitted to a table, and its source."""

    model: Any
    source: Source
    y: Array  # targets of the table
    seed: int
    sizes: Callable[[Generator, int], Array] | None = None  # rows of each of so many groups

    @cached_property
    def fresh(self) -> Rows:
        """Rows that nothing has seen."""
        rng = np.random.default_rng([self.seed, 1])
        if self.sizes is None:
            return self.source.rows(rng, FRESH)
        # every group counts alike, so the rows of a large one are drawn as often as one of a small
        large = self.sizes(rng, FRESH) > 1
        return grouped_rows(rng, self.source, large)

    @cached_property
    def fresh_errors(self) -> int:
        """Wrong answers on the fresh rows."""
        X, y = self.fresh
        return int((self.model.predict(X) != y).sum())


def grouped_rows(rng: Generator, law: Source, large: Array) -> Rows:
    """Rows of groups; those of large ones are far away and have noise labels."""
    X, y = law.rows(rng, len(large))
    X = X + np.where(large[:, None], 6.0, 0.0)
    return X, np.where(large, rng.permutation(y), y)


def uneven_sizes(rng: Generator, n: int) -> Array:
    """One group in a hundred has a hundred rows, the others have one."""
    return np.where(rng.random(n) < 0.01, 100, 1)
