"""Every example of the README and of the site runs, and every command in them is one."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch

from secateurs.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "auto_gallery" not in page.parts and "_build" not in page.parts]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT).with_suffix(""))


def blocks(page: Path, *languages: str) -> list[str]:
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [text for language, text in found if language in languages]


def users_data(folder: Path) -> dict[str, object]:
    """What a reader has before the first line: a table, as arrays and as a file."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 10))
    y = X[:, 0] * X[:, 1] + X[:, 2] + 0.1 * rng.standard_normal(200)
    rows = [
        f"{a:.3f};{b:.3f};agent{i % 3};{c:.3f}"
        for i, (a, b, c) in enumerate(zip(X[:, 0], X[:, 1], y, strict=True))
    ]
    text = "area;age;agent;price\n" + "\n".join(rows).replace(".", ",") + "\n"
    (folder / "houses.csv").write_text(text, encoding="utf-8")
    return {"X": X, "y": y}


def users_module() -> dict[str, object]:
    """A trained module, its loss and its rows."""
    X = torch.randn(200, 10, generator=torch.Generator().manual_seed(0))
    module = torch.nn.Sequential(torch.nn.Linear(10, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (output.ravel() - target).square().mean()

    return {"X": X, "y": X[:, 0], "module": module, "loss": loss}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")
    names = users_data(tmp_path)
    for block in blocks(page, "python"):
        if "# your module" in block:
            names |= users_module()
        exec(compile(block, str(page), "exec"), names)


def commands() -> list[tuple[str, str]]:
    lines = [
        (name_of(page), line.strip().removeprefix("$ "))
        for page in PAGES
        for block in blocks(page, "", "console", "bash", "sh")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    return sorted({(page, line) for page, line in lines if line.startswith("secateurs ")})


@pytest.mark.parametrize(("page", "line"), commands(), ids=lambda text: text[:60])
def test_a_command_of_a_page_is_one(page, line):
    tokens = shlex.split(line, comments=True)[1:]
    command, *_ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    assert callable(command)
