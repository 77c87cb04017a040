"""Tests of the operators: adjoint identity, dense reference, block sizes, types, no copies."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from secateurs.sensing.operators import base, dense, entries, pauli, rank_one, rows, seeded
from secateurs.sensing.operators.dense import PackedDense, Packing, pack, packed_size
from secateurs.sensing.operators.entries import Entries
from secateurs.sensing.operators.linear import Flattened
from secateurs.sensing.operators.pauli import Pauli
from secateurs.sensing.operators.projected import Projected, centred
from secateurs.sensing.operators.rank_one import RankOne
from secateurs.sensing.operators.seeded import Seeded
from secateurs.sensing.operators.spectrum import eigenpairs, noise_norm

PAULIS = {
    (0, 0): np.eye(2),
    (1, 0): np.array([[0, 1], [1, 0]]),
    (1, 1): np.array([[0, -1j], [1j, 0]]),
    (0, 1): np.diag([1, -1]),
}


def pauli_matrix(q, x, z):
    """The definition by Kronecker products."""
    M = np.ones((1, 1))
    for bit in reversed(range(q)):
        M = np.kron(M, PAULIS[x >> bit & 1, z >> bit & 1])
    return M


def instance(kind, dtype=np.float64, n=37, d=8, seed=0):
    """An operator and its matrices [n, d, d]."""
    g = np.random.default_rng(seed)
    if kind == "packed":
        A = g.standard_normal((n, d, d)).astype(dtype)
        A = (A + A.transpose(0, 2, 1)) / 2
        return PackedDense(pack(A)), A
    if kind == "packed tensor":
        A = g.standard_normal((n, d, d)).astype(dtype)
        A = (A + A.transpose(0, 2, 1)) / 2
        return PackedDense(torch.from_numpy(pack(A))), A
    if kind in ("rank-one", "rank-one tensor", "centred", "projected"):
        X = g.standard_normal((n, d)).astype(dtype)
        A = X[:, :, None] * X[:, None, :]
        if kind == "centred":
            return centred(RankOne(X)), A - A.mean(0)
        if kind == "projected":
            B = np.column_stack([np.ones(n), X[:, :3], X[:, 0]])  # a dependent column
            Q = np.linalg.qr(B[:, :4])[0]
            return Projected(RankOne(X), B), A - np.einsum("nq,mq,mij->nij", Q, Q, A)
        return RankOne(torch.from_numpy(X) if "tensor" in kind else X), A
    if kind == "entries":
        i, j = g.integers(0, d, (2, n))
        A = np.zeros((n, d, d), dtype)
        A[np.arange(n), i, j] += 0.5
        A[np.arange(n), j, i] += 0.5
        return Entries(d, i, j, dtype=dtype), A
    if kind in ("rademacher", "gaussian"):
        op = Seeded(n, d, kind=kind, random_state=seed, dtype=dtype)
        packing = Packing(d, np.dtype(dtype))
        return op, np.stack([packing.unpack(row) for row in op.rows(0, n)])
    if kind == "linear":
        A = sp.random_array((n, d * d), density=0.3, rng=g).tocsr().astype(dtype)
        full = A.toarray().reshape(n, d, d)
        return Flattened(A), (full + full.transpose(0, 2, 1)) / 2
    q = 3
    x, z = g.integers(0, d, (2, n))
    return Pauli(q, x, z), np.stack([pauli_matrix(q, a, b) for a, b in zip(x, z, strict=True)])


REAL = ["packed", "packed tensor", "rank-one", "rank-one tensor", "centred", "projected",
        "entries", "rademacher", "gaussian", "linear"]  # fmt: skip
KINDS = [*REAL, "pauli"]


def random_factors(op, r, seed):
    g = np.random.default_rng(seed)
    U = g.standard_normal((r, op.shape[1]))
    if op.dtype.kind == "c":
        U = U + 1j * g.standard_normal(U.shape)
    return U, g.choice([-1.0, 1.0], r)


@pytest.mark.parametrize("r", [0, 1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_products_equal_the_dense_reference(kind, r):
    op, A = instance(kind)
    U, s = random_factors(op, r, 1)
    P, _ = random_factors(op, r, 2)
    M = (U.T * s) @ U.conj()
    expected = np.einsum("nij,ji->n", A, M).real
    np.testing.assert_allclose(op.forward_factors(U, s), expected, atol=1e-10)
    plain = np.einsum("nij,ji->n", A, U.T @ U.conj()).real
    np.testing.assert_allclose(op.forward_factors(U), plain, atol=1e-10)
    first, second = op.forward_line(U, P, s)
    for t in (0.0, 0.7, -2.0):
        moved = op.forward_factors(U + t * P, s)
        np.testing.assert_allclose(expected + 2 * t * first + t * t * second, moved, atol=1e-9)
    residual = np.random.default_rng(3).standard_normal(op.shape[0])
    N = np.einsum("n,nij->ij", residual, A)
    np.testing.assert_allclose(op.adjoint(residual), N, atol=1e-10)
    np.testing.assert_allclose(op.adjoint_times(residual, U.T), N @ U.T, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_adjoint_identity(kind, seed):
    op, _ = instance(kind, n=60, seed=seed)
    U, s = random_factors(op, 4, seed)
    residual = np.random.default_rng(seed).standard_normal(60)
    left = op.forward_factors(U, s) @ residual
    right = np.vdot((U.T * s) @ U.conj(), op.adjoint(residual)).real
    assert left == pytest.approx(right, rel=1e-10)


@pytest.mark.parametrize("kind", REAL)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_types_are_kept(kind, dtype):
    op, _ = instance(kind, dtype)
    assert op.dtype == dtype
    U, s = random_factors(op, 2, 0)
    for found in (
        op.forward_factors(U, s),
        *op.forward_line(U, U, s),
        op.adjoint(np.ones(op.shape[0])),
        op.adjoint_times(np.ones(op.shape[0]), U.T),
    ):
        assert found.dtype == dtype


@pytest.mark.parametrize("kind", KINDS)
def test_block_sizes_do_not_matter(kind, monkeypatch):
    op, _ = instance(kind)
    U, s = random_factors(op, 3, 0)
    r = np.random.default_rng(5).standard_normal(op.shape[0])
    whole = (op.forward_factors(U, s), *op.forward_line(U, U[::-1], s), op.adjoint(r))
    for module in (base, rows, entries, pauli):
        monkeypatch.setattr(module, "BLOCK_BYTES", 700)
    op, _ = instance(kind)
    cut = (op.forward_factors(U, s), *op.forward_line(U, U[::-1], s), op.adjoint(r))
    for a, b in zip(whole, cut, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-11)


@pytest.mark.parametrize("make", [PackedDense, RankOne])
def test_memory_mapped_rows_are_never_copied(make, tmp_path):
    data = np.random.default_rng(0).standard_normal((50, packed_size(6)))
    mapped = np.memmap(tmp_path / "rows", dtype=np.float64, mode="w+", shape=data.shape)
    mapped[:] = data
    op = make(mapped)
    assert op.rows.data is mapped
    U = np.ones((1, op.shape[1]))
    np.testing.assert_array_equal(op.forward_factors(U), make(data).forward_factors(U))


@pytest.mark.parametrize("kind", seeded.KINDS)
def test_seeded_rows_are_the_same_in_every_pass(kind):
    op = Seeded(500, 30, kind=kind, random_state=3)
    assert op.block < 500
    whole = op.rows(0, 500)
    np.testing.assert_array_equal(whole[270:300], op.rows(270, 300))
    np.testing.assert_array_equal(
        whole[:100], Seeded(100, 30, kind=kind, random_state=3).rows(0, 100)
    )
    assert abs(whole.mean()) < 0.02
    assert whole.std() == pytest.approx(1, abs=0.02)
    U = np.random.default_rng(0).standard_normal((2, 30))
    stored = PackedDense(whole)
    np.testing.assert_allclose(op.forward_factors(U), stored.forward_factors(U), atol=1e-10)


def test_packing_is_an_isometry():
    g = np.random.default_rng(0)
    A, B = (M + M.T for M in g.standard_normal((2, 9, 9)))
    assert pack(A) @ pack(B) == pytest.approx(np.sum(A * B))
    packing = Packing(9, A.dtype)
    np.testing.assert_allclose(packing.unpack(packing.pack(A)), A)


def test_a_rectangular_matrix_is_a_block():
    g = np.random.default_rng(0)
    L, R = g.standard_normal((2, 5)), g.standard_normal((2, 7))
    i, j = g.integers(0, 5, 20), g.integers(0, 7, 20)
    op = Entries(12, i, 5 + j)
    np.testing.assert_allclose(op.forward_factors(np.hstack([L, R])), (L.T @ R)[i, j])


def test_the_nuisance_is_projected_out():
    op, _ = instance("projected")
    n = op.shape[0]
    X = op.operator.rows.data
    for column in (np.ones(n), X[:, 1]):
        assert np.abs(op.project(column)).max() < 1e-10
        np.testing.assert_allclose(op.adjoint(column), 0, atol=1e-9)
    assert op.n_nuisance == 4  # the dependent column is not counted


@pytest.mark.parametrize("both_ends", [False, True])
@pytest.mark.parametrize("kind", ["rank-one", "entries", "pauli", "centred"])
def test_lanczos_equals_the_dense_spectrum(kind, both_ends, monkeypatch):
    op, A = instance(kind, d=8)
    r = np.random.default_rng(1).standard_normal(op.shape[0])
    exact = np.linalg.eigvalsh(np.einsum("n,nij->ij", r, A))
    expected = sorted(np.abs(exact) if both_ends else exact)[::-1][:3]
    monkeypatch.setattr("secateurs.sensing.operators.spectrum.SMALL", 1)
    values, vectors, passes = eigenpairs(op, r, both_ends=both_ends, n_pairs=3, tolerance=1e-10)
    np.testing.assert_allclose(np.abs(values) if both_ends else values, expected, rtol=1e-6)
    N = np.einsum("n,nij->ij", r, A)
    np.testing.assert_allclose(N @ vectors[0], values[0] * vectors[0], atol=1e-4)
    assert passes > 1


def test_the_noise_norm_of_gaussian_measurements():
    norm, _ = noise_norm(Seeded(2000, 40, kind="gaussian"))
    assert norm == pytest.approx(np.sqrt(2 * 40 / 2000), rel=0.15)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PackedDense(np.ones((3, 5))), "d \\(d \\+ 1\\) / 2"),
        (lambda: PackedDense(np.ones((3, 6), dtype=int)), "float32 or float64"),
        (lambda: RankOne(np.ones(3)), "\\[n, m\\]"),
        (lambda: Entries(3, [0, 1], [0, 3]), "expected 0 to 2"),
        (lambda: Entries(3, [0.5], [1.0]), "integers"),
        (lambda: Pauli(2, [4], [0]), "expected 0 to 3"),
        (lambda: Pauli(99, [0], [0]), "n_qubits"),
        (lambda: Seeded(3, 3, kind="uniform"), "rademacher"),
        (lambda: Flattened(np.ones((3, 5))), "d \\* d"),
        (lambda: centred(RankOne(np.ones((1, 3)))), "rank"),
        (lambda: RankOne(np.ones((4, 3))).forward_factors(np.ones((2, 4))), "one factor a row"),
        (lambda: RankOne(np.ones((4, 3))).adjoint(np.ones(3)), "\\[4\\]"),
        (lambda: pack(np.ones((2, 3))), "\\[n, d, d\\]"),
        (lambda: dense.dimension_of(7), "upper"),
        (lambda: rank_one.RankOne(torch.ones(2, 2, dtype=torch.int32)), "float32 or float64"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
