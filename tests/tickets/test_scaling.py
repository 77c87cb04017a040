"""Fits find planted laws, searches find the fewest neurons, and the picture shows its data."""

import numpy as np
import pytest
from benchmarks.tickets.gap import bit_law, gap_figure, width_law

from secateurs.tickets import prune_weights
from secateurs.tickets.neuron.scaling import (
    NeuronPoint,
    fewest_neurons,
    neuron_point,
)


def planted(slope, factor, spread=0.0, d=3, seeds=8):
    rng = np.random.default_rng(0)
    return [
        NeuronPoint(d, n, seed, error, error, error / 9, error / 99, 3)
        for n in (16, 64, 256, 1024)
        for seed in range(seeds)
        for error in [(factor / n) ** (1 / slope) * np.exp(spread * rng.standard_normal())]
    ]


@pytest.mark.parametrize(("slope", "factor"), [(1.2, 3.0), (2.7, 0.5)])
def test_a_power_law_is_found_and_lies_in_its_band(slope, factor):
    law = width_law(planted(slope, factor))
    assert [law.slope, law.factor, law.low, law.high] == pytest.approx(
        [slope, factor, slope, slope], rel=1e-9
    )
    noisy = width_law(planted(slope, factor, spread=0.1))
    assert noisy.low < noisy.slope < noisy.high
    assert noisy.low < slope < noisy.high


def test_widths_may_have_different_numbers_of_networks():
    points = planted(2.0, 1.0, spread=0.1, seeds=40)
    fewer = [p for p in points if p.n_neurons < 1024 or p.seed < 4]
    law, short = width_law(points), width_law(fewer)
    assert short.slope == pytest.approx(law.slope, abs=0.1)
    assert short.high - short.low > law.high - law.low


def test_points_that_do_not_belong_together_are_refused():
    points = planted(2.0, 1.0)
    for wrong in (points[:1], points[:8], points + points, points + planted(2.0, 1.0, d=4)):
        with pytest.raises(ValueError, match="points: got others; expected"):
            width_law(wrong)


def test_a_line_over_bits_is_found():
    bits = [2, 5, 9]
    lines = [(4, 10), (5, 15), (60, 200)]  # the median does not see how far the last one is
    law = bit_law(bits, np.array([[a * b + c for b in bits] for a, c in lines]))
    assert (law.per_bit, law.at_one) == pytest.approx((5, 15))
    rng = np.random.default_rng(0)
    noisy = np.array([[a * b + 10 for b in bits] for a in 5 + rng.standard_normal(400)])
    # of a median of n normal numbers of deviation 1: (pi / 2n)^(1/2)
    assert bit_law(bits, noisy).standard_error == pytest.approx((np.pi / 800) ** 0.5, rel=0.3)


@pytest.mark.parametrize("seed", range(3))
def test_the_fewest_neurons_reach_eps_and_one_less_does_not(seed):
    d, eps = 2, 0.02
    n = fewest_neurons(d, eps, seed)
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(d)
    W, alpha = rng.standard_normal((80 * d, d)), rng.standard_normal(80 * d)
    reached = [
        prune_weights(W[:k], alpha[:k], w / np.linalg.norm(w), eps).error <= eps for k in (n, n - 1)
    ]
    assert reached == [True, False]


def test_a_point_is_between_its_bounds():
    point = neuron_point(2, 12, 0)
    assert point.any_alpha_bound <= point.error
    assert point.lower_bound <= point.error
    assert point.error_at_least <= point.error
    assert point == neuron_point(2, 12, 0)


def test_the_picture_has_a_panel_for_each_dimension():
    bits = [2, 4, 6]
    needed = {d: np.array([[10 * d, 12 * d, 15 * d]] * 2) for d in (2, 3)}
    figure = gap_figure(planted(1.2, 3.0, d=2) + planted(2.2, 3.0), bits, needed)
    assert [axis.get_title() for axis in figure.axes] == ["d = 2", "d = 3"]
    labels = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert any("slope 2.20" in label for label in labels)
