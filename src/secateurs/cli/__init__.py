"""The command line: one file for each family of commands, imported when a command is used."""

from __future__ import annotations

import ast
import io
import os
import sys
import warnings
from functools import cache
from pathlib import Path
from typing import NoReturn

import cyclopts

from secateurs.cli.recipe import BAD_INPUT, INTERRUPTED
from secateurs.core.extras import MissingExtraError
from secateurs.core.version import __version__
from secateurs.core.visible_text import visible
from secateurs.data.suggest import nearest

app = cyclopts.App(
    name="secateurs",
    help="Sparse neural networks with guarantees.",
    version=__version__,
    suppress_keyboard_interrupt=False,  # cyclopts would end the program without a message
)
bounds = cyclopts.App(name="bounds", help="Show how large a random network has to be.")
app.command(bounds)
REFUSALS = (cyclopts.CycloptsError, ValueError, FloatingPointError, OSError, MissingExtraError)
COMMANDS = (
    *("tiny:export", "features:features", "training:fit", "recovery:image", "models:inspect"),
    *("sensing:interactions", "training:path", "models:predict", "prune:prune", "recovery:recover"),
    *("report:report", "reproduce:reproduce", "sensing:sense", "sweeps:sweep", "tickets:ticket"),
)


@cache
def _definitions(file: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(Path(__file__).with_name(f"{file}.py").read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def _add(group: cyclopts.App, command: str) -> None:
    """Add a command with the text of its docstring; its file is read, but not imported."""
    file, _, name = command.partition(":")
    text = ast.get_docstring(_definitions(file)[name]) or ""
    group.command(f"secateurs.cli.{command}", help=text.partition("\n\nParameters\n")[0])


for _command in COMMANDS:
    _add(app, _command)
_add(bounds, "bounds:tickets")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; bad input is one line on standard error and exit status 2."""
    tokens = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        # a terminal or a file that cannot hold a character gets an escape instead
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if tokens[:1] != ["fit"] and _several_processes():
        command = " ".join(tokens[:1])
        _fail(
            f"torchrun: got the command {command!r}; expected 'fit', the only one that processes "
            "can share; run the other commands without torchrun",
            BAD_INPUT,
        )
    if tokens and not tokens[0].startswith("-") and tokens[0] not in app:
        # cyclopts would import every command for its message
        known = sorted(name for name in app if not name.startswith("-"))
        _fail(
            f"command: got {tokens[0]!r}; expected {', '.join(known[:-1])} or {known[-1]}"
            f"{nearest(tokens[0], known)}",
            BAD_INPUT,
        )
    try:
        with warnings.catch_warnings():
            # the result says it instead
            warnings.filterwarnings("ignore", "(the fit|training) was interrupted")
            status = app(
                tokens, exit_on_error=False, print_error=False, result_action="return_value"
            )
    except KeyboardInterrupt:
        _fail("interrupted", INTERRUPTED)
    except REFUSALS as error:
        _fail(str(error), BAD_INPUT)
    sys.exit(status if isinstance(status, int) else 0)


def _several_processes() -> bool:
    if "WORLD_SIZE" not in os.environ:
        return False
    from secateurs.core.group import launched  # noqa: PLC0415 (imports torch)

    return launched() > 1


def _fail(message: str, status: int) -> NoReturn:
    print(f"secateurs: {visible(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(status)
