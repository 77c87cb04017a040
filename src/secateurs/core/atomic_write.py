"""Write files that are either complete or absent."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from secateurs.core.output_files import PART, nameless_file, resolved_output


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file so that a reader never sees a part of it, and no kill leaves a part of it.

    The bytes go to a file without a name in the same directory, which is flushed to disk and then
    gets its name.  Where the system has no such files, a temporary file is used.  On failure an
    older file stays as it was.

    Parameters
    ----------
    path : str or Path
        A symbolic link is followed.
    content : bytes

    Raises
    ------
    OSError
        The disk is full, or the directory has become unwritable.
    ValueError
        A directory, a device, a pipe or a socket is there.
    """
    target, status = resolved_output(path)
    mode = _new_mode() if status is None else stat.S_IMODE(status.st_mode)
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        new = status is None
        if not _write_nameless(directory, target, content, mode, new=new):
            _write_temporary(target, content, mode)
        os.fsync(directory)
    finally:
        os.close(directory)


def _write_nameless(directory: int, target: Path, content: bytes, mode: int, *, new: bool) -> bool:
    """Write a file that has no name before it is complete; False where that is impossible."""
    try:
        file = nameless_file(target.parent)
    except OSError:  # not every file system has such files
        return False
    with os.fdopen(file, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fchmod(file, mode)
        os.fsync(file)
        # a rename replaces a file and a link does not, so there the complete file has a second name
        name = target.name if new else f"{PART}{os.getpid()}-{file}.part"
        try:
            # with a directory, because os.link follows no link without one
            os.link(f"/proc/self/fd/{file}", name, dst_dir_fd=directory, follow_symlinks=True)
        except OSError:  # no /proc, the file system refuses it, or the name is taken by now
            return False
        if new:
            return True
        try:
            os.replace(name, target.name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            os.unlink(name, dir_fd=directory)
            raise
    return True


def _write_temporary(target: Path, content: bytes, mode: int) -> None:
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=PART, suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(mode)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _new_mode() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
