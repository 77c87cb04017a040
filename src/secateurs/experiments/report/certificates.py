"""Pack the certificates of a hundred thousand cells, so that they are small enough for a page.

The statements of a check differ between cells only by their numbers.  So the pieces of a sentence
are stored once, and a cell stores its verdicts and the numbers between the pieces.
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
    """Pack certificates of cells.

    Parameters
    ----------
    certificates : iterable of (key, checks)
        As in `Record`; read once.
    keys : sequence of str
        Order of the cells.

    Returns
    -------
    dict
        "sentences": a list of {"check", "source", "pieces"}.  "cells": a text for each key, which
        is empty without a certificate.  Semicolons separate its checks, and blanks the fields of a
        check: number of the sentence, first letter of the verdict, measured, threshold (six
        digits, "-" for none), and the numbers between the pieces.
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
