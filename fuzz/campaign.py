"""A campaign: mutated files in batches, each read by a process with limited memory."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from fuzz.formats import FORMATS
from fuzz.worker import Inputs
from secateurs.core.atomic_write import write_atomically

BATCH = 5000  # inputs of a process
HANG = 60.0  # seconds after which native code that does not return is ended
START = 900.0  # seconds that a process may take to begin
GOOD = ("refused", "read", "same")


@dataclass
class Counts:
    """Counts by format and outcome, and a line for each fault."""

    done: int = 0
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def add(self, number: int, name: str, outcome: str, detail: str = "") -> None:
        """Count one input."""
        self.outcomes.setdefault(name, Counter())[outcome] += 1
        if outcome not in GOOD:
            self.faults.append(f"input {number}, {name}: {outcome}: {detail}")

    def table(self) -> str:
        """Return the counts as text."""
        columns = [*GOOD, "error", "otherwise", "slow", "large", "crash", "written"]
        lines = ["".join(f"{name:>16}" for name in ("format", *columns))]
        for name, counts in sorted(self.outcomes.items()):
            numbers = "".join(f"{counts[column]:16}" for column in columns)
            lines.append(f"{name:>16}{numbers}")
        total = sum(sum(counts.values()) for counts in self.outcomes.values())
        return "\n".join([*lines, f"{total} inputs, {len(self.faults)} faults"])


class Campaign:
    """The inputs of one seed, read by other processes.

    Parameters
    ----------
    seed : int
    names : list of str
        Formats; all of them when empty.
    """

    def __init__(self, seed: int, names: list[str]):
        self.seed = seed
        shared = Path("/dev/shm")
        place = shared if os.access(shared, os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="secateurs-fuzz-", dir=place))
        command = [sys.executable, "-m", "fuzz.seeds", str(self.folder / "seeds")]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        known = names or list(FORMATS)
        # without onnx there are no files of it
        self.names = [name for name in known if (self.folder / "seeds" / name).is_dir()]

    def close(self) -> None:
        """Delete the files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def explain(self, number: int) -> str:
        """Read one input in this process; what goes wrong is not caught."""
        return Inputs(self.seed, self.folder, self.names).explain(number)

    def run(self, n_inputs: int, state: Path | None = None) -> Counts:
        """Read inputs up to a number, from where the state ends."""
        counts = _restored(state)
        while counts.done < n_inputs:
            self._batch(counts, min(counts.done + BATCH, n_inputs))
            if state is not None:
                kept = {"done": counts.done, "outcomes": counts.outcomes, "faults": counts.faults}
                write_atomically(state, json.dumps(kept).encode())
        return counts

    def _batch(self, counts: Counts, end: int) -> None:
        """Read some inputs in a process; where it dies, the next one goes on behind."""
        command = [sys.executable, "-m", "fuzz.worker", self.seed, counts.done, end, self.folder]
        with subprocess.Popen(
            [*map(str, command), *self.names], stdout=subprocess.PIPE, bufsize=0
        ) as worker:
            assert worker.stdout is not None
            watched = selectors.DefaultSelector()
            watched.register(worker.stdout, selectors.EVENT_READ)
            hangs = not watched.select(START)
            for number in range(counts.done, end):
                # one line when it begins, and one when it has been read
                begun = b"" if hangs else worker.stdout.readline()
                hangs = hangs or not watched.select(HANG)
                outcome = b"" if hangs or not begun else worker.stdout.readline()
                if not outcome:
                    break
                counts.add(number, *json.loads(outcome))
                counts.done = number + 1
            worker.kill()
        if counts.done < end:
            name = self.names[counts.done % len(self.names)]
            counts.add(counts.done, name, "slow" if hangs else "crash", "the process ended")
            counts.done += 1


def _restored(state: Path | None) -> Counts:
    if state is None or not state.exists():
        return Counts()
    kept = json.loads(state.read_text())
    outcomes = {name: Counter(counts) for name, counts in kept["outcomes"].items()}
    return Counts(kept["done"], outcomes, kept["faults"])
