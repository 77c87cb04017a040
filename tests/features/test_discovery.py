"""Discoveries: few are false on every kind of columns, and the fast path is the slow one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from benchmarks.features.discoveries import KINDS, RELEVANT, problem
from hypothesis import given, settings
from hypothesis import strategies as st

from secateurs import SparseMultiIndexClassifier, SparseMultiIndexRegressor
from secateurs.features import discover, screen
from secateurs.features.discovery import benjamini_hochberg, largest_set
from secateurs.features.few_values import FewValues


@pytest.mark.parametrize("kind", KINDS)
def test_few_discoveries_are_false(kind):
    false, power = [], []
    for seed in range(2):
        X, y, S = problem(kind, 800, 200, seed)
        J = discover(X, y, 0.1).columns
        false.append(len(np.setdiff1d(J, S)) / max(1, len(J)))
        power.append(len(np.intersect1d(J, S)) / RELEVANT)
    assert np.mean(false) <= 0.2
    assert np.mean(power) > 0.2


def test_noise_is_rarely_found_and_classes_are():
    rng = np.random.default_rng(0)
    X = KINDS["genotype"](rng, 300, 200)
    found = [len(discover(X, rng.standard_normal(300)).columns) > 0 for _ in range(5)]
    assert sum(found) <= 3
    y = X[:, 3] + X[:, 9] > 1.5 + rng.standard_normal(300) * 0.2
    assert set(discover(X, y * 1.0).columns) >= {3, 9}
    strict = discover(X, y * 1.0, dependence="any").columns
    assert set(strict) <= set(discover(X, y * 1.0).columns)


@given(
    seed=st.integers(0, 10**6),
    low=st.integers(0, 2),
    levels=st.integers(1, 4),
    n=st.integers(10, 60),
    degrees=st.integers(1, 3),
)
@settings(max_examples=10, deadline=None)
def test_columns_of_few_values_score_the_same_in_every_type(seed, low, levels, n, degrees):
    rng = np.random.default_rng(seed)
    X, y = rng.integers(low, low + levels, (n, 6)).astype(np.int8), rng.standard_normal(n)
    slow = screen(X.astype(np.int32), y, degrees=degrees).z
    for other in (X, np.asfortranarray(X), X.astype(np.uint8), X.astype(float)):
        np.testing.assert_allclose(screen(other, y, degrees=degrees).z, slow, atol=1e-3)


def test_other_columns_take_the_slow_path():
    for block in (np.array([[0.0, 1.0], [0.5, 1.0]]), np.array([[9, 1]], dtype=np.int8)):
        assert FewValues.of(block) is None
    assert FewValues.of(np.array([[0.0, 1.0], [np.nan, 1.0]])) is None


def test_files_give_the_same_discoveries(tmp_path):
    X, y, _ = problem("genotype", 400, 150, 0)
    here = discover(X, y)
    np.save(tmp_path / "c.npy", X)
    np.save(tmp_path / "f.npy", np.asfortranarray(X))
    frame = pd.DataFrame(X, columns=[f"rs{j}" for j in range(X.shape[1])])
    frame.to_parquet(tmp_path / "x.parquet")
    for name in ("c.npy", "f.npy", "x.parquet"):
        other = discover(tmp_path / name, y)
        np.testing.assert_array_equal(other.columns, here.columns)
        np.testing.assert_allclose(other.p_values, here.p_values, rtol=1e-2)


@given(p=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12), level=st.floats(0.01, 0.9))
@settings(max_examples=60)
def test_the_step_up_rules_find_the_largest_set(p, level):
    p = np.array(p)
    sizes = [k for k in range(1, len(p) + 1) if (p <= level * k / len(p)).sum() >= k]
    k = max(sizes, default=0)
    found = benjamini_hochberg(p, level)
    assert (p[found] <= level * k / len(p)).all()
    assert len(found) >= k
    assert largest_set(p, p * 0, level).sum() == len(benjamini_hochberg(p / len(p), level))


def test_an_estimator_keeps_the_discoveries_and_says_what_it_assumes():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 200))
    y = X[:, 3] - X[:, 50] + X[:, 7] + 0.5 * rng.standard_normal(400)
    model = SparseMultiIndexRegressor(fdr=0.1, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.support_, discover(X, y, 0.1).columns)
    assert set(model.support_) >= {3, 7, 50}
    check = model.certificate_["false discoveries"]
    assert check.verdict == "unknown"
    assert "independent" in check.statement
    classes = SparseMultiIndexClassifier(fdr=0.1, random_state=0).fit(X, y > 0)
    assert {3, 7, 50} <= set(classes.support_)
    plain = SparseMultiIndexRegressor(random_state=0).fit(X, y).certificate_
    assert "false discoveries" not in {check.name for check in plain.checks}


def test_an_estimator_that_finds_nothing_says_so():
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((200, 60)), rng.standard_normal(200)
    model = SparseMultiIndexRegressor(fdr=0.05, random_state=0).fit(X, y)
    if not len(discover(X, y, 0.05).columns):
        assert not model.signal_detected_
        assert len(model.support_) == 1


@pytest.mark.parametrize(
    ("settings_", "message"),
    [({"fdr": 0.0}, "fdr: got 0.0"), ({"fdr": 0.1, "max_features": 3}, "max_features: got 3")],
)
def test_bad_input_is_named(settings_, message):
    X, y = np.random.default_rng(0).standard_normal((40, 3)), np.arange(40.0)
    with pytest.raises(ValueError, match=message):
        SparseMultiIndexRegressor(**settings_).fit(X, y)
    with pytest.raises(ValueError, match="dependence: got 'none'"):
        discover(X, y, dependence="none")
