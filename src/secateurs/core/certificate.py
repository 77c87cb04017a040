"""A certificate is a list of checks: statements about a result, each with a verdict."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

Verdict = Literal["holds", "fails", "unknown"]
COLUMNS = 80  # width of the lines of a certificate as text


@dataclass(frozen=True)
class Check:
    """A statement about a result, its verdict and the number behind it.

    Parameters
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
    """The checks of one result, in order.

    ``certificate["name"]`` returns the check of this name.  Where there is none, the KeyError lists
    the names.

    Parameters
    ----------
    checks : tuple of Check
        The checks, in the order in which they are shown.
    """

    checks: tuple[Check, ...]

    def __getitem__(self, name: str) -> Check:
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(f"no check {name!r}; there are {[c.name for c in self.checks]}")

    def to_list(self) -> list[dict[str, Any]]:
        """Return the checks as plain dicts for JSON.

        Returns
        -------
        list of dict
            One dict for each check, with the fields of `Check`; None where a number is not finite.
        """
        return [
            {name: _finite(value) for name, value in asdict(check).items()} for check in self.checks
        ]

    @classmethod
    def from_list(cls, checks: Iterable[Mapping[str, Any]]) -> Self:
        """Rebuild a certificate from `to_list`.

        Parameters
        ----------
        checks : iterable of dict
            One dict for each check.

        Returns
        -------
        Certificate
            The checks in the given order.

        Raises
        ------
        TypeError
            A dict has an unknown field, or lacks one.
        """
        return cls(tuple(Check(**check) for check in checks))

    def __str__(self) -> str:
        return "\n".join(check_text(c.verdict, c.name, c.statement) for c in self.checks)


def check_text(verdict: str, name: str, statement: str, indent: int = 0) -> str:
    """Write a check in lines of at most `COLUMNS` characters, without cutting a word."""
    wrap = textwrap.TextWrapper(
        COLUMNS,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 8),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return wrap.fill(f"{verdict:8}{name}: {statement}")


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
