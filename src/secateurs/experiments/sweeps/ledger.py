"""The ledger of a sweep: what every cell came to, in one sqlite file with one writer.

A cell's key is the SHA-256 of its canonical JSON.  Records go in by batches, each a transaction of
a write-ahead log with synchronous=FULL: after a commit neither SIGKILL nor a power failure loses
it.  Between commits finished cells are in the spool (`worker.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from secateurs.core.atomic_write import write_atomically

if TYPE_CHECKING:
    import pandas as pd

APPLICATION_ID = 0x53656361  # "Seca": this file is a ledger
VERSION = 2  # of the records: 1 has no certificates, and programs that know no others refuse 2
READABLE = (1, VERSION)
EXPORTS = (".parquet", ".csv")
VERDICT = "certificate."  # before the name of a check, in the columns of an export
_COLUMNS = ("key", "status")  # of a record, kept in columns of their own
# columns of an export that no metric may be called
RESERVED = (
    *("problem", "method", "seed", "version", "label"),
    *("status", "attempts", "failure", "key"),
)
MISSES = 10_000  # unreadable rows in a row after which salvage takes the file to be over

Status = Literal["done", "failed"]

# errors of the file system or of other programs: the file itself may be whole
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
    """A ledger that cannot be used, and the way out."""


class LedgerFullError(OSError):
    """The disk is full; what was committed is kept."""


@dataclass(frozen=True)
class Record:
    """What a cell came to.

    Attributes
    ----------
    key : str
        SHA-256 of the settings.
    status : {"done", "failed"}
    metrics : dict
        Empty for a failed cell; None where a metric does not apply.
    attempts : int
    error : str or None
        Type and message, then the end of the traceback.
    certificate : list of dict, or None
        Checks as `Certificate.to_list` has them; None for a method that gives none, a failed cell,
        and any cell recorded by a program that kept none (a ledger of version 1).
    """

    key: str
    status: Status
    metrics: dict[str, float | None]
    attempts: int = 1
    error: str | None = None
    certificate: list[dict[str, Any]] | None = None


def canonical(settings: Mapping[str, Any]) -> str:
    """JSON that is equal for equal settings: sorted keys, floats by repr, no NaN."""
    return json.dumps(settings, sort_keys=True, allow_nan=False, separators=(",", ":"))


def key_of(settings: Mapping[str, Any]) -> str:
    """Name of a cell: SHA-256 of its canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(settings).encode()).hexdigest()


