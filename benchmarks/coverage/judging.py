"""A case is a certificate with the truth behind it; a judge says whether one statement is true.

A judge takes a check and the truth of its case.  It returns True or False, or None where the
statement claims nothing in this case.  It is called for verdicts that claim something, "holds"
unless the judge says otherwise.  A check that holds and has no judge ends the campaign.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from scipy.stats import beta

from secateurs.core import Check

Truth = Any
Judgement = Callable[[Check, Truth], bool | None]
CONFIDENCE = 0.95  # of the lower limit of a false rate
FRESH_CONFIDENCE = 0.999  # with which a fresh sample must contradict a bound


class NoJudgeError(Exception):
    """A check holds, and nothing here can say whether it is true."""


@dataclass(frozen=True)
class Judge:
    """How one statement is judged.

    Attributes
    ----------
    judgement : callable (check, truth) -> bool or None
    nominal : float
        The share of all instances in which the statement may hold and be false.
    verdicts : tuple of str
        Verdicts under which the statement claims something.
    """

    judgement: Judgement
    nominal: float
    verdicts: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """One certificate.

    Attributes
    ----------
    subject : str
        What was certified: the name of an estimator or a function.
    kind : str
        The judges that apply.
    checks : tuple of Check
        Empty where the data were refused.
    truth : object
        What the judges of this kind need.
    """

    subject: str
    kind: str
    checks: tuple[Check, ...]
    truth: Truth = None


@dataclass(frozen=True)
class Claim:
    """A statement that was made, and whether it is false."""

    statement: str
    nominal: float
    false: bool
    text: str


JUDGES: dict[tuple[str, str], Judge] = {}


def judge(
    kind: str, *names: str, nominal: float = 0.0, verdicts: tuple[str, ...] = ("holds",)
) -> Callable[[Judgement], Judgement]:
    """Register a function as the judge of the statements with these names."""

    def register(judgement: Judgement) -> Judgement:
        for name in names:
            JUDGES[kind, name] = Judge(judgement, nominal, verdicts)
        return judgement

    return register


def never(kind: str, *names: str) -> None:
    """Register statements that nobody can show: each of them is false wherever it holds."""
    judge(kind, *names)(lambda check, truth: False)  # noqa: ARG005


def status_check(status: str) -> Check:
    """Return the status "exact" as a statement, so that it is judged like the others."""
    text = "the residual is zero to rounding, and no other solution fits as well"
    return Check("status exact", text, "holds" if status == "exact" else "unknown", None, None, "")


def claims(case: Case) -> Iterator[Claim]:
    """Judge the statements of a case that claim something.

    Raises
    ------
    NoJudgeError
        A check holds, and there is no judge for it.
    """
    for check in case.checks:
        found = JUDGES.get((case.kind, check.name))
        if found is None:
            if check.verdict == "holds":
                raise NoJudgeError(
                    f"no judge for the check {check.name!r} of {case.subject} ({case.kind}): add "
                    f"one to benchmarks/coverage; it says: {check.statement}"
                )
            continue
        if check.verdict in found.verdicts:
            true = found.judgement(check, case.truth)
            if true is not None:
                name = f"{case.subject}: {check.name}"
                yield Claim(name, found.nominal, not true, check.statement)


def lower_limit(n_false: int, n: int, confidence: float = CONFIDENCE) -> float:
    """Bound a rate from below (Clopper & Pearson 1934)."""
    return float(beta.ppf(1 - confidence, n_false, n - n_false + 1)) if n_false else 0.0


def exceeds(n_true: int, n: int, bound: float) -> bool:
    """Whether n_true of n fresh rows contradict the statement that the rate is at most `bound`."""
    return lower_limit(n_true, n, FRESH_CONFIDENCE) > bound


def attempt(run: Callable[[], Any]) -> Any:
    """Run a fit; return None where it refuses the data or the settings."""
    try:
        return run()
    except (ValueError, TypeError, FloatingPointError):
        return None


def only(checks: Iterable[Check], *names: str) -> tuple[Check, ...]:
    """The checks with these names."""
    return tuple(check for check in checks if check.name in names)
