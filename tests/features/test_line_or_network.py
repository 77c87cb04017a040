"""A line in place of the network: it is ridge regression, taken where it is as good."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeCV

from secateurs import load_dataset
from secateurs.features.line_or_network import FOLDS, PENALTIES, line, line_or_network
from secateurs.features.network import SplitRows, initial_network, outputs, train
from secateurs.features.planted import planted_multi_index
from secateurs.features.solver import multi_index


def table(n, target, seed, n_train=None):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 3))
    y = target(X) + 0.5 * rng.standard_normal(n)
    tensors = (torch.from_numpy(Z).float() for Z in (X, y[:, None]))
    return SplitRows(*tensors, n_train or round(0.8 * n), "regression")


def trained_network(rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    start = initial_network(rows, torch.eye(3), 32, generator)
    return train(rows, start, 100), generator


@pytest.mark.parametrize("n", [12, 60])
def test_the_line_is_ridge_with_the_penalty_of_leave_one_out(n):
    rows = table(n, lambda X: X[:, 0] - X[:, 1], seed=n)
    X, y = rows.X.double().numpy(), rows.Y[:, 0].double().numpy()
    m = n - 4
    reference = RidgeCV(PENALTIES * m).fit(X[:m], y[:m])
    got = outputs(line(rows, m), rows.X)[:, 0].numpy()
    np.testing.assert_allclose(got, reference.predict(X), rtol=1e-3, atol=1e-4)


def test_a_line_of_no_signal_is_the_mean():
    X = torch.arange(10.0)[:, None]
    rows = SplitRows(X, torch.full((10, 1), 3.0), 8, "regression")
    assert outputs(line(rows, 8), X).numpy() == pytest.approx(3.0)


@pytest.mark.parametrize("seed", range(3))
def test_a_line_stays_a_line_and_reports_what_fresh_rows_give(seed):
    rows = table(150, lambda X: X[:, 0] - X[:, 1], seed)
    network, generator = trained_network(rows)
    chosen = line_or_network(rows, network, 32, 100, generator)
    assert len(chosen.b) == 2
    fresh = table(4000, lambda X: X[:, 0] - X[:, 1], seed + 100)
    error = (outputs(chosen, fresh.X) - fresh.Y).square().mean() / fresh.Y.var()
    assert chosen.score == pytest.approx(1 - float(error), abs=0.1)


def test_a_network_that_is_clearly_better_is_left_alone():
    rows = table(600, lambda X: 3 * np.abs(X[:, 0]), seed=0)
    network, generator = trained_network(rows)
    assert line_or_network(rows, network, 32, 100, generator) is network


def test_a_network_that_gains_on_the_folds_stays_with_their_score():
    # Ten validation rows do not decide it, the folds do.
    rows = table(300, lambda X: X[:, 0] + 0.5 * X[:, 1] ** 2, seed=1, n_train=290)
    network, generator = trained_network(rows)
    chosen = line_or_network(rows, network, 32, 100, generator)
    assert chosen.score != network.score
    assert torch.equal(chosen.w, network.w)


def test_the_fewest_rows_of_a_fit_make_folds():
    rows = table(10, lambda X: X[:, 0], seed=0)
    network, generator = trained_network(rows)
    assert len(rows.X) >= 2 * FOLDS
    assert np.isfinite(line_or_network(rows, network, 32, 20, generator).score)


def test_a_planted_line_is_predicted_by_a_line():
    p = planted_multi_index(200, 100, 1, "he1", sparsity=4, noise=0.5, random_state=0)
    fit = multi_index(p.X, p.y).value
    assert set(p.support) <= set(fit.support)
    x = np.random.default_rng(0).standard_normal((2, 100))
    middle = fit.predict(x.mean(axis=0)[None])
    np.testing.assert_allclose(middle, fit.predict(x).mean(), atol=1e-5)


@pytest.mark.slow
def test_a_small_table_is_not_overfitted():
    d = load_dataset("diabetes")
    X, y = np.asarray(d.X, dtype=np.float64), d.y.astype(np.float64)
    order = np.random.default_rng(0).permutation(len(y))
    reported, found = [], []
    for fresh in np.array_split(order, 5):
        seen = np.setdiff1d(order, fresh)
        fit = multi_index(X[seen], y[seen]).value
        reported.append(fit.val_r2)
        found.append(1 - np.mean((fit.predict(X[fresh]) - y[fresh]) ** 2) / y[fresh].var())
    assert np.mean(found) > 0.44
    assert np.mean(reported) == pytest.approx(np.mean(found), abs=0.05)
