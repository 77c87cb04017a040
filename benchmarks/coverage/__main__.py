"""Judge every statement of every certificate by planted truth and fresh samples.

    python -m benchmarks.coverage                                 # the small campaign, 3 minutes
    python -m benchmarks.coverage --only network --scale full     # scenarios by name
    python -m benchmarks.coverage --scale full --workers 2 --output coverage.json

The last one takes hours, and goes on where it was when it is started again.  With
``--page docs/certificates.md`` it also writes its table there.

A statement is broken where the lower 95 % confidence limit of the rate at which it holds and is
false, among all instances of a scenario, exceeds its nominal rate.  The exit status is 1 then.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy starts its threads

import argparse
import json
import shlex
import sys
from pathlib import Path

from rich.console import Console

from benchmarks.coverage.campaign import run_campaign
from benchmarks.coverage.summary import as_json, rows_of, table_of, totals, write_page


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.coverage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scale", choices=("small", "full"), default="small")
    parser.add_argument(
        "--only", nargs="+", default=[], help="scenarios with one of these texts in their name"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument(
        "--output", type=Path, help="JSON file of the table; beside it, FILE.jsonl records chunks"
    )
    parser.add_argument("--page", type=Path, help="page of the docs that gets the table")
    parser.add_argument("--broken", action="store_true", help="show broken statements only")
    options = parser.parse_args()
    record = options.output and options.output.with_suffix(".jsonl")
    chunks = run_campaign(options.scale, *options.only, workers=options.workers, record=record)
    if not chunks:
        parser.error(f"--only: got {options.only!r}; expected parts of the names of scenarios")
    rows = rows_of(chunks)
    console = Console(width=None if sys.stdout.isatty() else 170)
    console.print(table_of(rows, broken_only=options.broken), markup=False)
    for row in rows:
        if row.verdict == "BROKEN":
            console.print(f"{row.statement}, {row.scenario}, {row.example}", markup=False)
    console.print(totals(chunks))
    if options.output:
        options.output.write_text(json.dumps(as_json(chunks, options.scale), indent=1) + "\n")
    if options.page:
        only = f" --only {shlex.join(options.only)}" if options.only else ""
        command = f"python -m benchmarks.coverage --scale {options.scale}{only}"
        write_page(options.page, chunks, command)
    return int(any(row.verdict == "BROKEN" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
