"""The documentation is true: its examples run, its names exist, its words are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from secateurs.core.solution import EXPLANATIONS
from secateurs.training.moments import Scaling
from secateurs.training.training_data import TrainingData

ROOT = Path(__file__).parents[2]


def test_the_examples_for_contributors_run(capsys):
    text = (ROOT / "CONTRIBUTING.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) == 5
    names = {}
    for block in blocks:
        exec(block, names)
    assert "weights" in capsys.readouterr().out
    X = names["X"].astype("float32")
    data = TrainingData(X, X[:, :1], Scaling(None, np.ones(X.shape[1])), 1)
    found = names["ten_cuts"](data, (5,), 20, n_steps=50, batch_size=20)
    assert found.value.n_nonzero <= 20


@pytest.mark.parametrize("status", EXPLANATIONS)
def test_the_glossary_explains_each_status_in_the_words_of_the_code(status):
    text = " ".join((ROOT / "docs/glossary.md").read_text().split())
    assert f"**{status}**: {EXPLANATIONS[status]}" in text


def test_links_between_pages_lead_somewhere():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    pages += [*sorted((ROOT / "docs").rglob("*.md"))]
    for page in pages:
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        for link in links:
            assert (page.parent / link).exists(), f"{page.name}: {link}"
