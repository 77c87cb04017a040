"""Run cells on processes of this machine.

The processes belong to a `pebble.ProcessPool`, which reports the cell that a dead process was at
and starts another process.  A server that has imported the code of the cells forks them, so that a
new process costs milliseconds.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import BrokenExecutor, CancelledError
from contextlib import contextmanager
from itertools import islice
from multiprocessing import forkserver
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from pebble import ProcessExpired, ProcessPool

from secateurs.core.interrupt import uninterrupted
from secateurs.experiments.sweeps.record import Record
from secateurs.experiments.sweeps.registry import Family
from secateurs.experiments.sweeps.spool import read_trace, spool_of
from secateurs.experiments.sweeps.worker import Evaluate, Task, run_task, start_worker

POLL = 1.0  # seconds without a result after which the state of the workers is looked at
BACKSTOP = 5.0  # seconds after a time limit at which the pool ends a worker that did not end itself
ANSWER_WAIT = 60.0  # seconds that a cluster may take to send the result of a finished cell
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)
# Imported once by the server, so that a worker finds most imports of the main module there.
PRELOADED = ("__main__", "secateurs.experiments.sweeps.run")

Compute = Callable[[Evaluate, Iterator[Task]], Generator[Record]]
Flying = Mapping[str, tuple[Task, Any]]


def as_they_finish(
    tasks: Iterator[Task],
    submit: Callable[[Task], Any],
    most: Callable[[], int],
    inspect: Callable[[Flying], None],
) -> Generator[tuple[Task, Record | BaseException]]:
    """Keep some tasks handed out, and yield each with its record or its exception.

    Parameters
    ----------
    tasks : iterator of Task
    submit : callable
        From a task to a future.
    most : callable
        How many tasks may be handed out now; one always is.
    inspect : callable
        Called with the tasks that are handed out, when none has finished for a while.
    """
    finished: SimpleQueue[str] = SimpleQueue()
    flying: dict[str, tuple[Task, Any]] = {}
    while True:
        for task in islice(tasks, max(not flying, most() - len(flying))):
            future = submit(task)
            flying[task.key] = (task, future)
            # Only the key: a callback that asks a closed cluster for a result waits for ever,
            # and the interpreter waits for the callback when it exits.
            future.add_done_callback(lambda _, key=task.key: finished.put(key))
        if not flying:
            return
        try:
            task, future = flying.pop(finished.get(timeout=POLL))
        except Empty:
            inspect(flying)
            continue
        yield task, _outcome(future)


def on_processes(
    workers: int, run: Path, evaluate: Evaluate, tasks: Iterator[Task]
) -> Generator[Record]:
    """Compute tasks on processes of this machine.

    A process that dies, or runs into a time limit, fails the cell that it was at and no other.

    Raises
    ------
    BrokenExecutor
        Processes die before they begin a cell.
    """
    spool = spool_of(run)
    pool = ProcessPool(
        workers,
        initializer=start_worker,
        initargs=(evaluate, spool),
        context=_context(evaluate),
    )

    def submit(task: Task) -> Any:
        try:
            return pool.schedule(run_task, (task,), timeout=task.time_limit + BACKSTOP)
        except RuntimeError as error:
            raise BrokenExecutor("processes end before they begin a cell") from error

    def inspect(flying: Flying) -> None:
        if not pool.active:
            raise BrokenExecutor("processes end before they begin a cell")
        # The pool misses the death of a worker that had just been given its cell.
        for key, (_, future) in list(flying.items()):
            trace = read_trace(spool / key)
            if trace is not None and trace.cell is not None:
                future.cancel()

    try:
        for task, outcome in as_they_finish(tasks, submit, lambda: 2 * workers, inspect):
            yield outcome if isinstance(outcome, Record) else _after_death(task, outcome, spool)
    finally:
        with uninterrupted():
            pool.stop()  # type: ignore[no-untyped-call]
            pool.join()


def _outcome(future: Any) -> Record | BaseException:
    try:
        record: Record = future.result(timeout=ANSWER_WAIT)
    except BaseException as error:
        return error
    return record


def _after_death(task: Task, error: BaseException, spool: Path) -> Record:
    """Return the record of a cell whose worker is gone, with the help of the spool."""
    if isinstance(error, BrokenExecutor):
        raise error
    trace = read_trace(spool / task.key)
    if trace is not None and trace.record is not None:
        return trace.record
    text = "" if trace is None else trace.text
    if text or isinstance(error, TimeoutError):
        return task.overdue(text)
    if isinstance(error, ProcessExpired | CancelledError):
        return task.failed("WorkerDiedError: the worker was killed, ran out of memory or crashed")
    return task.failed(f"{type(error).__name__}: {error}")


def _context(evaluate: Evaluate) -> Any:
    """Return the context that starts workers: a server with the imports, which forks them."""
    function = getattr(evaluate, "func", evaluate)  # the function inside a functools.partial
    families = [a.module for a in getattr(evaluate, "args", ()) if isinstance(a, Family)]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, function.__module__, *families])
    with _inherited():
        forkserver.ensure_running()
    return context


@contextmanager
def _inherited() -> Iterator[None]:
    """Set the state that the server and its workers inherit: one thread, deaf to Ctrl-C."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    signals = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
