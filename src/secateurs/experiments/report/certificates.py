"""Certificates of a hundred thousand cells, small enough for a page.

The sentences of a check differ from cell to cell by their numbers alone: a sentence is kept once,
in pieces, and of each cell the verdicts and the numbers that stand between the pieces.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
Checks = list[dict[str, Any]]


def packed(
    certificates: Iterable[tuple[str, Checks | None]], keys: Sequence[str]
) -> dict[str, Any]:
    """Certificates of cells by key, in the order of `keys`.

    Parameters
    ----------
    certificates : iterable of (key, checks)
        As in `Record`; read once.
    keys : sequence of str

    Returns
    -------
    dict
        "sentences": {"check", "source", "pieces"} of each that occurs.  "cells": a text for each
        key, empty without a certificate, else for each check, between semicolons, the number of
        its sentence, the first letter of its verdict, measured, threshold ("-": none; six digits)
        and the numbers between the pieces, between blanks.
    """
    places: dict[tuple[str, ...], int] = {}
    texts: dict[str, str] = {}
    for key, checks in certificates:
        parts = []
        for check in checks or ():
            statement = check["statement"]
            sentence = (check["name"], check["source"], *NUMBER.split(statement))
            place = places.setdefault(sentence, len(places))
            numbers = [_short(check["measured"]), _short(check["threshold"])]
            numbers += NUMBER.findall(statement)
            parts.append(" ".join([str(place), check["verdict"][0], *numbers]))
        texts[key] = ";".join(parts)
    return {
        "sentences": [
            {"check": check, "source": source, "pieces": pieces}
            for check, source, *pieces in places
        ],
        "cells": [texts.get(key, "") for key in keys],
    }


def _short(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.6g}"
