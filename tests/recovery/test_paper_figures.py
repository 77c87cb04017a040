"""The measurements of the paper's figures and lemmas run at small sizes."""

from __future__ import annotations

import pytest

from secateurs.experiments.claims import CLAIMS
from secateurs.experiments.claims.recovery_claims import FIGURES, LEMMAS
from secateurs.experiments.claims.recovery_figures import image_figure, planted_figure
from secateurs.experiments.claims.reproduce import at_scale, chosen


@pytest.mark.parametrize("claim", LEMMAS, ids=lambda claim: claim.name)
def test_a_lemma_is_measured(claim):
    for part in claim.quick[:2]:
        assert all(value >= 0 for value in claim.measure(**part).values())


def test_a_figure_compares_two_methods():
    found = planted_figure(n=120, d=6, m=2, s=4, outputs=1, layers=1, steps=5, seed=0)
    assert found["gain"] == pytest.approx(found["thresholding"] - found["pruning"])
    shape = {"side": 4, "features": 20, "m": 3, "s": 6, "layers": 1, "steps": 5, "seed": 0}
    assert image_figure(colours=True, **shape)["thresholding"] > 0


def test_the_papers_size_has_hours_and_only_figures():
    claims, hours = at_scale(chosen("recovery", None), "paper")
    assert {claim.name for _, claim in claims} == {c.name for c in FIGURES} - {"figure-3"}
    assert all(row["estimated hours"] > 0 and row["parts"] > 0 for row in hours)
    assert at_scale(chosen(None, None), "quick")[1] == []
    assert len(at_scale(chosen(None, None), "quick")[0]) == sum(map(len, CLAIMS.values()))
    with pytest.raises(ValueError, match=r"scale: got .*paper.*figure-1"):
        at_scale(chosen("recovery", "twins"), "paper")
