"""Ticket certificates: valid bounds, a bound that must be refused, and widths in order."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from benchmarks.tickets.gap import bit_law
from hypothesis import given, settings
from hypothesis import strategies as st

from secateurs.tickets.neuron.bounds import (
    breakpoint_bound,
    breakpoint_direction,
    nearest_angle,
    relaxation_bound,
)
from secateurs.tickets.neuron.certificate import (
    AT_ONE,
    PER_BIT,
    neuron_lower_bound,
    required_width,
    ticket_certificate,
)
from secateurs.tickets.neuron.latitude import latitude_bound
from secateurs.tickets.neuron.pruned_neuron import checked
from secateurs.tickets.neuron.scaling import BITS, NETWORKS, fewest_neurons
from secateurs.tickets.neuron.sup_error import sup_error
from tests.reference.pruned_neuron import adversarial

COUNTEREXAMPLE = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])


def test_form_b_is_refused_because_it_is_false():
    target = np.array([0.6, 0.8])
    alpha = np.array([0.6, -0.6, 0.8, -0.8])
    _, delta = breakpoint_direction(COUNTEREXAMPLE, target)
    assert breakpoint_bound(delta) > 0.15  # what it would claim
    assert sup_error(COUNTEREXAMPLE, alpha, target, "B")[1] < 1e-12
    with pytest.raises(ValueError, match="false under form B"):
        neuron_lower_bound(COUNTEREXAMPLE, target, "B")
    certificate = ticket_certificate(COUNTEREXAMPLE, alpha, target, 0.01, "B")
    assert certificate["error"].verdict == "holds"
    assert certificate["attainable by these neurons, any output weights"].verdict == "unknown"
    assert certificate["attainable by these neurons, any output weights"].measured is None
    assert sup_error(COUNTEREXAMPLE, alpha, target, "A")[0] >= neuron_lower_bound(
        COUNTEREXAMPLE, target, "A"
    )


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), d=st.integers(2, 8), n=st.integers(1, 30))
def test_no_subset_and_no_output_weights_beat_the_bound(seed, d, n):
    W, alpha, target = adversarial(d, n, seed)
    bound = neuron_lower_bound(W, target)
    assert 0 <= bound <= np.linalg.norm(target)
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((200, d))
    X /= np.linalg.norm(X, axis=1)[:, None]
    A, f = np.maximum(X @ W.T, 0), np.maximum(X @ target, 0)
    fitted = np.linalg.lstsq(A, f, rcond=1e-6)[0]
    for output in (fitted, alpha * (rng.random(n) < 0.5), rng.standard_cauchy(n)):
        assert bound <= sup_error(W, output, target, "A", max_cells=100)[1]


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), d=st.integers(2, 6), n=st.integers(1, 40))
def test_the_direction_has_the_angle_that_is_returned(seed, d, n):
    W, _, target = adversarial(d, n, seed)
    x0, delta = breakpoint_direction(W, target)
    assert np.linalg.norm(x0) == pytest.approx(1)
    assert x0 @ target == pytest.approx(0, abs=1e-9)
    live = W[(W != 0).any(axis=1)]
    angles = np.arctan2(np.abs(live @ x0), np.abs(live @ target) / np.linalg.norm(target))
    assert delta == pytest.approx(angles.min(initial=np.pi / 2), abs=1e-9)
    assert delta <= nearest_angle(W, target) + 1e-9


@pytest.mark.parametrize("d", [3, 4, 6])
def test_the_search_for_x0_beats_a_large_sample(d):
    rng = np.random.default_rng(d)
    W, target = rng.standard_normal((25, d)), rng.standard_normal(d)
    _, delta = breakpoint_direction(W, target)
    plane = np.linalg.svd(target[None])[2][1:]
    X = rng.standard_normal((20_000, d - 1)) @ plane
    X /= np.linalg.norm(X, axis=1)[:, None]
    along = np.abs(W @ target) / np.linalg.norm(target)
    sampled = np.arctan2(np.abs(X @ W.T), along).min(axis=1).max()
    assert delta >= 0.98 * sampled


def test_a_neuron_on_the_axis_leaves_no_bound():
    W = np.vstack([np.random.default_rng(0).standard_normal((5, 3)), [[0, 0, -2.0]]])
    assert neuron_lower_bound(W, np.array([0, 0, 1.0])) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("power", [-1000, -60, 500, 1000])
def test_bounds_for_all_output_weights_depend_on_lines_only(power):
    """A neuron may have any length, because its output weight can undo it."""
    for d in (2, 3, 5):
        W, _, target = adversarial(d, 7, 12 + d)
        W = W * np.ldexp(1.0, power * np.where(np.arange(7) % 2, 1, -1))[:, None]
        plain = np.ldexp(W, -np.frexp(np.abs(W).max(axis=1, keepdims=True))[1])
        assert nearest_angle(W, target) == nearest_angle(plain, target)
        assert nearest_angle(plain, target * 2.0**power) == nearest_angle(plain, target)
        for given_target in (target, target * 2.0**power):
            x0, delta = breakpoint_direction(W, given_target)
            same, angle = breakpoint_direction(plain, target)
            assert (x0.tolist(), delta) == (same.tolist(), angle)
        assert neuron_lower_bound(W, target) == neuron_lower_bound(plain, target)


def test_a_long_neuron_on_the_axis_leaves_no_bound():
    target = np.array([1.0, 2, 3]) / 14**0.5
    W, alpha = 1e170 * target[None], [1e-170]
    upper = sup_error(W, alpha, target, max_cells=500)[1]
    assert neuron_lower_bound(W, target) <= upper < 1e-12
    found = ticket_certificate(W, alpha, target, 1e-6)
    assert found["error"].verdict == "holds"
    assert found["attainable by these neurons, any output weights"].verdict == "unknown"
    with pytest.raises(ValueError, match="divide W and target"):
        neuron_lower_bound(target[None], 1e155 * target)


def test_roundings_of_long_products_are_taken_off():
    """A sum of d products may be wrong by d roundings, which are subtracted from every bound."""
    d, unit = 192, np.finfo(float).eps / 2
    target, w = np.eye(d)[0], np.random.default_rng(0).standard_normal(d)
    problem = checked(np.zeros((1, d)), [1.0], target, "A")
    assert relaxation_bound(problem, target[None], rounds=1)[0] <= 1 - d * unit
    x0, delta = breakpoint_direction(w[None], target)
    angle = math.atan2(abs(math.fsum(w * x0)), abs(w[0]))
    assert breakpoint_bound(delta) <= math.tan((angle - d * unit) / 2) / 2


def test_verdicts_follow_the_interval():
    W, target = np.array([[1.0, 0.2]]), np.array([1.0, 0.0])
    error = sup_error(W, [1.0], target)[0]
    name = "attainable by these neurons, any output weights"
    for eps, verdict in ((1.01 * error, "holds"), (0.99 * error, "fails")):
        assert ticket_certificate(W, [1.0], target, eps)["error"].verdict == verdict
    few = ticket_certificate(W, [1.0], target, 1e-3)
    assert few[name].verdict == "fails"
    assert few[name].measured > 1e-3
    assert ticket_certificate(W, [1.0], target, 0.5)[name].verdict == "unknown"
    known = ticket_certificate(W, [1.0], target, 0.1, lower_bound=0.15)
    assert known["attainable by these neurons"].verdict == "fails"


def test_widths_are_in_order_and_grow():
    for d in (2, 3, 4, 8):
        last = 0
        for eps in (0.3, 0.1, 0.03, 0.01):
            width = required_width(d, eps)
            assert width.sufficient_proven
            assert last <= width.necessary <= width.sufficient
            last = width.necessary
            assert required_width(d, eps, form="B").necessary <= width.necessary
            weights = required_width(d, eps, mode="weights")
            assert weights.necessary <= weights.sufficient
            assert not weights.sufficient_proven


def test_the_necessary_width_is_the_stated_one():
    assert required_width(2, 1e-4, 0.5).necessary == pytest.approx(0.272e4, rel=2e-3)
    small, large = (required_width(4, eps).necessary for eps in (2e-4, 1e-4))
    assert large / small == pytest.approx(8, rel=0.01)  # eps^-(d-1)


def test_widths_are_rounded_outward():
    """The proof asks for 15 of these neurons, by a small margin, and not for 16."""
    assert required_width(2, 0.28867513459481287, 6.969171937625643e-08).necessary == 15
    for k in range(1, 30):  # cap(arcsin(2 eps)) = 1 / 6: 2^k of them cover 2^k / 6
        wanted = Fraction(2**-k) / 6
        delta = 1 - float(wanted)
        exact = math.log2(6 * (1 - delta)) + 1e-12
        assert required_width(2, 0.25, delta, form="B").necessary <= max(math.ceil(exact), 1)


@pytest.mark.parametrize(("d", "eps", "delta"), [(8, 0.1, 0.99), (100, 0.24, 0.975)])
def test_an_axis_needs_fewer_weights_than_a_uniform_target(d, eps, delta):
    """The count is false for an axis, so the source says "uniformly"."""
    width = required_width(d, eps, delta, "weights")
    rng = np.random.default_rng(0)
    alpha, w = rng.standard_normal((2, 400_000))
    # one neuron and the mask of w_1 alone: relu(alpha relu(w_1 x_1)), off by |alpha w_1 - 1|
    reached = np.mean((alpha > 0) & (w > 0) & (np.abs(alpha * w - 1) <= eps))
    assert width.necessary > 1
    assert reached > 1 - delta + 3 * math.sqrt(delta * (1 - delta) / 400_000)
    assert "uniformly" in width.necessary_source
    assert "uniformly" not in required_width(d, eps, delta, "neurons").necessary_source


def test_fewer_weights_than_necessary_fail_for_uniform_targets():
    """Every mask of one neuron is tried against the probability that is ruled out."""
    eps, delta = 0.3, 0.1
    assert required_width(2, eps, delta, "weights").necessary > 1
    rng = np.random.default_rng(0)
    reached = 0
    for _ in range(300):
        w, target = rng.standard_normal((2, 2))
        alpha, target = rng.standard_normal(1), target / np.linalg.norm(target)
        masks = ((0, 0), (0, 1), (1, 0), (1, 1))
        reached += min(sup_error([w * m], alpha, target, "B")[0] for m in masks) <= eps
    assert reached / 300 < 1 - delta


@pytest.mark.parametrize(
    "d", [2, *(pytest.param(d, marks=pytest.mark.slow) for d in (3, 4, 8, 16))]
)
def test_the_measured_width_is_the_fit_it_names(d):
    """The constants are those of the command, and the median of new networks is near them."""
    fewest = [[fewest_neurons(d, 2.0**-b, seed) for b in BITS] for seed in range(NETWORKS)]
    law = bit_law(BITS, np.array(fewest))
    assert (law.per_bit, law.at_one) == pytest.approx((PER_BIT[d], AT_ONE[d]), rel=2e-3)
    for eps in (0.05, 0.01):
        fresh = np.median([fewest_neurons(d, eps, seed) for seed in range(1000, 1060)])
        width = required_width(d, eps, mode="weights")
        assert fresh == pytest.approx(width.sufficient, rel=0.12)
        assert "median" in width.sufficient_source


def test_the_necessary_width_holds_on_random_networks():
    """Among networks below it, the bound alone excludes more than a share delta."""
    d, eps, delta = 3, 0.01, 0.5
    n = required_width(d, eps, delta).necessary - 1
    rng = np.random.default_rng(0)
    target = np.eye(d)[0]
    excluded = np.mean(
        [
            latitude_bound(nearest_angle(rng.standard_normal((n, d)), target), d) > eps
            for _ in range(400)
        ]
    )
    assert excluded > delta - 3 * math.sqrt(0.25 / 400)


def test_the_sufficient_width_is_that_of_one_near_neuron():
    width = required_width(2, 0.3)
    rng = np.random.default_rng(0)
    w = rng.standard_normal((1000, width.sufficient, 2))
    alpha = rng.standard_normal((1000, width.sufficient, 1))
    near = np.linalg.norm(alpha * w - [1.0, 0.0], axis=2) <= 0.3
    share = (near & (alpha[:, :, 0] > 0)).any(axis=1).mean()
    assert share == pytest.approx(0.5, abs=0.06)  # the probability, not only a bound of it


def test_large_dimensions_have_widths():
    for d in (16, 100, 784):
        width = required_width(d, 1e-3)
        assert width.necessary > 0
        assert width.sufficient is None or width.sufficient >= width.necessary
    assert required_width(784, 1e-3, mode="weights").sufficient is None


@pytest.mark.parametrize(
    "change",
    [
        {"d": 1},
        {"d": 2.5},
        {"eps": 0.0},
        {"eps": 0.6},
        {"delta": 1.0},
        {"mode": "both"},
        {"form": "C"},
        {"mode": "weights", "form": "A"},
    ],
)
def test_bad_widths_are_refused(change):
    with pytest.raises(ValueError, match="expected"):
        required_width(**({"d": 4, "eps": 0.1} | change))


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="eps: got 0"):
        ticket_certificate(np.eye(2), np.ones(2), np.ones(2), 0.0)
    with pytest.raises(ValueError, match="expected"):
        neuron_lower_bound(np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match="lower_bound"):
        ticket_certificate(np.eye(2), np.ones(2), np.ones(2), 0.1, lower_bound=math.nan)
