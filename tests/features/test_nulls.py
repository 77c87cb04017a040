"""Screens of noise keep their promise for every kind of ties, and copies of rows count once."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.features.nulls import COLUMNS, TARGETS, passes
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import binom, hypergeom, norm

from secateurs import SparseMultiIndexClassifier, SparseMultiIndexRegressor
from secateurs.data.columns import columns_of
from secateurs.features.copies import distinct_rows
from secateurs.features.interactions import pair_screen
from secateurs.features.ranks import ranked_matrix
from secateurs.features.screening import label_transforms, screen
from secateurs.features.tail_scores import Cell, Values, tail_scores

ALPHA, TOLERATED = 0.1, 0.14
SIZES = (60, 200, 1000)


def most_passes(n_sets: int, share: float = ALPHA) -> int:
    """Passes that are exceeded with probability 1e-4 if each data set passes with `share`."""
    return int(binom.isf(1e-4, n_sets, share))


@pytest.mark.parametrize("columns", COLUMNS)
def test_noise_passes_no_more_often_than_promised(columns):
    cases = [(target, n) for target in TARGETS for n in (60, 300)]
    count = sum(passes(columns, target, n, 1, seed) for target, n in cases for seed in (0, 1))
    assert count <= most_passes(2 * len(cases))


def test_repeated_rows_of_noise_pass_no_more_often_than_promised():
    count = sum(passes(c, t, 40, 10, seed=0) for c in COLUMNS for t in TARGETS)
    assert count <= most_passes(len(COLUMNS) * len(TARGETS))


@pytest.mark.slow
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("columns", COLUMNS)
def test_noise_passes_no_more_often_than_promised_in_many_data_sets(columns, n):
    for target in TARGETS:
        count = sum(passes(columns, target, n, 1, seed) for seed in range(200))
        assert count <= TOLERATED * 200, target


@pytest.mark.slow
@pytest.mark.parametrize("columns", COLUMNS)
def test_repeated_rows_of_noise_pass_no_more_often_than_promised_in_many_data_sets(columns):
    for target in TARGETS:
        count = sum(passes(columns, target, 100, 10, seed) for seed in range(200))
        assert count <= TOLERATED * 200, target


def values_of(numbers) -> Values:
    numbers = np.asarray(numbers, dtype=float)
    return Values.of(numbers, np.ones(len(numbers), dtype=np.int64))


def statistic(a: Values, b: Values, x, y) -> float:
    """The statistic of rows with the values x and y, standardised as `a` and `b` are."""
    x, y = (np.asarray(v, dtype=float) for v in (x, y))
    n = len(x)
    return float((x - x.mean()) / x.std() @ ((y - y.mean()) / y.std())) / np.sqrt(n)


@given(
    n=st.integers(20, 400),
    share=st.floats(0.05, 0.95),
    other=st.floats(0.05, 0.95),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=40)
def test_two_indicators_have_the_hypergeometric_tail(n, share, other, seed):
    rng = np.random.default_rng(seed)
    ones, twos = (min(n - 1, max(1, round(s * n))) for s in (share, other))
    x, y = np.zeros(n), np.zeros(n)
    x[rng.permutation(n)[:ones]] = 1
    y[rng.permutation(n)[:twos]] = 1
    a, b = values_of(x), values_of(y)
    z = statistic(a, b, x, y)
    assume(abs(z) > 1e-9)  # else its sign is rounding, and so is the tail that it names
    null = hypergeom(n, ones, twos)
    both = int(x @ y)
    counts = np.arange(max(0, ones + twos - n), min(ones, twos) + 1)
    tails = null.sf(counts - 1), null.cdf(counts)
    p = null.sf(both - 1) if z > 0 else null.cdf(both)
    other = tails[int(z > 0)]
    p = (p + max(other[other <= p * (1 + 1e-9)], default=0.0)) / 2.0
    score = tail_scores([Cell(a, b, z)], n, 4.0)[0]
    assert score == pytest.approx(np.sign(z) * max(norm.isf(p), 0.0), abs=1e-6)


KINDS = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "heavy": lambda rng, n: rng.standard_t(2, n),
    "rare": lambda rng, n: np.where(rng.random(n) < 0.1, rng.lognormal(size=n), 0.0),
    "few": lambda _, n: np.r_[0.0, 1.0, np.zeros(n - 5), 1.0, 1.0, 1.0],
    "counts": lambda rng, n: rng.poisson(0.5, n) + np.r_[1.0, np.zeros(n - 1)],
    "levels": lambda _, n: np.arange(n) % 3,
}


@pytest.mark.parametrize("columns", KINDS)
@pytest.mark.parametrize("target", KINDS)
def test_a_score_above_the_threshold_is_as_rare_among_permutations_as_it_says(columns, target):
    """It passes only if its probability is small, and passes if it is far smaller."""
    rng = np.random.default_rng(7)
    n, n_draws = 80, 20_000
    x, y = KINDS[columns](rng, n), KINDS[target](rng, n)
    a, b = values_of(x), values_of(y)
    x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    draws = np.array([x @ rng.permutation(y) for _ in range(n_draws)]) / np.sqrt(n)
    for share in (0.01, 0.002):
        z = float(np.sort(draws)[-int(share * n_draws)])
        true = (draws >= z - 1e-9).mean()
        lower = np.searchsorted(np.sort(draws), np.unique(draws) + 1e-9) / n_draws
        true = (
            true + max(lower[lower <= 0.9 * true], default=0.0)
        ) / 2.0  # half of the two-sided one
        strict, loose = norm.isf(0.7 * true), norm.isf(min(0.5, 15 * true))
        assert tail_scores([Cell(a, b, z)], n, strict)[0] <= strict
        assert tail_scores([Cell(a, b, z)], n, loose)[0] > loose


def test_pairs_of_sparse_columns_in_noise_do_not_pass():
    count = n_sets = 0
    for kind in ("0/1 at 5 %", "three genotypes", "one-hot id"):
        for target in ("gaussian", "zero-inflated", "class at 8 %"):
            for seed in range(2):
                rng = np.random.default_rng([seed, 5])
                x = ranked_matrix(columns_of(COLUMNS[kind](rng, 200, 40)))
                T, _ = label_transforms(TARGETS[target](rng, 200))
                count += len(pair_screen(x, T).z) > 0
                n_sets += 1
    assert count <= most_passes(n_sets)


def test_binary_and_genotype_signals_are_found():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X = np.c_[rng.random((500, 100)) < 0.2, rng.binomial(2, 0.3, (500, 100))] * 1.0
        y = X[:, 3] + X[:, 150] + rng.standard_normal(500)
        assert {3, 150} <= set(screen(X, y).selected)
        assert {3, 150} <= set(screen(X, (y > 1.2) * 1.0).selected)


# -- copies -------------------------------------------------------------------------------------


def left(X, y) -> int:
    rows = distinct_rows(columns_of(np.asarray(X, dtype=float)), np.asarray(y, dtype=float))
    return len(y) if rows is None else len(rows)


@given(
    seed=st.integers(0, 10**6),
    times=st.integers(2, 12),
    kind=st.sampled_from(["gaussian", "0/1 at 50 %", "0/1 at 5 %", "three genotypes", "rounded"]),
    target=st.sampled_from(["gaussian", "class at 50 %", "poisson(1)"]),
)
@settings(max_examples=30, deadline=None)
def test_copies_are_recognised_in_any_order(seed, times, kind, target):
    rng = np.random.default_rng(seed)
    X, y = COLUMNS[kind](rng, 60, 120), TARGETS[target](rng, 60)
    order = rng.permutation(60 * times)
    X, y = np.repeat(X, times, axis=0)[order], np.repeat(y, times)[order]
    rows = distinct_rows(columns_of(X), y)
    assert rows is not None
    assert len(rows) == 60
    assert len(np.unique(np.c_[X, y][rows], axis=0)) == len(np.unique(np.c_[X, y], axis=0))


def test_draws_with_replacement_are_copies():
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 500, 500)
    X, y = rng.standard_normal((500, 9)), rng.random(500) < 0.1
    assert left(X[drawn], y[drawn]) == len(np.unique(drawn))


@given(seed=st.integers(0, 10**6), d=st.integers(1, 8), signal=st.booleans())
@settings(max_examples=30, deadline=None)
def test_rows_that_are_equal_by_chance_are_no_copies(seed, d, signal):
    rng = np.random.default_rng(seed)
    X = rng.random((1000, d)) < 0.5
    y = X[:, 0] if signal else rng.random(1000) < 0.3
    assert left(X, y) == 1000
    assert left(np.repeat(X[:, :1], 20, axis=1), y) == 1000  # columns that depend on each other
    categories = np.eye(300)[rng.integers(0, 300, 1000)]
    assert left(categories, rng.random(1000) < 0.08) == 1000
    assert left(categories, rng.standard_normal(1000)) == 1000


def test_a_fit_on_copies_says_how_many_rows_were_used_and_is_that_of_one_row_each():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((80, 90)), rng.standard_normal(80)
    once = SparseMultiIndexRegressor(random_state=0).fit(X, y)
    many = SparseMultiIndexRegressor(random_state=0).fit(np.repeat(X, 10, axis=0), np.repeat(y, 10))
    assert "80 rows were used" in once.certificate_["screen"].statement
    assert "80 of 800 rows were used" in many.certificate_["screen"].statement
    assert not many.signal_detected_
    np.testing.assert_array_equal(many.scores_, once.scores_)
    np.testing.assert_array_equal(many.support_, once.support_)
    assert many.n_train_ == once.n_train_


def test_a_fit_on_categories_of_noise_claims_nothing():
    rng = np.random.default_rng(0)
    X, y = COLUMNS["one-hot id"](rng, 400, 150), rng.standard_normal(400)
    model = SparseMultiIndexRegressor(random_state=0).fit(X, y)
    assert model.certificate_["screen"].verdict == "fails"
    assert model.certificate_["signal"].verdict == "fails"


def test_the_score_of_classes_is_named_as_what_it_is():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 10))
    model = SparseMultiIndexClassifier(random_state=0).fit(X, X[:, 2] > 0)
    assert "log-loss" in model.certificate_["validation"].statement
    assert "R^2" not in model.certificate_["validation"].statement


@pytest.mark.parametrize("kind", [SparseMultiIndexRegressor, SparseMultiIndexClassifier])
def test_the_prediction_of_a_row_does_not_depend_on_the_other_rows(kind):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 12))
    y = X[:, 0] * X[:, 1] + X[:, 2]
    model = kind(random_state=0).fit(X, y if kind is SparseMultiIndexRegressor else y > 0)
    predict = model.predict if kind is SparseMultiIndexRegressor else model.predict_proba
    fresh = rng.standard_normal((1001, 12))
    whole, indices = predict(fresh), model.transform(fresh)
    for rows in ([0], [1000], [3, 500], list(range(17)), list(range(1000, -1, -1))):
        np.testing.assert_allclose(predict(fresh[rows]), whole[rows], rtol=1e-12)
        np.testing.assert_allclose(model.transform(fresh[rows]), indices[rows], rtol=1e-12)
        np.testing.assert_allclose(predict(np.asfortranarray(fresh[rows])), whole[rows], rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_copies_with_a_little_noise_count_once(seed):
    """Measured: with every row ten times, noise passes in all data sets if copies count."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(np.repeat(np.arange(30), 10))
    X, y = rng.standard_normal((30, 20))[rows], rng.standard_normal(30)[rows]
    X = X * (1 + 1e-9 * rng.standard_normal(X.shape))
    assert screen(X, y * (1 + 1e-9 * rng.standard_normal(300))).n == 30
