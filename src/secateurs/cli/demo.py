"""The command ``demo``: the main job of each wing, on data that ship or are drawn here."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from secateurs.cli.terminal import out, show_table, show_text
from secateurs.core.description import Table
from secateurs.core.parameters import check_choice


@dataclass(frozen=True)
class Demo:
    """One example.

    Attributes
    ----------
    job : str
        What it shows.
    commands : tuple of str
        The commands that are run, without "secateurs".
    write : callable, optional
        Writes the files that the commands read into a folder, and returns what they hold.
    """

    job: str
    commands: tuple[str, ...]
    write: Callable[[Path], str] | None = None


def _columns(folder: Path) -> str:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1000, 2000))
    y = X[:, 3] * X[:, 7] + X[:, 40] ** 2 + 0.2 * rng.standard_normal(1000)
    np.savez(folder / "columns.npz", X=X, y=y)
    return "columns.npz: 1,000 rows, 2,000 columns, y = x3 x7 + x40^2 + noise"


def _interactions(folder: Path) -> str:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1500, 60))
    y = 2 * X[:, 1] * X[:, 5] - X[:, 8] ** 2 + X[:, 0] + 0.1 * rng.standard_normal(1500)
    np.savez(folder / "pairs.npz", X=X, y=y)
    return "pairs.npz: 1,500 rows, 60 columns, y = 2 x1 x5 - x8^2 + x0 + noise"


def _network(folder: Path) -> str:
    rng = np.random.default_rng(0)
    X, W = rng.standard_normal((2000, 100)), np.zeros((20, 100))
    W.flat[rng.choice(2000, 50, replace=False)] = rng.standard_normal(50)
    np.savez(folder / "network.npz", X=X, y=np.maximum(X @ W.T, 0).sum(axis=1))
    return "network.npz: 2,000 rows of 100 inputs; y is a network of 20 neurons and 50 weights"


def _matrix(folder: Path) -> str:
    rng = np.random.default_rng(0)
    X, U = rng.standard_normal((600, 40)), rng.standard_normal((40, 3))
    np.savez(folder / "matrix.npz", X=X, y=((X @ U) ** 2).sum(axis=1))
    return "matrix.npz: 600 measurements x.Mx of a 40 x 40 matrix M of rank 3"


DEMOS = {
    "table": Demo(
        "a network of 300 weights for 8 x 8 digits, beside five other methods",
        ("fit digits --nonzeros 300 --compare",),
    ),
    "columns": Demo(
        "three of 2,000 columns that act through a product and a square",
        ("features columns.npz",),
        _columns,
    ),
    "interactions": Demo(
        "pairs of columns that act together", ("interactions pairs.npz",), _interactions
    ),
    "exact": Demo(
        "the 50 weights of the network that made the data, to rounding",
        ("recover network.npz --nonzeros 50 --neurons 20",),
        _network,
    ),
    "matrix": Demo("a matrix and its rank from measurements", ("sense matrix.npz",), _matrix),
    "device": Demo(
        "a program in C of at most 700 bytes for the digits",
        ("fit digits --flash 700 --to c --output net.c",),
    ),
    "ticket": Demo(
        "a trained network inside a random one, by masks alone (needs secateurs[kernels])",
        (
            "fit digits --nonzeros 300 --output model.safetensors --json",
            "ticket model.safetensors --eps 0.01 --radius 8",
        ),
    ),
    "papers": Demo(
        "a claim of the recovery paper, measured here",
        ("reproduce recovery --claim twins --output twins.run",),
    ),
}


def demo(name: str | None = None, /) -> int:
    """Run an example of a main job on data that ship; without a name, list the examples.

    Parameters
    ----------
    name
        table, columns, interactions, exact, matrix, device, ticket or papers.
    """
    if name is None:
        rows = [(key, found.job) for key, found in DEMOS.items()]
        show_table(Table(("name", "shows"), rows, "Examples: secateurs demo NAME"))
        return 0
    check_choice("NAME", name, list(DEMOS))
    chosen = DEMOS[name]
    with tempfile.TemporaryDirectory() as folder:
        if chosen.write is not None:
            show_text(f"Data: {chosen.write(Path(folder))}.")
        for command in chosen.commands:
            out.print(f"$ secateurs {command}", style="bold", soft_wrap=True)
            line = [sys.executable, "-m", "secateurs", *shlex.split(command)]
            quiet = subprocess.DEVNULL if "--json" in command else None
            width = {**os.environ, "COLUMNS": str(out.width)}
            status = subprocess.run(
                line, cwd=folder, stdout=quiet, env=width, check=False
            ).returncode
            if status:
                return status
    show_text("The files were in a temporary folder, which is gone.")
    return 0
