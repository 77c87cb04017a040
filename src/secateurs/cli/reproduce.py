"""The claims of the papers, measured on this machine."""

from __future__ import annotations

import json as jsonlib
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from cyclopts import Parameter

from secateurs.cli import recipe
from secateurs.cli.sweeps import (
    AFTER_INTERRUPT,
    Resume,
    RetryFailed,
    Salvage,
    Workers,
    counting,
    frame_table,
)
from secateurs.cli.terminal import note
from secateurs.core.atomic_write import write_atomically
from secateurs.core.description import Description, Table, counted
from secateurs.experiments.claims.claim import Scale
from secateurs.experiments.claims.listing import (
    RESULTS,
    as_text,
    coverage,
    last_measured,
    statement_rows,
)
from secateurs.experiments.claims.reproduce import Outcome, at_scale, chosen, judged
from secateurs.experiments.claims.reproduce import reproduce as measure
from secateurs.experiments.sweeps.folder import open_run
from secateurs.experiments.sweeps.ledger import Ledger
from secateurs.experiments.sweeps.table import export_cells


def reproduce(
    paper: str | None = None,
    /,
    *,
    claim: str | None = None,
    scale: Scale = "quick",
    listing: Annotated[
        recipe.Flag,
        Parameter(
            name="--list",
            help="Measure nothing; list every statement of the papers, what checks it, the last "
            "measurement in the folder, and what is not covered.",
        ),
    ] = False,
    workers: Workers = 1,
    output: Path | None = None,
    plot: Path | None = None,
    resume: Resume = False,
    retry_failed: RetryFailed = False,
    salvage: Salvage = False,
    json: recipe.Json = False,
) -> int:
    """Measure the claims of the papers; the exit status is 1 if a claim fails.

    Parameters
    ----------
    paper
        recovery, features, sensing or tickets; by default all of them.
    claim
        One claim by its name.
    scale
        quick (minutes), full (larger grids), or paper (figures at the paper's size: hours, which
        are estimated first; go on with --resume after an interrupt).
    output
        Folder of the run; by default reproduce-SCALE.run.
    plot
        Draw the claims with their tolerances to this file (.png, .pdf, .svg).
    """
    recipe.check_options(plot=plot, workers=workers)
    claims = chosen(paper, claim)
    folder = output if output is not None else Path(f"reproduce-{scale}.run")
    if listing:
        rows = statement_rows(paper, claim, last_measured(folder))
        return recipe.finish(_describe_statements(rows, folder), json=json)
    claims, hours = at_scale(claims, scale)
    for row in hours if not json else []:
        note(f"{row['claim']}: {row['parts']} parts, about {row['estimated hours']:.1f} hours")
    with open_run(folder, {}, resume=resume or retry_failed, rescue=salvage) as (ledger, notes):
        for line in notes:
            note(line)
        with counting("claims", quiet=json) as show:
            outcomes, counts = measure(
                *(claims, scale, ledger), workers=workers, retry_failed=retry_failed, progress=show
            )
        _write_claims(ledger, scale, folder)
    pairs = [(outcome.claim, outcome.measured) for outcome in outcomes]
    return recipe.finish(
        _describe(outcomes, scale, folder),
        files=[(plot, recipe.drawing("experiments.claims:claims_figure", pairs))],
        json=json,
        status="interrupted" if counts.interrupted else "converged",
        failed=any(outcome.verdict != "holds" for outcome in outcomes),
        after_interrupt=AFTER_INTERRUPT,
    )


def _facts(outcomes: list[Outcome], scale: Scale, folder: Path) -> dict[str, object]:
    return {"scale": scale, "run": str(folder), "claims": [o.to_dict() for o in outcomes]}


def _write_claims(ledger: Ledger, scale: Scale, folder: Path) -> None:
    """Write every claim that the folder has results for, earlier commands included."""
    claims, _ = at_scale(chosen(None, None), scale)
    known = [o for o in judged(claims, scale, ledger) if len(o.parts) or o.error]
    content = jsonlib.dumps(_facts(known, scale, folder), indent=2, allow_nan=False) + "\n"
    write_atomically(folder / RESULTS, content.encode())
    export_cells(ledger, folder / "parts.csv")


def _describe(outcomes: list[Outcome], scale: Scale, folder: Path) -> Description:
    rows = [
        {
            "claim": f"{outcome.paper}: {outcome.claim.name}",
            "quantity": outcome.claim.quantity,
            "expected": outcome.claim.told,
            "measured": outcome.measured,
            "verdict": outcome.verdict,
        }
        for outcome in outcomes
    ]
    held = sum(outcome.verdict == "holds" for outcome in outcomes)
    cpu = sum(outcome.cpu_seconds for outcome in outcomes)
    table = frame_table(pd.DataFrame(rows), "Claims:")
    return Description(
        f"{held} of {counted(len(outcomes), 'claim')} at the {scale} scale "
        f"{'holds' if held == 1 else 'hold'}; {cpu:.0f} s of processor time; kept in {folder}",
        _facts(outcomes, scale, folder),
        (replace(table, numeric=frozenset({"measured"})),),
        tuple(
            f"{outcome.claim.name}: {outcome.error.splitlines()[0]}"
            for outcome in outcomes
            if outcome.error is not None
        ),
    )


def _describe_statements(rows: list[dict[str, Any]], folder: Path) -> Description:
    """Describe the statements, with a line of the table for each paper."""
    counts = coverage(rows)
    papers = list(dict.fromkeys(row["paper"] for row in rows))
    lines = [(name, coverage([row for row in rows if row["paper"] == name])) for name in papers] + [
        ("all", counts)
    ]
    columns = ("statements", "covered", "in part", "not covered", "cannot be had")
    table = Table(
        ("paper", *columns, "share"),
        [
            (name, *(str(line[column]) for column in columns), _percent(line["share"]))
            for name, line in lines
        ],
        "The papers' own statements:",
        frozenset((*columns, "share")),
    )
    could = counts["statements"] - counts["cannot be had"]
    return Description(
        f"{counts['covered']} of the {could} statements that could be had are covered "
        f"({_percent(counts['share'])}), {counts['covered by claims']} of them by claims of this "
        f"command and the others by another command. Measurements are those in {folder}.",
        {"coverage": counts, "run": str(folder), "statements": rows},
        (table,),
        tuple(as_text(row) for row in rows),
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"
