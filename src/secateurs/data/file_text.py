"""The text of a file: unpacked within bounds, and decoded."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from secateurs.core.description import counted
from secateurs.data.errors import DatasetError, bad_data, unreadable
from secateurs.data.text_encoding import find_encoding

#: A packed file may hold this many bytes, or `LARGEST_RATIO` times its own size.
FREE_BYTES = 1 << 26
LARGEST_RATIO = 50
_CHUNK = 1 << 20
_OTHER_KINDS = (
    (re.compile(r'\s*(\[\s*[{\[]|{\s*")'), "a JSON"),
    (re.compile(r"\s*<(!doctype|html|\?xml|table)", re.IGNORECASE), "an HTML or XML"),
    (re.compile(r"(\s|%.*\n)*@relation\b", re.IGNORECASE), "an ARFF"),
)
_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
)
_CAUSES = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class FileText:
    """The text of a file, with the name of its encoding and of its compression ("" for none)."""

    text: str
    encoding: str
    compression: str


def read_text(path: Path, encoding: str | None = None) -> FileText:
    """Unpack and decode a file.

    Parameters
    ----------
    path : Path
    encoding : str, optional
        By default as `secateurs.data.text_encoding.find_encoding` finds it.

    Raises
    ------
    DatasetError
        The file cannot be unpacked within `LARGEST_RATIO`, is empty, or is not text.
    """
    content, compression = _unpacked(path)
    name = encoding or find_encoding(content)
    if name is None:
        raise _no_text(path)
    mended = encoding is None and name == "utf-8"
    try:
        text = content.decode(name, errors="replace" if mended else "strict")
    except UnicodeError as error:
        do = "give another --encoding, such as cp1252 or utf-16"
        raise unreadable(path, error, f"text in the encoding {name}", do) from error
    if text.startswith("\ufeff"):
        text = text[1:]
    text = text.rstrip("\x1a")  # the end of a file of DOS
    if "\0" in text:
        raise _no_text(path)
    for pattern, kind in _OTHER_KINDS:
        if pattern.match(text):
            raise bad_data(path, f"{kind} file", "a table as text", "export it as CSV")
    name = name.removesuffix("-sig")
    n_damaged = text.count("\ufffd") if mended else 0
    if n_damaged:
        name += f" with {counted(n_damaged, 'damaged letter')}"
    return FileText(text, name, compression)


def _no_text(path: Path) -> DatasetError:
    got = "bytes that are not text"
    return bad_data(path, got, "a table as text", "export it as CSV, or give --encoding")


def _unpacked(path: Path) -> tuple[bytes, str]:
    if not path.is_file():
        raise bad_data(path, "no regular file", "a file")
    with path.open("rb") as file:
        start = file.read(8)
    compression = next((name for magic, name in _MAGIC if start.startswith(magic)), "")
    suffix = path.suffix.lower()
    if not compression and suffix in (".gz", ".bz2", ".xz", ".zst", ".zip"):
        error = ValueError(f"it does not start as a {suffix} file does")
        raise unreadable(path, error, "a packed table", "write it again") from error
    if not compression:
        return path.read_bytes(), ""
    most = max(FREE_BYTES, LARGEST_RATIO * path.stat().st_size)
    content = io.BytesIO()
    try:
        with _open(path, compression) as packed:
            while chunk := packed.read(_CHUNK):
                content.write(chunk)
                if content.tell() > most:
                    got = f"a packed file of more than {most} bytes"
                    raise bad_data(path, got, "at most that", "unpack it first")
    except _CAUSES as error:
        if isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise
        raise unreadable(path, error, "a packed table", "write it again") from error
    return content.getvalue(), compression


def _open(path: Path, compression: str) -> IO[bytes]:
    if compression == "zip":
        archive = zipfile.ZipFile(path)
        members = [name for name in archive.namelist() if not name.endswith("/")]
        members = [name for name in members if not name.startswith("__MACOSX/")]
        if any(name.startswith(("xl/", "content.xml")) for name in members):
            raise bad_data(path, "a spreadsheet", "a table as text", "export it as CSV")
        tables = [name for name in members if name.lower().endswith((".csv", ".tsv"))]
        members = tables if len(tables) == 1 else members
        if len(members) != 1:
            got = f"a zip file of {len(members)} files"
            raise bad_data(path, got, "one file", "unpack it and name the table")
        return archive.open(members[0])
    if compression == "zstd":
        return cast("IO[bytes]", pa.input_stream(str(path), compression="zstd"))
    if compression == "gzip":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return cast("IO[bytes]", bz2.open(path, "rb") if compression == "bzip2" else lzma.open(path))
