"""Tests of the number of distinct and of independent measurements, against their definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateurs.sensing.measurement_count import distinct_measurements, independent_measurements
from secateurs.sensing.operators.dense import PackedDense, pack
from secateurs.sensing.operators.rank_one import RankOne


@given(
    seed=st.integers(0, 500),
    n=st.integers(1, 30),
    copies=st.integers(1, 4),
    n_zero=st.integers(0, 3),
)
def test_copies_multiples_and_zeros_are_not_counted(seed, n, copies, n_zero):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 5))
    factors = rng.choice([-1, 1, 3.0, 1e-3], (copies, n, 1))
    factors[0] = 1.0
    rows = np.vstack([*(X * f for f in factors), np.zeros((n_zero, 5))])
    operator = RankOne(rng.permutation(rows))
    assert distinct_measurements(operator, seed) == n


@pytest.mark.parametrize("seed", range(5))
def test_float32_measurements_are_counted_too(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((40, 6)).astype(np.float32)
    assert distinct_measurements(RankOne(np.vstack([X, X[:10]])), seed) == 40


@given(seed=st.integers(0, 500), rank=st.integers(1, 12), n=st.integers(12, 40))
def test_independent_measurements_are_the_rank_of_all_of_them(seed, rank, n):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((rank, 6, 6))
    mixed = np.tensordot(rng.standard_normal((n, rank)), A + A.transpose(0, 2, 1), 1)
    distinct, independent = independent_measurements(PackedDense(pack(mixed)), 15.0, seed)
    assert independent == (distinct if rank >= min(15, n) else min(rank, distinct))
