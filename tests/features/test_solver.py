"""The multi-index solver finds planted supports, doubts noise and keeps its promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse

from secateurs.features import SparseMultiIndexRegressor
from secateurs.features import solver as module
from secateurs.features.linearised import conditional_scores
from secateurs.features.network import (
    ScaledNetwork,
    SplitRows,
    gradients,
    initial_network,
    outputs,
    responses,
    score,
    train,
)
from secateurs.features.planted import planted_multi_index
from secateurs.features.shrunk_directions import lightest, shrunk_directions
from secateurs.features.solver import multi_index


def r2(fit, p):
    return 1 - np.mean((fit.predict(p.X_test) - p.y_test) ** 2) / p.y_test.var()


@pytest.mark.parametrize(
    ("link", "r", "n", "inputs"),
    [
        ("he1", 1, 200, "gaussian"),
        ("he2", 1, 600, "t5"),
        ("he3", 1, 900, "gaussian"),
        ("z1*z2", 2, 500, "gaussian"),
        ("he2(z1)+he2(z2)", 2, 600, "uniform"),
        ("z1*z2", 2, 400, "binary"),
        ("z1*z2*z3", 3, 400, "binary"),
    ],
)
def test_a_planted_support_is_found(link, r, n, inputs):
    sparsity = r if inputs == "binary" else 4
    d = 150
    p = planted_multi_index(n, d, r, link, sparsity=sparsity, inputs=inputs, random_state=7)
    fit = multi_index(p.X, p.y).value
    assert set(p.support) <= set(fit.support)
    assert len(fit.support) <= len(p.support) + 2
    assert r2(fit, p) > 0.9
    assert fit.signal_detected
    V = fit.directions.toarray()
    assert V.shape[1] == d
    np.testing.assert_allclose(V @ V.T, np.eye(len(V)), atol=1e-6)
    if inputs != "binary":
        truth = p.directions.toarray()
        assert np.linalg.norm(truth @ V.T) ** 2 > 0.95 * r  # the same subspace


def test_correlated_columns_are_not_kept_for_their_neighbours():
    for seed in range(2):
        p = planted_multi_index(500, 200, 1, "he1", sparsity=6, inputs="ar", random_state=seed)
        solution = multi_index(p.X, p.y)
        assert len(solution.measured["hits"]) > 6
        np.testing.assert_array_equal(solution.value.support, p.support)


@pytest.mark.slow
def test_small_coordinates_count_together():
    p = planted_multi_index(1500, 400, 1, "he2", sparsity=2.8, q=1.5, random_state=0)
    fit = multi_index(p.X, p.y).value
    assert r2(fit, p) > 0.7
    assert len(fit.support) > 50
    narrow = multi_index(p.X, p.y, max_features=8).value
    assert len(narrow.support) <= 8
    assert r2(narrow, p) < r2(fit, p) - 0.2


def doubted(n_seeds, inputs):
    for seed in range(n_seeds):
        p = planted_multi_index(
            300, 300, 1, "null", sparsity=1, inputs=inputs, n_test=1, random_state=seed
        )
        fit = multi_index(p.X, p.y).value
        assert len(fit.support) >= 1  # a model comes back all the same
        yield not fit.signal_detected


def test_noise_is_doubted():
    assert all(doubted(2, "exponential"))


@pytest.mark.slow
@pytest.mark.parametrize("inputs", ["gaussian", "t5", "exponential", "binary", "ar"])
def test_noise_is_nearly_always_doubted(inputs):
    assert sum(doubted(20, inputs)) >= 19


def test_same_seed_same_result_and_any_storage():
    p = planted_multi_index(300, 60, 1, "he2", sparsity=3, n_test=10, random_state=1)
    first = multi_index(p.X, p.y, random_state=3).value
    for X in (p.X.copy(), np.asfortranarray(p.X), sparse.csc_array(p.X)):
        again = multi_index(X, p.y, random_state=3).value
        np.testing.assert_array_equal(again.support, first.support)
        np.testing.assert_allclose(again.predict(p.X_test), first.predict(p.X_test), atol=1e-6)


def test_columns_are_named_the_same_in_any_order():
    p = planted_multi_index(400, 80, 1, "he2", sparsity=3, n_test=1, random_state=2)
    order = np.random.default_rng(0).permutation(80)
    fit = multi_index(p.X[:, order], p.y).value
    np.testing.assert_array_equal(np.sort(order[fit.support]), p.support)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_classes(n_classes):
    p = planted_multi_index(600, 60, 1, "he2", sparsity=3, noise=0, random_state=0)
    cuts = [0.0] if n_classes == 2 else [-0.5, 0.3]
    fit = multi_index(p.X, np.digitize(p.y, cuts), task="classification").value
    P = fit.predict(p.X_test)
    assert P.shape == (len(p.y_test), n_classes)
    np.testing.assert_allclose(P.sum(axis=1), 1)
    assert (P.argmax(axis=1) == np.digitize(p.y_test, cuts)).mean() > 0.93
    assert set(p.support) <= set(fit.support)
    assert fit.signal_detected


def test_an_interrupt_keeps_the_best_so_far(monkeypatch):
    p = planted_multi_index(300, 50, 1, "he1", sparsity=3, n_test=10, random_state=0)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "with_small_coordinates", stop)
    solution = multi_index(p.X, p.y)
    assert solution.status == "interrupted"
    assert set(p.support) <= set(solution.value.support)
    monkeypatch.setattr(module, "supports", stop)
    with pytest.raises(KeyboardInterrupt):
        multi_index(p.X, p.y)


def test_progress_and_measurements():
    p = planted_multi_index(300, 50, 1, "he1", sparsity=3, n_test=10, random_state=0)
    seen = []
    solution = multi_index(p.X, p.y, progress=seen.append)
    assert [s.step for s in seen] == [1, 2, 3, 4, 5]
    assert solution.history["n_nonzero"][-1] == len(solution.value.support)
    m = solution.measured
    assert m["noise_floor"] == pytest.approx(300**-0.5)
    assert len(m["conditional_scores"]) == len(solution.value.support)
    assert m["kept_score"] > m["dropped_score"]
    assert m["n_train"] == 240
    assert solution.value.val_r2 == pytest.approx(1 - solution.history["loss"][-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "rank"}, "task: got 'rank'"),
        ({"hidden": 0}, "hidden: got 0"),
        ({"validation": 1.0}, "validation: got 1.0"),
        ({"validation": 0.8}, "X: got 20 rows, of which 16 are for validation"),
        ({"max_features": 0}, "max_features: got 0"),
        ({"alpha": 2.0}, "alpha: got 2.0"),
        ({"degrees": 0}, "degrees: got 0"),
        ({"y": np.arange(30.0)}, "y: got 30 values; expected 20"),
        ({"y": np.arange(1, 21) % 2 + 1, "task": "classification"}, "encode them"),
        ({"X": np.full((20, 2), np.nan)}, "column 0: got infinite or missing"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"X": np.random.default_rng(0).standard_normal((20, 3)), "y": np.arange(20.0)}
    with pytest.raises(ValueError, match=message):
        multi_index(**(arguments | change))


def problem(task, seed=0):
    torch.manual_seed(0)
    rng = np.random.default_rng(seed)
    X = torch.from_numpy(rng.standard_normal((200, 4))).float()
    u = X[:, 0] + 0.5 * X[:, 1]
    if task == "regression":
        Y = (u**2 + 0.1 * torch.from_numpy(rng.standard_normal(200)).float())[:, None]
    else:
        Y = torch.nn.functional.one_hot((u**2 > 0.8).long(), 2).float()
    rows = SplitRows(X, Y, 160, task)
    D = torch.tensor([[1.0, 0.5, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
    return rows, initial_network(rows, D, 16, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_gradients_are_finite_differences(task):
    rows, network = problem(task)
    network = ScaledNetwork(*(p.double() for p in network.parameters()))
    rows = SplitRows(rows.X.double(), rows.Y.double(), rows.n_train, task)
    G = gradients(network, rows)
    U = rows.X @ network.D.t()
    eye = torch.eye(2, dtype=torch.float64)
    for r in range(2):
        step = torch.zeros(2, dtype=torch.float64)
        step[r] = 1e-7
        on = replace(network, D=eye)
        up, down = (responses(on, replace(rows, X=U + s * step)) for s in (1, -1))
        found = ((up - down) / 2e-7).t()
        near = (U @ network.A.t() + network.b).abs().min(dim=1).values < 1e-5  # at a kink
        np.testing.assert_allclose(found[:, ~near], G[:, ~near, r], atol=1e-5)


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_training_never_lowers_the_score(task):
    rows, network = problem(task)
    done = train(rows, network, 60)
    assert done.score >= network.score
    assert done.score == pytest.approx(score(rows, outputs(done, rows.X)), abs=1e-5)
    fixed = train(rows, network, 20, fixed_directions=True)
    assert torch.equal(fixed.D, network.D)


def test_conditional_scores_of_a_linear_network_are_t_statistics():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 4))
    X[:, 1] = X[:, 0] + 0.3 * X[:, 1]  # a copy of the column that matters
    y = X[:, 0] + 0.5 * rng.standard_normal(300)
    rows = SplitRows(torch.from_numpy(X), torch.from_numpy(y[:, None]), 300, "regression")
    one = torch.ones(1, 1, dtype=torch.float64)
    D = torch.tensor([[0.9, 0.1, 0.0, 0.0]], dtype=torch.float64)
    network = ScaledNetwork(D, one, torch.full((1,), 100.0), one, torch.full((1,), -100.0))
    t, theta = conditional_scores(network, rows)
    inverse = np.linalg.inv(X.T @ X)
    ols = inverse @ X.T @ y
    sigma2 = np.square(y - X @ ols).sum() / 296
    np.testing.assert_allclose(theta[0], ols, atol=0.02)
    np.testing.assert_allclose(t, np.abs(ols) / np.sqrt(sigma2 * np.diag(inverse)), atol=0.15)
    assert t[0] > 8
    assert t[1] < 3


def test_shrunk_directions_are_never_worse_and_light_ones_keep_the_score():
    rows, network = problem("regression")
    best = shrunk_directions(rows, network, 16, torch.Generator().manual_seed(0))
    assert best.score >= network.score
    kept = lightest(rows, best, 0.02)
    assert kept[0]
    light = replace(best, D=best.D * torch.from_numpy(kept))
    assert score(rows, outputs(light, rows.X)) >= best.score - 0.02


@pytest.mark.parametrize("power", [-990, -500, 100, 500])
def test_the_unit_of_the_inputs_does_not_matter(power):
    """A power of two changes no bit of what is found."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 4))
    y = 2 * X[:, 0] - X[:, 1] + X[:, 2] ** 2
    plain = SparseMultiIndexRegressor(random_state=0, hidden=8).fit(X, y)
    scaled = SparseMultiIndexRegressor(random_state=0, hidden=8).fit(np.ldexp(X, power), y)
    assert scaled.signal_detected_ == plain.signal_detected_
    np.testing.assert_array_equal(scaled.support_, plain.support_)
    np.testing.assert_allclose(
        scaled.predict(np.ldexp(X, power)), plain.predict(X), rtol=1e-9, atol=1e-9
    )
