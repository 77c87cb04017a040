"""Find the line of a TOML file on which a field is written."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import Any

Location = tuple[str | int, ...]  # of a field: names of tables and keys, indices of arrays


def line_of(text: str, where: Location) -> int:
    """Return the line of a field, or of the nearest table or key around it, or 1."""
    table: Location = ()
    counts: dict[Location, int] = {}
    best, line = 0, 1
    for number, written in enumerate(text.splitlines(), 1):
        header = re.fullmatch(r"\s*(\[\[?)([^\[\]]+)\]\]?\s*(#.*)?", written)
        key = re.match(r"\s*([^\s=#\[][^=#]*?)\s*=", written)
        if header:
            name = _parts(header[2])
            if header[1] == "[[":
                counts[name] = counts.get(name, -1) + 1
            table = name if name not in counts else (*name, counts[name])
            here = table
        elif key:
            here = (*table, *_parts(key[1]))
        else:
            continue
        if best < len(here) <= len(where) and where[: len(here)] == here:
            best, line = len(here), number
    return line


def written_part(given: Any, location: Sequence[str | int]) -> Location:
    """Return the part of a pydantic location that is in the file; the rest names types."""
    found: list[str | int] = []
    level = given
    for part in location:
        if isinstance(level, dict) and part in level:
            level = level[str(part)]
        elif isinstance(level, list) and isinstance(part, int) and part < len(level):
            level = level[part]
        else:
            continue
        found.append(part)
    return tuple(found)


def _parts(key: str) -> Location:
    """Split a dotted key; () where it is not one."""
    try:
        level: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    parts: list[str] = []
    while isinstance(level, dict):
        (name,) = level
        parts.append(name)
        level = level[name]
    return tuple(parts)
