"""Run cells in jobs of Slurm, which `submitit` submits.

    slurm                                          # every default
    slurm://PARTITION?time=120&cpus=4&cells=500

A job takes a batch of cells and runs them as this machine would: on processes, with time limits,
and with a spool.  The run folder must be on a file system that the nodes share.  When a job ends
early, its finished cells are taken from the spool, the cells that were running have failed, and the
others go into another job.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator, Iterator
from concurrent.futures import BrokenExecutor
from importlib import import_module
from itertools import islice
from pathlib import Path
from pickle import UnpicklingError
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from secateurs.core.extras import package
from secateurs.data.suggest import nearest
from secateurs.experiments.sweeps.local_pool import on_processes
from secateurs.experiments.sweeps.record import Record
from secateurs.experiments.sweeps.spool import read_trace, spool_of
from secateurs.experiments.sweeps.worker import Evaluate, RunError, Task

JOB_POLL = 1.0  # seconds between two looks at the jobs
LOGS = "slurm"  # in the run folder: scripts, logs and results of the jobs

Count = Annotated[int, Field(ge=1)]


class SlurmJobs(BaseModel):
    """Options of the jobs.

    Attributes
    ----------
    partition : str
        The cluster's default when empty.
    time : int
        Minutes that a job may take.
    cpus : int
        Processes of a job; each runs one cell at a time.
    memory : float or None
        Gigabytes of a job; the cluster's default when None.
    jobs : int
        The most jobs at a time.
    cells : int
        Cells of a job.
    account, qos, constraint : str or None
        As for ``sbatch``.
    cluster : {"slurm", "local"}
        "local" runs the jobs on this machine, to try a sweep before it is sent to Slurm.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    partition: str = ""
    time: Count = 60
    cpus: Count = 1
    memory: Annotated[float, Field(gt=0)] | None = None
    jobs: Count = 10
    cells: Count = 100
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    cluster: Literal["slurm", "local"] = "slurm"

    def check(self) -> None:
        """Refuse to go on where jobs cannot be submitted.

        Raises
        ------
        MissingExtraError
            `submitit` is not installed.
        RunError
            Slurm is missing.
        """
        package("submitit", "cluster", "slurm")
        if self.cluster == "slurm" and shutil.which("srun") is None:
            raise RunError("slurm: there is no srun here; run the command on a node of the cluster")

    def executor(self, folder: Path) -> Any:
        """Return the executor of `submitit` that submits these jobs."""
        self.check()
        executor = import_module("submitit").AutoExecutor(folder / LOGS, cluster=self.cluster)
        executor.update_parameters(
            name="secateurs",
            timeout_min=self.time,
            cpus_per_task=self.cpus,
            mem_gb=self.memory,
            slurm_partition=self.partition or None,
            slurm_account=self.account,
            slurm_qos=self.qos,
            slurm_constraint=self.constraint,
        )
        return executor


def is_slurm(scheduler: str) -> bool:
    """Whether a scheduler is Slurm; otherwise it is the address of a Dask scheduler."""
    return scheduler == "slurm" or scheduler.startswith("slurm:")


def parse_jobs(scheduler: str) -> SlurmJobs:
    """Read the options in ``slurm://PARTITION?NAME=VALUE&...``.

    Raises
    ------
    RunError
        An option is unknown or has a value that cannot be used.
    """
    parts = urlsplit(scheduler if scheduler != "slurm" else "slurm:")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = [name for name in SlurmJobs.model_fields if name != "partition"]
    for name in options:
        if name not in known:
            raise RunError(
                f"{scheduler}: got the option {name!r}; expected one of {', '.join(known)}"
                + nearest(name, known)
            )
    try:
        return SlurmJobs(partition=parts.netloc, **options)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        raise RunError(
            f"{scheduler}: {first['loc'][0]}: got {first['input']!r}: {first['msg']}"
        ) from None


def on_slurm(
    jobs: SlurmJobs, folder: Path, evaluate: Evaluate, tasks: Iterator[Task]
) -> Generator[Record]:
    """Compute tasks in jobs.

    Raises
    ------
    RunError
        Jobs cannot be submitted.
    BrokenExecutor
        A job ended before it ran its cells.
    """
    executor = jobs.executor(folder)
    errors = import_module("submitit.core.utils")
    # the job failed, was killed or ran out of time, or its result was not written to the end
    early = (errors.FailedJobError, errors.UncompletedJobError, UnpicklingError, EOFError, OSError)
    flying: dict[Any, list[Task]] = {}
    lost = ""
    try:
        while True:
            while len(flying) < jobs.jobs and (batch := list(islice(tasks, jobs.cells))):
                job = submit_batch(executor, evaluate, batch, jobs.cpus, folder)
                flying[job] = batch
            if not flying:
                break
            ended = [job for job in flying if job.done()]
            for job in ended:
                try:
                    found = job.result()
                except early:
                    found = _salvaged(flying[job], folder)
                    lost = f"a job of Slurm ended early; see {job.paths.stderr}"
                yield from found
                del flying[job]
            if not ended:
                time.sleep(JOB_POLL)
    finally:
        for job in flying:
            job.cancel(check=False)
    if lost:
        raise BrokenExecutor(lost)


def submit_batch(
    executor: Any, evaluate: Evaluate, batch: list[Task], cpus: int, folder: Path
) -> Any:
    """Submit a batch of cells as one job.

    Raises
    ------
    RunError
        Slurm refuses the job.
    """
    try:
        return executor.submit(run_batch, evaluate, batch, cpus, folder)
    except import_module("submitit.core.utils").FailedSubmissionError as error:
        raise RunError(f"slurm: sbatch refused a job: {error}") from error


def run_batch(evaluate: Evaluate, tasks: list[Task], cpus: int, folder: Path) -> list[Record]:
    """Run a batch of cells inside a job."""
    return list(on_processes(cpus, folder, evaluate, iter(tasks)))


def _salvaged(batch: list[Task], folder: Path) -> Iterator[Record]:
    """Records of the cells that a job had begun when it ended early."""
    for task in batch:
        trace = read_trace(spool_of(folder) / task.key)
        if trace is not None:
            yield trace.record or task.failed(
                "WorkerDiedError: its job of Slurm was killed, crashed or ran out of time"
            )
