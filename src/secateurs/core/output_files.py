"""Checks of the files that are written: nothing else is destroyed.

Before any work is done, `check_output` refuses a path that cannot be written or that would destroy
what is there.  A symbolic link is followed: the file that it points to is replaced, and the link
stays.  An existing file is replaced only by a file of its own kind.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from secateurs.core.input_files import kind_of
from secateurs.core.parameters import Shown, bad_value

KINDS = {
    "model": "a safetensors file of secateurs",
    "figure": "a figure",
    "table": "a table that secateurs wrote",
    "page": "a page",
    "onnx": "an ONNX file",
}
_HEAD = 4096  # bytes that tell the kind of a file
PART = ".secateurs-"  # how the name of a temporary file begins
MAX_PATH = 200  # characters of a path in a message


def check_output(
    path: str | Path,
    kind: str | None = None,
    *,
    columns: str = "",
    inputs: Iterable[str | Path] = (),
    others: Iterable[str | Path] = (),
) -> Path:
    """Return the file that a path stands for, or refuse the path.  Nothing is left behind.

    Parameters
    ----------
    path : str or Path
    kind : str, optional
        One of `KINDS`.  An existing file is refused unless it is empty or of this kind; without a
        kind any regular file may be replaced.
    columns : str
        How the first line of a table begins.
    inputs : paths
        Files that the command reads.
    others : paths
        Other files that the command writes.

    Returns
    -------
    Path
        The path, with symbolic links followed.

    Raises
    ------
    ValueError
        The path is a directory, a device, a pipe or a socket; it cannot be written; it is an input
        or another output; or a file of another kind is there.
    """
    shown = short_path(path)
    target, status = resolved_output(path)
    _check_directory(target.parent, shown)
    if status is not None:
        if status.st_mode & 0o222 == 0 or not os.access(target, os.W_OK):
            raise _refused(shown, "a file that is read-only", "a file that can be written")
        for one in inputs:
            if _same(target, one):
                raise _refused(shown, "an input of the same command", "another file")
        if kind is not None and status.st_size and not _is_kind(target, kind, columns):
            raise bad_value(
                *(shown, Shown("a file of another kind"), f"a new file, or {KINDS[kind]}"),
                do="give another name, or delete the file first",
            )
    for one in others:
        if os.path.realpath(one) == str(target) or _same(target, one):
            raise _refused(shown, "the same file for two outputs", "different files")
    return target


def resolved_output(path: str | Path) -> tuple[Path, os.stat_result | None]:
    """Follow the links of a path, and refuse what is neither absent nor a regular file.

    Returns
    -------
    target : Path
    status : os.stat_result or None
        None where there is nothing yet.
    """
    shown = short_path(path)
    try:
        target = Path(os.path.realpath(path))
        status = target.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return target, None
    except (OSError, ValueError) as error:  # the name is too long, or has a zero byte
        raise _refused(shown, f"a path that cannot be used ({error})", "a file") from error
    if not stat.S_ISREG(status.st_mode):
        raise _refused(shown, kind_of(status.st_mode), "the name of a file")
    return target, status


def _check_directory(directory: Path, shown: str) -> None:
    """Refuse a directory that does not exist or takes no file."""
    if not directory.is_dir():
        raise bad_value(
            *(shown, Shown("a directory that does not exist"), "an existing directory"),
            do=f"make {directory} first",
        )
    # a file system may be read-only, and an administrator has every permission: so try it
    try:
        os.close(nameless_file(directory))
    except OSError:
        try:
            descriptor, name = tempfile.mkstemp(dir=directory, prefix=PART)
        except OSError as error:
            got = f"a directory without write permission ({error.strerror})"
            raise _refused(shown, got, "a directory that you can write to") from error
        os.close(descriptor)
        Path(name).unlink()


def nameless_file(directory: Path) -> int:
    """Open a file that has no name yet, which not every system has, and return its descriptor."""
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None:
        raise OSError("this system has no files without names")
    return os.open(directory, flag | os.O_WRONLY, 0o600)


def short_path(path: str | Path) -> str:
    """Return a path for a message."""
    text = str(path)
    return text if len(text) <= MAX_PATH else f"{text[:MAX_PATH]}..."


def _same(target: Path, other: str | Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return target.samefile(other)
    return False


def _is_kind(path: Path, kind: str, columns: str) -> bool:
    """Whether the first bytes of a file are those of its kind."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    starts: dict[str, tuple[bytes, ...]] = {
        "figure": (b"\x89PNG", b"%PDF", b"<?xml", b"<svg"),
        "table": (columns.encode(),),
        "page": (b"<!doctype html", b"<!DOCTYPE html"),
        "onnx": (b"\x08",),  # the version, which is the first field
    }
    if kind == "model":
        return head[8:].startswith(b'{"__metadata__":{"secateurs":')
    return head.startswith(starts[kind])


def _refused(path: str, got: str, expected: str) -> ValueError:
    return bad_value(path, Shown(got), expected)
