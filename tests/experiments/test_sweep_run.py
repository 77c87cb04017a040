"""When processes are killed, no cell is lost and no finished cell is computed again."""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor

import numpy as np
import pytest

from secateurs.experiments.sweeps import run
from secateurs.experiments.sweeps.ledger import Ledger, LedgerFullError
from secateurs.experiments.sweeps.record import key_of
from secateurs.experiments.sweeps.run import run_cells
from secateurs.experiments.sweeps.spool import read_spool
from secateurs.experiments.sweeps.worker import RunError
from tests.experiments.sweep_cells import Unreadable, grid, logged, promised, unlucky

N = 200


def lines(folder):
    log = folder / "log"
    return collections.Counter(int(i) for i in log.read_text().split()) if log.exists() else {}


def results(ledger):
    return {record.key: (record.metrics, record.certificate) for _, record in ledger.records()}


def undisturbed(folder):
    return {
        key_of(cell): (
            {"square": float(cell["i"] ** 2), "half": cell["i"] / 2},
            promised(cell["i"]).to_list() if cell["i"] % 3 else None,
        )
        for cell in grid(folder, N)
    }


def killed(folder, after):
    """Return the finished cells of a sweep in a process that gets SIGKILL `after` some seconds.

    Its workers may finish their cells before they end, so the cells are counted after that.
    """
    command = [sys.executable, "-m", "tests.experiments.sweep_cells", str(folder), str(N), "2"]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    known = len(lines(folder))
    while len(lines(folder)) == known and process.poll() is None:
        time.sleep(0.01)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.wait()
    spooled = read_spool(folder / "spool")  # waits for the workers
    with Ledger(folder / "ledger.sqlite") as ledger:
        return ledger.keys("done") | {key for key, trace in spooled.items() if trace.record}


def resumes_after_kills(folder, moments):
    before = lines(folder)
    for after in moments:
        finished = killed(folder, after)
        before = lines(folder)
    with Ledger(folder / "ledger.sqlite") as ledger:
        counts = run_cells(grid(folder, N), logged, ledger, workers=2)
        assert counts.done == N
        assert results(ledger) == undisturbed(folder)  # none is lost, certificates included
    after = lines(folder)
    for cell in grid(folder, N):
        if key_of(cell) in finished:  # none computed twice
            assert after[cell["i"]] == before[cell["i"]]
    # only running cells were computed again: one for each worker and kill
    assert sum(after.values()) <= N + 2 * len(moments)
    assert list((folder / "spool").iterdir()) == []


def test_killed_at_a_random_moment(tmp_path):
    resumes_after_kills(tmp_path, [float(np.random.default_rng().uniform(0, 0.5))])


@pytest.mark.slow
def test_killed_at_ten_random_moments(tmp_path):
    # short times, so that cells are left at every kill
    resumes_after_kills(tmp_path, np.random.default_rng().uniform(0, 0.04, 10))


def cells(*kinds, mark=""):
    return [{"i": i, "kind": kind, "mark": str(mark)} for i, kind in enumerate(kinds)]


def test_failures_are_recorded_and_the_sweep_goes_on(tmp_path):
    asked = cells("raises", "works", "sleeps", "works", "fails once", mark=tmp_path / "mark")
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        counts = run_cells(asked, unlucky, ledger, workers=2, time_limit=0.5, retries=1)
        assert (counts.done, counts.failed) == (3, 2)
        records = {settings["i"]: record for settings, record in ledger.records()}
        assert [records[i].status for i in range(5)] == ["failed", "done", "failed", "done", "done"]
        assert records[0].error.startswith("ValueError: on purpose\n")
        assert "sweep_cells.py" in records[0].error
        first, *where = records[2].error.splitlines()
        assert first == "TimeLimitError: not done after 0.5 s of wall time"
        assert any("sweep_cells.py" in line for line in where)
        assert [records[i].attempts for i in range(5)] == [2, 1, 2, 1, 2]
        assert records[1].metrics == {"i": 1.0, "nothing": None}
        assert all(record.certificate is None for record in records.values())

        again = run_cells(asked, unlucky, ledger, workers=2, time_limit=0.5, retries=0)
        assert (again.done, again.failed, again.earlier) == (3, 2, 5)
        once_more = run_cells(asked[:2], unlucky, ledger, workers=2, retries=0, retry_failed=True)
        assert (once_more.done, once_more.failed, once_more.earlier) == (1, 1, 1)


