"""Where cells run: processes of this machine (joblib's loky), or the workers of a Dask cluster.

Both are functions from tasks to records, in the order in which they finish.  A process that dies
takes the pool of this machine with it, which raises BrokenExecutor; a cluster goes on without it,
tries its cells on other workers, and tells of a cell that killed them all.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from importlib import import_module
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any

from joblib import Parallel, delayed, parallel_config

from secateurs.experiments.sweeps.ledger import Record
from secateurs.experiments.sweeps.worker import Evaluate, Task, run_task

CONNECT_WAIT = 5.0  # seconds a scheduler may take to answer
WORKERS_WAIT = 60.0  # seconds a cluster may be without a single worker
POLL = 1.0  # seconds between two looks at the workers of a cluster

Compute = Callable[[Evaluate, Iterator[Task], bool], Generator[Record]]


class RunError(OSError):
    """Cells cannot be run at all."""


@contextmanager
def pool(workers: int, scheduler: str | None) -> Iterator[Compute]:
    """A function that computes tasks: `evaluate, tasks, one_by_one -> records`.

    Parameters
    ----------
    workers : int
        Processes of this machine.
    scheduler : str or None
        Address of a Dask scheduler; its workers are used instead.

    Raises
    ------
    RunError
        No scheduler answers, or it has no worker that can be used.
    """
    if scheduler is None:
        # one worker is a pool of two that is handed one task at a time: joblib would run it here
        with parallel_config("loky", n_jobs=max(2, workers), inner_max_num_threads=1):
            yield lambda evaluate, tasks, one_by_one: _on_processes(
                evaluate, tasks, one_by_one or workers == 1
            )
    else:
        with _connected(scheduler) as client:
            yield lambda evaluate, tasks, _: _on_cluster(client, scheduler, evaluate, tasks)


def check_scheduler(scheduler: str) -> None:
    """Refuse a scheduler that does not answer or has no worker that can be used.

    Raises
    ------
    RunError
    """
    with _connected(scheduler):
        pass


def _on_processes(evaluate: Evaluate, tasks: Iterator[Task], one_by_one: bool) -> Generator[Record]:
    records = Parallel(
        return_as="generator_unordered",
        pre_dispatch=1 if one_by_one else "2*n_jobs",
        batch_size=1,
        max_nbytes=None,
    )(delayed(run_task)(evaluate, task) for task in tasks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # joblib's, on closing before the end
        with closing(records):
            yield from records


def _on_cluster(
    client: Any, scheduler: str, evaluate: Evaluate, tasks: Iterator[Task]
) -> Generator[Record]:
    """Records of tasks; not by joblib's backend, which never tells of a task that Dask gave up.

    Dask gives up a task whose workers died, and those that waited beside it: what is given up runs
    again alone, at the end, and is to blame if it is given up again.
    """
    suspects: list[Task] = []
    for task, future in _finished(client, scheduler, evaluate, tasks):
        if _given_up(future):
            suspects.append(task)
        else:
            yield _record(future, scheduler)
    for suspect in suspects:
        for task, future in _finished(client, scheduler, evaluate, iter([suspect])):
            yield _blamed(task) if _given_up(future) else _record(future, scheduler)


def _finished(
    client: Any, scheduler: str, evaluate: Evaluate, tasks: Iterator[Task]
) -> Generator[tuple[Task, Any]]:
    """Tasks and their futures as they end; two tasks a worker are handed out."""
    ended: SimpleQueue[Any] = SimpleQueue()
    flying: dict[str, tuple[Task, Any]] = {}
    slots, seen = 2 * len(client.nthreads()), time.monotonic()
    try:
        while True:
            for task in islice(tasks, max(0, slots - len(flying))):
                future = client.submit(run_task, evaluate, task, pure=False)
                flying[future.key] = (task, future)
                future.add_done_callback(ended.put)
            if not flying:
                return
            try:
                future = ended.get(timeout=POLL)
            except Empty:
                workers = len(client.nthreads()) if client.status == "running" else 0
                if workers:
                    slots, seen = 2 * workers, time.monotonic()
                elif time.monotonic() - seen > WORKERS_WAIT:
                    raise RunError(_without_workers(scheduler, "it lost its last worker")) from None
                continue
            seen = time.monotonic()
            yield flying.pop(future.key)
    finally:
        for _, future in flying.values():
            future.release()


def _given_up(future: Any) -> bool:
    return future.status == "error" and type(future.exception()).__name__ == "KilledWorker"


def _blamed(task: Task) -> Record:
    message = (
        "WorkerDiedError: the workers that ran it died: killed, out of memory, a crash, or code "
        f"that did not return to Python at the limit of {task.time_limit:g} s; their logs say which"
    )
    return Record(task.key, "failed", {}, task.attempt, message)


def _record(future: Any, scheduler: str) -> Record:
    """What a worker sent back; anything that goes wrong in a cell is a record too."""
    if future.status == "error":
        error = future.exception()
        raise RunError(
            f"{scheduler}: a worker cannot run cells ({type(error).__name__}: {error}); "
            "workers need the versions of secateurs and its dependencies that are installed here"
        )
    try:
        if future.status == "finished":
            record: Record = future.result()
            return record
    except (import_module("distributed").CancelledError, OSError):
        pass
    raise RunError(
        f"{scheduler}: the scheduler was stopped or restarted, or does not answer any more; the "
        "finished cells are kept: go on with --resume when it is there again"
    )


@contextmanager
def _connected(scheduler: str) -> Iterator[Any]:
    """A client of a scheduler that has workers of one thread each."""
    try:
        distributed = import_module("distributed")
    except ImportError:
        raise RunError(
            "a scheduler needs dask: install it by  pip install 'secateurs[cluster]'"
        ) from None
    try:
        client = distributed.Client(scheduler, timeout=CONNECT_WAIT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{scheduler}: no Dask scheduler answers ({error}); expected the address that "
            "`dask scheduler` prints, such as tcp://HOST:8786"
        ) from None
    with closing(client):
        try:
            client.wait_for_workers(1, timeout=WORKERS_WAIT)
        except TimeoutError:
            raise RunError(_without_workers(scheduler, "it has no worker")) from None
        crowded = {address: n for address, n in client.nthreads().items() if n > 1}
        for address, n in crowded.items():
            raise RunError(
                f"{scheduler}: its worker {address} has {n} threads; a time limit and a count of "
                "threads hold for a process: start workers with --nthreads 1"
            )
        yield client


def _without_workers(scheduler: str, what: str) -> str:
    return (
        f"{scheduler}: {what}, and none came in {WORKERS_WAIT:g} s; start some by  "
        f"dask worker {scheduler} --nthreads 1"
    )
