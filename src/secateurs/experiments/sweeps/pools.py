"""Where cells run: processes of this machine (joblib's loky), or the workers of a Dask cluster.

Both are functions from tasks to records, in the order in which they finish.  A process that dies
takes the pool of this machine with it, which raises BrokenExecutor; a cluster goes on without it,
tries its cells on other workers, and tells of a cell that killed them all.
"""

from __future__ import annotations

import logging
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


def check_scheduler(scheduler: str, tell: Callable[[str], None]) -> None:
    """Refuse a scheduler that does not answer or has no worker that can be used.

    Parameters
    ----------
    scheduler : str
    tell : callable
        Called with a line when there is no worker yet, and one is waited for.

    Raises
    ------
    RunError
    """
    with _connected(scheduler, tell):
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
    for task, outcome in _outcomes(client, scheduler, evaluate, tasks):
        if _given_up(outcome):
            suspects.append(task)
        else:
            yield _record(outcome, scheduler)
    for suspect in suspects:
        for task, outcome in _outcomes(client, scheduler, evaluate, iter([suspect])):
            yield _blamed(task) if _given_up(outcome) else _record(outcome, scheduler)


def _outcomes(
    client: Any, scheduler: str, evaluate: Evaluate, tasks: Iterator[Task]
) -> Generator[tuple[Task, Record | BaseException]]:
    """Tasks and what came of them as they end; two tasks a worker are handed out."""
    ended: SimpleQueue[tuple[str, Record | BaseException]] = SimpleQueue()
    flying: dict[str, tuple[Task, Any]] = {}

    def fetch(future: Any) -> None:  # in a thread of the client's
        try:
            ended.put((future.key, future.result()))
        except BaseException as error:  # CancelledError is no Exception
            ended.put((future.key, error))

    slots, seen = 2 * _n_workers(client), time.monotonic()
    try:
        while True:
            # one at least: what is handed out to a cluster without workers waits for them there
            for task in islice(tasks, max(not flying, slots - len(flying))):
                future = client.submit(run_task, evaluate, task, pure=False)
                flying[future.key] = (task, future)
                future.add_done_callback(fetch)
            if not flying:
                return
            try:
                key, outcome = ended.get(timeout=POLL)
            except Empty:
                slots = 2 * _n_workers(client)
                if slots:
                    seen = time.monotonic()
                elif time.monotonic() - seen > WORKERS_WAIT:
                    raise RunError(_without_workers(scheduler, "it lost its last worker")) from None
                continue
            seen = time.monotonic()
            yield flying.pop(key)[0], outcome
    finally:
        for _, future in flying.values():
            future.release()


def _n_workers(client: Any) -> int:
    try:
        return len(client.nthreads()) if client.status == "running" else 0
    except OSError:
        return 0


def _given_up(outcome: Record | BaseException) -> bool:
    return type(outcome).__name__ == "KilledWorker"


def _blamed(task: Task) -> Record:
    message = (
        "WorkerDiedError: the workers that ran it died: killed, out of memory, a crash, or code "
        f"that did not return to Python at the limit of {task.time_limit:g} s; their logs say which"
    )
    return Record(task.key, "failed", {}, task.attempt, message)


def _record(outcome: Record | BaseException, scheduler: str) -> Record:
    """What a worker sent back; whatever goes wrong in a cell is a record too."""
    if isinstance(outcome, Record):
        return outcome
    if isinstance(outcome, (import_module("distributed").CancelledError, OSError)):
        raise RunError(
            f"{scheduler}: the scheduler was stopped, restarted or cannot be reached; what is "
            "finished is kept: go on with --resume when it is there again"
        ) from outcome
    raise RunError(
        f"{scheduler}: a worker cannot run cells ({type(outcome).__name__}: {outcome}); workers "
        "need the versions of secateurs and its dependencies that are installed here"
    ) from outcome


@contextmanager
def _connected(scheduler: str, tell: Callable[[str], None] | None = None) -> Iterator[Any]:
    """A client of a scheduler that has workers of one thread each."""
    # what Dask would say of a lost connection is said by RunError
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


def _client(scheduler: str) -> Any:
    try:
        distributed = import_module("distributed")
    except ImportError:
        raise RunError(
            "a scheduler needs dask: install it by `pip install 'secateurs[cluster]'`"
        ) from None
    try:
        return distributed.Client(scheduler, timeout=CONNECT_WAIT, set_as_default=False)
    except (OSError, ValueError) as error:
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
