"""What every solver returns: a value, how the run ended, and its history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from secateurs.core.short_repr import short_repr

T = TypeVar("T")

Status = Literal["exact", "converged", "stalled", "budget", "interrupted"]

EXPLANATIONS: dict[Status, str] = {
    "exact": "the residual is zero to rounding, and no other solution was found that fits as well",
    "converged": "the stopping rule of the method was met",
    "stalled": "no further step improved the fit before the stopping rule was met",
    "budget": "all steps that were allowed were made",
    "interrupted": "the user stopped the run; the result is the best so far, within its budget",
}


def explain(status: str) -> str:
    """Return what a status means, in one clause.

    Parameters
    ----------
    status : {"exact", "converged", "stalled", "budget", "interrupted"}
        The status of a `Solution` or of a fitted model.

    Returns
    -------
    str
        The meaning, without a capital letter and a full stop.
    """
    return EXPLANATIONS[status]  # type: ignore[index]


class History(dict[str, list[float]]):
    """Records of a run by column: what a plot of the run needs.

    Parameters
    ----------
    *columns : str
        Names of the columns.  Every record gives a number for each.
    """

    def __init__(self, *columns: str) -> None:
        super().__init__({name: [] for name in columns})

    def record(self, **values: float) -> None:
        """Append one number to each column.

        Parameters
        ----------
        **values : float
            The numbers by the names of their columns.

        Raises
        ------
        KeyError
            The names are not exactly those of the columns.
        """
        if values.keys() != self.keys():
            raise KeyError(f"got a record of {sorted(values)}; expected {sorted(self)}")
        for name, value in values.items():
            self[name].append(value)


@dataclass(frozen=True)
class Solution(Generic[T]):
    """Result of a solver.

    Parameters
    ----------
    value : T
        The result that was asked for; the trainers return a `SparseNetwork`.
    status : {"exact", "converged", "stalled", "budget", "interrupted"}
        How the run ended; `explain` says what each word means.
    history : dict of list of float
        Records of the run by column.
    measured : dict
        Numbers that a certificate or a report needs, measured during the run; empty by default.
    """

    __repr__ = short_repr

    value: T
    status: Status
    history: dict[str, list[float]]
    measured: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """State of a running solver, given to the progress callback.

    Parameters
    ----------
    step, n_steps : int
        Steps done, and the most there can be.
    loss : float
        The number that the solver minimises.
    n_nonzero : int
        Size of the current solution: weights, columns or components, as the solver says.
    """

    step: int
    n_steps: int
    loss: float
    n_nonzero: int


ProgressCallback = Callable[[Progress], None]
