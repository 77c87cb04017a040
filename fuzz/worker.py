"""A process that reads mutated files, with limited memory and time."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import Any

from fuzz.formats import FORMATS
from fuzz.mutations import mutated

SECONDS = 10.0  # for one input
MOST_BYTES = 1 << 30  # memory of one input


class Inputs:
    """The inputs of one seed.

    Parameters
    ----------
    seed : int
    folder : Path
        Holds the sound files, and takes the mutated ones.
    names : list of str
        Formats.
    """

    def __init__(self, seed: int, folder: Path, names: list[str]):
        self.seed, self.folder, self.names = seed, folder, names
        self.seeds = {
            name: [
                (path.name, path.read_bytes())
                for path in sorted((folder / "seeds" / name).iterdir())
            ]
            for name in names
        }
        self.expected: dict[tuple[str, str], Any] = {}

    def mutated(self, number: int) -> tuple[str, str, bytes, bytes]:
        """Return format, file name, content before and after the change."""
        rng = random.Random(f"{self.seed} {number}")
        name = self.names[number % len(self.names)]
        file, content = rng.choice(self.seeds[name])
        others = [other for _, other in self.seeds[name]]
        return name, file, content, FORMATS[name].finish(mutated(content, others, rng))

    def outcome(self, number: int) -> tuple[str, str, str]:
        """Read one input; return its format, what became of it, and the details of a fault."""
        name, file, before, content = self.mutated(number)
        wanted = FORMATS[name]
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            if wanted.sealed and (name, file) not in self.expected:
                (folder / file).write_bytes(before)
                self.expected[name, file] = wanted.read(folder / file)
                shutil.rmtree(folder)
                folder.mkdir()
            path = folder / file
            path.write_bytes(content)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            outcome, detail = _read(wanted, path, self.expected.get((name, file)))
            peak = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak)
            if peak > MOST_BYTES:
                return name, "large", f"{peak} bytes"
            # a ledger is opened to write
            if name != "ledger" and path.read_bytes() != content:
                return name, "written", "the file was changed"
            return name, outcome, detail
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def explain(self, number: int) -> str:
        """Read one input; what goes wrong is not caught."""
        name, file, _, content = self.mutated(number)
        path = self.folder / file
        path.write_bytes(content)
        print(f"{name}: {content[:2000]!r}")
        return repr(FORMATS[name].read(path))


class _TooSlowError(BaseException):
    """An input took too long."""


def _read(wanted: Any, path: Path, expected: Any) -> tuple[str, str]:
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        found = wanted.read(path)
    except (ValueError, OSError) as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        return _refused(error, path)
    except _TooSlowError:
        return "slow", traceback.format_exc()[-600:]
    except MemoryError:
        return "large", traceback.format_exc()[-600:]
    except BaseException:
        return "error", traceback.format_exc()[-600:]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if wanted.sealed:
        harmless = found == expected or found is None
        return ("same", "") if harmless else ("otherwise", repr(found)[:200])
    return "read", ""


def _refused(error: ValueError | OSError, path: Path) -> tuple[str, str]:
    """Whether an error is a promised one: one line that names the file."""
    message = str(error)
    one_line = "\n" not in message and len(message) < 2000
    # errors of the libraries have classes and sentences of their own
    ours = type(error).__module__.startswith("secateurs") or type(error) in (
        *(ValueError, OSError, FileNotFoundError, ModuleNotFoundError),
    )
    named = path.name in message or path.parent.name in message
    if one_line and ours and named:
        return "refused", ""
    return "error", f"{type(error).__name__}: {message[:300]}"


def _too_slow(*_: object) -> None:
    raise _TooSlowError


def main(seed: str, start: str, end: str, folder: str, *names: str) -> None:
    """Read some inputs; write a line before and after each of them."""
    results = os.fdopen(os.dup(1), "w", buffering=1)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _too_slow)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 3 * MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # native libraries print there
    os.dup2(nowhere, 2)
    inputs = Inputs(int(seed), Path(folder), list(names))
    for number in range(int(start), int(end)):
        print(number, file=results)
        print(json.dumps(inputs.outcome(number)), file=results)


if __name__ == "__main__":
    main(*sys.argv[1:])
