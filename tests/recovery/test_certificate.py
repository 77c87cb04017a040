"""Recovery certificates have right numbers, fail for twins, and claim nothing unchecked."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from secateurs.recovery import patterns as measured_patterns
from secateurs.recovery.certificate import fit_certificate, pattern_certificate
from secateurs.recovery.patterns import pattern_statistics
from secateurs.sparse.stack import Generators, ReLUStack
from tests.reference.planted import planted


@pytest.mark.parametrize(("p", "n"), [(2, 1), (7, 50), (30, 333)])
def test_statistics_equal_the_direct_count(p, n, monkeypatch):
    monkeypatch.setattr(measured_patterns, "BLOCK", 8)
    monkeypatch.setattr(measured_patterns, "ROWS", 32)
    patterns = np.random.default_rng(p).random((p, n)) < 0.5
    found = pattern_statistics(patterns)
    distances = {
        (i, j): int((patterns[i] != patterns[j]).sum()) for i in range(p) for j in range(i + 1, p)
    }
    smallest = min(distances.values())
    assert found.min_separation == smallest / n
    assert found.closest == min(pair for pair, value in distances.items() if value == smallest)
    assert found.min_trace == patterns.mean(1).min()
    assert found.n_duplicates == p - len(np.unique(patterns, axis=0))


def test_patterns_and_generators_agree():
    X, W, _ = planted(200, 15, 6, 30, seed=1)
    given = pattern_statistics((X @ W.T > 0).T)
    for generators in (W, sp.csr_array(W), torch.from_numpy(W)):
        found = pattern_statistics(X=X, generators=generators)
        assert found.min_separation == given.min_separation
        assert found.closest == given.closest


def test_separated_networks_hold():
    X, W, _ = planted(2000, 100, 10, 50, separated=True, seed=0)
    certificate = pattern_certificate(X=X, generators=W, n_nonzero=50)
    for name in ("separation", "trace", "duplicates", "sample size"):
        assert certificate[name].verdict == "holds"
    assert 0.3 < certificate["separation"].measured < 0.5
    for name in ("restricted isometry", "dictionary"):
        assert certificate[name].verdict == "unknown"
        assert certificate[name].measured is None


@pytest.mark.parametrize("seed", range(5))
def test_near_parallel_twins_fail_and_are_named(seed):
    X, W, _ = planted(2000, 100, 10, 50, separated=True, seed=seed)
    twin = W[3] * (1 + 0.02 * np.random.default_rng(seed).standard_normal(100))
    certificate = pattern_certificate(X=X, generators=np.vstack([W, twin]))
    check = certificate["separation"]
    assert check.verdict == "fails"
    assert check.measured < 0.02
    assert "(3, 10)" in check.statement
    assert certificate["sample size"].verdict == "unknown"  # s was not given


def test_duplicates_and_closed_patterns_fail():
    patterns = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]])
    certificate = pattern_certificate(patterns)
    assert certificate["duplicates"].verdict == "fails"
    assert certificate["duplicates"].measured == 1
    assert certificate["trace"].verdict == "fails"
    assert certificate["separation"].measured == 0


def test_one_pattern_need_not_be_separated():
    assert pattern_certificate(np.ones((1, 4)))["separation"].verdict == "unknown"


def test_every_statement_names_the_patterns_that_were_checked():
    certificate = pattern_certificate(np.eye(4))
    for name in ("separation", "trace", "duplicates"):
        assert "no others were" in certificate[name].statement


def test_a_fit_is_judged_by_measurements():
    X, W, y = planted(2000, 100, 10, 50, separated=True, seed=0)
    fresh, _, _ = planted(500, 100, 10, 50, seed=9)
    target = np.maximum(fresh @ W.T, 0).sum(1)
    exact = ReLUStack((sp.csr_array(W),), fused=True)
    good = fit_certificate(exact, X, y, 50, X_held_out=fresh, y_held_out=target)
    for name in ("budget", "residual", "held-out PSNR", "separation", "sample size"):
        assert good[name].verdict == "holds"
    wrong = ReLUStack((sp.csr_array(W * 1.01),), fused=True)
    bad = fit_certificate(wrong, X, y, 49)
    assert bad["budget"].verdict == "fails"
    assert bad["residual"].verdict == "fails"
    assert bad["held-out PSNR"].verdict == "unknown"


@pytest.mark.parametrize("seed", range(20))
def test_copies_of_rows_prove_nothing(seed):
    """Every check is the same with some rows repeated, in any order, as without."""
    rng = np.random.default_rng(seed)
    d, m, s = int(rng.integers(4, 12)), int(rng.integers(1, 5)), int(rng.integers(5, 12))
    X, W, y = planted(int(rng.integers(20, 300)), d, m, min(s, m * d), seed=seed)
    network = ReLUStack(
        (sp.csr_array(W * (1.0 + 1e-7 * rng.standard_normal(W.shape))),), fused=True
    )
    rows = np.repeat(np.arange(len(X)), rng.integers(1, 1 + int(rng.integers(2, 30)), len(X)))
    rows = rng.permutation(rows)
    held_out = {"X_held_out": X[:5], "y_held_out": y[:5]}
    copied = {"X_held_out": X[rows % 5], "y_held_out": y[rows % 5]}
    once = fit_certificate(network, X, y, s, **held_out)
    often = fit_certificate(network, X[rows], y[rows], s, **copied)
    for check, other in zip(once.checks, often.checks, strict=True):
        assert check.verdict == other.verdict
        if check.measured is not None:
            assert other.measured == pytest.approx(check.measured)
        assert "distinct" in other.statement or "rows" not in other.statement.split("; ")[0]


def test_copies_of_rows_cannot_be_told_in_patterns_alone():
    X, W, _ = planted(2000, 100, 10, 50, separated=True, seed=0)
    patterns = (X @ W.T > 0).T
    enough = pattern_certificate(patterns, n_nonzero=50, n_inputs=100)["sample size"]
    assert enough.verdict == "holds"  # more than enough patterns are different
    copies = pattern_certificate(np.tile(patterns[:, :100], 20), n_nonzero=50, n_inputs=100)
    assert copies["sample size"].verdict == "unknown"
    assert "different for certain" in copies["sample size"].statement
    few = pattern_certificate(patterns[:, :100], n_nonzero=50, n_inputs=100)["sample size"]
    assert few.verdict == "fails"
    assert pattern_statistics(X=np.tile(X, (3, 1)), generators=W).n_rows == len(X)


def test_a_convex_fit_is_judged_by_its_generators():
    X, W, _ = planted(300, 20, 5, 10, separated=True, seed=0)
    drawn = Generators(5, 20, seed=1)
    net = ReLUStack((sp.csr_array(W),), fused=True, generators=drawn)
    H = drawn.rows(torch.arange(5), torch.float64, "cpu").numpy()
    found = fit_certificate(net, X, net.predict(X), 10)
    assert found["residual"].verdict == "holds"
    assert found["separation"].measured == pattern_statistics(X=X, generators=H).min_separation


@pytest.mark.parametrize(
    "arguments",
    [{}, {"patterns": np.ones(3)}, {"patterns": np.full((2, 2), 3)}, {"X": np.ones((2, 2))}],
)
def test_bad_input_is_refused(arguments):
    with pytest.raises(ValueError, match="expected"):
        pattern_certificate(**arguments)
