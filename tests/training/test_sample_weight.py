"""Weights of rows: equal ones change nothing, 0 leaves a row out, large ones decide."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.model_selection import GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from secateurs.training import TRAINERS, SparseMLPClassifier, SparseMLPRegressor


def data(n=240, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 5))
    return X, X[:, 0] + np.abs(X[:, 1])


def regressor(max_epochs=10, **options):
    return SparseMLPRegressor(40, (8,), max_epochs=max_epochs, random_state=0, **options)


def classifier(max_epochs=10, **options):
    return SparseMLPClassifier(40, (8,), max_epochs=max_epochs, random_state=0, **options)


@pytest.mark.parametrize("make", [regressor, classifier])
@pytest.mark.parametrize("weight", [1.0, 0.1, 7])
def test_equal_weights_are_the_same_as_none(make, weight):
    X, y = data()
    y = y if make is regressor else y > 0.8
    plain, weighted = make().fit(X, y), make().fit(X, y, np.full(len(y), weight))
    np.testing.assert_array_equal(plain.predict(X), weighted.predict(X))
    assert plain.certificate_ == weighted.certificate_


@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame, sparse.csc_array, np.ndarray.tolist])
def test_a_row_with_the_weight_0_is_left_out(kind):
    X, y = data()
    rng = np.random.default_rng(1)
    weights = rng.random(len(y)) * (rng.random(len(y)) < 0.7)
    groups = np.arange(len(y)) // 2
    kept = weights > 0
    short = regressor().fit(kind(X[kept]), y[kept], weights[kept], groups=groups[kept])
    model = regressor().fit(kind(X), y, sample_weight=weights, groups=groups)
    np.testing.assert_array_equal(model.predict(kind(X)), short.predict(kind(X)))
    assert model.n_train_ == short.n_train_


@pytest.mark.parametrize("trainer", TRAINERS.values(), ids=list(TRAINERS))
def test_heavy_rows_decide_where_rows_contradict(trainer):
    X, _ = data(200)
    both, y = np.concatenate([X, X]), np.repeat([0, 1], 200)
    for share in (0.1, 0.9):
        weights = np.repeat([1 - share, share], 200)
        model = classifier(validation_fraction=0, max_epochs=60).fit_with(
            both, y, trainer, sample_weight=weights
        )
        assert abs(model.predict_proba(X)[:, 1].mean() - share) < 0.2
        model = regressor(validation_fraction=0, max_epochs=60).fit_with(
            both, y, trainer, sample_weight=weights
        )
        assert abs(model.predict(X).mean() - share) < 0.2


@pytest.mark.parametrize("weights", [np.ones(3), -np.ones(240), np.zeros(240), np.ones((240, 1))])
def test_weights_that_make_no_sense_are_refused(weights):
    X, y = data()
    with pytest.raises(ValueError, match=r"sample_weight: got .*; expected"):
        regressor().fit(X, y, weights)


def test_weights_and_groups_reach_the_fit_through_a_pipeline():
    X, y = data()
    weights, groups = np.linspace(0, 1, len(y)), np.arange(len(y)) // 10
    with config_context(enable_metadata_routing=True):
        model = regressor().set_fit_request(sample_weight=True, groups=True)
        model.set_score_request(sample_weight=True)
        pipeline = make_pipeline(MaxAbsScaler(), model)
        pipeline.fit(X, y, sample_weight=weights, groups=groups)
        scaled = MaxAbsScaler().fit_transform(X)
        direct = regressor().fit(scaled, y, weights, groups=groups)
        np.testing.assert_array_equal(pipeline.predict(X), direct.predict(scaled))
        params = {"sample_weight": weights, "groups": groups}
        found = cross_validate(pipeline, X, y, params=params, cv=GroupKFold(3))
    assert found["test_score"].shape == (3,)
