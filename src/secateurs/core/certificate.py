"""A certificate: statements about a result, each with a verdict and the number behind it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

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
        """Checks as plain dicts, for JSON, which has no infinity: such a number is None."""
        return [
            {name: _finite(value) for name, value in asdict(check).items()} for check in self.checks
        ]

    @classmethod
    def from_list(cls, checks: Iterable[Mapping[str, Any]]) -> Self:
        """The certificate that `to_list` wrote; TypeError for fields that a check has not."""
        return cls(tuple(Check(**check) for check in checks))

    def __str__(self) -> str:
        return "\n".join(f"{c.verdict:8}{c.name}: {c.statement}" for c in self.checks)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
