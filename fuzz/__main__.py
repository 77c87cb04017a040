"""Mutate files of every format and read them.

    python -m fuzz --inputs 100000 --seed 0 --state fuzz.json      # goes on where it was stopped
    python -m fuzz --seed 0 --only 4711                            # one input again

Input number i of a seed is always the same.  Each batch of inputs is read by a process of its own
with limited memory.  Counted are the files that were refused or read, and the faults: any error but
the promised ones, a sealed file that says something else, more than 10 s, more than 1 GB, a crash,
and a change of the file or its folder.  The exit status is 1 if there is a fault.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fuzz.campaign import Campaign

SHOWN = 20  # faults that are printed


def main() -> int:
    """Run a campaign and print its counts."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", default="", help="separated by commas; by default all")
    parser.add_argument("--state", type=Path, help="JSON file of the counts so far")
    parser.add_argument("--only", type=int, help="read this input alone, and let it fail")
    asked = parser.parse_args()
    campaign = Campaign(asked.seed, [name for name in asked.formats.split(",") if name])
    try:
        if asked.only is not None:
            print(campaign.explain(asked.only))
            return 0
        counts = campaign.run(asked.inputs, asked.state)
    finally:
        campaign.close()
    print(counts.table())
    for fault in counts.faults[:SHOWN]:
        print(fault)
    return 1 if counts.faults else 0


if __name__ == "__main__":
    sys.exit(main())
