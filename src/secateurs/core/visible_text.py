"""Names and paths are text: what a terminal would obey is shown as an escape instead."""

from __future__ import annotations

import re

# controls, marks that turn the direction of writing, other line ends, halves of characters
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
_KEPT = re.compile(_UNSEEN.pattern.replace(r"\x00-\x1f", r"\x00-\x09\x0b-\x1f"))


def visible(text: str, *, lines: bool = False) -> str:
    r"""Return a text in which every character can be seen.

    Parameters
    ----------
    text : str
    lines : bool
        Whether line ends stay as they are; otherwise they become ``\n``.
    """
    unseen = _KEPT if lines else _UNSEEN
    return unseen.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
