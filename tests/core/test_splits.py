"""The split into rows to fit on and rows that certify."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from secateurs.core.splits import group_keys, hold_out, row_keys


def table(n=200, d=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.integers(0, 3, n)


@given(st.integers(0, 2**31), st.floats(0, 0.9), st.integers(1, 7))
def test_a_copy_is_never_parted_from_its_row(seed, fraction, copies):
    X, y = table(n=40)
    rows = np.random.default_rng(seed).permutation(np.repeat(np.arange(40), copies))
    split = hold_out(row_keys(X[rows], y[rows]), fraction, seed)
    assert not set(rows[split.train]) & set(rows[split.held_out])
    assert sorted([*split.train, *split.held_out]) == list(range(len(rows)))
    assert len(set(rows[split.held_out])) == int(fraction * 40)
    one = split.held_out[split.one_each(split.held_out)]
    assert len(one) == len(set(rows[split.held_out])) == len(set(rows[one]))


@given(st.integers(0, 2**31), st.floats(0.02, 0.6))
def test_the_two_samples_of_rows(seed, fraction):
    """Units are drawn whole, rows that stand several times also one by one, and once is once."""
    rng = np.random.default_rng(seed)
    X, y = table(n=60)
    rows = rng.permutation(np.r_[np.arange(60), rng.integers(0, 8, 60)])
    split = hold_out(row_keys(X[rows], y[rows]), fraction, seed, by_row=True)
    once = np.bincount(rows)[rows] == 1
    assert sorted([*split.train, *split.held_out]) == list(range(len(rows)))
    np.testing.assert_array_equal(split.whole[once], split.drawn[once])
    assert len(set(rows[split.whole])) == int(fraction * 60)
    assert not set(rows[split.whole]) & set(rows[split.train])
    held_out = split.held_out_rows()
    first, *second = held_out.samples(rows[split.held_out].astype(float))
    assert sorted(first) == sorted(set(rows[split.whole]))
    if second:
        assert sorted(second[0]) == sorted(rows[split.drawn])


def test_rows_are_drawn_equally_often_and_multiples_of_all_rows_together():
    X, y = table(n=12)
    rows = np.r_[np.arange(12), np.zeros(8, int)]
    keys = row_keys(X[rows], y[rows])
    drawn = sum(hold_out(keys, 0.25, seed, by_row=True).drawn.astype(int) for seed in range(2000))
    assert np.abs(drawn - 500).max() < 5 * 19.4  # the standard deviation of a count
    twice = np.repeat(rows, 2)
    split = hold_out(row_keys(X[twice], y[twice]), 0.25, 3, by_row=True)
    np.testing.assert_array_equal(split.drawn[::2], split.drawn[1::2])
    tenfold = np.repeat(np.arange(12), 10)
    split = hold_out(row_keys(X[tenfold], y[tenfold]), 0.25, 3, by_row=True)
    np.testing.assert_array_equal(split.drawn, split.whole)


def test_the_digest_of_groups_knows_their_rows():
    X, y = table()
    groups, contents = group_keys(np.arange(200)), row_keys(X, y)
    known = hold_out(groups, 0.2, 0, contents=contents)
    assert known.digest == hold_out(groups, 0.2, 0, contents=contents).digest
    order = np.random.default_rng(0).permutation(200)
    other = hold_out(groups, 0.2, 0, contents=contents[order])
    np.testing.assert_array_equal(known.held_out, other.held_out)
    assert known.digest != other.digest


def test_processes_agree_on_every_row_and_last_digits_do_not_matter_to_one():
    X, y = table()
    whole = hold_out(row_keys(X, y), 0.2, 7, exact=False)
    order = np.random.default_rng(1).permutation(len(X))[:120]
    part = hold_out(row_keys(X[order], y[order]), 0.2, 7, exact=False)
    assert set(order[part.held_out]) == set(whole.held_out) & set(order)
    alone = hold_out(row_keys(X, y), 0.2, 7)
    again = hold_out(row_keys(X * (1 + 1e-15), y), 0.2, 7)
    np.testing.assert_array_equal(alone.held_out, again.held_out)


def test_every_row_is_held_out_equally_often():
    X, y = table(n=50)
    keys = row_keys(X, y)
    counts = np.zeros(50)
    for seed in range(2000):
        counts[hold_out(keys, 0.2, seed).held_out] += 1
    # 400 expected, standard deviation 17.9; 50 rows
    assert np.abs(counts - 400).max() < 5 * 17.9
    apart = hold_out(keys, 0.2, 0), hold_out(keys, 0.2, 1)
    assert set(apart[0].held_out) != set(apart[1].held_out)


def test_independent_draws_have_the_asked_share():
    X, y = table(n=5000)
    split = hold_out(row_keys(X, y), 0.1, 3, exact=False)
    assert 400 < len(split.held_out) < 600
    assert len(hold_out(row_keys(X, y), 0.0, 3, exact=False).held_out) == 0


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, np.int64, bool])
def test_equal_rows_have_equal_keys_in_every_storage(dtype):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (300, 12)).astype(dtype)
    y = rng.standard_normal(300)
    keys = row_keys(X, y)
    stored = sparse.csr_array(X.astype(np.float64))
    np.testing.assert_array_equal(row_keys(stored, y), keys)
    explicit = sparse.csr_array(
        (X.astype(float).ravel(), np.tile(np.arange(12), 300), np.arange(0, 3601, 12)), (300, 12)
    )
    np.testing.assert_array_equal(row_keys(explicit, y), keys)
    np.testing.assert_array_equal(row_keys(X[::-1], y[::-1]), keys[::-1])
    same = len(np.unique(np.c_[X.astype(float), y], axis=0))
    assert len(np.unique(keys)) == same


def test_zero_has_one_key_and_near_numbers_have_two():
    y = np.zeros(3)
    X = np.array([[0.0], [-0.0], [np.nextafter(0.0, 1.0)]])
    keys = row_keys(X, y)
    assert keys[0] == keys[1] != keys[2]


def test_small_integers_do_not_collide():
    """Integers as float64 differ in few high bits; sums of products must not cancel."""
    grid = np.stack(np.meshgrid(*[np.arange(8)] * 5), -1).reshape(-1, 5)
    assert len(np.unique(row_keys(grid, np.zeros(len(grid))))) == len(grid)


def test_groups_are_numbers_or_texts():
    for labels in (["a", "b", "a", "ä"], [3, 1, 3, 2], [0.5, 1.0, 0.5, -1.0]):
        keys = group_keys(labels)
        assert keys[0] == keys[2]
        assert len(np.unique(keys)) == 3
