"""The nearest known name, for messages about an unknown one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> str:
    """Write a "did you mean" for the end of an error message; empty when nothing is near.

    Parameters
    ----------
    name : str
        What was asked for.
    names : iterable of str
        What there is.
    """
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
