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
