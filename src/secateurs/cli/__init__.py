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
REFUSALS = (ValueError, FloatingPointError, OSError, MissingExtraError)
# for each task: an example, and the commands with the files that have them
TASKS = {
    "First steps": ("secateurs demo columns", ("demo:demo",)),
    "Tables and images": (
        "secateurs fit table.csv --target price --output model.safetensors",
        ("training:fit", "training:path", "models:predict", "models:inspect"),
    ),
    "Which columns matter": (
        "secateurs features table.csv --target y --plot features.png",
        ("features:features", "sensing:interactions"),
    ),
    "Exact recovery": (
        "secateurs recover data.npz --nonzeros 50",
        ("recovery:recover", "recovery:image", "sensing:sense"),
    ),
    "Smaller networks and devices": (
        "secateurs fit digits --flash 700 --to c --output net.c",
        ("prune:prune", "tiny:export"),
    ),
    "Random networks": ("secateurs bounds tickets --d 8 --eps 0.01", ("tickets:ticket",)),
    "The papers, and sweeps": (
        "secateurs reproduce recovery",
        ("reproduce:reproduce", "sweeps:sweep", "report:report"),
    ),
}
NEXT_STEPS = """\
secateurs: sparse neural networks with guarantees. Try:

  secateurs demo                                 the main jobs, on built-in data
  secateurs fit table.csv --target price         a small network for your table
  secateurs features table.csv --target y        which of many columns matter
  secateurs prune model.pt2 data.csv --flops .5  a torch network made smaller
  secateurs fit digits --flash 700 --output n.c  a network in 700 bytes of C
  secateurs --help                               all commands"""


@app.default
def _next_steps() -> None:
    """Show what to do next."""
    print(NEXT_STEPS)


@cache
def _definitions(file: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(Path(__file__).with_name(f"{file}.py").read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def _add(group: cyclopts.App, command: str, task: cyclopts.Group | None = None) -> None:
    """Add a command with the text of its docstring; its file is read, but not imported."""
    file, _, name = command.partition(":")
    text = ast.get_docstring(_definitions(file)[name]) or ""
    group.command(
        f"secateurs.cli.{command}", help=text.partition("\n\nParameters\n")[0], group=task
    )


for _number, (_task, (_example, _commands)) in enumerate(TASKS.items()):
    _group = cyclopts.Group(_task, help=f"$ {_example}", sort_key=_number)
    for _command in _commands:
        _add(app, _command, _group)
    if _task == "Random networks":
        bounds.group = _group
_add(bounds, "bounds:tickets")
app.command(bounds)
app.register_install_completion_command()
_options = cyclopts.Group("Options", sort_key=len(TASKS))
for _flag in ("--help", "--version", "--install-completion"):
    app[_flag].group = _options


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
    except cyclopts.CycloptsError as error:
        from secateurs.cli.usage import usage_message  # noqa: PLC0415 (only after a mistake)

        _fail(usage_message(error), BAD_INPUT)
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
