"""Where cells run: processes of this machine, workers of a Dask cluster, or jobs of Slurm.

Each is a function from tasks to records, in the order in which they finish.  Results do not depend
on the choice.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from secateurs.experiments.sweeps.dask_pool import connected, on_cluster
from secateurs.experiments.sweeps.local_pool import on_processes
from secateurs.experiments.sweeps.record import Record
from secateurs.experiments.sweeps.slurm_pool import is_slurm, on_slurm, parse_jobs
from secateurs.experiments.sweeps.worker import Evaluate, Task

Compute = Callable[[Evaluate, Iterator[Task]], Generator[Record]]


def uses_spool(scheduler: str | None) -> bool:
    """Whether workers share the run folder with this process; those of Dask may not."""
    return scheduler is None or is_slurm(scheduler)


@contextmanager
def pool(workers: int, scheduler: str | None, folder: Path) -> Iterator[Compute]:
    """Open a function that computes tasks: `evaluate, tasks -> records`.

    Parameters
    ----------
    workers : int
        Processes of this machine.
    scheduler : str or None
        The workers of a cluster are used instead: the address of a Dask scheduler, or
        ``slurm://PARTITION?...`` (see `slurm_pool`).
    folder : Path
        The run folder.

    Raises
    ------
    RunError
        The scheduler does not answer, or has no worker that can be used.
    """
    if scheduler is None:
        yield partial(on_processes, workers, folder)
    elif is_slurm(scheduler):
        yield partial(on_slurm, parse_jobs(scheduler), folder)
    else:
        with connected(scheduler) as client:
            yield partial(on_cluster, client, scheduler)


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
    if is_slurm(scheduler):
        parse_jobs(scheduler).check()
        return
    with connected(scheduler, tell):
        pass
