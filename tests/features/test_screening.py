"""Screening: fast equals slow, blocks do not matter, only ranks count, noise scores low."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.special import ndtri
from scipy.stats import binom, norm

from secateurs.data import columns
from secateurs.features import ranks, screening, unranked
from secateurs.features.interactions import pair_screen, triple_screen
from secateurs.features.null_scores import binned, null_table
from secateurs.features.planted import planted_multi_index
from secateurs.features.ranks import normal_scores, rank_block, ranked_matrix, standardised
from secateurs.features.screening import label_transforms, screen, statistics
from tests.reference.slow_screening import slow_pairs, slow_statistics

KINDS = ("normal", "integers", "binary", "constant", "offset")


def draw(rng, n, d, kind, dtype):
    if kind == "normal":
        X = rng.standard_normal((n, d))
    elif kind == "offset":
        X = 1e4 + rng.standard_normal((n, d))
    elif kind == "integers":
        X = rng.poisson(1.0, (n, d))
    elif kind == "binary":
        X = rng.choice([-1, 1], (n, d))
    else:
        X = np.full((n, d), 3)
    return X.astype(dtype)


@settings(max_examples=30)
@given(
    n=st.integers(8, 60),
    d=st.integers(1, 9),
    degrees=st.integers(1, 3),
    ranked=st.booleans(),
    kind=st.sampled_from(KINDS),
    dtype=st.sampled_from([np.float32, np.float64, np.int64, np.int8]),
    seed=st.integers(0, 10**6),
)
def test_the_fast_statistic_is_the_slow_one(n, d, degrees, ranked, kind, dtype, seed):
    rng = np.random.default_rng(seed)
    if kind == "offset" and dtype == np.int8:
        dtype = np.float32
    X = draw(rng, n, d, kind, dtype)
    y = rng.standard_normal(n)
    T, names = label_transforms(y, ranked)
    slow = slow_statistics(X, T, degrees, ranked)
    fast = screen(X, labels=(T, names), degrees=degrees, ranked=ranked)
    assert fast.transforms == names
    if ranked:
        raw = statistics(*rank_block(X), T.astype(np.float32), degrees)
        np.testing.assert_allclose(raw, slow, atol=2e-4)
    else:
        np.testing.assert_allclose(fast.z, slow, atol=2e-3 * np.sqrt(n))


@pytest.mark.parametrize("ranked", [True, False])
def test_blocks_do_not_matter(monkeypatch, tmp_path, ranked):
    p = planted_multi_index(60, 40, 1, "he2", sparsity=3, n_test=1, random_state=0)
    X = p.X.astype(np.float32)
    whole = screen(X, p.y, ranked=ranked).z
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "f.npy", np.asfortranarray(X))
    monkeypatch.setattr(columns, "MAPPED_BYTES", 7 * 40 * 4)
    monkeypatch.setattr(columns, "BLOCK_ELEMENTS", 7 * 60)
    for module in (ranks, screening, unranked):
        monkeypatch.setattr(module, "NARROW", 3)
    for module in (screening, unranked):
        monkeypatch.setattr(module, "TILE", 30)
    monkeypatch.setattr(unranked, "ACROSS", 11)
    for other in (
        X,
        np.asfortranarray(X),
        tmp_path / "x.npy",
        tmp_path / "f.npy",
        sparse.csc_array(X),
    ):
        np.testing.assert_allclose(screen(other, p.y, ranked=ranked).z, whole, atol=1e-5)


@given(seed=st.integers(0, 10**6), ties=st.booleans())
@settings(max_examples=20)
def test_only_ranks_matter(seed, ties):
    rng = np.random.default_rng(seed)
    X = rng.integers(-5, 6, (40, 5)) if ties else rng.standard_normal((40, 5))
    y = rng.standard_normal(40)
    plain = screen(X.astype(float), y)
    bent = screen(np.exp(X / 2.0) + 3.0, np.arctan(y))
    np.testing.assert_array_equal(plain.z, bent.z)


def test_permuted_columns_permute_the_scores_and_rows_do_not_matter():
    p = planted_multi_index(80, 150, 1, "he3", sparsity=3, n_test=1, random_state=0)
    rng = np.random.default_rng(1)
    columns_, rows = rng.permutation(150), rng.permutation(80)
    plain = screen(p.X, p.y)
    np.testing.assert_allclose(screen(p.X[:, columns_], p.y).z, plain.z[columns_], atol=1e-5)
    np.testing.assert_allclose(screen(p.X[rows], p.y[rows]).z, plain.z, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_ranks_of_a_block(dtype):
    X = np.random.default_rng(0).integers(-4, 5, (30, 6)).astype(dtype)
    x, tied = rank_block(X)
    assert tied.all()
    for j in range(6):
        np.testing.assert_allclose(x[j], normal_scores(X[:, j]), atol=1e-6)
    assert (rank_block(np.array([[0.0], [-0.0], [1.0]], dtype=np.float32))[0][0, :2] < 0).all()


@pytest.mark.parametrize("inputs", ["gaussian", "t5", "exponential", "binary"])
@pytest.mark.parametrize("n", [200, 1000])
def test_noise_scores_like_a_normal_far_into_the_tails(inputs, n):
    p = planted_multi_index(n, 4000, 1, "null", sparsity=1, inputs=inputs, n_test=1, random_state=n)
    y = np.random.default_rng(n + 1).standard_t(2, n)  # heavy tails in the labels, too
    found = screen(p.X, y)
    assert len(found.selected) <= 1
    assert len(found.discoveries(0.1)) <= 1
    for level in (0.1, 0.01, 0.001):
        share = (np.abs(found.z) > -ndtri(level / 2)).mean()
        assert share < 1.4 * level
        assert inputs == "binary" or share > 0.5 * level


def test_the_table_of_tails_is_exact_for_a_sum_of_signs():
    n = 64  # S = (2 B - n) / sqrt n with B binomial: its tails are known
    signs = np.tile([-1.0, 1.0], n // 2)
    table = null_table(binned(signs), binned(signs), n)
    for heads in (40, 44, 48, 52):
        z = (2 * heads - 1 - n) / np.sqrt(n)  # in the middle of two steps
        exact = norm.isf(binom.sf(heads - 1, n, 0.5))
        assert table(np.array([z]))[0] == pytest.approx(exact, rel=0.02)


def test_a_planted_support_scores_highest_and_misses_no_channel():
    for seed, (link, n) in enumerate([("he1", 400), ("he2", 2500), ("he3", 3000)]):
        p = planted_multi_index(n, 500, 1, link, sparsity=4, n_test=1, random_state=seed)
        found = screen(p.X, p.y)
        np.testing.assert_array_equal(found.selected, p.support)
        np.testing.assert_array_equal(np.sort(np.argsort(-found.scores)[:4]), p.support)
        assert set(p.support) <= set(found.discoveries(0.1))
        c, k = found.channel
        assert (found.transforms[c], k + 1) == {
            "he1": ("g", 1), "he2": ("g", 2), "he3": ("sign g", 1)
        }[link]  # fmt: skip


@given(seed=st.integers(0, 10**6), d=st.integers(2, 12))
@settings(max_examples=20)
def test_pairs_are_the_slow_pairs(seed, d):
    rng = np.random.default_rng(seed)
    X = rng.choice([-1.0, 1.0], (60, d))
    i, j = rng.choice(d, 2, replace=False)
    y = X[:, i] * X[:, j] + 0.2 * rng.standard_normal(60)
    x = ranked_matrix(columns.columns_of(X))
    T, _ = label_transforms(y)
    found = pair_screen(x, T)
    assert sorted((i, j)) in found.columns.tolist()
    slow = np.abs(np.stack([slow_pairs(x, t) for t in T.T])).max(axis=0)
    a, b = found.columns[0]
    assert slow[a, b] == pytest.approx(np.triu(slow, 1).max(), rel=1e-4)


def test_triples_find_a_product_of_three_binaries_and_nothing_in_noise():
    for seed in range(4):
        p = planted_multi_index(
            400, 60, 3, "z1*z2*z3", sparsity=3, inputs="binary", n_test=1, random_state=seed
        )
        x = ranked_matrix(columns.columns_of(p.X))
        T, _ = label_transforms(p.y)
        found = triple_screen(x, T[:, 0])
        np.testing.assert_array_equal(found.columns[0], p.support)
        noise = np.random.default_rng(seed).standard_normal(400)
        assert len(triple_screen(x, standardised(noise), alpha=0.01).z) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.ones(20)}, "y: got a constant"),
        ({"X": np.eye(5), "y": np.arange(5.0)}, "y: got 5 rows; expected at least 8"),
        ({"y": np.r_[np.nan, np.arange(19.0)]}, "y: got infinite or missing"),
        ({"y": np.arange(19.0)}, "y: got 19 values; expected 20"),
        ({"y": np.array(["a"] * 20)}, "expected numbers"),
        ({"degrees": 4}, "degrees: got 4"),
        ({"alpha": 0.0}, "alpha: got 0.0"),
        ({"y": None}, "expected y or labels"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"X": np.random.default_rng(0).standard_normal((20, 3)), "y": np.arange(20.0)}
    with pytest.raises(ValueError, match=message):
        screen(**(arguments | change))


@pytest.mark.parametrize("ranked", [True, False])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_column_with_a_missing_value_is_named(ranked, bad, dtype):
    X = np.random.default_rng(0).standard_normal((20, 9)).astype(dtype)
    X[4, 7] = bad
    with pytest.raises(ValueError, match="column 7: got infinite or missing"):
        screen(X, np.arange(20.0), ranked=ranked)


def test_progress_counts_columns(monkeypatch):
    monkeypatch.setattr(columns, "BLOCK_ELEMENTS", 20 * 4)
    seen = []
    X = np.random.default_rng(0).standard_normal((20, 9))
    screen(X, np.arange(20.0), progress=seen.append)
    assert [p.step for p in seen] == [4, 8, 9]
    assert all(p.n_steps == 9 for p in seen)
