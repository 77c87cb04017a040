"""What runs in a worker: one cell, its time limit, and its trace in the spool.

The spool is a folder with one small file for each cell that was started and is not yet in the
ledger: a line with its settings when it starts, one with its record when it ends.  The ledger has
one writer, the parent, which writes by batches; whatever kills the parent or a worker in between,
finished cells are found in the spool, and so is the cell that a dead worker was at.

Time limits have two steps.  At the limit an exception is raised in the cell, which ends anything
that returns to Python.  `GRACE` seconds later a watchdog thread of the C library writes where the
cell is to its spool file and ends the process, which needs no lock of the interpreter: so ends
native code that never returns.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import fcntl
import gc
import json
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from secateurs.experiments.sweeps.ledger import Record
from secateurs.experiments.sweeps.registry import Result

GRACE = 2.0  # seconds between the two steps of a time limit
PARENT_POLL = 0.2  # seconds after which a worker notices that its parent is gone
LOG = "workers.log"  # in the run folder
LOCK_WAIT = 30.0  # seconds in which the workers of a killed parent must have ended
TRACEBACK_TAIL = 1500  # characters of a traceback that are kept

Evaluate = Callable[[Mapping[str, Any]], Result]


class TimeLimitError(BaseException):
    """A cell took too long; no Exception, so that a method that catches those does not hide it."""


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
    spool : Path or None
        None on another machine.
    parent : int or None
        Process without which there is nothing to do; None on another machine.
    """

    key: str
    cell: Mapping[str, Any]
    attempt: int
    time_limit: float
    spool: Path | None = None
    parent: int | None = None


def run_task(evaluate: Evaluate, task: Task) -> Record:
    """Compute a cell; whatever goes wrong in it is its record."""
    _prepare(task.parent, task.spool)
    if task.parent is not None and os.getppid() != task.parent:
        os._exit(1)  # the parent is dead, and so may be the run
    with _spooled(task) as file:
        try:
            with _limited(task.time_limit, file), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # nobody reads those of thousands of cells
                found = evaluate(task.cell)
            checks = None if found.certificate is None else found.certificate.to_list()
            record = Record(task.key, "done", dict(found.metrics), task.attempt, None, checks)
        except TimeLimitError:
            message = f"TimeLimitError: not done after {task.time_limit:g} s of wall time"
            record = Record(task.key, "failed", {}, task.attempt, message)
        except Exception as error:
            record = Record(task.key, "failed", {}, task.attempt, _told(error))
        if file is not None:
            _write(file, asdict(record))
    return record


def read_spool(folder: Path) -> tuple[list[tuple[dict[str, Any], Record]], dict[str, str]]:
    """Records of finished cells, and the cells that were running, with what was said of them.

    Waits for workers that are still ending: each holds a lock on its file.

    Returns
    -------
    finished : list of settings and Record
    running : dict
        Key -> text of the watchdog, empty where there is none.
    """
    finished: list[tuple[dict[str, Any], Record]] = []
    running: dict[str, str] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        with path.open("rb") as stream:
            _wait_for(stream.fileno(), path)
            cell, *lines = stream.read().decode(errors="replace").split("\n")
        try:
            finished.append((json.loads(cell), Record(**json.loads(lines[0]))))
        except (IndexError, ValueError, TypeError):  # not whole lines, or the watchdog's
            running[path.name] = "\n".join(lines).strip()
    return finished, running


def clear_spool(folder: Path, keys: list[str]) -> None:
    """Forget cells that are in the ledger."""
    for key in keys:
        (folder / key).unlink(missing_ok=True)


@contextmanager
def _spooled(task: Task) -> Iterator[int | None]:
    """The open spool file of a cell; None without a spool, or where it cannot be written."""
    if task.spool is None:
        yield None
        return
    try:
        file = os.open(task.spool / task.key, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
    except OSError:  # a full disk must not fail the cell: the parent will say so
        yield None
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        _write(file, task.cell)
        yield file
    finally:
        os.close(file)


def _write(file: int, content: Mapping[str, Any]) -> None:
    try:
        os.write(file, (json.dumps(content) + "\n").encode())
    except OSError:
        return  # as above


def _wait_for(file: int, path: Path) -> None:
    """Take the lock of a spool file, which its worker holds while it lives."""
    until = time.monotonic() + LOCK_WAIT
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise OSError(
                    f"{path}: a worker of an earlier run still works on this cell; end it first"
                ) from None
            time.sleep(PARENT_POLL / 4)


@contextmanager
def _limited(seconds: float, file: int | None) -> Iterator[None]:
    """Raise `TimeLimitError` inside at the limit; end the process if that does not help."""
    here = threading.get_ident()
    output = sys.__stderr__.fileno() if file is None and sys.__stderr__ is not None else file
    if output is not None:
        faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=output)
    main = threading.current_thread() is threading.main_thread()
    if main:
        previous = signal.signal(signal.SIGALRM, _raise)
        signal.setitimer(signal.ITIMER_REAL, seconds)
    else:  # a Dask worker runs its tasks in a thread, which gets no signals
        timer = threading.Timer(seconds, _raise_in, [here])
        timer.start()
    try:  # the alarm may still ring while it is put away
        try:
            yield
        finally:
            if main:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, previous)
            else:
                timer.cancel()
                timer.join()  # what it raised late is raised here, not in Dask
    finally:
        faulthandler.cancel_dump_traceback_later()


def _raise(*_: object) -> None:
    raise TimeLimitError


def _raise_in(thread: int) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), ctypes.py_object(TimeLimitError)
    )


@cache
def _prepare(parent: int | None, spool: Path | None) -> None:
    """Once in a process: one thread, output to a log, no Ctrl-C of the parent's, an end with it."""
    threadpool_limits(1)
    gc.freeze()  # loky collects garbage once a second: not among a million objects of libraries
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if parent is None or spool is None:
        return
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the workers in order
    with contextlib.suppress(OSError), (spool.parent / LOG).open("ab") as log:
        for output in (1, 2):  # what libraries print must not write into the parent's output
            os.dup2(log.fileno(), output)

    def follow() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _told(error: Exception) -> str:
    """Type and message, then the end of the traceback."""
    trace = "".join(traceback.format_tb(error.__traceback__))[-TRACEBACK_TAIL:]
    return f"{type(error).__name__}: {error}\n{trace}".rstrip()
