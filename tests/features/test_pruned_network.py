"""The pruned network of the paper and the baselines: gradients, parity, supports, bad input."""

import numpy as np
import pytest

from secateurs.data.columns import columns_of
from secateurs.features.baselines import adam_mlp, one_large_step, spectral
from secateurs.features.planted import normalised_hermite, planted_multi_index
from secateurs.features.pruned_network import (
    gradient_step,
    hermite_scores,
    pruned_network,
    row_norms,
)


def r2(predicted, p):
    return 1 - np.mean((predicted - p.y_test) ** 2) / p.y_test.var()


@pytest.mark.parametrize(
    ("link", "k", "r", "n", "least"),
    [
        ("he1", 1, 1, 300, 0.9),
        ("he2", 2, 1, 1500, 0.9),
        ("he3", 3, 1, 8000, 0.8),
        ("he4", 4, 1, 16000, 0.7),
        ("z1*z2", 2, 2, 2000, 0.9),
        ("he2(z1)+he2(z2)", 2, 2, 2000, 0.9),
    ],
)
def test_a_planted_support_is_found_when_k_and_m_are_given(link, k, r, n, least):
    d, m = (100, 4) if k < 4 else (50, 2)
    p = planted_multi_index(n, d, r, link, sparsity=m, random_state=5)
    fit = pruned_network(p.X, p.y, k, m, directions=r).value
    np.testing.assert_array_equal(fit.support, p.support)
    assert r2(fit.predict(p.X_test), p) > least


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_the_score_of_a_column_is_its_coefficient_to_the_power_of_k(k):
    """s_j estimates c_k v_j^k."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200_000, 4))
    v = np.array([0.8, 0.5, -(0.11**0.5), 0.0])
    y = normalised_hermite(X @ v, k)
    scores = hermite_scores(columns_of(X), y, k)
    deviation = (normalised_hermite(X, k) * y[:, None]).std(axis=0) / np.sqrt(len(X))
    assert (np.abs(scores - np.abs(v) ** k) < 5 * deviation).all()


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_the_step_lies_along_the_direction_for_its_parity_only(k):
    rng = np.random.default_rng(k)
    X = rng.standard_normal((60_000, 3))
    v = np.array([0.6, 0.8, 0.0])
    y = normalised_hermite(X @ v, k)

    def along(parity):
        W = gradient_step(X, y, parity, 200, np.random.default_rng(0))
        return np.linalg.norm(W @ v) / np.linalg.norm(W)

    assert along(k) > 0.8
    assert along(k + 1) < along(k)


def test_the_step_is_the_gradient_of_the_correlation_loss():
    """(3) and (4) against finite differences of mean y (relu(w x + b) -+ relu(-w x + b))."""
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((200, 3)), rng.standard_normal(200)
    for k in (1, 2):
        W = gradient_step(X, y, k, 1, np.random.default_rng(7))
        same = np.random.default_rng(7)
        w = same.standard_normal((1, 3))[0]
        w /= np.linalg.norm(w)
        b = same.standard_normal()
        sign = 1.0 if k == 1 else -1.0

        def correlation(u, b=b, sign=sign):
            both = np.maximum(X @ u + b, 0) - sign * np.maximum(-X @ u + b, 0)
            return np.mean(y * both)

        h = 1e-7
        numeric = [(correlation(w + h * e) - correlation(w - h * e)) / (2 * h) for e in np.eye(3)]
        np.testing.assert_allclose(W[0], numeric / np.linalg.norm(numeric), atol=1e-4)


def test_row_norms_equal_their_definition():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((300, 40)), rng.standard_normal(300)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    H = Z.T @ np.diag(y) @ Z / 300
    H[np.abs(H) <= np.sqrt(2 * np.log(1600) / 300)] = 0
    np.testing.assert_allclose(row_norms(columns_of(X), y), np.linalg.norm(H, axis=1))


def test_nothing_pruned_is_one_large_step():
    p = planted_multi_index(400, 12, 1, "he1", sparsity=4, random_state=0)
    all_kept = pruned_network(p.X, p.y, 1, 12, hidden=64).value.network
    np.testing.assert_array_equal(
        all_kept.predict(p.X), one_large_step(p.X, p.y, 1, hidden=64).value.predict(p.X)
    )


@pytest.mark.parametrize("link", ["he1", "he2"])
def test_unpruned_baselines_learn_with_rows_enough(link):
    k = int(link[2])
    p = planted_multi_index(4000, 15, 1, link, sparsity=4, random_state=0)
    for fit in (
        one_large_step(p.X, p.y, k, hidden=256),
        spectral(p.X, p.y),
        adam_mlp(p.X, p.y, n_steps=200),
    ):
        assert r2(fit.value.predict(p.X_test), p) > 0.9
        assert fit.status == "converged"


def test_an_interrupted_network_is_the_best_so_far():
    p = planted_multi_index(400, 12, 1, "he1", sparsity=4, random_state=0)

    def stop(state):
        if state.step >= 100:
            raise KeyboardInterrupt

    fit = adam_mlp(p.X, p.y, progress=stop)
    assert fit.status == "interrupted"
    assert r2(fit.value.predict(p.X_test), p) > 0.3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 5}, "k: got 5"),
        ({"n_features": 0}, "n_features: got 0"),
        ({"n_features": 99}, "n_features: got 99"),
        ({"directions": 2}, "directions: got 2"),
        ({"hidden": 0}, "hidden: got 0"),
        ({"validation": 1.0}, "validation: got 1.0"),
        ({"validation": 0.01}, "validation: got 0.01 of 30 rows"),
        ({"y": np.zeros(30)}, "y: got a constant"),
        ({"y": np.zeros(29)}, "y: got 29 values"),
        ({"y": np.full(30, np.nan)}, "y: got infinite or missing"),
        ({"X": np.full((30, 3), np.inf)}, "infinite or missing"),
    ],
)
def test_bad_input_is_named(change, message):
    rng = np.random.default_rng(0)
    given = {"X": rng.standard_normal((30, 3)), "y": rng.standard_normal(30), "k": 1}
    given |= {"n_features": 2, **change}
    with pytest.raises(ValueError, match=message):
        pruned_network(**given)
