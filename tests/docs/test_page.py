"""Tables of the documentation are printed by the command that stands above them."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from benchmarks.page import commands, measure, renew

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
BLOCK = "<!-- measured by: {} -->\n```text\nold\n```\n"
VERSION = "python -m secateurs --version"


def test_a_table_is_renewed_and_the_rest_stays(tmp_path):
    page = tmp_path / "page.md"
    failing = BLOCK.format("python -m benchmarks.no_such_benchmark")
    page.write_text("# Title\n\n" + BLOCK.format(VERSION) + "\ntext\n\n" + failing)
    (failure,) = renew(page)
    text = page.read_text()
    assert "no_such_benchmark" in failure
    assert re.search(r"```text\n\d+\.\d+\.\d+\S*\n```", text)
    assert text.endswith("\ntext\n\n" + failing)
    assert [table["command"] for table in commands(page, "version")] == [VERSION]


@pytest.mark.parametrize("command", ["rm -rf /", "python -c 'print(1)'", "python -m pip list"])
def test_only_commands_of_this_repository_run(command):
    with pytest.raises(ValueError, match="expected python -m benchmarks"):
        measure(command, None)


def test_data_that_are_missing_are_asked_for():
    with pytest.raises(ValueError, match="--mnist"):
        measure("python -m benchmarks.training.mnist mnist.npz", None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_benchmark_exists(page):
    for module in re.findall(r"python -m (benchmarks(?:\.\w+)+)", page.read_text("utf-8")):
        assert find_spec(module), module
