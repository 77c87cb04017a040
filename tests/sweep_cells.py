"""Cells for the tests of sweeps, and a sweep of them in a process of its own that can be killed."""

from __future__ import annotations

import collections
import itertools
import os
import signal
import sys
import time
from pathlib import Path

from secateurs.experiments.sweeps.ledger import Ledger
from secateurs.experiments.sweeps.run import run_cells


def logged(cell):
    """A number; every computation leaves a line, written when all is done."""
    time.sleep(cell["sleep"])
    with Path(cell["log"]).open("a") as log:
        log.write(f"{cell['i']}\n")
    return {"square": float(cell["i"] ** 2), "half": cell["i"] / 2}


def unlucky(cell):
    """What goes wrong in cells."""
    kind = cell["kind"]
    if kind == "raises":
        raise ValueError("on purpose")
    if kind == "sleeps":
        time.sleep(60)
    if kind == "spins":
        while True:
            time.sleep(0.01)
    if kind == "hangs":  # in C, with the lock of the interpreter, deaf to signals
        collections.deque(itertools.repeat(0), maxlen=0)
    if kind == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "dies once" and not Path(cell["mark"]).exists():
        Path(cell["mark"]).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "fails once" and not Path(cell["mark"]).exists():
        Path(cell["mark"]).touch()
        raise OSError("a passing trouble")
    return {"i": float(cell["i"]), "nothing": None}


def grid(folder, n=200, sleep=0.005):
    return [{"i": i, "sleep": sleep, "log": str(folder / "log")} for i in range(n)]


def main(folder, n, workers):
    with Ledger(folder / "ledger.sqlite") as ledger:
        run_cells(grid(folder, n), logged, ledger, workers=workers)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
