"""Measure the tables of a page of the documentation again.

    python -m benchmarks.page docs/benchmarks/recovery.md --list
    python -m benchmarks.page docs/benchmarks/recovery.md --only few_rows
    python -m benchmarks.page docs/benchmarks/training.md --mnist mnist.npz

A page marks each of its tables with the command that prints it:

    <!-- measured by: python -m benchmarks.recovery.few_rows --points 5,20,80 -->
    ```text
    what the command printed
    ```

The command runs here on one thread, and its output takes the place of the old one.  A command that
fails leaves its table, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from secateurs.core.atomic_write import write_atomically

ROOT = Path(__file__).parents[1]
TABLE = re.compile(
    r"(?P<head><!-- measured by: (?P<command>[^\n]+) -->\n```text\n)(?P<output>.*?)(?P<tail>```\n)",
    flags=re.DOTALL,
)
MODULE = re.compile(r"python -m (benchmarks(?:\.\w+)+|secateurs) ")
DATA = "mnist.npz"


def commands(page: Path, only: str = "") -> Iterator[re.Match[str]]:
    """Yield the tables of a page whose command contains a text."""
    for table in TABLE.finditer(page.read_text(encoding="utf-8")):
        if only in table["command"]:
            yield table


def measure(command: str, mnist: Path | None) -> str:
    """Run a command of this repository, and return what it prints.

    Raises
    ------
    ValueError
        It is not a benchmark or a command of secateurs, needs MNIST and got none, or fails.
    """
    if not MODULE.match(command + " "):
        raise ValueError(f"{command}: expected python -m benchmarks.NAME or python -m secateurs")
    if DATA in command and mnist is None:
        raise ValueError(f"{command}: give the path of MNIST by --mnist")
    words = [str(mnist) if word == DATA else word for word in shlex.split(command)[1:]]
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, *words],
        **{"cwd": ROOT, "env": {**os.environ, **one, "COLUMNS": "100"}},
        **{"capture_output": True, "text": True, "check": False},
    )
    if done.returncode:
        raise ValueError(f"{command}: exit status {done.returncode}: {done.stderr.strip()[-300:]}")
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def renew(page: Path, only: str = "", mnist: Path | None = None) -> list[str]:
    """Measure the tables of a page again, write each as soon as it is there, return the errors."""
    failures = []
    for table in list(commands(page, only)):
        print(table["command"], file=sys.stderr)
        try:
            output = measure(table["command"], mnist)
        except ValueError as error:
            failures.append(str(error))
            continue
        text = page.read_text(encoding="utf-8")
        new = text.replace(table[0], f"{table['head']}{output}{table['tail']}", 1)
        write_atomically(page, new.encode())
    return failures


def main() -> int:
    """Run the program; the exit status is 1 where a command failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("page", type=Path)
    parser.add_argument("--only", default="", help="tables whose command contains this text")
    parser.add_argument("--mnist", type=lambda path: Path(path).resolve(), help="the MNIST archive")
    parser.add_argument("--list", action="store_true", help="show the commands and run none")
    given = parser.parse_args()
    if given.list:
        print("\n".join(table["command"] for table in commands(given.page, given.only)))
        return 0
    failures = renew(given.page, given.only, given.mnist)
    print("\n".join(failures), file=sys.stderr)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
