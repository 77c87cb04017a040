"""The fitted transition: planted boundaries are found, intervals cover, any counts can be fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from secateurs.experiments.sweeps.figures import fit_power_law
from secateurs.experiments.sweeps.transition import fit_transition, open_places

X = np.array([50.0, 100, 150, 200, 300, 500, 1000])


def test_a_planted_boundary_is_recovered():
    for boundary, slope in ((120, 4.0), (260, 8.0), (400, -5.0)):
        p = expit(slope * np.log(X / boundary))
        n = np.full(len(X), 20_000)
        fit = fit_transition(X, np.random.default_rng(0).binomial(n, p), n)
        assert fit.boundary == pytest.approx(boundary, rel=0.02)
        assert fit.low < boundary < fit.high
        assert fit.rises == (slope > 0)
        curve, low, high = fit.probability(X)
        np.testing.assert_allclose(curve, p, atol=0.02)
        assert ((low <= curve) & (curve <= high)).all()


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    n_runs, covered = 80, 0
    for _ in range(n_runs):
        boundary, slope = rng.uniform(100, 500), rng.uniform(2, 12)
        fit = fit_transition(X, rng.binomial(6, expit(slope * np.log(X / boundary))), np.full(7, 6))
        low = -np.inf if fit.low is None else fit.low
        high = np.inf if fit.high is None else fit.high
        covered += low <= boundary <= high
    assert covered / n_runs > 0.95 - 3 * np.sqrt(0.95 * 0.05 / n_runs)


def test_a_perfect_threshold_has_a_boundary_in_the_gap():
    fit = fit_transition(X, [0, 0, 0, 5, 5, 5, 5], np.full(7, 5))
    assert 150 < fit.boundary < 200
    assert 150 * 0.9 < fit.low < fit.boundary < fit.high < 200 * 1.1
    assert open_places(X, [0, 0, 0, 5, 5, 5, 5], np.full(7, 5)) == [2, 3]


def test_no_transition_no_boundary():
    for successes in (np.zeros(7), np.full(7, 5)):
        fit = fit_transition(X, successes, np.full(7, 5))
        assert fit.boundary is None
        assert open_places(X, successes, np.full(7, 5)) == []


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=8))
def test_any_counts_can_be_fitted(pairs):
    successes = np.array([min(pair) for pair in pairs])
    trials = np.array([max(pair) for pair in pairs])
    x = np.arange(len(pairs)) - 1.0  # not positive: no logarithms
    if (trials > 0).sum() < 2:
        with pytest.raises(ValueError, match="two or more"):
            fit_transition(x, successes, trials)
        return
    fit = fit_transition(x, successes, trials)
    ends = [end for end in (fit.low, fit.boundary, fit.high) if end is not None]
    assert ends == sorted(ends)
    assert np.isfinite(fit.probability(x)).all()


def test_bad_counts_are_refused():
    with pytest.raises(ValueError, match="successes <= trials"):
        fit_transition([1, 2], [3, 0], [2, 2])


def test_a_planted_power_law_is_recovered():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        x = rng.uniform(1, 1000, 30)
        law = fit_power_law(x, 3 * x**1.5 * np.exp(0.1 * rng.standard_normal(30)))
        assert law.slope == pytest.approx(1.5, abs=0.1)
        covered += law.slope_low <= 1.5 <= law.slope_high
    assert covered >= 87
    with pytest.raises(ValueError, match="positive"):
        fit_power_law(np.array([1.0, 2]), np.array([0.0, 1]))
