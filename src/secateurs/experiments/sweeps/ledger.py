"""The ledger of a sweep: the records of all cells, in one SQLite file with one writer.

Records are added in batches.  Each batch is a transaction of a write-ahead log with
synchronous=FULL: after a commit, neither SIGKILL nor a power failure loses it.  Cells that finish
between two commits are in the spool (`spool.py`).
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from secateurs.experiments.sweeps.record import Record, Status, canonical, text_key

APPLICATION_ID = 0x53656361  # "Seca": this file is a ledger
# version of the file: records of version 1 have no certificates, starts before 3 no checksum
VERSION = 3
READABLE = (1, 2, VERSION)
MISSES = 10_000  # unreadable rows in sequence after which salvage takes the file to be over
_COLUMNS = ("key", "status")  # fields of a record that have columns of their own

# Errors of the file system or of other programs; the file itself may be whole.
_ELSEWHERE = (
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM),
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED),
)
_TABLES = """
CREATE TABLE cells (
  number INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  settings TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('done', 'failed')),
  record TEXT NOT NULL,
  checksum INTEGER NOT NULL
);
CREATE TABLE starts (number INTEGER PRIMARY KEY, environment TEXT NOT NULL);
"""


class LedgerError(ValueError):
    """A ledger that cannot be used; the message says what to do."""


class LedgerFullError(OSError):
    """The disk is full; committed records are kept."""


class Ledger:
    """An open ledger; a file that does not exist is made.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    LedgerError
        The file is not a ledger, has another version, or is damaged.
    LedgerFullError
        The disk is full.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if self.path.exists() and not self.path.is_file():
            raise LedgerError(f"{self.path}: got no regular file; expected a ledger")
        try:
            self._database = _connect(self.path)
            try:
                self._open()
                self.starts()
            except BaseException:
                self._database.close()
                raise
        except sqlite3.OperationalError as error:
            if "no such" in str(error):  # a name in the file is damaged
                raise self._damaged(str(error)) from error
            raise self._explained(error) from error
        except sqlite3.Error as error:
            raise self._explained(error) from error
        except UnicodeError as error:  # in the messages of SQLite about a damaged file
            raise self._damaged("its names cannot be read") from error

    def _open(self) -> None:
        execute = self._database.execute
        (tables,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = execute("PRAGMA application_id").fetchone()
        (version,) = execute("PRAGMA user_version").fetchone()
        if tables == 0 and application == 0:
            execute("PRAGMA journal_mode=WAL")
            execute("BEGIN")
            for statement in _TABLES.strip().split(";\n"):
                execute(statement)
            execute(f"PRAGMA application_id={APPLICATION_ID}")
            execute(f"PRAGMA user_version={VERSION}")
            execute("COMMIT")
        elif application != APPLICATION_ID:
            raise LedgerError(f"{self.path}: this database is not a ledger of secateurs")
        elif version not in READABLE:
            raise LedgerError(
                f"{self.path}: got a ledger of version {version}; expected {VERSION} or older; use "
                "the program that made it, or another run folder"
            )
        self._version = VERSION if tables == 0 else version
        execute("PRAGMA journal_mode=WAL")
        execute("PRAGMA synchronous=FULL")
        (verdict,) = execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise self._damaged(verdict)
        for row in self._rows():
            if not _intact(*row):
                raise self._damaged(f"cell {row[0][:12]} does not match its checksum")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(sqlite3.Error):  # on a full disk the log stays beside it
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._database.close()

    def add(self, records: Iterable[tuple[Mapping[str, Any], Record]]) -> None:
        """Add records in one transaction: all of them are kept, or none.

        A finished cell is never replaced; a failed one is.

        Raises
        ------
        LedgerFullError
            The disk is full; none of the records is added.
        """
        rows = []
        for settings, record in records:
            text = canonical(settings)
            rest = canonical({k: v for k, v in asdict(record).items() if k not in _COLUMNS})
            checksum = _checksum(text, record.status, rest)
            rows.append((record.key, text, record.status, rest, checksum))
        if not rows:
            return
        try:
            self._database.execute("BEGIN IMMEDIATE")
            if self._version != VERSION:  # older programs cannot read it from here on
                self._database.execute(f"PRAGMA user_version={VERSION}")
            self._database.executemany(
                "INSERT INTO cells (key, settings, status, record, checksum) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET status=excluded.status, "
                "record=excluded.record, checksum=excluded.checksum WHERE status='failed'",
                rows,
            )
            self._database.execute("COMMIT")
            self._version = VERSION
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            raise self._explained(error) from error

    def note_start(self, environment: Mapping[str, Any]) -> None:
        """Record the machine and the versions with which a run was started."""
        text = canonical(environment)
        try:
            self._database.execute(f"PRAGMA user_version={VERSION}")
            self._database.execute(
                "INSERT INTO starts (environment) VALUES (?)", [f"{_start_checksum(text)} {text}"]
            )
            self._version = VERSION
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def starts(self) -> list[dict[str, Any]]:
        """Return the environments of all starts, in order."""
        rows = self._database.execute("SELECT environment FROM starts ORDER BY number")
        return [self._start(text) for (text,) in rows]

    def _start(self, written: Any) -> dict[str, Any]:
        """Check and decode the environment of one start."""
        try:
            if written.startswith("{"):  # of a version without checksums
                return dict(json.loads(written))
            checksum, _, text = written.partition(" ")
            if checksum == _start_checksum(text):
                return dict(json.loads(text))
        except (AttributeError, TypeError, ValueError):
            pass
        raise self._damaged("a start does not match its checksum")

    def records(self) -> Iterator[tuple[dict[str, Any], Record]]:
        """Yield settings and record of every cell, in the order in which they were added."""
        for key, settings, status, record, _ in self._rows():
            yield json.loads(settings), Record(key, status, **json.loads(record))

    def keys(self, status: str) -> set[str]:
        """Return the keys of the cells that are "done" or "failed"."""
        rows = self._database.execute("SELECT key FROM cells WHERE status=?", [status])
        return {key for (key,) in rows}

    def _rows(self) -> Iterator[tuple[str, str, Status, str, int]]:
        yield from self._database.execute(
            "SELECT key, settings, status, record, checksum FROM cells ORDER BY number"
        )

    def _damaged(self, detail: str) -> LedgerError:
        detail = " ".join(detail.replace("*** in database main ***", "").split())
        return LedgerError(
            f"{self.path}: the ledger is damaged ({detail}); run the same command with --salvage: "
            "it moves the file aside and keeps every cell that can be read"
        )

    def _explained(self, error: sqlite3.Error) -> Exception:
        """Translate an error of SQLite."""
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None:
            code &= 0xFF  # the primary code
        if code == sqlite3.SQLITE_FULL:
            return LedgerFullError(
                f"{self.path}: the disk is full; all cells recorded so far are kept; free some "
                "space and continue with --resume"
            )
        if code in _ELSEWHERE:
            return OSError(f"{self.path}: {error}")
        if isinstance(error, sqlite3.IntegrityError):  # an error of this program
            return error
        return self._damaged(str(error))


def salvage(path: str | Path) -> tuple[int, Path]:
    """Move a damaged ledger aside and write a new one with every undamaged cell.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    n_cells : int
        Cells that could be read and match their key and checksum.
    aside : Path
        Where the damaged file is now.
    """
    path = Path(path)
    saved = list(_readable(path)) if path.is_file() else []
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    fresh = path.with_name(f"{path.name}.salvaged")
    fresh.unlink(missing_ok=True)
    with Ledger(fresh) as ledger:
        ledger.add(saved)
    for tail in ("-wal", "-shm"):
        beside = path.with_name(path.name + tail)
        if beside.exists():
            beside.replace(aside.with_name(aside.name + tail))
    path.replace(aside)
    fresh.replace(path)
    return len(saved), aside


def _readable(path: Path) -> Iterator[tuple[dict[str, Any], Record]]:
    """Yield the rows that can be read one by one and are undamaged."""
    database = _connect(path)
    try:
        number = misses = 0
        while misses < MISSES:
            number, misses = number + 1, misses + 1
            # SQLite refuses a damaged page; a damaged row fails to decode
            with contextlib.suppress(sqlite3.Error, TypeError, ValueError, AttributeError):
                row = database.execute(
                    "SELECT key, settings, status, record, checksum FROM cells WHERE number=?",
                    [number],
                ).fetchone()
                if _intact(*row):
                    misses = 0
                    key, settings, status, record, _ = row
                    yield json.loads(settings), Record(key, status, **json.loads(record))
    finally:
        database.close()


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.text_factory = lambda content: content.decode(
        errors="replace"
    )  # the checksum shows the damage
    return database


def _checksum(settings: str, status: str, record: str) -> int:
    return zlib.crc32(f"{settings}\n{status}\n{record}".encode())


def _start_checksum(environment: str) -> str:
    return f"{zlib.crc32(environment.encode()):08x}"


def _intact(key: Any, settings: Any, status: Any, record: Any, checksum: Any) -> bool:
    if not all(isinstance(text, str) for text in (key, settings, status, record)):
        return False
    return bool(key == text_key(settings) and _checksum(settings, status, record) == checksum)
