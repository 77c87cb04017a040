"""Kill processes that write files and run sweeps, at random moments, and look for what is lost.

    python -m benchmarks.experiments.kills                            # a minute
    python -m benchmarks.experiments.kills --writes 700 --ledgers 250 --sweeps 50

writes    a process writes a model file again and again, over the old one and under new names.
          After the kill every file is a whole one.
ledgers   a process adds cells to a ledger.  After the kill every cell that was reported as written
          is there once, with its numbers.
sweeps    a sweep with two workers, resumed after every kill until it is done.  Then every cell is
          there once, with its numbers, and the spool is empty.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from secateurs.core.archive import archive_bytes, read_archive
from secateurs.core.atomic_write import write_atomically
from secateurs.experiments.sweeps.ledger import Ledger
from secateurs.experiments.sweeps.record import Record, key_of

N_CELLS = 300  # of a sweep
LONGEST = 6.0  # seconds until a kill
HANGS = 600.0  # seconds after which a sweep that is not killed hangs
SWEEP = """
import sys
from benchmarks.experiments import kills
kills.sweep(sys.argv[1])
"""


def main() -> int:
    """Run the kills and print the counts of faults; the exit status is 1 if there is one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiments.kills")
    parser.add_argument("--writes", type=int, default=200)
    parser.add_argument("--ledgers", type=int, default=100)
    parser.add_argument("--sweeps", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = random.Random(asked.seed)
    n_faults = 0
    for name, killed in (("writes", writes), ("ledgers", ledgers), ("sweeps", sweeps)):
        n_kills = getattr(asked, name)
        faults = killed(n_kills, rng)
        n_faults += len(faults)
        print(f"{name}: {n_kills} kills, {len(faults)} faults", *faults[:5], sep="\n  ")
    return 1 if n_faults else 0


def writes(n_kills: int, rng: random.Random) -> list[str]:
    """Kill a process that writes files; return a line for each fault."""
    contents = [archive_bytes({"n": n}, {"a": _ramp(n)}) for n in (10, 20_000, 400_000)]
    faults = []
    n_left = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def work(report: int) -> None:
            for i in range(10**9):
                write_atomically(folder / "same", contents[i % 3])
                write_atomically(folder / f"new-{os.getpid()}-{i % 50}", contents[(i + 1) % 3])
                os.write(report, b".")

        for _ in range(n_kills):
            _kill_at_random(work, rng, 0.05)
            for path in folder.iterdir():
                if path.read_bytes() not in contents:
                    faults.append(f"{path.name}: half written")
                elif not path.name.startswith(("same", "new-")):
                    n_left += 1
                if path.name != "same":
                    path.unlink()
        if n_kills:
            read_archive(folder / "same")
    print(f"whole copies left under a hidden name, between two names of a file: {n_left}")
    return faults


def ledgers(n_kills: int, rng: random.Random) -> list[str]:
    """Kill a process that adds cells to a ledger; return a line for each fault."""
    faults = []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "ledger.sqlite"
        n_known = 0
        for _ in range(n_kills):

            def work(report: int, start: int = n_known) -> None:
                with Ledger(path) as ledger:
                    for i in range(start, 10**9):
                        ledger.add([({"i": i}, _record(i))])
                        os.write(report, b".")

            n_reported = n_known + _kill_at_random(work, rng, 0.1)
            with Ledger(path) as ledger:
                found = [(cell["i"], record) for cell, record in ledger.records()]
            n_known = len(found)
            if n_known < n_reported:
                faults.append(f"{n_reported} cells were reported, {n_known} are there")
            if found != [(i, _record(i)) for i in range(n_known)]:
                faults.append("cells are doubled, missing or changed")
    return faults


def sweeps(n_kills: int, rng: random.Random) -> list[str]:
    """Kill a sweep and resume it; return a line for each fault."""
    faults: list[str] = []
    left = n_kills
    while left > 0:
        with tempfile.TemporaryDirectory() as name:
            run = Path(name)
            done = False
            while not done:
                done = _run_and_kill(run, rng, kill=left > 0)
                left -= not done
            with Ledger(run / "ledger.sqlite") as ledger:
                found = sorted((cell["i"], record.metrics) for cell, record in ledger.records())
            if found != [(i, {"square": float(i * i)}) for i in range(N_CELLS)]:
                faults.append(f"{len(found)} cells of {N_CELLS}, or wrong numbers")
            if list((run / "spool").iterdir()):
                faults.append("the spool is not empty")
    return faults


def sweep(folder: str) -> None:
    """Run the sweep that is killed; its process says when it begins."""
    from secateurs.experiments.sweeps.run import run_cells

    with Ledger(Path(folder) / "ledger.sqlite") as ledger:
        print("begun", flush=True)
        run_cells(({"i": i} for i in range(N_CELLS)), square, ledger, workers=2)


def square(cell: dict[str, int]) -> object:
    """Compute a cell."""
    from secateurs.experiments.sweeps.registry import Result

    time.sleep(0.01)
    return Result({"square": float(cell["i"] ** 2)})


def _run_and_kill(run: Path, rng: random.Random, *, kill: bool) -> bool:
    """Run the sweep, kill it at a random moment, and return whether it was done before."""
    with subprocess.Popen(
        [sys.executable, "-c", SWEEP, str(run)],
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(rng.uniform(0, LONGEST) if kill else HANGS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            if not kill:
                raise TimeoutError(f"the sweep in {run} hangs") from None
            return False
    return process.returncode == 0


def _kill_at_random(work: Callable[[int], None], rng: random.Random, longest: float) -> int:
    """Fork a process that works, kill it, and return how often it had reported."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        work(writer)
        os._exit(0)
    os.close(writer)
    time.sleep(rng.uniform(0, longest))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as reports:
        return len(reports.read())


def _ramp(n: int) -> object:
    import numpy as np

    return np.arange(n)


def _record(i: int) -> Record:
    return Record(key_of({"i": i}), "done", {"x": i / 7})


if __name__ == "__main__":
    sys.exit(main())
