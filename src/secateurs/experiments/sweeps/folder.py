"""The folder of a run: its settings, ledger, environment, exports and figures, and one writer.

RUN/sweep.toml          what was asked
RUN/ledger.sqlite       what every cell came to
RUN/environment.json    versions and machine of the last start (the ledger has all of them)
RUN/cells.parquet .csv  the ledger as a table
RUN/*.pdf *.png         figures
RUN/workers.log         what the workers printed
RUN/spool/, RUN/lock    of a run that is under way
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from secateurs.core.atomic_write import write_atomically
from secateurs.core.version import __version__
from secateurs.experiments.sweeps.ledger import Ledger, salvage

LEDGER, ENVIRONMENT, SWEEP = "ledger.sqlite", "environment.json", "sweep.toml"
_PACKAGES = ("numpy", "scipy", "torch", "scikit-learn", "numba", "joblib", "distributed")


class RunFolderError(ValueError):
    """A folder that a run cannot use."""


@contextmanager
def open_run(
    folder: str | Path, texts: Mapping[str, str], *, resume: bool, rescue: bool = False
) -> Iterator[tuple[Ledger, list[str]]]:
    """Open a new run, or an old one to go on with it, for this process alone.

    Parameters
    ----------
    folder : str or Path
        Made where it is not there.
    texts : mapping
        Name of a file -> its content; kept in the folder.
    resume : bool
        Whether it may hold a run already.
    rescue : bool
        Save what can be read of a damaged ledger first.

    Yields
    ------
    ledger : Ledger
    notes : list of str
        What the user should know: cells rescued, versions that changed.

    Raises
    ------
    RunFolderError
        The folder holds something else, a run without `resume`, one of the other command, or one
        that is under way.
    LedgerError
        The ledger cannot be used.
    """
    folder = Path(folder)
    path = folder / LEDGER
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"{folder}: is a file; give the name of a folder")
    if folder.is_dir() and any(folder.iterdir()) and not path.exists():
        raise RunFolderError(f"{folder}: holds other files and no run; give a new or empty folder")
    if path.exists() and not (resume or rescue):
        raise RunFolderError(
            f"{folder}: holds a run already; go on with it by --resume, or give another --output"
        )
    folder.mkdir(parents=True, exist_ok=True)
    notes: list[str] = []
    with _alone(folder):
        if rescue:
            if not path.exists():
                raise RunFolderError(f"{folder}: there is no ledger to salvage")
            n_cells, aside = salvage(path)
            notes.append(f"{n_cells} cells saved; the damaged ledger is now {aside}")
        with Ledger(path) as ledger:
            here = environment()
            earlier = ledger.starts()
            if earlier:
                _check_kind(folder, texts)
                notes.extend(_changed(earlier[-1], here))
            content = json.dumps(here, indent=2) + "\n"
            for name, text in {**texts, ENVIRONMENT: content}.items():
                write_atomically(folder / name, text.encode())
            ledger.note_start(here)  # last: a folder that was started has its files
            yield ledger, notes


def _check_kind(folder: Path, texts: Mapping[str, str]) -> None:
    """Refuse to go on with the cells of a sweep as parts of claims, or the reverse."""
    asked = ((folder / SWEEP).exists(), SWEEP in texts)
    was, now = ("sweep" if of_sweep else "reproduce" for of_sweep in asked)
    if was != now:
        raise RunFolderError(f"{folder}: holds a run of {was}, not of {now}; give another --output")


def environment() -> dict[str, Any]:
    """Versions and machine, for whoever wants the same numbers again."""
    versions = {"secateurs": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions,
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "command": " ".join(["secateurs", *sys.argv[1:]]),
    }


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """A lock that ends with the process, however it ends."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunFolderError(
                f"{folder}: another process is at work on this run; wait for it or stop it"
            ) from None
        yield


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs from the start before: such cells may not be comparable."""
    old, new = before["versions"], now["versions"]
    changes = [
        f"{name} {old.get(name, 'absent')} -> {new.get(name, 'absent')}"
        for name in sorted(old | new)
        if old.get(name) != new.get(name)
    ]
    if before["processor"] != now["processor"]:
        changes.append(f"processor {before['processor']} -> {now['processor']}")
    return [f"finished cells were made with other versions: {', '.join(changes)}"] * bool(changes)


def _processor() -> str:
    """Model of the processor, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
