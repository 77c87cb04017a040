"""What starts imports only what it needs, and nothing is lost by that."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from secateurs import cli

SOURCE = Path(cli.__file__).parents[1]
WINGS = sorted(stub.parent.name for stub in SOURCE.glob("*/__init__.pyi"))
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
        (COMMAND.format(arguments=["fitt"]), set()),
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


@pytest.mark.parametrize("package", ["secateurs", *(f"secateurs.{wing}" for wing in WINGS)])
def test_every_name_of_a_stub_can_be_imported_and_is_listed(package):
    module = import_module(package)
    named, homes = stub(module)
    assert sorted(named) == sorted(set(named)) == sorted(homes)
    assert set(named) == set(module.__all__) <= set(dir(module))
    for name, home in homes.items():
        found = getattr(module, name)
        assert found is getattr(import_module(home, package), name)
        if inspect.isclass(found) or inspect.isfunction(found):
            assert found.__module__ == f"{package}{home}"
    with pytest.raises(AttributeError, match="absent"):
        module.absent  # noqa: B018
    with pytest.raises(ImportError):
        exec(f"from {package} import absent")


def stub(module):
    """What the stub beside a package says: the names in ``__all__``, and the home of each."""
    tree = ast.parse(Path(module.__file__).with_suffix(".pyi").read_text())
    named = next(ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign))
    imports = [n for n in tree.body if isinstance(n, ast.ImportFrom)]
    homes = {alias.name: f".{n.module}" for n in imports for alias in n.names}
    return named, homes


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
