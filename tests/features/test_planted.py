"""Planted multi-index problems keep their promises, and any matrix reads as columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from secateurs.data.columns import columns_of
from secateurs.features.planted import (
    INPUTS,
    normalised_hermite,
    parse_link,
    planted_multi_index,
)


@settings(max_examples=25)
@given(
    d=st.integers(6, 30),
    r=st.integers(1, 3),
    soft=st.booleans(),
    inputs=st.sampled_from(INPUTS),
    seed=st.integers(0, 2**32 - 1),
)
def test_directions_are_orthonormal_sparse_and_the_source_of_y(d, r, soft, inputs, seed):
    q, sparsity = (1.5, 1.1 * r) if soft else (0.0, r)
    link = "+".join(f"z{i + 1}" for i in range(r))
    p = planted_multi_index(
        50, d, r, link, sparsity=sparsity, q=q, inputs=inputs, noise=0, n_test=5, random_state=seed
    )
    V = p.directions.toarray()
    np.testing.assert_allclose(V @ V.T, np.eye(r), atol=1e-12)
    np.testing.assert_allclose(p.y, (p.X @ V.T).sum(axis=1), atol=1e-12)
    np.testing.assert_allclose(p.y_test, (p.X_test @ V.T).sum(axis=1), atol=1e-12)
    if soft:
        radius = (np.linalg.norm(V, axis=0) ** q).sum()
        assert radius == pytest.approx(sparsity, rel=1e-6)
    else:
        assert len(p.support) == sparsity
    again = planted_multi_index(
        50, d, r, link, sparsity=sparsity, q=q, inputs=inputs, noise=0, n_test=5, random_state=seed
    )
    assert (again.X == p.X).all()
    assert (again.y == p.y).all()


def test_hermite_polynomials_are_orthonormal():
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    weights = weights / weights.sum()
    H = np.stack([normalised_hermite(nodes, k) for k in range(5)])
    np.testing.assert_allclose((H * weights) @ H.T, np.eye(5), atol=1e-10)


def test_links_read_as_written():
    assert parse_link("he2+0.5*he3", 1) == [(1.0, (2,)), (0.5, (3,))]
    assert parse_link("he2(z1) + -1*z1*z2", 2) == [(1.0, (2, 0)), (-1.0, (1, 1))]
    assert parse_link("z1*z2*z3", 3) == [(1.0, (1, 1, 1))]
    assert parse_link("null", 2) == []


@pytest.mark.parametrize("inputs", INPUTS)
def test_inputs_have_mean_0_variance_1_and_the_stated_correlation(inputs):
    p = planted_multi_index(40000, 4, 1, "he1", sparsity=2, inputs=inputs, random_state=0)
    C = np.corrcoef(p.X.T)
    np.testing.assert_allclose(p.X.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(p.X.var(axis=0), 1, atol=0.06)
    expected = 0.5 ** np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    np.testing.assert_allclose(C, expected if inputs == "ar" else np.eye(4), atol=0.03)


def test_noise_has_the_level_asked_for_and_test_data_have_none():
    p, clean = (
        planted_multi_index(20000, 6, 1, "he2", sparsity=3, noise=noise, random_state=1)
        for noise in (0.5, 0.0)
    )
    assert np.std(p.y - clean.y) == pytest.approx(0.5 * clean.y.std(), rel=0.03)
    assert (p.y_test == clean.y_test).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"link": "he"}, "link: got 'he'"),
        ({"link": "z2"}, "link: got 'z2'"),
        ({"link": "z1*z1"}, "z1 once in a product"),
        ({"sparsity": 0}, "sparsity: got 0; expected an integer from 1 to 8"),
        ({"sparsity": 2.5}, "sparsity: got 2.5; expected an integer"),
        ({"q": 1.5, "sparsity": 100.0}, "sparsity: got 100.0; expected R_q from"),
        ({"q": 2.0}, "q: got 2.0"),
        ({"inputs": "cauchy"}, "inputs: got 'cauchy'; expected 'gaussian'"),
        ({"noise": -1}, "noise: got -1"),
        ({"n": 0}, "n: got 0"),
    ],
)
def test_bad_problems_are_refused(change, message):
    arguments = {"n": 10, "d": 8, "r": 1, "link": "he2", "sparsity": 2} | change
    with pytest.raises(ValueError, match=message):
        planted_multi_index(**arguments)


def matrices(tmp_path):
    X = np.random.default_rng(0).poisson(1.0, (20, 7)).astype(np.float32)
    names = [f"c{j}" for j in range(7)]
    np.save(tmp_path / "x.npy", X)
    table = pa.table({name: X[:, j] for j, name in enumerate(names)})
    pq.write_table(table, tmp_path / "x.parquet")
    others = [
        np.asfortranarray(X),
        np.load(tmp_path / "x.npy", mmap_mode="r"),
        tmp_path / "x.npy",
        str(tmp_path / "x.parquet"),
        table,
        pd.DataFrame(X, columns=names),
        sparse.csc_array(X),
        sparse.csr_matrix(X),
        columns_of(X),
    ]
    return X, others


def test_every_kind_of_matrix_reads_as_the_same_columns(tmp_path):
    X, others = matrices(tmp_path)
    for other in others:
        source = columns_of(other)
        assert (source.n, source.d) == X.shape
        for width in (None, 1, 3, 100):
            blocks = dict(source.blocks(width))
            np.testing.assert_array_equal(np.concatenate(list(blocks.values()), axis=1), X)
        np.testing.assert_array_equal(source.take(np.array([5, 0])), X[:, [5, 0]])


def test_pages_of_a_mapped_file_can_be_handed_back(tmp_path, monkeypatch):
    from secateurs.data import columns

    monkeypatch.setattr(columns, "MAPPED_BYTES", 1)
    X = np.random.default_rng(0).standard_normal((50, 9))
    for order in "CF":
        np.save(tmp_path / "x.npy", np.asarray(X, order=order))
        source = columns_of(tmp_path / "x.npy")
        for _ in range(2):
            np.testing.assert_array_equal(np.hstack([b for _, b in source.blocks(2)]), X)
        np.testing.assert_array_equal(source.take(np.array([8, 1, 1])), X[:, [8, 1, 1]])


def test_bad_matrices_are_refused(tmp_path):
    (tmp_path / "x.csv").write_text("1,2")
    for X, message in [
        (np.zeros(3), "expected .n, d."),
        (np.zeros((0, 3)), "expected .n, d."),
        (np.array([["a"]]), "encode the other columns"),
        ([[1.0]], "X: got list"),
        (tmp_path / "missing.npy", "got no such file"),
        (tmp_path / "x.csv", "got another file; expected a .npy"),
        (pd.DataFrame({"a": ["x"]}), "column 'a': got type"),
        (pa.table({"a": ["x"]}), "column 'a': got type"),
    ]:
        with pytest.raises(ValueError, match=message):
            columns_of(X)
    with pytest.raises(ValueError, match=r"column 0 \(a\): got infinite or missing"):
        columns_of(pa.table({"a": [1.0, None]})).take(np.array([0]))
    with pytest.raises(ValueError, match="column 1: got infinite or missing"):
        columns_of(np.array([[1.0, np.inf]])).take(np.array([0, 1]))
