import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from secateurs.sparse.matrix import SparseMatrix, sparse_linear
from tests.strategies import random_csr

BACKENDS = ["csr", "gather"]


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    seed=st.integers(0, 10_000),
    n_out=st.integers(1, 12),
    n_in=st.integers(1, 12),
    batch=st.integers(1, 9),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_products_equal_dense_ones(backend, seed, n_out, n_in, batch, density):
    rng = np.random.default_rng(seed)
    crow, col, values, W = random_csr(rng, n_out, n_in, density)
    matrix = SparseMatrix(crow, col, values, (n_out, n_in), backend=backend)
    H = torch.tensor(rng.standard_normal((n_in, batch)), dtype=torch.float32)
    D = torch.tensor(rng.standard_normal((n_out, batch)), dtype=torch.float32)
    torch.testing.assert_close(matrix.product(H), W @ H)
    torch.testing.assert_close(matrix.transpose_product(D), W.t() @ D)
    rows = matrix.rows_of(slice(0, matrix.nnz))
    torch.testing.assert_close(matrix.sampled_product(D, H), (D @ H.t())[rows, col.long()])


@pytest.mark.parametrize("backend", BACKENDS)
def test_transpose_follows_values_changed_in_place(backend):
    rng = np.random.default_rng(0)
    crow, col, values, W = random_csr(rng, 6, 8)
    matrix = SparseMatrix(crow, col, values, (6, 8), backend=backend)
    D = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    matrix.transpose_product(D)
    values.mul_(-2.5)
    torch.testing.assert_close(matrix.transpose_product(D), -2.5 * W.t() @ D)
    H = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(matrix.product(H), -2.5 * W @ H)


@pytest.mark.parametrize("backend", BACKENDS)
def test_autograd_equals_finite_differences(backend):
    rng = np.random.default_rng(1)
    crow, col, values, _ = random_csr(rng, 5, 7, dtype=torch.float64)
    matrix = SparseMatrix(crow, col, values, (5, 7), backend=backend)
    H = torch.tensor(rng.standard_normal((7, 4)), requires_grad=True)
    values = values.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v, h: sparse_linear(v, h, matrix), (values, H))


def test_the_two_backends_agree():
    rng = np.random.default_rng(2)
    crow, col, values, _ = random_csr(rng, 40, 30)
    H = torch.tensor(rng.standard_normal((30, 16)), dtype=torch.float32)
    fast, slow = (SparseMatrix(crow, col, values, (40, 30), backend=b) for b in BACKENDS)
    torch.testing.assert_close(fast.product(H), slow.product(H))
