"""List the papers' statements with the claims that check them and their last measurements."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from secateurs.core.parameters import Shown, bad_value
from secateurs.experiments.claims import CLAIMS
from secateurs.experiments.claims.claim import Claim
from secateurs.experiments.claims.reproduce import chosen
from secateurs.experiments.claims.statement import Statement
from secateurs.experiments.claims.statements import STATEMENTS

Measured = Mapping[tuple[str, str], Mapping[str, Any]]
RESULTS = "claims.json"  # in the folder of a run


def statement_rows(
    paper: str | None, claim: str | None, measured: Measured
) -> list[dict[str, Any]]:
    """Return a row for each statement of a paper, or of all, that names the claim if one is given.

    Parameters
    ----------
    paper, claim : str or None
    measured : mapping
        From `last_measured`.

    Raises
    ------
    ValueError
        There is no such paper or claim.
    """
    chosen(paper, claim)
    return [
        _row(name, statement, measured)
        for name, statements in STATEMENTS.items()
        for statement in statements
        if paper in (None, name) and (claim is None or claim in statement.claims)
    ]


def _row(paper: str, statement: Statement, measured: Measured) -> dict[str, Any]:
    known = {claim.name: claim for claim in CLAIMS[paper]}
    return {
        "paper": paper,
        "place": statement.place,
        "kind": statement.kind,
        "statement": statement.says,
        "source": statement.source,
        "checks": [
            _check(known[name], measured.get((paper, name), {})) for name in statement.claims
        ],
        "command": statement.command or None,
        "result": statement.result or None,
        "differs": statement.differs or None,
        "missing": statement.missing or None,
        "coverage": statement.coverage,
    }


def _check(claim: Claim, last: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "claim": claim.name,
        "checked": claim.statement,
        "quantity": claim.quantity,
        "expected": claim.told,
        "measured": last.get("measured"),
        "verdict": last.get("verdict", "not run"),
        "scale": last.get("scale"),
    }


def last_measured(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what the last run in a folder measured, by paper and claim; {} without a run.

    Raises
    ------
    ValueError
        The file of results in the folder cannot be read.
    """
    path = folder / RESULTS
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text())
        return {
            (claim["paper"], claim["claim"]): {**claim, "scale": content["scale"]}
            for claim in content["claims"]
        }
    except (KeyError, OSError, TypeError, ValueError):
        raise bad_value(
            str(path),
            Shown("a file that cannot be read"),
            "the results of a run of reproduce",
            "run secateurs reproduce again, or give another --output",
        ) from None


def coverage(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Count the papers' own statements by what is checked; those found here are not counted."""
    own = [row for row in rows if row["kind"] != "found here"]
    counts = {
        kind: sum(row["coverage"] == kind for row in own)
        for kind in ("covered", "in part", "not covered", "cannot be had")
    }
    by_claims = sum(row["coverage"] == "covered" and bool(row["checks"]) for row in own)
    could = len(own) - counts["cannot be had"]
    share = counts["covered"] / could if could else None
    return {"statements": len(own), **counts, "covered by claims": by_claims, "share": share}


def as_text(row: Mapping[str, Any]) -> str:
    """Return a row as lines of text."""
    kind = "" if row["kind"] in row["place"].lower() else f" ({row['kind']})"
    lines = [f"[{row['coverage']}] {row['paper']}, {row['place']}{kind}: {row['statement']}"]
    lines += [f"  Source: {row['source']}."]
    for check in row["checks"]:
        found = "not run" if check["measured"] is None else f"{check['measured']:.4g}"
        scale = "" if check["scale"] is None else f" at scale {check['scale']}"
        verdict = "" if check["verdict"] == "not run" else f", {check['verdict']}"
        lines += [
            f"  Claim {check['claim']}: {check['quantity']}; expected {check['expected']}; "
            f"measured {found}{scale}{verdict}."
        ]
    if row["command"]:
        lines += [f"  Command {row['command']}: {row['result']}"]
    lines += [
        f"  {title}: {row[key]}"
        for title, key in (("How it differs from the paper", "differs"), ("Missing", "missing"))
        if row[key]
    ]
    return "\n".join(lines)
