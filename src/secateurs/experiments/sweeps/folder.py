"""The folder of a run.  One process at a time may write into it.

RUN/sweep.toml          the sweep
RUN/ledger.sqlite       the records of all cells
RUN/environment.json    versions and machine of the last start (the ledger has all starts)
RUN/cells.parquet .csv  the ledger as a table
RUN/*.pdf *.png         figures
RUN/workers.log         output of the workers
RUN/slurm/              scripts and logs of the jobs of Slurm
RUN/spool/, RUN/lock    files of a run that is under way
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
_PACKAGES = (
    "numpy",
    "scipy",
    "torch",
    "scikit-learn",
    "numba",
    "pebble",
    "distributed",
    "submitit",
)


class RunFolderError(ValueError):
    """A run cannot use the folder."""


@contextmanager
def open_run(
    folder: str | Path, texts: Mapping[str, str], *, resume: bool, rescue: bool = False
) -> Iterator[tuple[Ledger, list[str]]]:
    """Open a new run, or an old one to continue it, for this process alone.

    Parameters
    ----------
    folder : str or Path
        Made if it does not exist.
    texts : mapping
        Name of a file -> its content; written into the folder.
    resume : bool
        Whether the folder may hold a run already.
    rescue : bool
        Whether to salvage a damaged ledger first.

    Yields
    ------
    ledger : Ledger
    notes : list of str
        Messages for the user: cells that were saved, versions that changed.

    Raises
    ------
    RunFolderError
        The folder holds other files, a run (without `resume`), a run of the other command, or a
        run that is under way.
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
            f"{folder}: holds a run already; continue it with --resume, or give another --output"
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
            ledger.note_start(here)  # last, so that a run with a start has its files
            yield ledger, notes


def _check_kind(folder: Path, texts: Mapping[str, str]) -> None:
    """Refuse to continue a sweep as a reproduction, or the reverse."""
    asked = ((folder / SWEEP).exists(), SWEEP in texts)
    was, now = ("sweep" if of_sweep else "reproduce" for of_sweep in asked)
    if was != now:
        raise RunFolderError(f"{folder}: holds a run of {was}, not of {now}; give another --output")


def environment() -> dict[str, Any]:
    """Return versions and machine, which one needs to get the same numbers again."""
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
    """Hold a lock, which the system releases when the process ends in any way."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunFolderError(
                f"{folder}: another process is working on this run; wait for it or stop it"
            ) from None
        yield


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a note about versions that differ from those of the last start, if there are any."""
    old, new = before["versions"], now["versions"]
    changes = [
        f"{name} {old.get(name, 'absent')} -> {new.get(name, 'absent')}"
        for name in sorted(old | new)
        if old.get(name) != new.get(name)
    ]
    if before["processor"] != now["processor"]:
        changes.append(f"processor {before['processor']} -> {now['processor']}")
    return [f"finished cells were computed with other versions: {', '.join(changes)}"] * bool(
        changes
    )


def _processor() -> str:
    """Return the model of the processor, where the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