class Ledger:
    """An open ledger; the file is made when it is not there.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    LedgerError
        Not a ledger, of another version, or damaged.
    LedgerFullError
        The disk is full.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            self._database = _connect(self.path)
            self._open()
        except sqlite3.Error as error:
            raise self._explained(error) from error

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
            raise LedgerError(f"{self.path}: a database, but not a ledger of secateurs")
        elif version not in READABLE:
            raise LedgerError(
                f"{self.path}: a ledger of version {version}, this program writes {VERSION}; "
                "use the program that made it, or another run folder"
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
        """Close the file; everything added is in it."""
        with contextlib.suppress(sqlite3.Error):  # a full disk: the log stays beside it
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._database.close()

    def add(self, records: Iterable[tuple[Mapping[str, Any], Record]]) -> None:
        """Add records in one transaction: all are kept, or none.

        A finished cell is never replaced, a failed one is.

        Raises
        ------
        LedgerFullError
            The disk is full; the transaction is undone.
        """
        rows = []
        for settings, record in records:
            text = canonical(settings)
            told = canonical({k: v for k, v in asdict(record).items() if k not in _COLUMNS})
            rows.append(
                (record.key, text, record.status, told, _checksum(text, record.status, told))
            )
        if not rows:
            return
        try:
            self._database.execute("BEGIN IMMEDIATE")
            if self._version != VERSION:  # from here on it holds what older programs cannot read
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
        """Keep where and with what versions a run was started."""
        try:
            self._database.execute(
                "INSERT INTO starts (environment) VALUES (?)", [canonical(environment)]
            )
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def starts(self) -> list[dict[str, Any]]:
        """Environments of all starts, the first one first."""
        rows = self._database.execute("SELECT environment FROM starts ORDER BY number")
        return [json.loads(text) for (text,) in rows]

    def records(self) -> Iterator[tuple[dict[str, Any], Record]]:
        """Settings and record of every cell, in the order in which they came."""
        for key, settings, status, record, _ in self._rows():
            yield json.loads(settings), Record(key, status, **json.loads(record))

    def keys(self, status: str) -> set[str]:
        """Keys of the cells that are "done" or "failed"."""
        rows = self._database.execute("SELECT key FROM cells WHERE status=?", [status])
        return {key for (key,) in rows}

    def frame(self, labels: Mapping[str, str] | None = None) -> pd.DataFrame:
        """One row a cell, sorted by settings: settings, status, metrics, verdicts, the rest.

        Settings of the problem keep their names, those of the method are called
        ``method.NAME``, other objects in a cell's settings are spread the same way.  The verdict of
        each check is in ``certificate.CHECK``, None in a cell without it.  The error of a failed
        cell is in "failure": a metric may be called error.

        Parameters
        ----------
        labels : mapping, optional
            Column "label" by the canonical JSON of ``[method, method_settings]``; the method's
            name where there is none.
        """
        import pandas as pd  # not needed by workers, which import this file for `Record`

        rows: list[dict[str, Any]] = []
        places: list[Any] = []
        metrics: dict[str, None] = {}
        verdicts: dict[str, None] = {}
        for settings, record in self.records():  # one by one: certificates are long
            row: dict[str, Any] = {}
            for name, value in settings.items():
                prefix = "" if name == "problem_settings" else f"{name.removesuffix('_settings')}."
                if isinstance(value, dict):
                    row.update({f"{prefix}{inner}": v for inner, v in value.items()})
                else:
                    row[name] = value
            if "method" in settings:
                known = canonical_method(settings["method"], settings["method_settings"])
                row["label"] = (labels or {}).get(known, settings["method"])
            row |= {"status": record.status, **record.metrics}
            told = {VERDICT + check["name"]: check["verdict"] for check in record.certificate or ()}
            row |= told
            row |= {"attempts": record.attempts, "failure": record.error, "key": record.key}
            metrics.update(dict.fromkeys(record.metrics))
            verdicts.update(dict.fromkeys(told))
            rows.append(row)
            places.append(_sortable(settings))
        if not rows:
            return pd.DataFrame()
        order = sorted(range(len(rows)), key=places.__getitem__)
        frame = pd.DataFrame([rows[i] for i in order])
        last = [*verdicts, "attempts", "failure", "key"]
        types = {**dict.fromkeys(metrics, float), "failure": object}
        return frame[[*(name for name in frame if name not in last), *last]].astype(types)

    def export(self, path: str | Path, labels: Mapping[str, str] | None = None) -> None:
        """Write `frame` as .parquet or .csv, whole or not at all.

        Raises
        ------
        ValueError
            The name ends in neither.
        """
        kind = export_format(path)
        stream = io.BytesIO()
        frame = self.frame(labels)
        if kind == ".csv":
            frame.to_csv(stream, index=False)
        else:
            frame.to_parquet(stream, index=False)
        write_atomically(path, stream.getvalue())

    def _rows(self) -> Iterator[tuple[str, str, Status, str, int]]:
        yield from self._database.execute(
            "SELECT key, settings, status, record, checksum FROM cells ORDER BY number"
        )

    def _damaged(self, detail: str) -> LedgerError:
        return LedgerError(
            f"{self.path}: the ledger is damaged ({detail}); run the same command with --salvage: "
            "it moves the file aside and keeps every cell that can still be read"
        )

    def _explained(self, error: sqlite3.Error) -> Exception:
        """The error of sqlite in our words."""
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None:
            code &= 0xFF  # without its details
        if code == sqlite3.SQLITE_FULL:
            return LedgerFullError(
                f"{self.path}: the disk is full; every cell recorded so far is kept: "
                "free some space and go on with --resume"
            )
        if code in _ELSEWHERE:
            return OSError(f"{self.path}: {error}")
        if isinstance(error, sqlite3.IntegrityError):  # of this program, not of the file
            return error
        return self._damaged(str(error))


def export_format(path: str | Path) -> str:
    """The end of an export's name; refused unless it is one of `EXPORTS`."""
    kind = Path(path).suffix.lower()
    if kind not in EXPORTS:
        raise ValueError(f"{path}: the name of an export must end in {' or '.join(EXPORTS)}")
    return kind


def canonical_method(method: str, settings: Mapping[str, Any]) -> str:
    """What a label belongs to."""
    return canonical({"method": method, "settings": settings})


def salvage(path: str | Path) -> tuple[int, Path]:
    """Move a damaged ledger aside and write a new one with every cell that is still whole.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    n_cells : int
        How many could be read and match their key and checksum.
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
    """Rows that can be read one by one and are whole."""
    database = _connect(path)
    try:
        number = misses = 0
        while misses < MISSES:
            number, misses = number + 1, misses + 1
            # a damaged page fails in sqlite, a damaged row in what is made of it
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
    database.text_factory = lambda content: content.decode(errors="replace")  # seen by checksum
    return database


def _checksum(settings: str, status: str, record: str) -> int:
    return zlib.crc32(f"{settings}\n{status}\n{record}".encode())


def _intact(key: str, settings: str, status: str, record: str, checksum: int) -> bool:
    return (
        key == hashlib.sha256(settings.encode()).hexdigest()
        and _checksum(settings, status, record) == checksum
    )


def _sortable(value: Any) -> Any:
    """A key that sorts settings, numbers as numbers, whatever types there are."""
    if isinstance(value, dict):
        return (2, sorted((name, _sortable(inner)) for name, inner in value.items()))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (0, value)
    return (1, str(value))
