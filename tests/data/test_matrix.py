"""Equal matrices give equal models, however they are stored, and a fit leaves them unchanged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from secateurs.data.columns import columns_of
from secateurs.data.sparse_matrix import canonical_sparse
from secateurs.features import SparseMultiIndexRegressor
from secateurs.training import SparseMLPClassifier

DTYPES = ("bool", "uint8", "int8", "int16", "uint16", "int32", "int64", "float32", "float64")


def disguise(dense, dtype, rng, *, large_indices, read_only, extra_zeros, unsorted, kind):
    """Return the same numbers as a sparse matrix that is stored in an unusual way."""
    X = sparse.csr_array(dense.astype(dtype))
    X = X.tocsc() if kind == "csc" else X.tocoo().tocsr()
    if extra_zeros:  # every place is stored, zeros too
        full = np.ones(dense.shape, dtype=dtype)
        X = X.__class__(full)
        X.data = (dense.T if kind == "csc" else dense).astype(dtype).ravel().copy()
    if unsorted:
        for a, b in zip(X.indptr[:-1], X.indptr[1:], strict=True):
            order = rng.permutation(b - a) + a
            X.data[a:b], X.indices[a:b] = X.data[order], X.indices[order]
        X.has_sorted_indices = False
    if large_indices:
        X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    if read_only:
        for array in (X.data, X.indices, X.indptr):
            array.setflags(write=False)
    return X


@st.composite
def disguises(draw):
    flags = ("large_indices", "read_only", "extra_zeros", "unsorted")
    chosen = {name: draw(st.booleans()) for name in flags}
    chosen["kind"] = draw(st.sampled_from(("csr", "csc")))
    return draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from(DTYPES)), chosen


def counts(rng, n=60, d=12):
    """Small whole numbers, which every dtype can hold."""
    top = 2
    return rng.integers(0, top, (n, d)) * (rng.random((n, d)) < 0.4)


@given(disguises())
@settings(max_examples=80, deadline=None)
def test_one_matrix_has_one_canonical_form(case):
    seed, dtype, options = case
    rng = np.random.default_rng(seed)
    dense = counts(rng, n=9, d=7)
    X = disguise(dense, dtype, rng, **options)
    before = [array.copy() for array in (X.data, X.indices, X.indptr)]
    plain = canonical_sparse(getattr(sparse.csr_array(dense), f"to{options['kind']}")())
    for form in (canonical_sparse(X), canonical_sparse(X.copy())):
        assert form.data.dtype == np.float64
        assert form.indices.dtype == form.indptr.dtype == np.int32
        for name in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(form, name), getattr(plain, name))
    np.testing.assert_array_equal(columns_of(X).read(slice(None)), dense)
    for array, old in zip((X.data, X.indices, X.indptr), before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_duplicates_are_added_without_overflow():
    X = sparse.csr_array(
        (np.array([200, 100], dtype=np.uint8), np.array([1, 1]), np.array([0, 2])), shape=(1, 3)
    )
    np.testing.assert_array_equal(canonical_sparse(X).toarray(), [[0, 300, 0]])
    np.testing.assert_array_equal(columns_of(X).read(slice(None)), [[0, 300, 0]])


MODELS = {
    "perceptron": lambda: SparseMLPClassifier(30, (6,), max_epochs=3, random_state=0),
    "multi-index": lambda: SparseMultiIndexRegressor(random_state=0, hidden=8),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_fit_does_not_depend_on_how_a_sparse_matrix_is_stored(name):
    rng = np.random.default_rng(0)
    dense = counts(rng)
    y = (dense[:, 0] + dense[:, 1] > 0).astype(int)
    expected = MODELS[name]().fit(sparse.csr_array(dense.astype(float)), y)
    answer = expected.predict(dense.astype(float))
    options = {"large_indices": True, "read_only": True, "extra_zeros": True, "unsorted": True}
    for dtype in ("bool", "uint8", "int64", "float32"):
        for kind in ("csr", "csc"):
            X = disguise(dense, dtype, rng, kind=kind, **options)
            model = MODELS[name]().fit(X, y)
            np.testing.assert_array_equal(model.predict(X), answer)
