"""A certificate: statements about a result, each with a verdict and the number behind it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["holds", "fails", "unknown"]


@dataclass(frozen=True)
class Check:
    """One statement and what was measured about it.

    Attributes
    ----------
    name : str
        Short, for tables.
    statement : str
        A full sentence that the verdict is about, with its assumptions.
    verdict : {"holds", "fails", "unknown"}
        "unknown" when it was not, or cannot be, checked.
    measured, threshold : float or None
        The number measured and the one it is compared with.
    source : str
        Theorem, paper or "measured".
    """

    name: str
    statement: str
    verdict: Verdict
    measured: float | None
    threshold: float | None
    source: str


@dataclass(frozen=True)
class Certificate:
    """The checks of one result, in order."""

    checks: tuple[Check, ...]

    def __getitem__(self, name: str) -> Check:
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(f"no check {name!r}; there are {[c.name for c in self.checks]}")

    def to_list(self) -> list[dict[str, Any]]:
        """Checks as plain dicts, for JSON."""
        return [asdict(check) for check in self.checks]

    def __str__(self) -> str:
        return "\n".join(f"{c.verdict:8}{c.name}: {c.statement}" for c in self.checks)
