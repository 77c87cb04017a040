"""Run one cell in a worker, with its time limit.

A watchdog thread of the C library enforces the time limit: at the limit it writes where the cell is
to the spool file and ends the process.  It needs no lock of the interpreter, so it also ends native
code that never returns.  The pool then starts another worker.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from secateurs.experiments.sweeps.record import Record
from secateurs.experiments.sweeps.registry import Result
from secateurs.experiments.sweeps.spool import spooled, write_record

LOG = "workers.log"  # in the run folder
TRACEBACK_TAIL = 1500  # characters of a traceback that are kept

Evaluate = Callable[[Mapping[str, Any]], Result]


class RunError(OSError):
    """Cells cannot be run at all."""


@dataclass(frozen=True)
class Task:
    """A cell to compute.

    Attributes
    ----------
    key : str
    cell : dict
    attempt : int
        1 for the first.
    time_limit : float
        Seconds.
    """

    key: str
    cell: Mapping[str, Any]
    attempt: int
    time_limit: float

    def failed(self, message: str) -> Record:
        """Return the record of a cell that failed."""
        return Record(self.key, "failed", {}, self.attempt, message)

    def overdue(self, trace: str = "") -> Record:
        """Return the record of a cell that ran into its time limit, with its traceback."""
        message = f"TimeLimitError: not done after {self.time_limit:g} s of wall time\n{trace}"
        return self.failed(message.strip())


# Set once by `start_worker`, so that a task need not carry them.
_of_this_worker: dict[str, Any] = {}


def start_worker(evaluate: Evaluate, spool: Path) -> None:
    """Prepare a process of the pool: one thread, output to a log, an end when its parent ends."""
    _of_this_worker.update(evaluate=evaluate, spool=spool)
    use_one_thread()
    with contextlib.suppress(OSError), (spool.parent / LOG).open("ab") as log:
        for output in (1, 2):  # text that libraries print must not get into the parent's output
            os.dup2(log.fileno(), output)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def use_one_thread() -> None:
    """Limit the libraries that are loaded to one thread."""
    threadpool_limits(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def run_task(task: Task) -> Record:
    """Compute a cell in a process of the pool; an exception in it makes a failed record."""
    with spooled(_of_this_worker["spool"], task.key, task.cell) as file:
        output: Any = sys.__stderr__ if file is None else file
        faulthandler.dump_traceback_later(task.time_limit, exit=True, file=output)
        try:
            record = compute(_of_this_worker["evaluate"], task)
        finally:
            faulthandler.cancel_dump_traceback_later()
        write_record(file, record)
    return record


def compute(evaluate: Evaluate, task: Task) -> Record:
    """Compute a cell; an exception in it makes a failed record."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nobody reads those of thousands of cells
            found = evaluate(task.cell)
        checks = None if found.certificate is None else found.certificate.to_list()
        return Record(task.key, "done", dict(found.metrics), task.attempt, None, checks)
    except Exception as error:
        return task.failed(_described(error))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _described(error: Exception) -> str:
    """Type and message, then the end of the traceback."""
    trace = "".join(traceback.format_tb(error.__traceback__))[-TRACEBACK_TAIL:]
    return f"{type(error).__name__}: {error}\n{trace}".rstrip()
