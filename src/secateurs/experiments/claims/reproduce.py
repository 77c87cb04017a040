"""Measure claims.  Their parts are cells of a run with a ledger, workers and time limits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from secateurs.core.parameters import bad_value
from secateurs.data.suggest import nearest
from secateurs.experiments.claims import CLAIMS
from secateurs.experiments.claims.claim import Claim, Scale
from secateurs.experiments.sweeps.ledger import Ledger
from secateurs.experiments.sweeps.record import Record, key_of
from secateurs.experiments.sweeps.registry import CPU_SECONDS, Result, number
from secateurs.experiments.sweeps.run import Counts, run_cells

VERSION = 2  # of a part; raise it when equal settings come to mean something else
# seconds for a part
TIME_LIMITS: dict[Scale, float] = {"quick": 600.0, "full": 3600.0, "paper": 24 * 3600.0}


@dataclass(frozen=True)
class Outcome:
    """Result of a claim.

    Attributes
    ----------
    paper : str
    claim : Claim
    verdict : {"holds", "fails", "unknown"}
        "unknown" when a part failed, was not run, or has no number to judge by.
    measured : float
        nan when unknown.
    parts : DataFrame
        Settings and numbers of the finished parts.
    cpu_seconds : float
    error : str or None
        Error of the first part that failed, or why the parts cannot be judged.
    """

    paper: str
    claim: Claim
    verdict: str
    measured: float
    parts: pd.DataFrame
    cpu_seconds: float
    error: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as JSON can hold it."""
        claim = self.claim
        return {
            "paper": self.paper,
            "claim": claim.name,
            "statement": claim.statement,
            "source": claim.source,
            "quantity": claim.quantity,
            "expected": claim.expected,
            "low": _finite(claim.low),
            "high": _finite(claim.high),
            "measured": _finite(self.measured),
            "verdict": self.verdict,
            "cpu_seconds": self.cpu_seconds,
            "error": self.error,
        }


def chosen(paper: str | None, name: str | None) -> list[tuple[str, Claim]]:
    """Return the claims of one paper or of all, or the claim with a name.

    Raises
    ------
    ValueError
        There is no such paper or claim; the message has the nearest name.
    """
    if paper is not None and paper not in CLAIMS:
        raise bad_value("PAPER", paper, f"{_one_of(CLAIMS)}{nearest(paper, CLAIMS)}")
    found = [(p, c) for p, cs in CLAIMS.items() if paper in (None, p) for c in cs]
    if name is None:
        return found
    names = [claim.name for _, claim in found]
    if name not in names:
        raise bad_value("--claim", name, f"{_one_of(names)}{nearest(name, names)}")
    return [(p, c) for p, c in found if c.name == name]


def _one_of(names: Iterable[str]) -> str:
    return f"one of {', '.join(names)}"


def at_scale(
    claims: Iterable[tuple[str, Claim]], scale: Scale
) -> tuple[list[tuple[str, Claim]], list[dict[str, Any]]]:
    """Return the claims with parts at a scale, and at that of the papers the hours of each.

    Raises
    ------
    ValueError
        None of the claims has parts at this scale.
    """
    claims = [(paper, claim) for paper, claim in claims if claim.parts(scale)]
    if not claims:
        known = ", ".join(c.name for cs in CLAIMS.values() for c in cs if c.parts(scale))
        raise ValueError(
            f"scale: got {scale} for claims without such a size; it exists for {known}"
        )
    if scale != "paper":
        return claims, []
    return claims, [
        {
            "claim": claim.name,
            "parts": len(claim.paper),
            "estimated hours": sum(claim.hours(**part) for part in claim.paper),
        }
        for _, claim in claims
    ]


def reproduce(
    claims: Iterable[tuple[str, Claim]],
    scale: Scale,
    ledger: Ledger,
    *,
    workers: int = 1,
    retry_failed: bool = False,
    progress: Callable[[Counts, int], None] | None = None,
) -> tuple[list[Outcome], Counts]:
    """Measure and judge claims; parts that the ledger has are not measured again.

    Parameters
    ----------
    claims : iterable of (paper, Claim)
    scale : {"quick", "full", "paper"}
    ledger : Ledger
    workers : int
    retry_failed : bool
        Whether to measure parts again that failed in an earlier run.
    progress : callable, optional
        Called with `Counts` and the number of parts.

    Returns
    -------
    outcomes : list of Outcome, in the order of the claims
    counts : Counts
    """
    claims = list(claims)
    cells = [cell for paper, claim in claims for cell in _cells(paper, claim, scale)]
    counts = run_cells(
        cells,
        measure_part,
        ledger,
        workers=workers,
        time_limit=TIME_LIMITS[scale],
        retry_failed=retry_failed,
        progress=None if progress is None else lambda now: progress(now, len(cells)),
    )
    return judged(claims, scale, ledger), counts


def judged(claims: Iterable[tuple[str, Claim]], scale: Scale, ledger: Ledger) -> list[Outcome]:
    """Judge claims by the parts that the ledger has; nothing is measured."""
    records = {record.key: record for _, record in ledger.records()}
    return [
        _outcome(paper, claim, [records.get(key_of(c)) for c in _cells(paper, claim, scale)], scale)
        for paper, claim in claims
    ]


def _cells(paper: str, claim: Claim, scale: Scale) -> list[dict[str, Any]]:
    return [part_cell(paper, claim, part) for part in claim.parts(scale)]


def part_cell(paper: str, claim: Claim, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a part of a claim as a cell."""
    return {"version": VERSION, "paper": paper, "claim": claim.name, "settings": dict(settings)}


def measure_part(cell: Mapping[str, Any]) -> Result:
    """Measure one part; its processor time includes data and certificate."""
    (claim,) = (c for c in CLAIMS[cell["paper"]] if c.name == cell["claim"])
    began = time.process_time()
    result = claim.result(cell["settings"])
    cpu = time.process_time() - began
    numbers = {name: number(name, value) for name, value in result.metrics.items()}
    return Result({**numbers, CPU_SECONDS: cpu}, result.certificate)


def _outcome(paper: str, claim: Claim, records: list[Record | None], scale: Scale) -> Outcome:
    """Judge a claim by its records; None stands for a missing part."""
    done = [r for r in records if r is not None and r.status == "done"]
    settings = claim.parts(scale)
    rows = [
        {**part, **record.metrics}
        for part, record in zip(settings, records, strict=True)
        if record is not None and record.status == "done"
    ]
    frame = pd.DataFrame(rows)
    cpu = sum(record.metrics[CPU_SECONDS] or 0.0 for record in done)
    error = next((r.error for r in records if r is not None and r.status == "failed"), None)
    if len(done) < len(records):
        return Outcome(paper, claim, "unknown", math.nan, frame, cpu, error)
    whole = frame.loc[:, frame.notna().all()]
    try:
        measured = float(claim.judge(whole))
        if not math.isfinite(measured):
            raise ValueError(f"the measured quantity is {measured}")
    except (ArithmeticError, LookupError, TypeError, ValueError) as trouble:
        missing = ", ".join(map(str, frame.columns.difference(whole.columns)))
        reason = f"cannot be judged: {type(trouble).__name__}: {trouble}"
        reason += f"; not a number in every part: {missing}" if missing else ""
        return Outcome(paper, claim, "unknown", math.nan, frame, cpu, reason)
    verdict = "holds" if claim.holds(measured) else "fails"
    return Outcome(paper, claim, verdict, measured, frame, cpu, None)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
