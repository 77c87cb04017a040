"""Run cells on the workers of a Dask cluster.

Dask tries a cell whose worker died on other workers and gives it up when they die too, together
with the cells that waited beside it.  Those run again alone, at the end; the one that is given up
again has killed its workers.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import logging
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import cache
from importlib import import_module
from typing import Any

from secateurs.core.extras import package
from secateurs.experiments.sweeps.local_pool import Flying, as_they_finish
from secateurs.experiments.sweeps.record import Record
from secateurs.experiments.sweeps.worker import Evaluate, RunError, Task, compute, use_one_thread

CONNECT_WAIT = 5.0  # seconds a scheduler may take to answer
WORKERS_WAIT = 60.0  # seconds a cluster may be without a single worker
GRACE = 2.0  # seconds from the exception at a time limit to the end of the process


class TimeLimitError(BaseException):
    """A cell took too long; no Exception, so that a method that catches those does not hide it."""


def on_cluster(
    client: Any, scheduler: str, evaluate: Evaluate, tasks: Iterator[Task]
) -> Generator[Record]:
    """Compute tasks on the workers of a cluster.

    Raises
    ------
    RunError
        The scheduler goes away, has no worker for a minute, or a worker cannot run cells.
    """
    slots, seen = 2 * _n_workers(client), time.monotonic()

    def outcomes(tasks: Iterator[Task]) -> Generator[tuple[Task, Record | BaseException]]:
        nonlocal seen
        submit = lambda task: client.submit(run_on_dask, evaluate, task, pure=False)  # noqa: E731
        for outcome in as_they_finish(tasks, submit, lambda: slots, inspect):
            seen = time.monotonic()
            yield outcome

    def inspect(_: Flying) -> None:
        nonlocal slots, seen
        slots = 2 * _n_workers(client)
        if slots:
            seen = time.monotonic()
        elif time.monotonic() - seen > WORKERS_WAIT:
            raise RunError(_without_workers(scheduler, "it lost its last worker"))

    suspects: list[Task] = []
    for task, outcome in outcomes(tasks):
        if _given_up(outcome):
            suspects.append(task)
        else:
            yield _record(outcome, scheduler)
    for suspect in suspects:
        for task, outcome in outcomes(iter([suspect])):
            yield (
                task.failed(_KILLER.format(task.time_limit))
                if _given_up(outcome)
                else _record(outcome, scheduler)
            )


def run_on_dask(evaluate: Evaluate, task: Task) -> Record:
    """Compute a cell in the thread of a Dask worker."""
    _prepare()
    try:
        with _limited(task.time_limit):
            return compute(evaluate, task)
    except TimeLimitError:
        return task.overdue()


@contextmanager
def connected(scheduler: str, tell: Callable[[str], None] | None = None) -> Iterator[Any]:
    """Open a client of a scheduler that has workers of one thread each.

    Raises
    ------
    RunError
    """
    # RunError says the same as Dask's log of a lost connection, more briefly
    with _silenced("distributed.client"), closing(_client(scheduler)) as client:
        if tell is not None and not client.nthreads():
            tell(f"{scheduler} has no worker yet; waiting {WORKERS_WAIT:g} s for the first")
        try:
            client.wait_for_workers(1, timeout=WORKERS_WAIT)
        except TimeoutError:
            raise RunError(_without_workers(scheduler, "it has no worker")) from None
        for address, n in client.nthreads().items():
            if n > 1:
                raise RunError(
                    f"{scheduler}: its worker {address} has {n} threads; time limits and thread "
                    "counts hold for a process: start workers with --nthreads 1"
                )
        yield client


_prepare = cache(use_one_thread)


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise `TimeLimitError` in this thread at the limit; end the process if that does not help.

    A thread gets no signals, so another thread raises the exception in it.  The exception ends
    all code that returns to Python; a watchdog of the C library ends the rest.
    """
    if sys.__stderr__ is not None:
        with contextlib.suppress(OSError, ValueError):  # a stream without a file
            faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=sys.__stderr__)
    thread = ctypes.c_ulong(threading.get_ident())
    raise_here = ctypes.pythonapi.PyThreadState_SetAsyncExc
    timer = threading.Timer(seconds, raise_here, [thread, ctypes.py_object(TimeLimitError)])
    timer.start()
    try:
        try:
            yield
        finally:
            timer.cancel()
            timer.join()  # an exception that it raised late comes up here, not in Dask
    finally:
        faulthandler.cancel_dump_traceback_later()


def _n_workers(client: Any) -> int:
    try:
        return len(client.nthreads()) if client.status == "running" else 0
    except OSError:
        return 0


_KILLER = (
    "WorkerDiedError: the workers that ran it died: killed, out of memory, a crash, or code that "
    "did not return to Python at the limit of {:g} s; their logs say which"
)


def _given_up(outcome: Record | BaseException) -> bool:
    return type(outcome).__name__ == "KilledWorker"


def _record(outcome: Record | BaseException, scheduler: str) -> Record:
    if isinstance(outcome, Record):
        return outcome
    if isinstance(outcome, (import_module("distributed").CancelledError, OSError)):
        raise RunError(
            f"{scheduler}: the scheduler was stopped, restarted or cannot be reached; finished "
            "cells are kept: continue with --resume when it is there again"
        ) from outcome
    raise RunError(
        f"{scheduler}: a worker cannot run cells ({type(outcome).__name__}: {outcome}); workers "
        "need the versions of secateurs and its dependencies that are installed here"
    ) from outcome


def _client(scheduler: str) -> Any:
    distributed = package("distributed", "cluster", scheduler)
    # A client whose constructor failed is closed when the garbage collector finds it, which
    # deadlocks when that is in the middle of the next connection; so it is closed here.
    client = distributed.Client.__new__(distributed.Client)
    try:
        client.__init__(scheduler, timeout=CONNECT_WAIT, set_as_default=False)
        return client
    except (OSError, ValueError) as error:
        client.close()
        raise RunError(
            f"{scheduler}: no Dask scheduler answers ({error}); expected the address that "
            "`dask scheduler` prints, such as tcp://HOST:8786"
        ) from None


@contextmanager
def _silenced(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _without_workers(scheduler: str, what: str) -> str:
    return (
        f"{scheduler}: {what}, and none came in {WORKERS_WAIT:g} s; start some by "
        f"`dask worker {scheduler} --nthreads 1`"
    )
