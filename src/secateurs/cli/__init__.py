"""The command line: one file for each family of commands, read when one of them is asked for."""

from __future__ import annotations

import os
import sys
import warnings
from typing import NoReturn

import cyclopts

from secateurs.cli.common import BAD_INPUT, INTERRUPTED
from secateurs.core.version import __version__

app = cyclopts.App(
    name="secateurs",
    help="Sparse neural networks with guarantees.",
    version=__version__,
    suppress_keyboard_interrupt=False,  # or it ends the program without a word
)
bounds = cyclopts.App(name="bounds", help="What can be reached, and what cannot.")
app.command(bounds)

# a command's function, by file, and its docstring up to the parameters
_COMMANDS = {
    "features:features": "Find the few columns that a target depends on, and the directions it "
    "depends on them by.",
    "training:fit": "Fit a network with at most N weights to a data set and score it on test rows."
    "\n\nStarted by torchrun --nproc-per-node N -m secateurs fit ..., N processes share one fit.",
    "recovery:image": "Draw an image with few weights: a network from pixel places to grey values.",
    "models:inspect": "Show what a saved model is: layers, weights, inputs used, how it was "
    "trained.",
    "sensing:interactions": "Find which pairs of columns act together: y = b + w.x + a few "
    "squares (u.x)^2.",
    "training:path": "Score against budget: fit at several budgets, each network started from the "
    "last.",
    "models:predict": "Predict the rows of a data set with a saved model.",
    "recovery:recover": "Find the sparse ReLU network y = sum relu(w.x) behind a data set.",
    "report:report": "Write one page of a run: settings, environment, claims, an interactive "
    "chart, all cells.",
    "reproduce:reproduce": "Measure what the papers claim; exit status 1 if a claim fails.",
    "sensing:sense": "Find the low-rank matrix behind linear measurements, and its rank.",
    "sweeps:sweep": "Run every cell of a grid: problems, methods, seeds.",
    "tickets:ticket": "Find a trained network inside a random one by masks alone, nothing trained.",
}
for _function, _help in _COMMANDS.items():
    app.command(f"secateurs.cli.{_function}", help=_help)
bounds.command(
    "secateurs.cli.bounds:tickets",
    help="How many random neurons it takes to hold one neuron of d inputs within eps.",
)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; bad input is one line on standard error and exit status 2."""
    tokens = sys.argv[1:] if arguments is None else arguments
    if tokens[:1] != ["fit"] and _several_processes():
        _fail("only fit shares its work; run the other commands without torchrun", BAD_INPUT)
    try:
        with warnings.catch_warnings():
            # said in the table instead
            warnings.filterwarnings("ignore", "(the fit|training) was interrupted")
            status = app(
                tokens, exit_on_error=False, print_error=False, result_action="return_value"
            )
    except KeyboardInterrupt:
        _fail("interrupted", INTERRUPTED)
    except (cyclopts.CycloptsError, ValueError, FloatingPointError, OSError) as error:
        _fail(str(error), BAD_INPUT)
    sys.exit(status if isinstance(status, int) else 0)


def _several_processes() -> bool:
    if "WORLD_SIZE" not in os.environ:
        return False
    from secateurs.core.group import launched

    return launched() > 1


def _fail(message: str, status: int) -> NoReturn:
    print(f"secateurs: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)
