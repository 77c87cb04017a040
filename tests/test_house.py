"""The house: sizes of files and functions, and no sentence of the old dialect."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py")) + sorted((ROOT / "src").rglob("*.js"))
PYTHON = [path for path in SOURCES if path.suffix == ".py"]

MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 60  # without its docstring
MOST_SHARE_OF_A_WING = 0.16
LONG_FUNCTIONS = {
    "sensing/regularisation_path.py:group_lasso_path"
}  # named exceptions, "room/file.py:function", at most five
WINGS = {"training", "recovery", "features", "sensing", "tickets", "nn", "tiny"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT / "src/secateurs").as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_no_file_is_long(path):
    assert len(path.read_text().splitlines()) <= MOST_LINES_OF_A_FILE


def test_no_function_is_long():
    assert len(LONG_FUNCTIONS) <= 5
    long = set()
    for path in PYTHON:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = ast.get_docstring(node, clean=False)
                lines = (node.end_lineno or 0) - node.lineno + 1
                lines -= len(docstring.splitlines()) if docstring else 0
                if lines > MOST_LINES_OF_A_FUNCTION:
                    long.add(f"{relative(path)}:{node.name}")
    assert long == LONG_FUNCTIONS


def test_no_wing_is_large():
    sizes: dict[str, int] = {}
    for path in SOURCES:
        room = relative(path).split("/")[0]
        sizes[room] = sizes.get(room, 0) + len(path.read_text().splitlines())
    for wing in WINGS & sizes.keys():
        assert sizes[wing] <= MOST_SHARE_OF_A_WING * sum(sizes.values()), wing


DIALECT = [
    r"\btell(s)? of\b",
    r"\btold (nothing|the|by|in|from)\b",
    r"\bof which every\b",
    r"^\s*Of (the|a|what|its)\b",
    r"\bis read, goes on\b",
    r"\bnoise has any such\b",
    r"\bwhoever\b",
    r"\bthe rows give\b",
]


def test_the_prose_is_plain():
    """Phrases that readers stumbled over do not come back."""
    pages = [*PYTHON, *sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in pages
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if any(re.search(phrase, line) for phrase in DIALECT)
    ]
    assert not found, "\n".join(found)
