"""The nearest known name, for messages about an unknown one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> str:
    """Write "; did you mean ...?" for the end of a message; empty when no name is near.

    Parameters
    ----------
    name : str
        The unknown name.
    names : iterable of str
        The known names.
    """
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
