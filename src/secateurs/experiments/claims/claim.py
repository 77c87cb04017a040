"""A claim of a paper: the measurement, the expected number, and the source."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from secateurs.experiments.sweeps.registry import Family, Result, evaluate

Scale = Literal["quick", "full", "paper"]
SCALES: tuple[Scale, ...] = ("quick", "full")  # at which every claim has parts
FIRST_SEED = 7000  # nothing was tuned on seeds from here on
Settings = Mapping[str, Any]
Parts = tuple[Settings, ...]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Something that can be measured and judged.

    Attributes
    ----------
    name : str
        Short, unique within its paper.
    statement : str
        A full sentence, with its assumptions.
    source : str
        Paper, section or theorem; "measured" and the benchmark, for numbers that were found here.
    measure : callable
        From keyword settings to a dict of numbers, or to a `Result` with the certificate that they
        rest on.  A pure function.
    quick, full : sequence of dict
        Settings of each part of the measurement at the two scales.  Parts run independently, on
        several workers; many short parts are better than a long one.
    paper : sequence of dict
        The same at the size of a figure of the paper; empty for claims that have no such size.
    hours : callable
        Processor hours of a part at the size of the paper, from its settings: an estimate.
    judge : callable
        From the table of all parts, one row each in order, to one number.  The table has the
        settings and those numbers that every part has: no mean skips a missing number.
    quantity : str
        The meaning of that number, with its unit.
    expected : float
    low, high : float
        The claim holds when low <= number <= high.
    """

    name: str
    statement: str
    source: str
    measure: Callable[..., Mapping[str, float] | Result]
    quick: Parts
    full: Parts
    judge: Callable[[pd.DataFrame], float]
    quantity: str
    expected: float
    low: float = -math.inf
    high: float = math.inf
    paper: Parts = ()
    hours: Callable[..., float] = lambda **_: 0.0

    def parts(self, scale: Scale) -> Parts:
        """Return the settings at a scale."""
        return {"quick": self.quick, "full": self.full, "paper": self.paper}[scale]

    def result(self, settings: Settings) -> Result:
        """Measure one part; `measure` may return the numbers alone, and this is always a Result."""
        found = self.measure(**settings)
        return found if isinstance(found, Result) else Result(found)

    def holds(self, measured: float) -> bool:
        """Whether a number is within the tolerance; nan is not."""
        return self.low <= measured <= self.high

    @property
    def told(self) -> str:
        """The expected number and its tolerance."""
        if math.isinf(self.low):
            return f"{self.expected:g} (at most {self.high:g})"
        if math.isinf(self.high):
            return f"{self.expected:g} (at least {self.low:g})"
        return f"{self.expected:g} ({self.low:g} to {self.high:g})"


def cell_metrics(
    family: Family, *, problem: str, method: str, seed: int, **settings: Any
) -> Result:
    """Measure a method on a planted problem, as a cell of a sweep does.

    Parameters
    ----------
    family : Family
    problem, method : str
    seed : int
    **settings
        Parameters of the problem; names that it does not know are settings of the method.
    """
    known = inspect.signature(family.problems[problem].make).parameters
    cell = {
        "problem": problem,
        "problem_settings": {k: v for k, v in settings.items() if k in known},
        "method": method,
        "method_settings": {k: v for k, v in settings.items() if k not in known},
        "seed": seed,
    }
    return evaluate(family, cell)


# -- settings of parts -------------------------------------------------------------------------


def axis(names: str, *values: Any) -> list[Settings]:
    """Return settings that vary together: ``axis("m s", (5, 20), (10, 50))``."""
    keys = names.split()
    rows = [(value,) for value in values] if len(keys) == 1 else values
    return [dict(zip(keys, row, strict=True)) for row in rows]


def seeds(n: int, first: int = FIRST_SEED) -> list[Settings]:
    """Return an axis of n seeds."""
    return axis("seed", *range(first, first + n))


def combined(*axes: Iterable[Settings], **fixed: Any) -> Parts:
    """Return every combination of the axes, the last one varying fastest."""
    return tuple(
        {**fixed, **{name: value for settings in row for name, value in settings.items()}}
        for row in itertools.product(*axes)
    )


# -- judges ------------------------------------------------------------------------------------


def mean(column: str) -> Callable[[pd.DataFrame], float]:
    """Judge by the mean over the parts."""
    return lambda frame: float(frame[column].mean())


def largest(column: str) -> Callable[[pd.DataFrame], float]:
    """Judge by the worst part, where more is worse."""
    return lambda frame: float(frame[column].max())
