"""A sweep on a Dask cluster gives the results of one on this machine, even when processes die."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from secateurs.experiments.sweeps import dask_pool, pools
from secateurs.experiments.sweeps.config import parse_sweep
from secateurs.experiments.sweeps.ledger import Ledger
from secateurs.experiments.sweeps.local_pool import as_they_finish
from secateurs.experiments.sweeps.record import Record
from secateurs.experiments.sweeps.registry import CPU_SECONDS
from secateurs.experiments.sweeps.run import run_cells
from secateurs.experiments.sweeps.sweep import run_sweep
from secateurs.experiments.sweeps.worker import RunError, Task
from tests.cli.test_commands import run
from tests.experiments.sweep_cells import grid, logged, unlucky

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")

N = 60
SWEEP = """\
problem = "planted_relu"
seeds = 2
metrics = ["exact"]
[settings]
d = 10
m = 2
[grid]
n = [10, 40, 160]
s = [4]
[methods.pursuit]
[methods.iht]
"""
BARE = {"threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}


@pytest.fixture(scope="module")
def cluster():
    # otherwise a worker that is down for 15 s is closed for good
    patient = dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"})
    with patient, distributed.LocalCluster(n_workers=2, **BARE) as two:
        yield two


def records(ledger):
    """Return all but times and order; the ledger refuses a key that occurs twice."""
    return {
        record.key: (
            settings,
            record.status,
            record.attempts,
            record.error,
            {name: value for name, value in record.metrics.items() if name != CPU_SECONDS},
        )
        for settings, record in ledger.records()
    }


def undisturbed(folder, cells, evaluate):
    with Ledger(folder / "embedded.sqlite") as ledger:
        run_cells(cells, evaluate, ledger, workers=2)
        return records(ledger)


def pids(address):
    with distributed.Client(address, set_as_default=False) as client:
        return list(client.run(os.getpid).values())


def test_the_same_as_on_this_machine(cluster, tmp_path):
    sweep = parse_sweep(SWEEP)
    found = []
    for scheduler in (None, cluster.scheduler_address):
        with Ledger(tmp_path / f"{scheduler is None}.sqlite") as ledger:
            assert run_sweep(sweep, ledger, workers=2, scheduler=scheduler).done == sweep.n_cells
            found.append(records(ledger))
    assert found[0] == found[1]


@pytest.mark.parametrize("n_killed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_workers_lose_nothing(cluster, tmp_path, n_killed):
    """Another worker takes over, or the nanny starts new ones."""
    cluster.wait_for_workers(2, timeout=30)
    victims = pids(cluster.scheduler_address)[:n_killed]

    def kill(counts):
        if counts.done == N // 3:
            while victims:
                os.kill(victims.pop(), signal.SIGKILL)

    cells = grid(tmp_path, N)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        counts = run_cells(
            cells, logged, ledger, scheduler=cluster.scheduler_address, progress=kill
        )
        assert not victims
        assert (counts.done, counts.failed) == (N, 0)
        assert records(ledger) == undisturbed(tmp_path, cells, logged)


def test_failures_are_recorded_and_the_sweep_goes_on(cluster, tmp_path):
    kinds = ["raises", "works", "spins", "works", "fails once", "works"]
    cells = [{"i": i, "kind": kind, "mark": str(tmp_path / "mark")} for i, kind in enumerate(kinds)]
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        counts = run_cells(
            *(cells, unlucky, ledger), scheduler=cluster.scheduler_address, time_limit=0.5
        )
        found = {settings["i"]: record for settings, record in ledger.records()}
    assert (counts.done, counts.failed) == (4, 2)
    assert found[0].error.startswith("ValueError: on purpose\n")
    assert found[2].error == "TimeLimitError: not done after 0.5 s of wall time"
    assert [found[i].attempts for i in range(6)] == [2, 1, 2, 1, 2, 1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dies", "hangs"])
def test_a_cell_that_kills_every_worker_fails_alone(cluster, tmp_path, kind):
    """Dask also gives up the cells that waited on the same workers; they are recorded as done."""
    kinds = ["works", kind, "works", "works"]
    cells = [{"i": i, "kind": kind, "mark": ""} for i, kind in enumerate(kinds)]
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        counts = run_cells(
            *(cells, unlucky, ledger),
            scheduler=cluster.scheduler_address,
            time_limit=1,
            retries=0,
        )
        found = {settings["i"]: record for settings, record in ledger.records()}
    assert (counts.done, counts.failed) == (3, 1)
    assert found[1].error.startswith("WorkerDiedError: ")


def test_ctrl_c_keeps_what_is_finished(cluster, tmp_path):
    cells = grid(tmp_path, N)

    def press(counts):
        if counts.done == N // 3:
            raise KeyboardInterrupt

    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        address = cluster.scheduler_address
        first = run_cells(cells, logged, ledger, scheduler=address, progress=press)
        assert first.interrupted
        assert first.done == N // 3 == len(records(ledger))
        rest = run_cells(cells, logged, ledger, scheduler=address)
        assert (rest.done, rest.earlier) == (N, N // 3)
        assert records(ledger) == undisturbed(tmp_path, cells, logged)


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text(SWEEP)
    return tmp_path / "s.toml"


def free_address():
    with socket.socket() as here:
        here.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{here.getsockname()[1]}"


def test_an_address_where_nobody_listens_starts_nothing(capsys, file, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_pool, "CONNECT_WAIT", 0.5)
    for address in (free_address(), "nonsense", "nosuch://127.0.0.1:8786"):
        status, out, err = run(capsys, "sweep", file, "--scheduler", address)
        assert (status, out) == (2, "")
        assert f"{address}: no Dask scheduler answers" in err
        assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [file]
    # the garbage collector closes an open one whenever it likes, which can deadlock
    clients = [o for o in gc.get_objects() if type(o) is distributed.Client]
    assert all(client.status == "closed" for client in clients)


def test_a_scheduler_without_workers_is_waited_for_then_refused(
    capsys, file, tmp_path, monkeypatch
):
    monkeypatch.setattr(dask_pool, "WORKERS_WAIT", 0.5)
    with distributed.LocalCluster(n_workers=0, **BARE) as empty:
        status, out, err = run(capsys, "sweep", file, "--scheduler", empty.scheduler_address)
    assert (status, out) == (2, "")
    assert "has no worker yet; waiting 0.5 s for the first\n" in err
    assert "it has no worker, and none came in 0.5 s; start some by `dask worker tcp://" in err
    assert list(tmp_path.iterdir()) == [file]


def test_workers_of_several_threads_are_refused():
    two = {**BARE, "threads_per_worker": 2, "processes": False}
    refused = pytest.raises(RunError, match=r"has 2 threads.*--nthreads 1")
    with distributed.LocalCluster(n_workers=1, **two) as crowded, refused:
        pools.check_scheduler(crowded.scheduler_address, print)


def test_a_cluster_that_loses_its_last_worker_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(dask_pool, "WORKERS_WAIT", 0.5)
    here = {**BARE, "processes": False}
    with distributed.LocalCluster(n_workers=1, **here) as cluster:

        def retire(counts):
            if counts.done == N // 3:
                cluster.scale(0)

        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            with pytest.raises(RunError, match=r"lost its last worker.*dask worker"):
                run_cells(
                    *(grid(tmp_path, N), logged, ledger),
                    scheduler=cluster.scheduler_address,
                    progress=retire,
                )
            assert N // 3 <= len(records(ledger)) < N


class Finished:
    """A future that is done, and calls back from a thread of its own."""

    def add_done_callback(self, function):
        threading.Thread(target=function, args=(self,)).start()

    def result(self, timeout):
        assert threading.current_thread() is threading.main_thread()
        assert timeout < 1000
        return Record("key", "done", {})


def test_results_are_asked_for_outside_of_callbacks():
    # The interpreter waits for callbacks when it exits: one that waited for a cluster that is
    # gone would never let it.
    tasks = iter([Task(str(k), {}, 1, 1.0) for k in range(9)])
    outcomes = list(as_they_finish(tasks, lambda _: Finished(), lambda: 2, lambda _: None))
    assert sorted(task.key for task, _ in outcomes) == [str(k) for k in range(9)]
    assert all(isinstance(record, Record) for _, record in outcomes)


@pytest.mark.slow
def test_a_scheduler_that_dies_keeps_what_is_finished(tmp_path):
    address = free_address()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    commands = [
        ["dask_scheduler", "--host", address, "--no-dashboard"],
        ["dask_worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"],
    ]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{command}", *arguments],
            **{"env": environment, "cwd": tmp_path, "stderr": subprocess.DEVNULL},
        )
        for command, *arguments in commands
    ]
    cells = grid(tmp_path, N, sleep=0.02)

    def kill(counts):
        if counts.done == N // 3:
            processes[0].send_signal(signal.SIGKILL)

    try:
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            with pytest.raises(RunError, match=r"the scheduler was stopped.*--resume"):
                run_cells(cells, logged, ledger, scheduler=address, progress=kill)
            kept = records(ledger)
            assert N // 3 <= len(kept) < N
    finally:
        for process in processes:
            process.kill()
            process.wait()
    computed = (tmp_path / "log").read_text().split()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        counts = run_cells(cells, logged, ledger, workers=2)
        assert (counts.done, counts.earlier) == (N, len(kept))
        assert records(ledger) == undisturbed(tmp_path, cells, logged)
    assert len(computed) <= len(kept) + 2  # two were handed out
