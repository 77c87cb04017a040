"""Cells for the tests of sweeps, and a sweep of them in a separate process that can be killed."""

from __future__ import annotations

import collections
import itertools
import os
import signal
import sys
import time
from pathlib import Path

from secateurs.core.certificate import Certificate, Check
from secateurs.experiments.sweeps.families import family_of
from secateurs.experiments.sweeps.ledger import Ledger
from secateurs.experiments.sweeps.registry import Result, evaluate
from secateurs.experiments.sweeps.run import run_cells


def logged(cell):
    """Return a number; every computation writes a line when it is done."""
    time.sleep(cell["sleep"])
    with Path(cell["log"]).open("a") as log:
        log.write(f"{cell['i']}\n")
    i = cell["i"]
    return Result({"square": float(i**2), "half": i / 2}, promised(i) if i % 3 else None)


def promised(i):
    """Return a certificate that differs between cells."""
    verdict = ("holds", "fails", "unknown")[i % 5 % 3]
    remainder = Check("odd", f"{i} leaves {i % 2}", verdict, i / 7, 0.1, "counted")
    return Certificate((remainder, Check("vast", "no bound", "unknown", None, None, "nobody")))


def real(cell):
    """Compute a cell of any family."""
    return evaluate(family_of(cell["problem"]), cell)


class Unreadable:
    """A function that ends every worker that receives it, before it begins a cell."""

    def __reduce__(self):
        return os._exit, (3,)

    def __call__(self, cell):
        raise AssertionError(cell)


def unlucky(cell):
    """Do what goes wrong in cells."""
    kind = cell["kind"]
    if kind == "raises":
        raise ValueError("on purpose")
    if kind == "sleeps":
        time.sleep(60)
    if kind == "spins":
        while True:
            time.sleep(0.01)
    if kind == "hangs":  # in C, with the lock of the interpreter, so that no signal is handled
        collections.deque(itertools.repeat(0), maxlen=0)
    if kind == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "dies once" and not Path(cell["mark"]).exists():
        Path(cell["mark"]).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "fails once" and not Path(cell["mark"]).exists():
        Path(cell["mark"]).touch()
        raise OSError("a temporary error")
    return Result({"i": float(cell["i"]), "nothing": None})


def grid(folder, n=200, sleep=0.005):
    return [{"i": i, "sleep": sleep, "log": str(folder / "log")} for i in range(n)]


def main(folder, n, workers):
    with Ledger(folder / "ledger.sqlite") as ledger:
        run_cells(grid(folder, n), logged, ledger, workers=workers)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
