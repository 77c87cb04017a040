"""Laws of the scaling of the inputs, for arrays, sparse matrices and tables."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from secateurs import SparseMLPClassifier, SparseMLPRegressor
from secateurs.training.scaling import column_statistics, input_scaling
from secateurs.training.training_data import TrainingData


def scaled(X, scaling):
    """The inputs that the network reads, in float64."""
    return (X - (0 if scaling.shift is None else scaling.shift)) * scaling.scale


def measurements(seed=0, n=300, d=4):
    return np.random.default_rng(seed).standard_normal((n, d))


def pixels(seed=0):
    rng = np.random.default_rng(seed)
    return np.where(rng.random((200, 30)) < 0.5, rng.integers(0, 256, (200, 30)), 0)


def unusual_columns(x, seed=1):
    """Columns as tables have them, by name, made from standard normal numbers."""
    rng, row = np.random.default_rng(seed), np.arange(len(x))
    return {
        "constant": np.full(len(x), 2024.0),
        "offset": x + 1e6,
        "year": rng.integers(2000, 2025, len(x)).astype(float),
        "row number": row.astype(float),
        "temperature": 293 + 0.3 * x,
        "milliseconds": 1.7e12 + np.round(1e4 * x),
        "tiny": 1e-9 * x,
        "huge": 1e12 * x,
        "heavy tail": rng.standard_cauchy(len(x)),
        "dead pixel": (row == 17) * 255.0,
        "sentinel": np.where(row == 5, 9999.0, x),
    }


UNUSUAL = list(unusual_columns(np.zeros(20)))


@pytest.mark.parametrize("name", UNUSUAL)
@pytest.mark.parametrize("base", [measurements, pixels])
def test_an_unusual_column_changes_no_other_column(name, base):
    """In any set of columns, the others get the inputs that they would get without it."""
    X = base().astype(float)
    rng = np.random.default_rng(1)
    more = np.c_[X, unusual_columns(rng.standard_normal(len(X)))[name]]
    expected, got = input_scaling(X), input_scaling(more)
    np.testing.assert_allclose(scaled(more, got)[:, :-1], scaled(X, expected), rtol=0.06)
    last = scaled(more, got)[:, -1]
    assert (np.quantile(np.abs(last), 0.9) < 30).all()


@pytest.mark.parametrize("base", [measurements, pixels])
def test_sparse_and_dense_inputs_get_the_same_scaling(base):
    X = base().astype(float)
    X[:, 0] = X[:, 0] * 1e-9 + 5
    X[3, 1] = 99999
    dense, other = input_scaling(X), input_scaling(sparse.csr_array(X))
    np.testing.assert_allclose(other.scale, dense.scale)
    np.testing.assert_allclose(scaled(X, other), scaled(X, dense), atol=1e-6)


def test_pixels_share_a_factor_and_keep_their_zeros():
    scaling = input_scaling(pixels().astype(np.uint8))
    assert scaling.shift is None
    assert len(set(scaling.scale)) == 1
    assert np.sqrt(np.mean(scaled(pixels(), scaling) ** 2)) == pytest.approx(1)


def test_a_matrix_with_few_entries_is_not_blown_up():
    X = sparse.random_array((500, 4000), density=0.002, rng=np.random.default_rng(0), format="csr")
    scaling = input_scaling(X)
    assert scaling.shift is None
    assert np.abs(X.data * scaling.scale[0]).max() < 10


def test_columns_in_different_units_are_standardised():
    X = measurements() * [1, 1e4, 1e-4, 30] + [5, 0, 0, 1e7]
    Z = scaled(X, input_scaling(X))
    np.testing.assert_allclose(Z.mean(axis=0), 0, atol=1e-7)
    np.testing.assert_allclose(Z.std(axis=0), 1)


@given(exponents=st.lists(st.integers(-900, 900), min_size=3, max_size=3), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_powers_of_two_change_nothing(exponents, seed):
    """Scaling a column by a power of two is exact, so the inputs stay the same to the last bit."""
    X = measurements(seed, 50, 3)
    other = np.ldexp(X, exponents)
    np.testing.assert_array_equal(scaled(other, input_scaling(other)), scaled(X, input_scaling(X)))


@given(seed=st.integers(0, 999), size=st.sampled_from([1e3, 1e6, 1e100]), n=st.integers(1, 10))
@settings(max_examples=40, deadline=None)
def test_a_few_sentinels_do_not_set_the_scale(seed, size, n):
    X = measurements(seed, 300, 2)
    before = column_statistics(X)
    X[np.random.default_rng(seed).choice(300, n, replace=False), 0] = size
    after = column_statistics(X)
    assert after.deviation[0] < 5 * before.deviation[0]


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
def test_a_sentinel_outside_of_the_sample_is_noticed(make):
    X = measurements(0, 20_000, 2)
    X[np.flatnonzero(np.diff(np.linspace(0, 19_999, 2000).astype(int)) > 1)[0] + 5, 0] = 1e9
    assert column_statistics(make(X)).deviation[0] < 2


def test_only_the_given_rows_are_looked_at():
    X = measurements(0, 100, 3) * [1, 50, 3]
    X[60:] = 1e9
    expected, got = input_scaling(X[:60]), input_scaling(X, np.arange(60))
    np.testing.assert_allclose(got.scale, expected.scale)


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("value", [0.1, 2024.0, 1e-300, -1e250, 0.0])
@pytest.mark.parametrize("n", [3, 1000])
def test_constant_columns_are_switched_off(make, value, n):
    X = np.column_stack([np.full(n, value), np.arange(n) * 1e4, np.arange(n) ** 0.5])
    data = TrainingData(make(X), np.zeros(n, np.int64), input_scaling(make(X)), 2)
    assert data.input_variance()[0] == 0
    assert (data.input_variance()[1:] > 0).all()
    if value:
        assert data.scaling.scale[0] == 0


def test_the_smallest_spread_is_kept():
    """Neighbouring floats far from zero are two values, not one with a rounding error."""
    x = np.where(np.arange(100) % 2, 1e12, np.nextafter(1e12, 2e12))
    Z = scaled(x[:, None], input_scaling(x[:, None]))
    assert np.ptp(Z) == pytest.approx(2, rel=0.01)


def test_entries_beyond_float64_are_refused_by_name():
    X = measurements()
    X[0, 2] = 1e305
    with pytest.raises(ValueError, match=r"column 2.*rescale X"):
        input_scaling(X)


def fitted_score(kind, X, y, n=240):
    model = kind(40, (8,), max_epochs=40, random_state=0).fit(X[:n], y[:n])
    return model.score(X[n:], y[n:])


@pytest.mark.parametrize("kind", [SparseMLPClassifier, SparseMLPRegressor])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_no_unusual_column_costs_more_than_a_noise_column(kind, form):
    X = measurements(0, 400)
    y = 2 * X[:, 0] - X[:, 1]
    y = (y > 0).astype(int) if kind is SparseMLPClassifier else y
    noise = np.random.default_rng(2).standard_normal(len(X))
    least = fitted_score(kind, form(np.c_[X, noise]), y) - 0.08
    for name, column in unusual_columns(noise).items():
        assert fitted_score(kind, form(np.c_[X, column]), y) > least, name


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e-45, 1e45, 1e140])
def test_the_size_of_targets_and_inputs_does_not_matter(scale):
    X = measurements(0, 300)
    y = X[:, 0] - 2 * X[:, 1]
    plain = SparseMLPRegressor(20, (4,), max_epochs=10, random_state=0)
    expected = plain.fit(X, y).predict(X)
    got = SparseMLPRegressor(20, (4,), max_epochs=10, random_state=0).fit(X * scale, y * scale)
    np.testing.assert_allclose(got.predict(X * scale) / scale, expected, rtol=1e-3, atol=1e-3)


def test_targets_far_from_zero_are_learnt():
    X = measurements(0, 300)
    y = 1e12 + X[:, 0]
    assert SparseMLPRegressor(20, (4,), random_state=0).fit(X, y).score(X, y) > 0.95


def test_targets_too_large_to_square_are_refused():
    X = measurements()
    with pytest.raises(ValueError, match="rescale y"):
        SparseMLPRegressor(20, (4,), max_epochs=2).fit(X, X[:, 0] * 1e160)


def test_constant_columns_are_named():
    X = measurements()
    X[:, 2] = 7
    model = SparseMLPRegressor(20, (4,), max_epochs=2, random_state=0).fit(X, X[:, 0])
    assert model.constant_inputs_ == model.report_["constant_inputs"] == ["x2"]
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = SparseMLPRegressor(20, (4,), max_epochs=2, random_state=0).fit(frame, X[:, 0])
    assert model.constant_inputs_ == ["c"]


def test_one_sentinel_does_not_kill_the_fit():
    """The row is left out of training, and is still counted by the certificate."""
    X = measurements(0, 300)
    y = X[:, 0] - 2 * X[:, 1]
    clean = SparseMLPRegressor(20, max_epochs=10, random_state=0).fit(X[:200], y[:200])
    for value in (9999.0, -1e12):
        wrong = X.copy()
        wrong[np.arange(0, 200, 150), 0] = value
        model = SparseMLPRegressor(20, max_epochs=10, random_state=0, validation_fraction=0.0)
        model.fit(wrong[:200], y[:200])
        assert model.report_["far_rows"] == 2
        assert model.score(X[200:], y[200:]) > clean.score(X[200:], y[200:]) - 0.02
