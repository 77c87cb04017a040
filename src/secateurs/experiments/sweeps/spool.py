"""The spool: one small file for each cell that was started and is not yet in the ledger.

The first line holds the settings of the cell and is written when the cell starts; the last line
holds its record and is written when it ends.  Between them may stand a traceback, which the time
limit writes before it ends the process.  Both lines begin with a checksum.  A worker locks the
file for as long as it works on it.

The ledger has a single writer, the parent, which writes in batches.  When the parent or a worker is
killed between two batches, the spool still has every finished cell, and shows which cells were
running.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from secateurs.experiments.sweeps.record import Record

LOCK_WAIT = 30.0  # seconds within which the workers of a killed parent must have ended
LOCK_POLL = 0.05  # seconds between two attempts to lock a file


@dataclass(frozen=True)
class Trace:
    """Content of one file of the spool.

    Attributes
    ----------
    running : bool
        Whether a worker still holds the file.
    cell : dict or None
        Settings; None when the worker was killed before it wrote them.
    record : Record or None
        None when the cell did not end.
    text : str
        The traceback that the time limit wrote, or nothing.
    """

    running: bool
    cell: dict[str, Any] | None = None
    record: Record | None = None
    text: str = ""


def spool_of(run: Path) -> Path:
    """Return the spool of a run folder."""
    return run / "spool"


@contextmanager
def spooled(folder: Path, key: str, cell: Mapping[str, Any]) -> Iterator[int | None]:
    """Open and lock the file of a cell that starts; None where it cannot be written."""
    try:
        file = os.open(folder / key, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
    except OSError:  # a full disk must not fail the cell: the parent reports it
        yield None
        return
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        _write(file, cell)
        yield file
    finally:
        os.close(file)


def write_record(file: int | None, record: Record) -> None:
    """Append the record of a cell that ended to its open file."""
    if file is not None:
        _write(file, asdict(record))


def read_trace(path: Path) -> Trace | None:
    """Read the file of one cell without waiting; None when the cell was not started."""
    try:
        with path.open("rb") as stream:
            return _trace(stream.read()) if _locked(stream.fileno()) else Trace(running=True)
    except FileNotFoundError:
        return None


def read_spool(folder: Path) -> dict[str, Trace]:
    """Read all files, by the keys of their cells.

    Workers that are still ending hold a lock on their file; the function waits for them.

    Raises
    ------
    OSError
        A worker does not end.
    """
    traces: dict[str, Trace] = {}
    until = time.monotonic() + LOCK_WAIT
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        while (trace := read_trace(path)) is not None and trace.running:
            if time.monotonic() > until:
                raise OSError(
                    f"{path}: a worker of an earlier run still works on this cell; end it first"
                )
            time.sleep(LOCK_POLL)
        if trace is not None:
            traces[path.name] = trace
    return traces


def clear_spool(folder: Path, keys: Iterable[str]) -> None:
    """Delete the files of cells that are in the ledger or will start again."""
    for key in keys:
        (folder / key).unlink(missing_ok=True)


def _write(file: int, content: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):  # a full disk, as above
        text = json.dumps(content)
        os.write(file, f"{_checksum(text)} {text}\n".encode())


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _read(line: str) -> Any:
    """Decode a line; ValueError if it was cut short or changed."""
    if line.startswith("{"):  # of a version without checksums
        return json.loads(line)
    checksum, _, text = line.partition(" ")
    if checksum != _checksum(text):
        raise ValueError("the line does not match its checksum")
    return json.loads(text)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks here: take the content as it is
        return True
    return True


def _trace(content: bytes) -> Trace:
    first, *lines = content.decode(errors="replace").split("\n")
    try:
        cell = _read(first)
    except ValueError:
        return Trace(running=False)
    text = "\n".join(lines).strip()
    try:  # a record that was cut short is no JSON
        record = Record(**_read(text.rpartition("\n")[2]))
    except (ValueError, TypeError):
        return Trace(running=False, cell=cell, text=text)
    return Trace(running=False, cell=cell, record=record)
