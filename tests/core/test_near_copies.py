"""Rows that are equal up to rounding are copies, and no others."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from secateurs.core.near_copies import column_blocks, near_groups
from secateurs.core.splits import row_keys
from secateurs.data.table_estimator import certifying_split, keys_of_near_copies

DRAWS = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy": lambda rng, shape: 1e8 * rng.standard_cauchy(shape),
    "large": lambda rng, shape: 1e300 * rng.uniform(-1, 1, shape),
    "small": lambda rng, shape: 1e-30 * rng.standard_normal(shape),
    "shifted": lambda rng, shape: 10 + rng.standard_normal(shape),
    "one-hot and a number": lambda rng, shape: np.c_[
        np.eye(shape[1] - 1)[rng.integers(0, shape[1] - 1, shape[0])], rng.standard_normal(shape[0])
    ],
}


@pytest.mark.parametrize("kind", DRAWS)
@given(seed=st.integers(0, 10**6), d=st.integers(3, 80), noise=st.sampled_from([0.0, 1e-9]))
@settings(max_examples=5)
def test_copies_are_found_and_other_rows_are_not(kind, seed, d, noise):
    rng = np.random.default_rng(seed)
    X = DRAWS[kind](rng, (100, d))
    rows = rng.permutation(np.repeat(np.arange(100), 3))
    copies = X[rows] * (1 + noise * rng.standard_normal((300, d)))
    for stored in (copies, sparse.csr_array(copies)):
        groups = near_groups(np.zeros(300, dtype=np.int64), column_blocks(stored))
        assert len(np.unique(np.c_[groups, rows], axis=0)) == len(np.unique(groups)) == 100


def test_a_copy_in_float32_is_a_copy():
    X = np.random.default_rng(0).standard_normal((50, 6))
    both, y = np.concatenate([X, X.astype(np.float32)]), np.tile(np.arange(50), 2)
    keys = keys_of_near_copies(both, y, row_keys(both, y))
    np.testing.assert_array_equal(keys[:50], keys[50:])
    other = keys_of_near_copies(both, np.arange(100), row_keys(both, np.arange(100)))
    assert len(np.unique(other)) == 100


def test_numbers_of_a_frame_may_differ_by_rounding_and_texts_may_not():
    x = np.random.default_rng(0).standard_normal(40)
    texts = pd.Series([f"t{i % 3}" for i in range(40)])
    frame = pd.DataFrame({"x": np.r_[x, x * (1 + 1e-9), x], "t": [*texts, *texts, *(texts + "!")]})
    y = np.zeros(120)
    split = certifying_split(frame, y, None, 0.2, 0)
    np.testing.assert_array_equal(split.units[:40], split.units[40:80])
    assert not set(split.units[:80]) & set(split.units[80:])


@pytest.mark.parametrize(
    "name",
    [
        lambda n: np.arange(n),
        lambda n: np.random.default_rng(1).permutation(n) / 3,
        lambda n: pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(n), "h"),
        lambda n: [f"{i * 2654435761 % 2**32:08x}" for i in range(n)],
    ],
)
def test_a_name_of_the_row_does_not_make_it_another_row(name):
    """With noise labels a network that memorises would have no mistake on held-out copies."""
    rng = np.random.default_rng(0)
    rows = rng.permutation(np.repeat(np.arange(20), 10))
    frame = pd.DataFrame(rng.standard_normal((20, 3))[rows], columns=list("abc"))
    frame.insert(1, "id", name(200))
    split = certifying_split(frame, rng.integers(0, 2, 20)[rows], None, 0.2, 0)
    assert not set(rows[split.train]) & set(rows[split.held_out])


@pytest.mark.parametrize("n_others", [1, 3])
def test_a_time_beside_columns_of_few_values_is_an_input(n_others):
    rng = np.random.default_rng(0)
    X = np.c_[rng.permutation(500), rng.integers(0, 2, (500, n_others))].astype(float)
    units = certifying_split(X, rng.integers(0, 2, 500), None, 0.2, 0).units
    assert len(np.unique(units)) == 500


def test_rows_that_lie_dense_are_no_copies():
    x = np.sort(np.random.default_rng(0).uniform(size=(400_000, 1)), axis=0)
    x = np.r_[x, x[:100]]
    groups = near_groups(np.zeros(len(x), dtype=np.int64), column_blocks(x))
    np.testing.assert_array_equal(groups[:100], groups[400_000:])
    assert len(np.unique(groups)) > 200_000


def test_one_even_column_alone_is_an_input():
    x = np.arange(100.0)[:, None]
    assert len(np.unique(certifying_split(x, np.zeros(100), None, 0.2, 0).units)) == 100
