import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from secateurs.training import defaults as settings


@given(n=st.integers(1, 10**7), d=st.integers(1, 10**6))
def test_automatic_steps_and_batches_are_sane(n, d):
    batch = settings.auto_batch_size(n, d)
    assert 1 <= batch <= min(n, 500)
    steps = settings.auto_steps(n, batch)
    assert 2000 <= steps <= 8000
    assert 10 <= settings.exchange_interval(steps) <= 50
    assert 0 <= settings.auto_noise(n) <= 0.4
    assert (settings.auto_noise(n) == 0) == (settings.auto_weight_decay(n) > 0)


@given(s=st.integers(1, 10**6), k=st.integers(1, 1000))
def test_automatic_widths_are_distinct_and_increasing(s, k):
    widths = settings.auto_widths(s, k)
    assert widths == sorted(set(widths))
    assert widths[0] >= 2
    assert len(widths) >= 3


def test_columns_in_the_same_units_keep_their_zeros():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (200, 30)).astype(np.uint8)
    scaling = settings.input_scaling(pixels)
    assert scaling.shift is None
    assert len(set(scaling.scale)) == 1
    assert np.sqrt(np.mean((pixels * scaling.scale) ** 2)) == pytest.approx(1)


def test_columns_in_different_units_are_standardised():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 3)) * [1, 1e4, 1e-4] + [5, 0, 0]
    scaling = settings.input_scaling(X)
    Z = (X - scaling.shift) * scaling.scale
    np.testing.assert_allclose(Z.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(Z.std(axis=0), 1)


def test_only_the_given_rows_are_looked_at():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 3)) * [1, 50, 3]
    X[60:] = 1e9
    expected = settings.input_scaling(X[:60])
    got = settings.input_scaling(X, np.arange(60))
    np.testing.assert_allclose(got.scale, expected.scale)


def test_constant_columns_are_switched_off():
    t = np.arange(50.0)
    X = np.column_stack([np.full(50, 0.1), t * 1e4, t, t**0.5])
    scaling = settings.input_scaling(X)
    assert scaling.scale[0] == 0
    assert (settings.input_scaling(np.ones((5, 2))).scale == 0).all()


def test_sparse_data_are_never_centred():
    X = sparse.random_array((100, 40), density=0.1, rng=np.random.default_rng(0), format="csr")
    scaling = settings.input_scaling(X)
    assert scaling.shift is None
    assert np.sqrt(np.mean((X.data * scaling.scale[0]) ** 2)) == pytest.approx(1)
