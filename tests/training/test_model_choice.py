"""Laws of the choice between a constant, a line and networks inside a fit."""

import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

from secateurs import SparseMLPClassifier, SparseMLPRegressor, load
from secateurs.core.splits import hold_out
from secateurs.data.table_estimator import split_keys
from secateurs.sparse.network import SparseNetwork
from secateurs.training.comparison_parts import comparison_units
from secateurs.training.fit_task import FitTask
from secateurs.training.fitted_network import FittedNetwork
from secateurs.training.initial import random_support
from secateurs.training.line import Line, constant, fit_line, n_places, start_from_line
from secateurs.training.moments import Scaling


def outputs(network, X):
    d, k = network.widths[0], network.widths[-1]
    scaling = Scaling(None, np.ones(d))
    return FittedNetwork.build(network, scaling, np.zeros(k), np.ones(k)).outputs(X)


def linear_table(seed=0, n=200, d=6, noise=0.5):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * np.logspace(-2, 2, d)
    return X, X @ (rng.standard_normal(d) / np.logspace(-2, 2, d)) + noise * rng.standard_normal(n)


# -- the line ---------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", [1e-3, 1.0, 100.0])
def test_the_line_with_all_weights_is_ridge(penalty):
    X, y = linear_table()
    X, Y = X / X.std(axis=0), np.stack([y, y**2], axis=1)
    line = fit_line(X, Y, 2, 100, penalty)
    expected = Ridge(penalty).fit(X, Y).predict(X)
    np.testing.assert_allclose(line.outputs(X), expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(outputs(line.network(), X), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("k", [2, 4])
def test_the_line_with_all_weights_is_logistic_regression(k):
    X, y = linear_table()
    X = X / X.std(axis=0)
    labels = np.digitize(y, np.quantile(y, np.arange(1, k) / k))
    line = fit_line(X, labels, k, 100, 1.0)
    expected = LogisticRegression(C=1.0, max_iter=2000).fit(X, labels).predict(X)
    assert (line.outputs(X).argmax(axis=1) == expected).mean() > 0.99
    assert line.network().n_nonzero <= n_places(6, k, classifies=True)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classifies", [False, True])
def test_the_line_finds_a_planted_support_within_the_budget(seed, classifies):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((400, 60))
    chosen = np.sort(rng.choice(60, 4, replace=False))
    y = X[:, chosen] @ np.array([3.0, -2.0, 2.0, 1.5]) + 0.1 * rng.standard_normal(400)
    targets = (y > 0).astype(np.int64) if classifies else y[:, None]
    for budget in (1, 3, 5, 20):
        network = fit_line(X, targets, 1 + classifies, budget, 0.1).network()
        assert network.n_nonzero <= budget
    line = fit_line(X, targets, 1 + classifies, 5, 0.1)
    assert set(chosen) <= set(np.flatnonzero(np.abs(line.weights).sum(axis=0)))


def test_the_constant_answers_the_mean_and_the_most_frequent_class():
    X, y = linear_table()
    np.testing.assert_allclose(constant(y[:, None], 1, 6).outputs(X), y.mean())
    labels = np.array([0, 2, 2, 1, 2])
    assert (constant(labels, 3, 6).outputs(X).argmax(axis=1) == 2).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_network_that_starts_from_a_line_computes_it(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((100, 5))
    W = rng.standard_normal((3, 5)) * (rng.random((3, 5)) < 0.6)
    line = Line(W, rng.standard_normal(3))
    widths = (5, 12, 3)
    nothing = SparseNetwork(widths, [np.empty(0, np.int64)] * 2, [np.empty(0, np.float32)] * 2)
    sizes = np.abs(X @ W.T).max(axis=0)
    start = start_from_line(line.network(), sizes, nothing)
    np.testing.assert_allclose(outputs(start, X), line.outputs(X), rtol=1e-4, atol=1e-4)
    assert start.n_nonzero <= line.network().n_nonzero + 3 * 3
    random = random_support(widths, 40, np.ones(5), torch.Generator())
    both = start_from_line(line.network(), sizes, random)
    assert both.n_nonzero <= start.n_nonzero + random.n_nonzero


# -- the choice -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_linear_table_is_fitted_as_well_as_by_ridge(seed):
    X, y = linear_table(seed, 300)
    ours = SparseMLPRegressor(20, random_state=seed, max_epochs=30).fit(X[:200], y[:200])
    ridge = Ridge(1e-3).fit(X[:200], y[:200])
    assert ours.score(X[200:], y[200:]) > ridge.score(X[200:], y[200:]) - 0.02


def test_a_bent_table_is_fitted_by_a_network():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 3))
    model = SparseMLPRegressor(40, random_state=0).fit(X, np.abs(X[:, 0]))
    assert model.choice_.model == "network"
    assert model.report_["beats_line"] is True
    assert model.score(X, np.abs(X[:, 0])) > 0.9


@pytest.mark.parametrize("kind", [SparseMLPClassifier, SparseMLPRegressor])
def test_a_fit_to_noise_says_that_it_is_useless(kind):
    """Below the mean or the most frequent class on the held-out rows: always said."""
    said = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((80, 5)), rng.standard_normal(80)
        y = (y > 0.3).astype(int) if kind is SparseMLPClassifier else y
        options = {"max_epochs": 5, "validation_fraction": 0.3, "random_state": seed}
        for model in (kind(60, **options), kind(60, model="network", **options)):
            description = model.fit(X, y).describe()
            facts, scores = description.facts, description.tables[-1]
            assert facts["constant_score"] is not None
            useless = model.validation_score_ <= facts["constant_score"]
            assert facts["beats_constant"] is not useless
            assert ("WARNING" in description.headline) == useless
            assert useless == any(
                ("mean" in label or "most frequent class" in label)
                for label in (scores.rows[i][0] for i in scores.strong)
            )
            said += useless
    assert said > 0


def test_the_choice_looks_at_no_held_out_row():
    X, y = linear_table(0, 150)
    model = SparseMLPRegressor(20, random_state=0, max_epochs=5)
    before = model.fit(X, y)
    first = before.choice_, before.predict(X)
    held_out = hold_out(split_keys(X, y), 0.1, before.seed_).held_out
    assert len(held_out) == 15
    z = y.copy()
    z[held_out] += 1e6
    after = SparseMLPRegressor(20, random_state=0, max_epochs=5).fit(X, z)
    assert after.choice_.scores == first[0].scores
    np.testing.assert_array_equal(after.predict(X), first[1])


@pytest.mark.parametrize("model", ["auto", "line", "network"])
def test_the_budget_and_the_support_hold_whatever_is_chosen(model):
    X, y = linear_table(0, 120, 40)
    for budget in (1, 4, 30):
        for overshoot in (1, 12):
            fitted = SparseMLPRegressor(
                budget, (8,), model=model, overshoot=overshoot, max_epochs=2, random_state=0
            ).fit(X, y)
            assert fitted.n_nonzero_ <= budget
            assert fitted.certificate_["support"].verdict == "holds"


def test_the_choice_comes_back_from_the_file(tmp_path):
    X, y = linear_table(0, 120)
    X[:, 1] = 3
    model = SparseMLPRegressor("auto", max_epochs=2, random_state=0).fit(X, y)
    model.save(tmp_path / "m")
    back = load(tmp_path / "m")
    facts, again = model.describe().facts, back.describe().facts
    for name in (
        "choice",
        "line_score",
        "beats_line",
        "constant_inputs",
        "budget_scores",
        "budget",
    ):
        assert again[name] == facts[name]
    assert facts["constant_inputs"] == ["x1"]
    json.dumps(facts, allow_nan=False)


def test_a_given_noise_is_kept():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 3))
    y = np.abs(X).sum(axis=1)
    model = SparseMLPRegressor(40, input_noise=0.03, weight_decay=0.2, random_state=0).fit(X, y)
    assert (model.choice_.candidate.noise, model.choice_.candidate.decay) == (0.03, 0.2)


