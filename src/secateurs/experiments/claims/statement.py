"""A statement of a paper, and what in this repository checks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["theorem", "lemma", "assumption", "algorithm", "figure", "experiment", "found here"]
Coverage = Literal["covered", "in part", "not covered", "cannot be had"]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A theorem, a lemma, an algorithm or a figure, whether it is checked here or not.

    Attributes
    ----------
    place : str
        Where the paper has it, such as "Theorem 1"; unique within its paper.
    kind : str
        "found here" is not the paper's, and does not count in the share that is covered.
    says : str
        The statement in a full sentence, with its assumptions.
    source : str
        The text that was at hand: the paper, its abstract, its code, a summary; or "derived".
    claims : tuple of str
        Claims of the same paper that check it; `secateurs reproduce` measures them.
    command : str
        Another command of the repository that checks it, where no claim does or beside them.
    result : str
        The result of that command, and the page that has it.
    differs : str
        How what is checked differs from the paper.
    missing : str
        What is not checked, with the reason.  Empty where all of it is.
    obtainable : bool
        False where nobody with this repository could check it; `missing` gives the reason.
    """

    place: str
    kind: Kind
    says: str
    source: str
    claims: tuple[str, ...] = ()
    command: str = ""
    result: str = ""
    differs: str = ""
    missing: str = ""
    obtainable: bool = True

    @property
    def coverage(self) -> Coverage:
        """Whether it is checked: by a claim or a command, and with nothing missing."""
        if not self.obtainable:
            return "cannot be had"
        if not (self.claims or self.command):
            return "not covered"
        return "in part" if self.missing else "covered"
