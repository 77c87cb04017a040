"""A stream of chunks ends near a fit on all rows, however it is cut and ordered."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits, make_friedman1

from secateurs import load
from secateurs.training import SparseMLPClassifier, SparseMLPRegressor, reservoir
from secateurs.training.fitted_network import FittedNetwork
from secateurs.training.moments import Scaling
from secateurs.training.rescaling import (
    has_drifted,
    rescaled_inputs,
    rescaled_outputs,
    with_outputs,
)


def chunks(n, size):
    return [slice(a, b) for a, b in pairwise([*range(0, n, size), n])]


def smooth(n, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 8))
    return X, 2 * X[:, 0] - X[:, 1] + np.abs(X[:, 2])


def regressor(**options):
    return SparseMLPRegressor(60, (10,), random_state=0, model="network", **options)


CHUNKS = [(60, "network"), (400, "network"), pytest.param(400, "auto", marks=pytest.mark.slow)]


@pytest.mark.parametrize(("size", "kind"), CHUNKS)
def test_one_pass_over_a_stream_is_near_a_fit(size, kind):
    X, y = make_friedman1(2000, noise=1.0, random_state=0)
    model = regressor().set_params(model=kind)
    whole = clone(model).fit(X[:1500], y[:1500]).score(X[1500:], y[1500:])
    for part in chunks(1500, size):
        model.partial_fit(X[part], y[part])
    assert model.n_nonzero_ <= 60
    assert model.score(X[1500:], y[1500:]) > whole - 0.05


def test_classes_that_come_in_order():
    X, y = load_digits(return_X_y=True)
    order = np.argsort(y, kind="stable")
    model = SparseMLPClassifier(300, (30,), random_state=0, model="network")
    for part in chunks(len(y), 300):
        model.partial_fit(X[order[part]], y[order[part]], classes=np.arange(10))
    assert model.score(X, y) > 0.85


def test_a_first_chunk_with_one_target_does_not_decide():
    X, y = smooth(1000)
    model = regressor().partial_fit(X[:200], np.zeros(200))
    for _ in range(3):
        model.partial_fit(X[200:], y[200:])
    assert model.score(X[200:], y[200:]) > 0.8


@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_a_column_that_is_silent_at_first_is_used(shift):
    X, y = smooth(3000)
    X[:, 0] += shift
    early = X[:2500].copy()
    early[:, 0] = shift
    model = regressor().partial_fit(early, y[:2500] - 2 * (X[:2500, 0] - shift))
    for part in chunks(500, 100):
        model.partial_fit(X[2500:][part], y[2500:][part])
    for _ in range(10):  # more rows than the sample holds
        model.partial_fit(X[2500:], y[2500:])
    assert 0 in model.fitted_.columns
    assert model.score(X[2500:], y[2500:]) > 0.7


def test_the_scale_of_a_target_may_grow():
    X, y = smooth(4000)
    model = regressor().partial_fit(X[:2000], 1e-3 * y[:2000])
    for _ in range(6):
        model.partial_fit(X[2000:], 1e3 * y[2000:] + 5e3)
    assert model.score(X[2000:], 1e3 * y[2000:] + 5e3) > 0.8


def test_a_larger_budget_is_used_and_a_smaller_one_kept():
    X, y = load_digits(return_X_y=True)
    model = SparseMLPClassifier(100, (30,), random_state=0, model="network").partial_fit(X, y)
    before = model.score(X, y)
    model.set_params(n_nonzero=400)
    for _ in range(4):
        model.partial_fit(X, y)
    assert 150 < model.n_nonzero_ <= 400
    assert model.score(X, y) > before
    model.set_params(n_nonzero=150).partial_fit(X, y)
    assert model.n_nonzero_ <= 150
    assert model.certificate_["budget"].verdict == "holds"


def test_classes_can_be_added_later():
    X, y = load_digits(return_X_y=True)
    first = y < 7
    model = SparseMLPClassifier(300, (30,), random_state=0, model="network").partial_fit(
        X[first], y[first]
    )
    with pytest.raises(ValueError, match="the class"):
        model.partial_fit(X, y)
    for _ in range(3):
        model.partial_fit(X, y, classes=[7, 8, 9])
    assert model.classes_.tolist() == list(range(10))
    assert model.score(X[~first], y[~first]) > 0.7


def test_a_stream_is_deterministic_and_rows_may_be_sparse():
    X, y = smooth(200)
    X[np.abs(X) < 1] = 0
    answers = []
    for kind in (np.asarray, np.asarray, sparse.csr_array):
        model = regressor()
        for part in chunks(200, 90):
            model.partial_fit(kind(X[part]), y[part])
        answers.append(model.predict(X))
    np.testing.assert_array_equal(answers[0], answers[1])
    assert np.corrcoef(answers[0], answers[2])[0, 1] > 0.9


def test_one_row_at_a_time_after_a_file(tmp_path):
    X, y = smooth(400)
    regressor().fit(X, y).save(tmp_path / "m")
    model = load(tmp_path / "m")
    before = model.score(X, y)
    for i in range(20):
        model.partial_fit(X[i : i + 1], y[i : i + 1])
    assert model.score(X, y) > before - 0.15  # the earlier rows are not known any more


# -- the parts -------------------------------------------------------------------------------


def test_the_sample_is_uniform(monkeypatch):
    monkeypatch.setattr(reservoir, "MOST_ROWS", 32)
    counts = np.zeros(40)
    for seed in range(300):
        rng = np.random.default_rng(seed)
        sample = reservoir.empty_reservoir(np.empty((0, 2)), np.empty(0, int), seed)
        for part in np.split(np.arange(40), np.sort(rng.integers(0, 41, 3))):
            reservoir.add_rows(sample, np.stack([part, -part], axis=1), part)
        np.testing.assert_array_equal(sample.inputs[:, 0], sample.targets)
        assert len(set(sample.targets.tolist())) == len(sample.targets) == 32
        counts[sample.targets] += 1
    assert abs(counts / 300 - 0.8).max() < 5 * np.sqrt(0.8 * 0.2 / 300)


@pytest.mark.parametrize("seed", range(10))
def test_another_scaling_leaves_the_function(seed):
    rng = np.random.default_rng(seed)
    X, y = smooth(200, seed)
    fitted = regressor(max_epochs=2, validation_fraction=0).fit(X, y).fitted_
    old = fitted.full_scaling(X)
    new = Scaling(rng.normal(size=8), np.exp(rng.normal(size=8)))
    out = rng.normal(size=1), np.exp(rng.normal(size=1))
    network = rescaled_inputs(fitted.network, old, new)
    network = rescaled_outputs(network, (fitted.out_shift, fitted.out_scale), out)
    again = FittedNetwork.build(network, new, *out)
    np.testing.assert_allclose(again.outputs(X), fitted.outputs(X), rtol=1e-4, atol=1e-4)
    assert not has_drifted(old, old)
    assert has_drifted(old, new)


def test_more_outputs_leave_the_others():
    X, y = load_digits(return_X_y=True)
    few = y < 4
    fitted = SparseMLPClassifier(80, (8,), max_epochs=2, random_state=0).fit(X[few], y[few]).fitted_
    place = np.array([1, 2, 4, 5])
    network = with_outputs(fitted.network, place, 6)
    scaling = fitted.full_scaling(X)
    wide = FittedNetwork.build(network, scaling, np.zeros(6), np.ones(6)).outputs(X[few])
    np.testing.assert_array_equal(wide[:, place], fitted.outputs(X[few]))
    assert not wide[:, [0, 3]].any()
