"""Run cells on workers into a ledger, also when workers are killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateurs.core.interrupt import uninterrupted
from secateurs.core.parameters import check_integer
from secateurs.experiments.sweeps.ledger import Ledger
from secateurs.experiments.sweeps.pools import pool, uses_spool
from secateurs.experiments.sweeps.record import Record, key_of
from secateurs.experiments.sweeps.spool import clear_spool, read_spool, read_trace, spool_of
from secateurs.experiments.sweeps.worker import Evaluate, RunError, Task

COMMIT_EVERY = 0.5  # seconds; cells that finish in between are in the spool
MAX_CRASHES = 3  # in a row without any cell run: the fault is not in a cell

Cell = Mapping[str, Any]


@dataclass(frozen=True)
class Counts:
    """State of a run.

    Attributes
    ----------
    done, failed : int
        Cells of this run, with those that the ledger had before.
    earlier : int
        Cells that the ledger had before.
    interrupted : bool
        Whether the user stopped the run; finished cells are kept.
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
        Settings; anything that JSON can hold.  They are read as they are needed.
    evaluate : callable
        From settings to a `Result`; a pure function that another process can import.
    ledger : Ledger
        Its folder is the run folder, which holds the spool too.
    workers : int
        Processes on this machine, one thread each.  1 is a process too, so that a cell that dies
        takes nothing with it.
    scheduler : str, optional
        The workers of a cluster are used instead: the address of a Dask scheduler, or
        ``slurm://PARTITION?...``.
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
        The disk is full.  Finished cells are kept.
    RunError
        No worker runs anything, or the scheduler does not answer or goes away.  Finished cells are
        kept.

    Notes
    -----
    Worker processes import the main module.  A script that calls this must do so below
    ``if __name__ == "__main__":``.
    """
    check_integer("workers", workers)
    folder = ledger.path.parent
    run = _Run(ledger, spool_of(folder) if uses_spool(scheduler) else None, retries, progress)
    run.known(retry_failed=retry_failed)
    with pool(workers, scheduler, folder) as compute:
        try:
            run.all(cells, lambda tasks: compute(evaluate, tasks), time_limit)
        except KeyboardInterrupt:
            run.interrupted = True
        finally:
            with uninterrupted():
                run.take_spool()
                run.commit()
    return run.counts


class _Run:
    """Cells on their way from the grid to the ledger.

    Attributes
    ----------
    flying : dict
        Key -> settings and attempt of every cell that is handed out.
    again : list
        Settings and attempt of the cells of the next pass.
    ready : list
        Settings and records that are not yet in the ledger.
    """

    def __init__(
        self, ledger: Ledger, spool: Path | None, retries: int, progress: CountsCallback | None
    ):
        self.ledger, self.spool, self.retries, self.progress = ledger, spool, retries, progress
        self.flying: dict[str, tuple[Cell, int]] = {}
        self.again: list[tuple[Cell, int]] = []
        self.ready: list[tuple[Cell, Record]] = []
        self.n_done = self.n_failed = self.n_earlier = self.n_settled = 0
        self.commit_at = 0.0
        self.interrupted = False

    @property
    def counts(self) -> Counts:
        """State of the run."""
        return Counts(self.n_done, self.n_failed, self.n_earlier, self.interrupted)

    def known(self, *, retry_failed: bool) -> None:
        """Read which cells need not be computed, from the ledger and the spool of a killed run."""
        if self.spool is not None:
            self.spool.mkdir(exist_ok=True)
            traces = read_spool(self.spool)
            self.ledger.add(
                (trace.cell, trace.record)
                for trace in traces.values()
                if trace.cell is not None
                and trace.record is not None
                and (trace.record.status == "done" or trace.record.attempts > self.retries)
            )
            clear_spool(self.spool, traces)
        self.done = self.ledger.keys("done")
        self.failed = set() if retry_failed else self.ledger.keys("failed")

    def all(
        self,
        cells: Iterable[Cell],
        compute: Callable[[Iterator[Task]], Any],
        time_limit: float,
    ) -> None:
        """Make passes over the cells that are left, until none is."""
        source = self.pending(cells)
        crashes = 0
        while True:
            seen = self.n_settled
            try:
                with closing(compute(self.handed_out(source, time_limit))) as records:
                    for record in records:
                        self.settle(record)
                        if self.spool is None or time.monotonic() > self.commit_at:
                            self.commit()
                exhausted = True
            except BrokenExecutor as error:
                exhausted = False
                self.take_spool()
                crashes = 0 if self.n_settled > seen else crashes + 1
                if crashes > MAX_CRASHES:
                    raise RunError(f"no worker runs anything: {error}") from error
            # cells that were handed out and never begun have not failed
            self.again.extend(self.flying.values())
            self.flying.clear()
            if exhausted:
                if not self.again:
                    return
                source, self.again = iter(self.again), []

    def pending(self, cells: Iterable[Cell]) -> Iterator[tuple[Cell, int]]:
        """Yield the cells that are not in the ledger."""
        for cell in cells:
            key = key_of(cell)
            if key in self.done or key in self.failed:
                self.n_earlier += 1
                self.n_done += key in self.done
                self.n_failed += key not in self.done
            else:
                yield cell, 1

    def handed_out(self, source: Iterator[tuple[Cell, int]], time_limit: float) -> Iterator[Task]:
        """Yield tasks for cells, and note that they are handed out."""
        for cell, attempt in source:
            key = key_of(cell)
            self.flying[key] = (cell, attempt)
            yield Task(key, cell, attempt, time_limit)

    def settle(self, record: Record) -> None:
        """Keep the record of a cell, or let the cell be tried again."""
        cell, attempt = self.flying.pop(record.key, (None, 0))
        if cell is None:  # settled before, from the spool
            return
        self.n_settled += 1
        if record.status == "failed" and attempt <= self.retries:
            self.again.append((cell, attempt + 1))
            self.forget([record.key])
            return
        self.ready.append((cell, record))
        self.n_done += record.status == "done"
        self.n_failed += record.status == "failed"
        if self.progress is not None:
            self.progress(self.counts)

    def commit(self) -> None:
        """Write the records that are ready to the ledger, then delete them from the spool."""
        self.ledger.add(self.ready)
        self.commit_at = time.monotonic() + COMMIT_EVERY
        self.forget(record.key for _, record in self.ready)
        self.ready = []

    def take_spool(self) -> None:
        """Settle the cells whose workers finished them and are gone."""
        if self.spool is None:
            return
        for key in list(self.flying):
            trace = read_trace(self.spool / key)
            if trace is not None and trace.record is not None:
                self.settle(trace.record)

    def forget(self, keys: Iterable[str]) -> None:
        """Delete cells from the spool."""
        if self.spool is not None:
            clear_spool(self.spool, keys)
