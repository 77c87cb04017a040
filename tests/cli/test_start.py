"""What starts imports only what it needs, and nothing is lost by that."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

import secateurs
from secateurs import cli

HEAVY = {"torch", "sklearn", "scipy", "pandas", "matplotlib", "numba", "plotly", "joblib"}
COMMAND = """
import contextlib, io
from secateurs.cli import main
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    main({arguments})
"""
# as a worker does, when it is sent a cell
WORKER = """
import secateurs.experiments.sweeps.worker
from secateurs.experiments.sweeps.families.{name} import {name}
"""


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import secateurs", set()),
        ("import secateurs.experiments.sweeps.worker", set()),
        (COMMAND.format(arguments=["--help"]), set()),
        (COMMAND.format(arguments=["--version"]), set()),
        (COMMAND.format(arguments=["bounds", "--help"]), set()),
        (
            COMMAND.format(arguments=["bounds", "tickets", "--d", "4", "--eps", ".01"]),
            {"scipy", "numba"},
        ),
        (WORKER.format(name="planted"), {"torch", "scipy"}),
        (WORKER.format(name="features"), {"torch", "scipy"}),
        (WORKER.format(name="sensing"), {"torch", "scipy"}),
    ],
)
def test_only_what_is_needed_is_imported(code, allowed):
    told = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        **{"capture_output": True, "text": True, "check": True},
    )
    assert HEAVY & set(told.stdout.split()) == allowed


def test_public_names_are_what_they_were_and_are_listed():
    assert set(secateurs._HOMES) == set(secateurs.__all__) - {"__version__"}
    assert set(secateurs.__all__) <= set(dir(secateurs))
    for name, home in secateurs._HOMES.items():
        found = getattr(secateurs, name)
        assert found is getattr(import_module(f"secateurs.{home}"), name)
        assert found.__module__ == f"secateurs.{home}"
    with pytest.raises(AttributeError, match="module 'secateurs' has no attribute 'absent'"):
        secateurs.absent  # noqa: B018
    with pytest.raises(ImportError):
        from secateurs import absent  # noqa: F401


def commands(app, *words):
    """Every command: its words, and the app that runs it."""
    for name in app:
        inner = app[name]
        if name.startswith("-"):
            continue
        if inner.default_command is None:
            yield from commands(inner, *words, name)
        else:
            yield (*words, name), inner


def test_the_list_of_commands_says_what_their_docstrings_say():
    found = dict(commands(cli.app))
    assert {("fit",), ("sweep",), ("bounds", "tickets")} < set(found)
    for command in found.values():
        told, _, _ = inspect.getdoc(command.default_command).partition("\n\nParameters\n")
        assert command.help == told
