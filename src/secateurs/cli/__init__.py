"""The command line: one file for each family of commands."""

from __future__ import annotations

import sys
import warnings
from typing import NoReturn

import cyclopts
from sklearn.exceptions import ConvergenceWarning

from secateurs.cli import (  # noqa: F401 - importing registers the commands
    features,
    models,
    recovery,
    report,
    reproduce,
    sensing,
    sweeps,
    tickets,
    training,
)
from secateurs.cli.common import BAD_INPUT, INTERRUPTED, app
from secateurs.solvers.distributed import launched


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; bad input is one line on standard error and exit status 2."""
    tokens = sys.argv[1:] if arguments is None else arguments
    if launched() > 1 and tokens[:1] != ["fit"]:
        _fail("only fit shares its work; run the other commands without torchrun", BAD_INPUT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # said in the table instead
            status = app(
                tokens, exit_on_error=False, print_error=False, result_action="return_value"
            )
    except KeyboardInterrupt:
        _fail("interrupted; nothing was written", INTERRUPTED)
    except (cyclopts.CycloptsError, ValueError, FloatingPointError, OSError) as error:
        _fail(str(error), BAD_INPUT)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str, status: int) -> NoReturn:
    print(f"secateurs: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)
