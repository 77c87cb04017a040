"""Changes of a file: of bits, bytes, numbers and parts, also below a compression."""

from __future__ import annotations

import gzip
import io
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable

NUMBERS = (
    *(b"-1", b"0", b"1e999", b"NaN", b"-0.0", b"1e-320", b"9999999999", b"4294967296"),
    *(b"99999999999999999999999999", b"null", b"true", b'""', b"[]", b"{}", b"0x1"),
)
TEXTS = (
    b"\x00",
    b"\r",
    b"\n\n",
    b'"',
    b"'",
    b",",
    b";",
    b"\t",
    b"\xff\xfe",
    b"[" * 50,
    b"\xed\xa0\x80",
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
MOST_CHANGES = 4


def mutated(content: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Return a changed file.

    Parameters
    ----------
    content : bytes
    others : list of bytes
        Sound files of the same format, parts of which may be inserted.
    rng : random.Random
    """
    if rng.random() < 0.5:
        unpacked = _unpacked(content, rng)
        if unpacked is not None:
            inner, pack = unpacked
            return pack(_changed(inner, [inner], rng))
    return _changed(content, others, rng)


def _changed(content: bytes, others: list[bytes], rng: random.Random) -> bytes:
    for _ in range(rng.randint(1, MOST_CHANGES)):
        change = rng.choice((_flip, _flip, _byte, _cut, _remove, _insert, _splice, _number, _word))
        content = change(content, others, rng)
    return content


def _flip(content: bytes, _others: list[bytes], rng: random.Random) -> bytes:
    if not content:
        return content
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]


def _byte(content: bytes, _others: list[bytes], rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]


def _cut(content: bytes, _others: list[bytes], rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)] if rng.random() < 0.3 else content


def _remove(content: bytes, _others: list[bytes], rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + content[at + rng.randint(1, 16) :]


def _insert(content: bytes, _others: list[bytes], rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    more = rng.choice(TEXTS) if rng.random() < 0.5 else rng.randbytes(rng.randint(1, 8))
    return content[:at] + more + content[at:]


def _splice(content: bytes, others: list[bytes], rng: random.Random) -> bytes:
    other = rng.choice(others)
    start = rng.randrange(len(other) + 1)
    part = other[start : start + rng.randint(1, 200)]
    at = rng.randrange(len(content) + 1)
    return content[:at] + part + content[at + rng.choice((0, len(part))) :]


def _number(content: bytes, _others: list[bytes], rng: random.Random) -> bytes:
    """Put another number where one is written in digits."""
    found = list(_NUMBER.finditer(content))
    if not found:
        return content
    here = rng.choice(found)
    return content[: here.start()] + rng.choice(NUMBERS) + content[here.end() :]


def _word(content: bytes, _others: list[bytes], rng: random.Random) -> bytes:
    """Put an extreme number where a binary one may be."""
    form = rng.choice(("<i", ">i", "<q", ">q"))
    bits = 32 if form[1] == "i" else 64
    value = rng.choice((0, 1, -1, 2 ** (bits - 1) - 1, -(2 ** (bits - 1)), 2**24, 255))
    word = struct.pack(form, value)
    at = rng.randrange(len(content) + 1)
    return content[:at] + word + content[at + len(word) :]


def _unpacked(content: bytes, rng: random.Random) -> tuple[bytes, Callable[[bytes], bytes]] | None:
    """Return what a packed file holds, and how to pack it again."""
    if content.startswith(b"\x1f\x8b"):
        return gzip.decompress(content), lambda inner: gzip.compress(inner, mtime=0)
    if content.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        chosen = rng.choice(sorted(parts))
        return parts[chosen], lambda inner: _zipped({**parts, chosen: inner})
    if content.startswith(b"\x89PNG"):
        return content, _with_sums
    return None


def _zipped(parts: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(zipfile.ZipInfo(name), part)
    return stream.getvalue()


def _with_sums(png: bytes) -> bytes:
    """Return a PNG file whose parts have the checksums that they should have."""
    found, at = [png[:8]], 8
    while at + 12 <= len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        part = png[at + 4 : at + 8 + length]
        found.append(png[at : at + 4] + part + struct.pack(">I", zlib.crc32(part)))
        at += 12 + length
    return b"".join(found) + png[at:]
