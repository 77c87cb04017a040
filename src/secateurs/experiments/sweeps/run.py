"""Run cells on workers into a ledger, whatever happens to the workers.

Cells run on processes of this machine or on a Dask cluster (`pools.py`).  A process that dies takes
the pool with it.  Finished cells are then in the spool; of those that were running it is not known
which one killed its worker, so they run again one at a time: what kills a worker that runs nothing
else is to blame, and after its retries recorded as failed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateurs.core.interrupt import uninterrupted
from secateurs.experiments.sweeps.ledger import Ledger, Record, key_of
from secateurs.experiments.sweeps.pools import Compute, RunError, pool
from secateurs.experiments.sweeps.worker import GRACE, Evaluate, Task, clear_spool, read_spool

COMMIT_EVERY = 0.5  # seconds; what is finished in between is in the spool
MAX_CRASHES = 3  # in a row without any cell run: the fault is not in a cell

Cell = Mapping[str, Any]


@dataclass(frozen=True)
class Counts:
    """Where a run is.

    Attributes
    ----------
    done, failed : int
        Cells of this run, those of earlier ones included.
    earlier : int
        Of these, what was there before.
    interrupted : bool
        Stopped by the user; what is done is kept.
    """

    done: int = 0
    failed: int = 0
    earlier: int = 0
    interrupted: bool = False


CountsCallback = Callable[[Counts], None]


def run_cells(
    cells: Iterable[Cell],
    evaluate: Evaluate,
    ledger: Ledger,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    time_limit: float = 3600.0,
    retries: int = 1,
    retry_failed: bool = False,
    progress: CountsCallback | None = None,
) -> Counts:
    """Compute the cells that the ledger does not have.

    Parameters
    ----------
    cells : iterable of dict
        Settings; anything that JSON can hold.  Read as they are needed.
    evaluate : callable
        From settings to a `Result`; a pure function that can be sent to a worker.
    ledger : Ledger
        The spool is a folder beside it.
    workers : int
        Processes on this machine, one thread each.  1 is a process too, so that a cell that
        dies takes nothing with it.
    scheduler : str, optional
        Address of a Dask scheduler; its workers are used instead.
    time_limit : float
        Seconds of wall time for a cell.
    retries : int
        How often a failed cell is tried again.
    retry_failed : bool
        Try cells again that failed in an earlier run.
    progress : callable, optional
        Called with `Counts` after every cell.

    Returns
    -------
    Counts

    Raises
    ------
    LedgerFullError
        The disk is full.  What is done is kept.
    RunError
        No worker runs anything, or the scheduler is not there or goes away.  What is done is kept.
    """
    if workers < 1:
        raise ValueError(f"workers = {workers}: expected an integer >= 1")
    spool = None if scheduler else ledger.path.parent / "spool"
    run = _Run(ledger, spool, time_limit, retries, retry_failed, progress)
    with pool(workers, scheduler) as compute:
        try:
            run.all(cells, evaluate, compute)
        except KeyboardInterrupt:
            run.interrupted = True
        finally:
            with uninterrupted():
                run.take_spool()
                run.commit()
    return run.counts


class _Run:
    """Cells on their way from the source to the ledger.

    `source` may be read by a thread of joblib: it changes `flying`, by single operations, and the
    counts of what is skipped; all else belongs to the main thread.
    """

    def __init__(
        self,
        ledger: Ledger,
        spool: Path | None,
        time_limit: float,
        retries: int,
        retry_failed: bool,
        progress: CountsCallback | None,
    ):
        self.ledger, self.spool, self.progress = ledger, spool, progress
        self.time_limit, self.retries = time_limit, retries
        self.flying: dict[str, tuple[Cell, int]] = {}  # handed out: settings, attempt
        self.ready: list[tuple[Cell, Record]] = []  # finished, not yet in the ledger
        self.again: list[tuple[Cell, int]] = []
        self.committed = 0.0
        self.skipped_done = self.skipped_failed = self.n_done = self.n_failed = 0
        self.n_settled = 0  # records seen, those that are tried again included
        self.interrupted = False
        if spool is not None:
            spool.mkdir(exist_ok=True)
            finished, running = read_spool(spool)  # of a run that was killed
            ledger.add(
                (cell, record)
                for cell, record in finished
                if record.status == "done" or record.attempts > retries
            )
            clear_spool(spool, [*running, *(record.key for _, record in finished)])
        self.done = ledger.keys("done")
        self.failed = set() if retry_failed else ledger.keys("failed")

    @property
    def counts(self) -> Counts:
        """Where the run is."""
        return Counts(
            self.n_done + self.skipped_done,
            self.n_failed + self.skipped_failed,
            self.skipped_done + self.skipped_failed,
            self.interrupted,
        )

    def all(self, cells: Iterable[Cell], evaluate: Evaluate, compute: Compute) -> None:
        """Passes over what is left, until nothing is."""
        source = self.pending(cells)
        suspects: list[tuple[Cell, int]] = []
        crashes = 0
        while True:
            one_by_one = bool(suspects)
            tasks = iter(suspects) if one_by_one else source
            seen = self.n_settled
            try:
                self.one_pass(tasks, evaluate, compute, one_by_one=one_by_one)
                suspects = []
            except BrokenExecutor as error:
                suspects = self.after_crash(one_by_one=one_by_one)
                if one_by_one:
                    suspects.extend(tasks)
                crashes = 0 if self.n_settled > seen or suspects else crashes + 1
                if crashes > MAX_CRASHES:
                    raise RunError(f"no worker runs anything: {error}") from error
                continue
            if not one_by_one:
                if not self.again:
                    return
                source, self.again = iter(self.again), []

    def pending(self, cells: Iterable[Cell]) -> Iterator[tuple[Cell, int]]:
        """Cells that are not in the ledger."""
        for cell in cells:
            key = key_of(cell)
            if key in self.done:
                self.skipped_done += 1
            elif key in self.failed:
                self.skipped_failed += 1
            else:
                yield cell, 1

    def one_pass(
        self,
        tasks: Iterator[tuple[Cell, int]],
        evaluate: Evaluate,
        compute: Compute,
        *,
        one_by_one: bool,
    ) -> None:
        """Hand out tasks and take the records in as they come."""
        parent = None if self.spool is None else os.getpid()

        def handed_out() -> Iterator[Task]:
            for cell, attempt in tasks:
                key = key_of(cell)
                self.flying[key] = (cell, attempt)
                yield Task(key, cell, attempt, self.time_limit, self.spool, parent)

        with closing(compute(evaluate, handed_out(), one_by_one)) as records:
            for record in records:
                self.settle(record)
                if self.spool is None or time.monotonic() - self.committed > COMMIT_EVERY:
                    self.commit()

    def settle(self, record: Record) -> None:
        """A cell has a record: keep it, or try again."""
        cell, attempt = self.flying.pop(record.key, (None, 0))
        if cell is None:  # settled before, from the spool
            return
        self.n_settled += 1
        if record.status == "failed" and attempt <= self.retries:
            self.again.append((cell, attempt + 1))
            if self.spool is not None:
                clear_spool(self.spool, [record.key])
            return
        self.ready.append((cell, record))
        self.n_done += record.status == "done"
        self.n_failed += record.status == "failed"
        if self.progress is not None:
            self.progress(self.counts)

    def commit(self) -> None:
        """Write what is ready to the ledger, then forget it in the spool."""
        self.ledger.add(self.ready)
        self.committed = time.monotonic()
        if self.spool is not None:
            clear_spool(self.spool, [record.key for _, record in self.ready])
        self.ready = []

    def take_spool(self) -> dict[str, str]:
        """Settle what finished in workers that are gone; return what was running."""
        if self.spool is None:
            return {}
        finished, running = read_spool(self.spool)
        for _, record in finished:
            self.settle(record)
        return {key: told for key, told in running.items() if key in self.flying}

    def after_crash(self, *, one_by_one: bool) -> list[tuple[Cell, int]]:
        """Settle what is known after the pool broke; return the cells that may have broken it."""
        running = self.take_spool()
        self.commit()
        overdue = {key: told for key, told in running.items() if told}
        for key, told in overdue.items():
            message = (
                f"TimeLimitError: not done after {self.time_limit:g} s of wall time, and did not "
                f"return to Python {GRACE:g} s later; its worker was ended\n{told}"
            )
            self.settle(Record(key, "failed", {}, self.flying[key][1], message))
        suspects = [] if overdue else [key for key in self.flying if key in running]
        if suspects and (one_by_one or len(suspects) == 1):
            key = suspects.pop(0)  # handed out in order: it was the only one running
            message = "WorkerDiedError: the worker was killed, ran out of memory or crashed"
            self.settle(Record(key, "failed", {}, self.flying[key][1], message))
        if self.spool is not None:
            clear_spool(self.spool, list(self.flying))
        found = [self.flying[key] for key in suspects]
        self.again.extend(known for key, known in self.flying.items() if key not in suspects)
        self.flying.clear()
        return found
