"""`warm_start` continues from the fitted network, and claims nothing about rows that were seen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from secateurs import SparseMLPClassifier, SparseMLPRegressor
from secateurs.training import TRAINERS
from secateurs.training.fitted_network import FittedNetwork
from secateurs.training.moments import Scaling
from secateurs.training.prune_regrow import prune_regrow
from secateurs.training.rescaling import continued
from tests.strategies import random_network

SHORT = {"max_epochs": 8, "hidden_layer_sizes": (6,), "model": "network", "random_state": 0}


def classes(seed, n=300, d=8):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int)


@given(seed=st.integers(0, 1000), shifted=st.booleans())
@settings(max_examples=20)
def test_a_continued_network_predicts_the_same_in_another_scaling(seed, shifted):
    rng = np.random.default_rng(seed)
    d, k = 5, 2
    first, second = (
        Scaling(rng.standard_normal(d) if shifted or i else None, rng.random(d) + 0.5)
        for i in range(2)
    )
    outs = [(rng.standard_normal(k), rng.random(k) + 0.5) for _ in range(2)]
    before = FittedNetwork.build(random_network(rng, (d, 4, k)), first, *outs[0])
    X = rng.standard_normal((20, d))
    after = FittedNetwork.build(continued(before, second, *outs[1]), second, *outs[1])
    np.testing.assert_allclose(after.outputs(X), before.outputs(X), rtol=1e-4, atol=1e-4)
    assert continued(before, first, *outs[0]) is before.network


def test_a_warm_fit_begins_where_the_last_one_ended():
    X, y = classes(0)
    cold = SparseMLPClassifier(60, **SHORT).fit(X, y)
    warm = SparseMLPClassifier(60, warm_start=True, **SHORT).fit(X, y)
    np.testing.assert_array_equal(warm.predict_proba(X), cold.predict_proba(X))
    warm.fit(X, y)
    assert warm.history_["n_nonzero"][0] <= 60  # no overshoot, so it did not begin afresh
    assert warm.loss_curve_[0] < cold.loss_curve_[0]
    np.testing.assert_array_equal(cold.fit(X, y).coefs_[0].data, cold.fit(X, y).coefs_[0].data)


def test_the_budget_may_shrink_between_warm_fits():
    X, y = classes(1)
    model = SparseMLPClassifier(80, warm_start=True, overshoot=2, **SHORT).fit(X, y)
    model.set_params(n_nonzero=20).fit(X, y)
    assert model.n_nonzero_ <= 20


def test_a_fitted_line_is_replaced_by_a_new_fit():
    X = np.random.default_rng(0).standard_normal((200, 4))
    y = 3 * X[:, 0] - X[:, 2] + 7
    model = SparseMLPRegressor(5, warm_start=True, random_state=0, model="line").fit(X, y)
    before = model.predict(X)
    np.testing.assert_array_equal(model.fit(X, y).predict(X), before)


def held_out_verdict(model):
    return model.certificate_["held-out error"].verdict


@pytest.mark.parametrize("way", ["same", "seed", "rows", "partial_fit", "chain", "initial"])
def test_rows_that_an_earlier_fit_has_seen_certify_nothing(way):
    X, y = classes(2, n=900)
    model = SparseMLPClassifier(60, warm_start=True, validation_fraction=0.3, **SHORT).fit(X, y)
    assert held_out_verdict(model) == "holds"
    if way == "seed":
        model.set_params(random_state=1)
    elif way == "rows":
        model.set_params(validation_fraction=0).fit(X, y)
        model.set_params(validation_fraction=0.3)
    elif way == "partial_fit":
        model.partial_fit(X, y)
    elif way == "chain":
        model.set_params(random_state=1).fit(X, y)
        model.fit(X, y)  # the split of the fit before, which had seen these rows
    if way == "initial":
        model.partial_fit(X, y)
        other = SparseMLPClassifier(60, validation_fraction=0.3, **SHORT)
        model = other.fit_with(X, y, prune_regrow, initial=model)
    else:
        model.fit(X, y)
    assert held_out_verdict(model) == ("holds" if way == "same" else "unknown")


def test_other_inputs_or_classes_are_refused():
    X, y = classes(3)
    model = SparseMLPClassifier(30, warm_start=True, **SHORT).fit(X, y)
    with pytest.raises(ValueError, match="warm_start: got a network fitted to 8 inputs"):
        model.fit(X, y + 5)
    with pytest.raises(ValueError, match="warm_start: got a network fitted to 8 inputs"):
        SparseMLPClassifier(30, warm_start=True, **SHORT).fit(X, y).fit(X[:, :5], y)


def test_groups_with_other_rows_are_rows_that_were_seen():
    """The same groups are held out, but the first network was trained on the rows they have now."""
    X, y = classes(3)
    order, groups = np.random.default_rng(0).permutation(len(X)), np.arange(len(X))
    model = SparseMLPClassifier(60, warm_start=True, **SHORT).fit(X, y, groups=groups)
    assert model.certificate_["held-out error"].measured < 1
    model.fit(X, y, groups=groups)
    assert model.certificate_["held-out error"].measured < 1
    model.fit(X[order], y[order], groups=groups)
    assert model.certificate_["held-out error"].verdict == "unknown"
    assert model.certificate_["held-out error"].measured == 1


def test_a_start_decides_the_widths_and_its_choices_count():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 5))
    y = X[:, 0] * X[:, 1] > 0
    model = SparseMLPClassifier(
        60, hidden_layer_sizes="auto", max_epochs=2, random_state=0, model="network"
    )
    first = clone(model).fit(X, y)
    again = clone(model).fit_with(X, y, TRAINERS["prune_regrow"], initial=first)
    compared = f"{len(first.validation_losses_)} models were compared"
    assert compared in first.certificate_["held-out error"].statement
    assert compared in again.certificate_["held-out error"].statement
    assert again.fitted_.network.widths == first.fitted_.network.widths
