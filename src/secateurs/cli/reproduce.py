"""The papers' claims, measured on this machine."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated

import pandas as pd
from cyclopts import Parameter

from secateurs.cli.common import INTERRUPTED, out, print_json
from secateurs.cli.sweeps import check_workers, counting, print_table, tell
from secateurs.core.atomic_write import write_atomically
from secateurs.experiments.claims.claim import Scale
from secateurs.experiments.claims.reproduce import Outcome, chosen, judged
from secateurs.experiments.claims.reproduce import reproduce as measure
from secateurs.experiments.sweeps.folder import open_run

FAILED = 1


def reproduce(
    paper: str | None = None,
    /,
    *,
    claim: str | None = None,
    scale: Scale = "quick",
    workers: int = 1,
    output: Path | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    retry_failed: Annotated[bool, Parameter(negative="")] = False,
    salvage: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Measure what the papers claim; exit status 1 if a claim fails.

    Parameters
    ----------
    paper
        recovery, features, sensing or tickets; all of them when not given.
    claim
        One claim by its name.
    scale
        quick (minutes) or full (the papers' grids).
    workers
        Processes on this machine, one thread each.
    output
        Folder of the run; reproduce-SCALE.run when not given.
    resume
        Go on with a run; finished parts are not measured again.
    retry_failed
        With --resume, measure failed parts again.
    salvage
        Go on with a run whose ledger is damaged.
    json
        Print one JSON object instead of text.
    """
    check_workers(workers)
    claims = chosen(paper, claim)
    folder = output if output is not None else Path(f"reproduce-{scale}.run")
    with open_run(folder, {}, resume=resume or retry_failed, rescue=salvage) as (ledger, notes):
        tell(notes)
        with counting("claims", quiet=json) as show:
            outcomes, counts = measure(
                *(claims, scale, ledger),
                workers=workers,
                retry_failed=retry_failed,
                progress=show,
            )
        record = {"scale": scale, "run": str(folder), "claims": [o.to_dict() for o in outcomes]}
        # the folder's file tells of all its claims, also those of earlier commands
        known = [o for o in judged(chosen(None, None), scale, ledger) if len(o.parts) or o.error]
        kept = {**record, "claims": [o.to_dict() for o in known]}
        content = jsonlib.dumps(kept, indent=2, allow_nan=False) + "\n"
        write_atomically(folder / "claims.json", content.encode())
        ledger.export(folder / "parts.csv")
    if json:
        print_json(record)
    else:
        print_table(_table(outcomes), f"claims, {scale}")
        for outcome in outcomes:
            if outcome.error is not None:
                told = f"{outcome.claim.name}: {outcome.error.splitlines()[0]}"
                out.print(told, highlight=False, markup=False, soft_wrap=True)
        held = sum(outcome.verdict == "holds" for outcome in outcomes)
        cpu = sum(outcome.cpu_seconds for outcome in outcomes)
        out.print(
            f"{held} of {len(outcomes)} hold; {cpu:.0f} s of processor time; kept in {folder}",
            highlight=False,
            soft_wrap=True,
        )
        if counts.interrupted:
            out.print("Interrupted: go on with the same command and --resume", highlight=False)
    if counts.interrupted:
        return INTERRUPTED
    return 0 if all(outcome.verdict == "holds" for outcome in outcomes) else FAILED


def _table(outcomes: list[Outcome]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "claim": f"{outcome.paper}: {outcome.claim.name}",
                "measured is": outcome.claim.quantity,
                "expected": outcome.claim.told,
                "measured": outcome.measured,
                "verdict": outcome.verdict,
            }
            for outcome in outcomes
        ]
    )
