"""The theorem of docs/theory/latitude.md: one law for each lemma, and controls that must differ."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from benchmarks.tickets.theorem import LAWS, worst_ratio
from scipy import optimize

from secateurs.tickets import neuron_lower_bound, required_width
from secateurs.tickets.neuron.latitude import (
    MANY_TERMS,
    explicit_constant,
    latitude_bound,
    latitude_constant,
)

PAGE = Path(__file__).parents[2] / "docs/theory/latitude.md"


@pytest.mark.parametrize("name", LAWS)
def test_a_lemma_holds(name):
    ratio, count = worst_ratio(name, 12, first=10_000)
    assert count >= 12
    assert ratio <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", LAWS)
def test_a_lemma_holds_on_many_instances(name):
    assert worst_ratio(name, 400, first=20_000)[0] <= 1


def test_the_page_has_every_statement_that_is_checked():
    text = PAGE.read_text()
    stated = set(re.findall(r"^\*\*((?:Lemma|Theorem|Proposition) \d)", text, re.MULTILINE))
    assert stated == {name for name in LAWS if "control" not in name}


def test_the_constants_are_the_stated_ones():
    assert latitude_constant(2) == pytest.approx(1 / 4, abs=1e-12)
    assert latitude_constant(3) == latitude_constant(4) == pytest.approx(1 / 16, abs=1e-12)
    for d in (5, 9, 33, 255, 256, 257, 1000):
        assert latitude_constant(d) >= 1 / (8 * math.pi * (d - 1))
        assert explicit_constant(d) >= 1 / (8 * math.pi * (d - 1))
        assert latitude_constant(d) == latitude_constant(d + d % 2)
    values = PAGE.read_text().split("The values, rounded down")[1].split("## Proof")[0]
    table = re.findall(r"^\| (\d+)[^|]*\| ([\d.]+) \|", values, re.MULTILINE)
    assert len(table) >= 5
    for d, shown in table:
        assert latitude_constant(int(d)) == pytest.approx(float(shown), abs=6e-6)


@pytest.mark.parametrize("d", [2, 4, 6, 10, 16])
def test_half_the_constant_is_the_error_of_the_best_approximation(d):
    """The constant is not only below it: a linear program finds polynomials that are that near."""
    x = np.cos(np.linspace(0, np.pi / 2, 1500))
    basis = np.cos(np.outer(np.arccos(x), np.arange(0, d, 2)))
    one = np.ones((len(x), 1))
    solved = optimize.linprog(
        np.append(np.zeros(d // 2), 1.0),
        A_ub=np.block([[basis, -one], [-basis, -one]]),
        b_ub=np.concatenate([x, -x]),
        bounds=[(None, None)] * (d // 2) + [(0, None)],
    )
    assert solved.x[-1] == pytest.approx(2 * latitude_constant(d), rel=1e-3)


@pytest.mark.parametrize("d", [2, 3, 7, 64, 2 * MANY_TERMS + 1, 5000, 10**6])
def test_the_bound_is_at_least_that_of_the_theorem_in_every_dimension(d):
    last = 0.0
    for delta in (1e-8, 1e-3, 0.3, 1.0, math.pi / 2):
        bound = latitude_bound(delta, d)
        lost = 1e-14 * (1 + d / 32)  # rounding of the angle
        assert bound >= explicit_constant(d) * math.sin(max(delta - lost, 0)) * (1 - 1e-12)
        assert last <= bound <= 0.5
        last = bound


def test_a_width_for_a_hundred_thousand_inputs_takes_little_memory():
    width = required_width(100_000, 1e-6)
    assert width.necessary >= 1


def test_long_products_lose_an_angle_that_is_taken_off():
    """The angle of a neuron among d inputs is known to about d roundings only."""
    d = 4096
    target = np.random.default_rng(0).standard_normal(d)
    for size in (1e-14, 2e-14):
        W = (target + size * np.linalg.norm(target) * np.eye(d)[0])[None]
        assert neuron_lower_bound(W, target) == 0
