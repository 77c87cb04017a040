"""A certificate is a list of checks: statements about a result, each with a verdict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

Verdict = Literal["holds", "fails", "unknown"]


@dataclass(frozen=True)
class Check:
    """A statement about a result, its verdict and the number behind it.

    Attributes
    ----------
    name : str
        Short, for tables.
    statement : str
        The full sentence that the verdict is about, with its assumptions.
    verdict : {"holds", "fails", "unknown"}
        "unknown" where the statement was not checked or cannot be checked.
    measured, threshold : float or None
        The number that was measured, and the number that it is compared with.
    source : str
        A theorem, a paper, "counted", "measured" or "derived".
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
        """Return the checks as plain dicts for JSON; numbers that are not finite become None."""
        return [
            {name: _finite(value) for name, value in asdict(check).items()} for check in self.checks
        ]

    @classmethod
    def from_list(cls, checks: Iterable[Mapping[str, Any]]) -> Self:
        """Rebuild a certificate from `to_list`; raise TypeError for unknown fields."""
        return cls(tuple(Check(**check) for check in checks))

    def __str__(self) -> str:
        return "\n".join(f"{c.verdict:8}{c.name}: {c.statement}" for c in self.checks)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
