"""The record of a cell, and its key, which depends on its settings only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["done", "failed"]

# Columns of an exported table; no metric may have one of these names.
RESERVED = (
    *("problem", "method", "seed", "version", "label"),
    *("status", "attempts", "failure", "key"),
)


@dataclass(frozen=True)
class Record:
    """Result of a cell.

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
        Checks as `Certificate.to_list` returns them.  None for a method without a certificate, for
        a failed cell, and in a ledger of version 1.
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
    """Return the key of a cell: SHA-256 of its canonical JSON, as 64 hexadecimal digits."""
    return text_key(canonical(settings))


def text_key(text: str) -> str:
    """Return the key of settings that are canonical JSON already."""
    return hashlib.sha256(text.encode()).hexdigest()


def canonical_method(method: str, settings: Mapping[str, Any]) -> str:
    """JSON that is equal for the same method with the same settings; labels are found by it."""
    return canonical({"method": method, "settings": settings})
