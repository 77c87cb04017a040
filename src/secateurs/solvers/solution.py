"""What every solver returns, and what it says on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Solution(Generic[T]):
    """Result of a solver.

    Attributes
    ----------
    value : T
        What was asked for, for the trainers a `SparseNetwork`.
    status : str
        "exact", "converged", "stalled", "budget" (the steps asked for are spent) or
        "interrupted" (the user stopped it; the value is valid and within budget).
    history : dict of lists
        What a plot needs, one entry per record; keys "step", "loss", "n_nonzero" at least.
    measured : dict
        Numbers a certificate or a report needs, measured during the run.
    """

    value: T
    status: str
    history: dict[str, list[float]]
    measured: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """State of a running solver, given to the progress callback."""

    step: int
    n_steps: int
    loss: float
    n_nonzero: int


ProgressCallback = Callable[[Progress], None]
