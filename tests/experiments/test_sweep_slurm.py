"""A sweep in jobs gives the same results as one on this machine, even when jobs are killed.

The jobs are those of submitit's local executor: the scripts, the files and the processes of a job
are those of Slurm; only sbatch and sacct are missing.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from secateurs.experiments.sweeps import slurm_pool
from secateurs.experiments.sweeps.config import parse_sweep
from secateurs.experiments.sweeps.ledger import Ledger
from secateurs.experiments.sweeps.run import run_cells
from secateurs.experiments.sweeps.slurm_pool import SlurmJobs, parse_jobs
from secateurs.experiments.sweeps.sweep import run_sweep
from secateurs.experiments.sweeps.worker import RunError
from tests.cli.test_commands import run
from tests.experiments.sweep_cells import grid, logged, unlucky
from tests.experiments.test_sweep_dask import SWEEP, records, undisturbed

submitit = pytest.importorskip("submitit")
local = pytest.importorskip("submitit.local.local")

HERE = "slurm://?cluster=local"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(slurm_pool, "JOB_POLL", 0.05)
    monkeypatch.setattr(submitit.LocalJob, "_results_timeout_s", 1)
    started, start = [], local.start_controller

    def noted(**settings):
        started.append(start(**settings))
        return started[-1]

    monkeypatch.setattr(local, "start_controller", noted)
    yield
    for process in started:
        process.wait(30)


def test_the_same_as_on_this_machine(tmp_path):
    sweep = parse_sweep(SWEEP)
    found = []
    for scheduler in (None, f"{HERE}&cells=5&cpus=2&jobs=2"):
        folder = tmp_path / str(scheduler is None)
        folder.mkdir()
        with Ledger(folder / "ledger.sqlite") as ledger:
            assert run_sweep(sweep, ledger, workers=2, scheduler=scheduler).done == sweep.n_cells
            found.append(records(ledger))
    assert found[0] == found[1]
    assert list((folder / "spool").iterdir()) == []
    assert len(list(folder.glob("slurm/*_result.pkl"))) == -(-sweep.n_cells // 5)


def test_failing_killed_and_late_cells_are_recorded_and_the_sweep_goes_on(tmp_path):
    kinds = ["raises", "works", "sleeps", "works", "dies", "fails once", "works"]
    cells = [{"i": i, "kind": kind, "mark": str(tmp_path / "mark")} for i, kind in enumerate(kinds)]
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        counts = run_cells(cells, unlucky, ledger, scheduler=HERE, time_limit=0.5)
        found = {settings["i"]: record for settings, record in ledger.records()}
    assert (counts.done, counts.failed) == (4, 3)
    assert found[0].error.startswith("ValueError: on purpose\n")
    assert found[2].error.startswith("TimeLimitError: not done after 0.5 s of wall time\n")
    assert found[4].error.startswith("WorkerDiedError: ")
    assert [found[i].attempts for i in range(7)] == [2, 1, 2, 1, 2, 2, 1]


def job_processes(folder):
    """Processes of the jobs of a run: those that have its folder among their arguments."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if "submitit.core._submit" in words and str(folder / "slurm") in words:
            found.append(int(process.name))
    return found


def test_a_killed_job_loses_nothing(tmp_path):
    """What it finished is not computed again, though the job never reported it."""
    cells = grid(tmp_path, 40, sleep=0.05)
    log = tmp_path / "log"
    ended = []

    def submitted(executor, evaluate, batch, cpus, folder):
        job = executor.submit(slurm_pool.run_batch, evaluate, batch, cpus, folder)
        if not ended:
            while not log.exists() or len(log.read_text().split()) < 10:
                time.sleep(0.02)
            for pid in job_processes(tmp_path):
                os.kill(pid, signal.SIGKILL)
            ended.append(job)
            job.wait()
            ended.append(len(log.read_text().split()))
        return job

    with pytest.MonkeyPatch.context() as patch, Ledger(tmp_path / "ledger.sqlite") as ledger:
        patch.setattr(slurm_pool, "submit_batch", submitted)
        counts = run_cells(cells, logged, ledger, scheduler=f"{HERE}&cells=40")
        assert (counts.done, counts.failed) == (40, 0)
        same = records(ledger)
    assert len(log.read_text().split()) <= 40 + 1  # the one that was running
    known = undisturbed(tmp_path, cells, logged)
    again = {key for key in known if same[key][2] != known[key][2]}
    assert len(again) <= 1  # its attempt counts
    assert all(same[key] == known[key] for key in known if key not in again)


@pytest.mark.slow
def test_jobs_that_never_begin_a_cell_end_the_sweep(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm_pool, "run_batch", os._exit)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        with pytest.raises(RunError, match=r"no worker runs anything: a job .* ended early; see"):
            run_cells(grid(tmp_path, 3), logged, ledger, scheduler=HERE)
        assert list(ledger.records()) == []


@pytest.mark.slow
def test_ctrl_c_cancels_the_jobs_and_keeps_what_is_finished(tmp_path):
    pressed = []

    def press(counts):
        if not pressed:
            pressed.append(counts)
            raise KeyboardInterrupt

    cells = grid(tmp_path, 60, sleep=0.05)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        first = run_cells(cells, logged, ledger, scheduler=f"{HERE}&cells=5&jobs=2", progress=press)
        assert first.interrupted
        assert 1 <= first.done < 60
        until = time.monotonic() + 20
        while job_processes(tmp_path) and time.monotonic() < until:
            time.sleep(0.05)
        assert job_processes(tmp_path) == []
        rest = run_cells(cells, logged, ledger, workers=2)
        assert rest.done == 60
        assert rest.earlier >= first.done
        assert records(ledger) == undisturbed(tmp_path, cells, logged)


def test_options_are_read_from_the_address():
    assert parse_jobs("slurm") == SlurmJobs()
    asked = parse_jobs("slurm://GPU-long?time=120&cpus=4&memory=8.5&account=me")
    assert asked == SlurmJobs(partition="GPU-long", time=120, cpus=4, memory=8.5, account="me")


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("slurm://?tme=5", "got the option 'tme'; expected one of time, .*did you mean 'time'"),
        ("slurm://?time=0", "time: got '0': Input should be greater than or equal to 1"),
        ("slurm://?cpus=", "cpus: got '': "),
        ("slurm://?cluster=cloud", "cluster: got 'cloud'"),
    ],
)
def test_bad_options_are_refused(address, told):
    with pytest.raises(RunError, match=told):
        parse_jobs(address)


def test_without_slurm_or_submitit_nothing_starts(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text(SWEEP)
    monkeypatch.setattr(slurm_pool.shutil, "which", lambda _: None)
    status, out, err = run(capsys, "sweep", "s.toml", "--scheduler", "slurm")
    assert (status, out) == (2, "")
    assert "there is no srun here" in err

    monkeypatch.setitem(sys.modules, "submitit", None)
    status, out, err = run(capsys, "sweep", "s.toml", "--scheduler", "slurm://long?time=5")
    assert (status, out) == (2, "")
    assert "pip install 'secateurs[cluster]'" in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["s.toml"]


def test_the_command_line_passes_the_scheduler_on(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text(SWEEP)
    status, out, _ = run(capsys, "sweep", "s.toml", "--scheduler", f"{HERE}&cpus=2", "--json")
    assert status == 0
    assert json.loads(out)["done"] == 12
