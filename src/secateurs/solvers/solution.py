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
        "interrupted" (the user stopped it; the value is valid and within its budget).
    history : dict of lists
        What a plot needs, one entry per record.
    measured : dict
        Numbers a certificate or a report needs, measured during the run.
    """

    value: T
    status: str
    history: dict[str, list[float]]
    measured: dict[str, Any] = field(default_factory=dict)


@dataclass
class History:
    """Records of a training run, by column."""

    columns: dict[str, list[float]] = field(
        default_factory=lambda: {"step": [], "loss": [], "n_nonzero": []}
    )

    def record(self, step: int, loss: float, n_nonzero: int) -> None:
        """Append one record: steps done, mean loss since the last record, weights."""
        self.columns["step"].append(step)
        self.columns["loss"].append(float(f"{loss:.6g}"))  # more digits mean nothing
        self.columns["n_nonzero"].append(n_nonzero)


@dataclass(frozen=True)
class Progress:
    """State of a running solver, given to the progress callback."""

    step: int
    n_steps: int
    loss: float
    n_nonzero: int


ProgressCallback = Callable[[Progress], None]
