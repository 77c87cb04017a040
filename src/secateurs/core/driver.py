"""The loop around a solver: steps, history, progress, time limit and Ctrl-C.

A solver writes its algorithm as the body of a loop and leaves the rest to `Iterations`:

    with Iterations(n_steps, progress) as run:
        for step in run:                          # 1, 2, ..., n_steps
            x = improve(x)
            run.record(loss=loss(x), n_nonzero=size(x))
            if small(loss(x)):
                run.end("converged")              # the loop ends after this step
    return run.solution(x)

Ctrl-C ends the block with the status "interrupted"; the value is what the last whole assignment
left, so a solver changes its state in one assignment a step.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from secateurs.core.solution import History, Progress, ProgressCallback, Solution, Status

T = TypeVar("T")


class Iterations:
    """Drive the steps of a solver.

    Parameters
    ----------
    n_steps : int
        The most steps there can be.
    progress : callable, optional
        Called with a `Progress` at every record.
    columns : tuple of str
        Columns of the history.
    max_seconds : float, optional
        No step starts later than this many seconds after the driver was made.  By default there is
        no limit.

    Attributes
    ----------
    status : str
        "budget" until `end` or Ctrl-C says otherwise.
    step : int
        The step that is running, from 1; 0 before the first.
    history : History
        The records so far.
    """

    def __init__(
        self,
        n_steps: int,
        progress: ProgressCallback | None = None,
        columns: tuple[str, ...] = ("step", "loss", "n_nonzero"),
        max_seconds: float | None = None,
    ) -> None:
        self.n_steps = n_steps
        self.history = History(*columns)
        self.status: Status = "budget"
        self.step = 0
        self._progress = progress
        self._until = None if max_seconds is None else time.monotonic() + max_seconds
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if isinstance(error, KeyboardInterrupt):
            self.end("interrupted")
            return True
        return False

    def __iter__(self) -> Iterator[int]:
        while not self._ended and self.step < self.n_steps and not self._late():
            self.step += 1
            yield self.step

    def _late(self) -> bool:
        return self._until is not None and time.monotonic() >= self._until

    def end(self, status: Status) -> None:
        """End the loop after the running step.

        Parameters
        ----------
        status : {"exact", "converged", "stalled", "budget", "interrupted"}
            The status that the solution will have.
        """
        self.status, self._ended = status, True

    @property
    def ended(self) -> bool:
        """Whether `end` was called, or Ctrl-C was pressed."""
        return self._ended

    def record(self, **values: float) -> None:
        """Append to the history and report progress.

        Parameters
        ----------
        **values : float
            One number for each column; "step" is the running step unless it is given.
        """
        if "step" in self.history:
            values.setdefault("step", self.step)
        self.history.record(**values)
        self.report(values.get("loss", float("nan")), int(values.get("n_nonzero", 0)))

    def report(self, loss: float, n_nonzero: int) -> None:
        """Call the progress callback without a record.

        Parameters
        ----------
        loss : float
            The current loss.
        n_nonzero : int
            Size of the current solution.
        """
        if self._progress is not None:
            self._progress(Progress(self.step, self.n_steps, loss, n_nonzero))

    def solution(self, value: T, **measured: Any) -> Solution[T]:
        """Return the result of the run.

        Parameters
        ----------
        value : T
            The value of the solution.
        **measured : object
            Entries of the field `measured` of the solution.

        Returns
        -------
        Solution
            It has the status and the history of this run.
        """
        return Solution(value, self.status, dict(self.history), measured)