# -- the automatic budget ---------------------------------------------------------------------


def test_the_automatic_budget_is_small_for_a_line_and_larger_for_a_surface():
    X, y = linear_table(0, 200, 4)
    small = SparseMLPRegressor("auto", max_epochs=20, random_state=0).fit(X, y)
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (1500, 2))
    y = np.sin(3 * X[:, 0]) * np.cos(2 * X[:, 1])
    large = SparseMLPRegressor("auto", random_state=0).fit(X, y)
    assert small.budget_ < large.budget_ <= 2000
    assert large.n_nonzero_ <= large.budget_
    assert large.certificate_["budget"].verdict == "holds"


def test_few_rows_get_a_model():
    for n in (2, 3, 5, 9):
        X = np.arange(n * 2.0).reshape(n, 2)
        for budget in (3, "auto"):
            model = SparseMLPRegressor(budget, max_epochs=2, random_state=0).fit(X, X[:, 0])
            assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize("planted", ["line", "network"])
def test_progress_counts_the_steps_of_every_run(planted: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((150, 4))
    y = X[:, 0] + (2 * np.abs(X[:, 1]) if planted == "network" else 0)
    seen = []
    model = SparseMLPRegressor(20, (6,), random_state=0, max_epochs=20)
    model.fit(X, y, progress=seen.append)
    steps = [state.step for state in seen]
    assert steps == sorted(steps)
    assert all(state.step <= state.n_steps for state in seen)
    most = max(state.n_steps for state in seen)
    assert most > model.n_steps_  # the runs that were compared count, too
    assert seen[-1].n_steps == seen[-1].step or model.choice_.model != "network"


def units_of(X, y, groups=None):
    keys = split_keys(X, y, groups)
    split = hold_out(keys, 0.1, 0)
    task = FitTask(X, y, np.zeros(1), np.ones(1), split, has_groups=groups is not None)
    return len(np.unique(comparison_units(task))), len(split.train)


@pytest.mark.parametrize("seed", range(3))
def test_copies_stay_together_and_ties_of_few_values_do_not(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((60, 4)), rng.standard_normal((60, 1))
    n_units, n = units_of(np.repeat(X, 5, axis=0), np.repeat(y, 5, axis=0))
    assert n_units <= n / 4  # copies of rows with noise in y
    levels = rng.integers(0, 3, (300, 2)).astype(float)
    target = (levels[:, :1] + rng.integers(0, 3, (300, 1))).astype(float)
    n_units, n = units_of(levels, target)
    assert n_units == n  # the same inputs with another target
    n_units, n = units_of(levels, target, np.repeat(np.arange(30), 10))
    assert n_units <= 30  # groups are never cut


def test_a_line_on_a_table_of_few_values_is_not_shrunk_away() -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, (200, 3)).astype(float)
    y = (X @ [1.0, 2.0, -1.0] + rng.integers(-1, 2, 200)).astype(float)
    model = SparseMLPRegressor(10, random_state=0, model="line").fit(X[:150], y[:150])
    best = LinearRegression().fit(X[:150], y[:150]).score(X[150:], y[150:])
    assert model.score(X[150:], y[150:]) > best - 0.02