def test_a_killed_worker_is_survived(tmp_path):
    """Its cell is tried again; every cell is recorded once."""
    asked = cells(*["works"] * 20, "dies once", *["works"] * 20, mark=tmp_path / "mark")
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        counts = run_cells(asked, unlucky, ledger, workers=2)
        assert (counts.done, counts.failed) == (41, 0)
        assert sorted(r.metrics["i"] for _, r in ledger.records()) == list(range(41))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_cells_that_always_kill_their_worker_fail_alone(tmp_path, workers):
    asked = cells("works", "dies", "works", "hangs", "works", "dies", "works")
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        counts = run_cells(asked, unlucky, ledger, workers=workers, time_limit=1)
        assert (counts.done, counts.failed) == (4, 3)
        records = {settings["i"]: record for settings, record in ledger.records()}
        assert [records[i].status == "done" for i in range(7)] == [True, False] * 3 + [True]
        for i in (1, 5):
            assert records[i].error.startswith("WorkerDiedError")
            assert records[i].attempts == 2
        assert records[3].error.startswith("TimeLimitError")
        assert "unlucky" in records[3].error  # where it hung


def test_a_pool_that_always_breaks_ends_the_sweep(tmp_path, monkeypatch):
    """Cells that were handed out and never begun are no progress."""
    passes = itertools.count()

    def broken(evaluate, tasks):
        if list(itertools.islice(tasks, 4)):
            assert next(passes) < 20
            raise BrokenExecutor("on purpose")
        yield from ()

    monkeypatch.setattr(run, "pool", lambda *_: contextlib.nullcontext(broken))
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        with pytest.raises(RunError, match="no worker runs anything: on purpose"):
            run_cells(cells(*["works"] * 6), unlucky, ledger, workers=2)
        assert list(ledger.records()) == []


@pytest.mark.slow
def test_workers_that_never_begin_a_cell_end_the_sweep(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        with pytest.raises(RunError, match="no worker runs anything"):
            run_cells(cells(*["works"] * 6), Unreadable(), ledger, workers=2)
        assert list(ledger.records()) == []


def test_a_full_disk_loses_nothing(tmp_path):
    """SQLite gets no more pages at some point; it keeps the records that it has by then."""
    folder = tmp_path
    with Ledger(folder / "ledger.sqlite") as ledger:
        run_cells(grid(folder, 20, sleep=0), logged, ledger, workers=2)
        (pages,) = ledger._database.execute("PRAGMA page_count").fetchone()
        ledger._database.execute(f"PRAGMA max_page_count={pages + 2}")
        with pytest.raises(LedgerFullError, match=r"full.*--resume"):
            run_cells(grid(folder, N, sleep=0), logged, ledger, workers=2)
        kept = results(ledger)
        assert len(kept) >= 20
    done = lines(folder)
    with Ledger(folder / "ledger.sqlite") as ledger:
        assert results(ledger) == kept
        counts = run_cells(grid(folder, N, sleep=0), logged, ledger, workers=2)
        assert counts.done == N
    # and no cell was computed twice: cells that could not be written waited in the spool
    assert all(count == 1 for count in lines(folder).values())
    assert sum(done.values()) > len(kept)


def test_one_worker_and_two_give_the_same(tmp_path):
    found = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        same = [{**cell, "log": os.devnull} for cell in grid(folder, 30, sleep=0)]
        with Ledger(folder / "ledger.sqlite") as ledger:
            run_cells(same, logged, ledger, workers=workers)
            found.append(results(ledger))
    assert found[0] == found[1]


def test_nonsense_is_refused(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger, pytest.raises(ValueError, match="workers"):
        run_cells([], logged, ledger, workers=0)
