"""The paper's algorithms as printed: sizes, supports, the gradient, the step, and bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateurs.features import planted_multi_index, published_network, published_pruning
from secateurs.features.counterexamples import cancelling_link, inverted_ranking
from secateurs.features.published_pruning import largest_entries, split_gradients
from secateurs.features.sample_sizes import effective_sparsity, pruned_rows


@pytest.mark.parametrize(("link", "n", "d"), [("he1", 256, 200), ("he2", 8192, 40)])
def test_algorithm_1_keeps_all_relevant_columns_and_at_most_three_m(link, n, d):
    for seed in range(2):
        p = planted_multi_index(n, d, 1, link, sparsity=8, n_test=1, random_state=seed)
        J = published_pruning(p.X, p.y, 8, random_state=seed).support
        assert len(J) <= 24
        assert set(p.support) <= set(J)


@pytest.mark.slow
def test_algorithm_1_finds_he2_in_200_columns():
    p = planted_multi_index(16_384, 200, 1, "he2", sparsity=8, n_test=1, random_state=0)
    J = published_pruning(p.X, p.y, 8).support
    assert len(J) <= 24
    assert set(p.support) <= set(J)


@given(seed=st.integers(0, 10**6), d=st.integers(1, 12), share=st.floats(0.0, 1.0))
@settings(max_examples=25, deadline=None)
def test_algorithm_1_keeps_at_most_three_m_columns_of_anything(seed, d, share):
    rng = np.random.default_rng(seed)
    M = max(1, round(share * d))
    kept = published_pruning(
        rng.standard_normal((20, d)), rng.standard_normal(20), M, width=3, random_state=seed
    )
    assert len(kept.support) <= min(3 * M, d)
    assert (np.diff(kept.support) > 0).all()
    assert set(kept.odd_support) <= set(kept.support)
    assert len(kept.odd_support) <= M
    assert kept.odd_norms.shape == kept.even_norms.shape == (d + 1,)
    if not (kept.biases >= 0).any():
        assert not len(kept.odd_support)


def test_the_split_gradients_are_those_of_the_squared_loss():
    """Against finite differences of the loss of a network whose paired neurons cancel."""
    rng = np.random.default_rng(0)
    Z, y = rng.standard_normal((300, 4)), rng.standard_normal(300)
    w, b = rng.standard_normal(4), rng.standard_normal(1)

    def loss(shift, sign):  # of y - relu(<v, x> + b) + relu(<w, x> + b) at v = sign w + shift
        out = np.maximum(Z @ (sign * w + shift) + b, 0) - np.maximum(Z @ (sign * w) + b, 0)
        return 0.5 * np.mean((y - out) ** 2)

    h = 1e-6
    numeric = {
        sign: -np.array([(loss(h * e, sign) - loss(-h * e, sign)) / (2 * h) for e in np.eye(4)])
        for sign in (1.0, -1.0)
    }
    odd, even = split_gradients(Z * y[:, None] / 300, Z @ w, b)
    np.testing.assert_allclose(odd[0], (numeric[1.0] + numeric[-1.0]) / 2, atol=1e-6)
    np.testing.assert_allclose(even[0], (numeric[1.0] - numeric[-1.0]) / 2, atol=1e-6)


@given(seed=st.integers(0, 10**6), M=st.integers(1, 8))
@settings(max_examples=20)
def test_the_cut_keeps_the_largest_entries_and_of_equal_ones_the_first(seed, M):
    G = np.random.default_rng(seed).integers(-3, 4, (3, 8)).astype(float)
    out = largest_entries(G, M)
    for row, kept in zip(G, out, strict=True):
        best = sorted(range(8), key=lambda j: (-abs(row[j]), j))[:M]
        expected = np.zeros(8)
        expected[best] = row[best]
        np.testing.assert_array_equal(kept, expected)


@pytest.mark.parametrize(
    ("link", "n", "d", "r"),
    [("he1", 512, 30, 1), ("he2", 4096, 30, 1), ("he1(z1)+he2(z1)+he2(z2)", 8192, 30, 2)],
)
def test_algorithms_2_and_2_plus_learn_planted_functions(link, n, d, r):
    p = planted_multi_index(n, d, r, link, sparsity=4, random_state=1)
    fit = published_network(p.X, p.y, 4, several_indices=r > 1, width=48, random_state=1).value
    error = np.mean((fit.predict(p.X_test) - p.y_test) ** 2) / p.y_test.var()
    assert error < 0.1
    if r > 1:
        plain = published_network(p.X, p.y, 4, width=48, random_state=1).value
        assert error < np.mean((plain.predict(p.X_test) - p.y_test) ** 2) / p.y_test.var()


def test_the_step_size_scales_the_first_layer_and_nothing_is_random_but_the_seed():
    p = planted_multi_index(300, 10, 1, "he1", sparsity=3, random_state=0)
    settings_ = {"width": 6, "n_steps": 10, "random_state": 4}
    one = published_network(p.X, p.y, 3, step_size=0.5, **settings_).value.network
    two = published_network(p.X, p.y, 3, step_size=1.0, **settings_).value.network
    np.testing.assert_allclose(two.W, 2.0 * one.W)
    np.testing.assert_array_equal(two.bias, one.bias)
    np.testing.assert_allclose(one.W[:6], -one.W[6:])  # paired neurons step in opposite directions
    default = published_network(p.X, p.y, 3, **settings_).value.network
    assert np.square(default.W).sum(axis=1).mean() == pytest.approx(1.0)


def test_the_counterexamples_of_section_6():
    for seed in range(2):
        assert cancelling_link(65_536, 12, seed) == {"with": 1.0, "without": 0.0}
        assert inverted_ranking(8192, 12, 3, seed) == {"with": 1.0, "without": 0.0}


@given(
    k=st.integers(1, 4),
    q=st.floats(0.0, 1.8),
    radius=st.floats(1.0, 20.0),
    dropped=st.floats(0.05, 1.0),
    r=st.integers(1, 5),
)
@settings(max_examples=50)
def test_the_rows_of_lemma_34(k, q, radius, dropped, r):
    size = (radius / r ** (q / 2)) ** (2 / (2 - q))
    assert effective_sparsity(radius, q, r) == pytest.approx(size)
    if q > 0:
        rows = pruned_rows(100, k, radius, q, r, dropped=dropped)
        power = k * (1 + k * q / (2 - q))
        assert rows == pytest.approx(size**k * dropped**-power * math.log(100))
        if k == 1:  # it agrees with a radius that is enlarged by 1 / e
            assert rows == pytest.approx(pruned_rows(100, 1, radius / dropped, q, r))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sparsity": 0}, "sparsity: got 0"),
        ({"sparsity": 4}, "sparsity: got 4"),
        ({"shrinkage": 1.0}, "shrinkage: got 1.0"),
        ({"width": 0}, "width: got 0"),
        ({"step_size": 0.0}, "step_size: got 0.0"),
        ({"weight_decay": 0.0}, "weight_decay: got 0.0"),
        ({"n_steps": 0}, "n_steps: got 0"),
        ({"pruning_width": 0}, "width: got 0"),
        ({"y": np.zeros(30)}, "y: got a constant"),
        ({"y": np.zeros(29)}, "y: got 29 values"),
        ({"X": np.full((30, 3), np.inf)}, "infinite or missing"),
    ],
)
def test_bad_input_is_named(change, message):
    rng = np.random.default_rng(0)
    given_ = {"X": rng.standard_normal((30, 3)), "y": rng.standard_normal(30), "sparsity": 2}
    given_ |= {"width": 3, "n_steps": 2, **change}
    with pytest.raises(ValueError, match=message):
        published_network(**given_)
