"""Pruned weights are within the returned error, and the error is the supremum."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateurs.tickets.weight_pruning import inner_error, prune_weights


def planted(seed, d, n, k=None):
    rng = np.random.default_rng(seed)
    target = rng.standard_normal(d if k is None else (k, d))
    target /= np.linalg.norm(target, axis=-1, keepdims=True)
    alpha = rng.standard_normal(n if k is None else (k, n))
    return rng.standard_normal((n, d)), alpha, target


def inner(W, alpha, pruned, x):
    """sum_i alpha_i relu(<w_i, x>) under the masks."""
    return np.maximum(x @ (W * pruned.hidden_mask).T, 0) @ (alpha * pruned.output_mask).T


def unit(rng, n, d):
    x = rng.standard_normal((n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@given(
    seed=st.integers(0, 10**6),
    d=st.integers(1, 8),
    per=st.integers(0, 60),
    eps=st.sampled_from([1.0, 0.1, 1e-2, 1e-3, 1e-5]),
    nonnegative=st.booleans(),
)
def test_no_input_beats_the_error(seed, d, per, eps, nonnegative):
    W, alpha, target = planted(seed, d, max(1, per * d))
    pruned = prune_weights(W, alpha, target, eps, nonnegative_inputs=nonnegative, max_terms=24)
    assert (pruned.hidden_mask.sum(1) <= 1).all()
    np.testing.assert_array_equal(pruned.hidden_mask.any(1), pruned.output_mask)
    assert pruned.status == ("converged" if pruned.error <= eps else "budget")
    x = unit(np.random.default_rng(seed), 300, d)
    x = np.abs(x) if nonnegative else x
    found, linear = inner(W, alpha, pruned, x), x @ target
    assert np.abs(found - linear).max() <= pruned.error + 1e-12
    assert np.abs(np.maximum(found, 0) - np.maximum(linear, 0)).max() <= pruned.error + 1e-12


@given(seed=st.integers(0, 10**6), d=st.integers(1, 6), nonnegative=st.booleans())
def test_the_error_is_attained(seed, d, nonnegative):
    W, alpha, target = planted(seed, d, 5 * d)
    pruned = prune_weights(W, alpha, target, 1e-3, nonnegative_inputs=nonnegative)
    worst = 0.0
    for sign in (1, -1):
        plus, minus = sign * pruned.residual_plus, sign * pruned.residual_minus
        x = np.where(plus >= minus, np.maximum(plus, 0), -np.maximum(minus, 0))
        if x.any():
            x = x[None] / np.linalg.norm(x)
            worst = max(worst, float(np.abs(inner(W, alpha, pruned, x) - x @ target)[0]))
    assert worst == pytest.approx(pruned.error, abs=1e-10)


def test_inner_error_by_hand():
    assert inner_error(np.array([3.0, -1.0]), np.array([0.0, 4.0])) == 5.0
    assert inner_error(np.array([-3.0, 1.0]), np.array([0.0, -4.0])) == 5.0
    assert inner_error(np.zeros(3), np.zeros(3)) == 0.0


def test_enough_neurons_reach_the_tolerance():
    for d in (2, 4, 8):
        W, alpha, target = planted(d, d, 35 * d + 60)
        assert prune_weights(W, alpha, target, 1e-3).status == "converged"


def test_a_layer_is_its_neurons_one_by_one():
    W, alpha, target = planted(0, 4, 160, k=3)
    layer = prune_weights(W, alpha, target, 1e-2)
    assert layer.status == "converged"
    for row in range(3):
        one = prune_weights(W, alpha[row], target[row], 1e-2)
        np.testing.assert_array_equal(one.output_mask, layer.output_mask[row])
        assert one.error == layer.error[row]
    np.testing.assert_array_equal(layer.hidden_mask.any(1), layer.output_mask.any(0))


def test_form_a_is_refused_because_its_error_is_one():
    W, alpha, target = planted(1, 3, 100)
    with pytest.raises(ValueError, match="because the masks make the network the linear map"):
        prune_weights(W, alpha, target, 1e-2, form="A")
    pruned = prune_weights(W, alpha, target, 1e-2)
    x = -target[None]
    assert abs(inner(W, alpha, pruned, x)[0]) > 0.9  # where relu(<w*, x>) is 0


@pytest.mark.parametrize(
    "change",
    [
        {"W": np.ones(3)},
        {"W": np.ones((0, 3))},
        {"alpha": np.ones(5)},
        {"alpha": np.ones((0, 6))},
        {"target": np.ones(4)},
        {"target": np.ones((2, 3))},
        {"target": np.full(3, np.nan)},
        {"alpha": np.full(6, np.inf)},
        {"eps": 0.0},
        {"eps": float("inf")},
        {"form": "C"},
        {"max_terms": 0},
    ],
    ids=str,
)
def test_bad_input_is_refused(change):
    fine = {"W": np.ones((6, 3)), "alpha": np.ones(6), "target": np.ones(3), "eps": 0.1}
    with pytest.raises(ValueError, match="expected"):
        prune_weights(**{**fine, **change})


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 4, 8, 16])
def test_neurons_for_a_bit_of_accuracy(d):
    bits = np.array([4, 10, 16])
    needed = [np.mean([_needed(d, 2.0**-b, seed) for seed in range(60)]) for b in bits]
    assert 1.9 <= np.polyfit(bits, needed, 1)[0] / d <= 2.8


def _needed(d, eps, seed):
    """Find the fewest neurons that reach eps, by bisection."""
    W, alpha, target = planted(seed, d, 2000)
    low, high = 0, 80 * d
    while high - low > 1:
        n = (low + high) // 2
        reached = prune_weights(W[:n], alpha[:n], target, eps).error <= eps
        low, high = (low, n) if reached else (n, high)
    return high
