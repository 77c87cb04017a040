"""A claim of a paper: what is measured, what should come out, and who says so."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from secateurs.experiments.sweeps.registry import Result

Scale = Literal["quick", "full"]
SCALES: tuple[Scale, ...] = ("quick", "full")
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Claim:
    """Something that can be measured and judged.

    Attributes
    ----------
    name : str
        Short, unique within its paper.
    statement : str
        A full sentence, with its assumptions.
    source : str
        Paper, section or theorem; "measured" and where, for numbers of ours.
    measure : callable
        Keyword settings -> dict of numbers, or a `Result` with the certificate that they rest on;
        a pure function at the top of its file.
    quick, full : sequence of dict
        Settings of each part of the measurement at the two scales.  Parts run on their own, on
        several workers: many parts of seconds, not one of hours.
    judge : callable
        One number from the table of all parts: settings and numbers, one row each, in order.  It
        is shown only the columns that every part has a number for: no mean skips what is missing.
    quantity : str
        What that number is, with its unit.
    expected : float
    low, high : float
        The claim holds when low <= number <= high.
    """

    name: str
    statement: str
    source: str
    measure: Callable[..., Mapping[str, float] | Result]
    quick: tuple[Settings, ...]
    full: tuple[Settings, ...]
    judge: Callable[[pd.DataFrame], float]
    quantity: str
    expected: float
    low: float = -math.inf
    high: float = math.inf

    def parts(self, scale: Scale) -> tuple[Settings, ...]:
        """Settings at a scale."""
        return self.quick if scale == "quick" else self.full

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


def mean(column: str) -> Callable[[pd.DataFrame], float]:
    """Judge by the mean over the parts."""
    return lambda frame: float(frame[column].mean())


def largest(column: str) -> Callable[[pd.DataFrame], float]:
    """Judge by the worst part, where more is worse."""
    return lambda frame: float(frame[column].max())
