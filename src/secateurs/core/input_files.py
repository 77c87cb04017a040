"""Guards of files that are read: regular files, of a bounded size, also after unpacking.

A device or a pipe may never end, and a small compressed file may unpack to terabytes.  Both are
refused by name before their content is read.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from secateurs.core.parameters import Shown, bad_value

GIGABYTE = 1 << 30
MOST_BYTES = 64 * GIGABYTE  # of any file that is read
MOST_TEXT = 1 << 24  # bytes of a file of settings
ALWAYS_UNPACKED = 64 << 20  # bytes that any compressed file may unpack to
MOST_EXPANSION = 100  # a larger file may unpack to this many times its size
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISLNK, "a loop of symbolic links"),
)


def kind_of(mode: int) -> str:
    """Describe what is not a regular file, from the mode that the system gives it."""
    return next((name for test, name in _KINDS if test(mode)), "a special file")


def check_input(path: str | Path, most: int | None = None) -> int:
    """Return the size in bytes of a file that is to be read, or refuse the file.

    Parameters
    ----------
    path : str or Path
    most : int, optional
        The largest size in bytes; by default `MOST_BYTES` or half of the memory of the machine,
        whichever is less.

    Raises
    ------
    FileNotFoundError
    ValueError
        The path is a device, a pipe, a socket or a directory, or the file is too large.
    """
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: got no file; expected an existing file") from None
    except (OSError, ValueError) as error:  # too long, a loop of links, a zero byte
        raise bad_value(
            _shown(path), Shown(f"a path that cannot be read ({error})"), "a file"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise bad_value(str(path), Shown(kind_of(status.st_mode)), "a regular file")
    limit = most_bytes() if most is None else most
    if status.st_size > limit:
        raise bad_value(
            *(str(path), Shown(f"a file of {status.st_size} bytes"), f"at most {limit} bytes"),
            do="give a part of it",
        )
    return status.st_size


def most_bytes() -> int:
    """Return the size of the largest file that is read on this machine."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # the system does not say
        return MOST_BYTES
    return min(MOST_BYTES, memory // 2)


def check_unpacked(path: str | Path, n_bytes: int, always: int = ALWAYS_UNPACKED) -> None:
    """Refuse a file that unpacks to far more bytes than it has: a bomb.

    Raises
    ------
    ValueError
        `n_bytes` is above `always`, and either above `MOST_EXPANSION` times the size of
        the file or above what is read on this machine.
    """
    size = check_input(path)
    limit = max(always, min(MOST_EXPANSION * size, most_bytes()))
    if n_bytes > limit:
        raise bad_value(
            *(str(path), Shown(f"{size} bytes that unpack to {n_bytes} or more")),
            f"at most {limit} bytes when unpacked",
            do="unpack it, or write it without compression",
        )


def _shown(path: str | Path) -> str:
    text = str(path)
    return text if len(text) <= 80 else f"{text[:80]}..."
