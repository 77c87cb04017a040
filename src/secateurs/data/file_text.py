"""The text of a file: unpacked within bounds, and decoded."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import charset_normalizer
import pyarrow as pa

from secateurs.data.errors import bad_data, unreadable

#: A packed file may hold this many bytes, or `LARGEST_RATIO` times its own size.
FREE_BYTES = 1 << 26
LARGEST_RATIO = 50
MOST_MESS = 0.5  # of charset-normalizer, whose default refuses tables of few words
SAMPLE_BYTES = 1 << 16  # bytes from which the encoding is guessed
_CHUNK = 1 << 20
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# encodings that are guessed where cp1252 does not read well, for Latin and other scripts
_GUESSED = ("cp1250", "mac_roman")
_OTHER_SCRIPTS = ("cp1251", "cp1253", "cp932", "gb18030", "big5", "cp949")
_SIGN_IN_WORD = re.compile(r"[^\W\d_][\u00a1-\u00bf‚„…†‡‰‹›•™˜][^\W\d_]|[£¹³¿][^\W\d_]")
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
        By default: the byte order mark, else UTF-8, else UTF-16 if every second byte is zero,
        else the guess of charset-normalizer.

    Raises
    ------
    DatasetError
        The file cannot be unpacked within `LARGEST_RATIO`, is empty, or is not text.
    """
    content, compression = _unpacked(path)
    name = encoding or _encoding(content, path)
    try:
        text = content.decode(name)
    except UnicodeError as error:
        do = "give another --encoding, such as cp1252 or utf-16"
        raise unreadable(path, error, f"text in the encoding {name}", do) from error
    if text.startswith("\ufeff"):
        text = text[1:]
    text = text.rstrip("\x1a")  # the end of a file of DOS
    if "\0" in text:
        got = "bytes that are not text"
        raise bad_data(path, got, "a table as text", "export it as CSV, or give --encoding")
    return FileText(text, name.removesuffix("-sig"), compression)


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
        if len(members) != 1:
            got = f"a zip file of {len(members)} files"
            raise bad_data(path, got, "one file", "unpack it and name the table")
        return archive.open(members[0])
    if compression == "zstd":
        return cast("IO[bytes]", pa.input_stream(str(path), compression="zstd"))
    if compression == "gzip":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return cast("IO[bytes]", bz2.open(path, "rb") if compression == "bzip2" else lzma.open(path))


def _encoding(content: bytes, path: Path) -> str:
    for mark, name in _BOMS:
        if content.startswith(mark):
            return name
    sample = content[:SAMPLE_BYTES]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) > 0.4 * len(sample) // 2 and min(even, odd) == 0:
        return "utf-16-le" if odd else "utf-16-be"
    if b"\0" in sample:
        got = "bytes that are not text"
        raise bad_data(path, got, "a table as text", "export it as CSV, or give --encoding")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        # the guess needs the lines around the first letter that is not ASCII
        start = max(0, error.start - SAMPLE_BYTES // 2)
        return _guessed(content[start : start + SAMPLE_BYTES])
    return "utf-8"


def _guessed(sample: bytes) -> str:
    """Guess a legacy encoding; western Europe is preferred where it reads as well.

    Every encoding of one byte a letter reads every other, so that short texts mislead any guess.
    Words of Latin letters hold few letters beyond ASCII, and no signs such as a pound sign.
    """
    western = sample.decode("cp1252", errors="replace")
    words = [
        word
        for word in re.findall(r"[^\s\d,;|]+", western)
        if any(letter.isalpha() and not letter.isascii() for letter in word)
    ]
    if not words:  # only signs, such as the euro sign beside a price
        return "cp1252"
    letters = "".join(words)
    latin = 2 * sum(not letter.isascii() for letter in letters) < len(letters)
    signs = any(_SIGN_IN_WORD.search(word) for word in words)
    if latin and not signs:
        return "cp1252"
    candidates = _GUESSED if latin else _OTHER_SCRIPTS
    found = charset_normalizer.from_bytes(
        sample, cp_isolation=list(candidates), threshold=MOST_MESS
    )
    best = found.best()
    return "cp1252" if best is None else best.encoding
