"""Laws of the sample sizes of pruned and unpruned features, and of what a fit may claim."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateurs.features.certificate import features_certificate
from secateurs.features.planted import planted_multi_index
from secateurs.features.sample_sizes import (
    correlational_lower_bound,
    effective_sparsity,
    noise_floor,
    pruned_rows,
    rows_to_stand_out,
    unpruned_rows,
)
from secateurs.features.solver import multi_index

inputs = st.integers(2, 10**6)
exponents = st.integers(1, 4)
softness = st.floats(0, 1.9)


@given(d=inputs, k=exponents, q=softness, share=st.floats(0, 1))
def test_pruning_is_optimal_up_to_its_logarithm(d, k, q, share):
    """Never below the lower bound, and within log d of it while M_eff <= sqrt d."""
    size = d ** (share / 2)
    radius = size ** ((2 - q) / 2)
    assert effective_sparsity(radius, q) == pytest.approx(size)
    bound = correlational_lower_bound(d, k, radius, q)
    rows = pruned_rows(d, k, radius, q)
    assert rows >= bound * np.log(2) * (1 - 1e-9)
    assert rows <= bound * np.log(d) * (1 + 1e-9)
    assert bound <= unpruned_rows(d, k, rotation_invariant=True) * (1 + 1e-9)
    assert unpruned_rows(d, k, rotation_invariant=True) <= unpruned_rows(d, k)


@given(d=inputs, k=exponents, q=st.floats(0.1, 1.9), e=st.floats(0.01, 1))
def test_a_smaller_loss_takes_more_rows(d, k, q, e):
    assert pruned_rows(d, k, 2.0, q, dropped=e) >= pruned_rows(d, k, 2.0, q) * (1 - 1e-9)


def test_the_noise_floor_holds_back_noise():
    """Correlations of noise exceed it somewhere in about alpha of the draws."""
    rng = np.random.default_rng(0)
    n, d, alpha, draws = 200, 50, 0.1, 600
    exceeded = 0
    for _ in range(draws):
        y = rng.standard_normal(n)
        X = rng.standard_normal((n, d))
        exceeded += np.abs(X.T @ y / n).max() > noise_floor(n, d, alpha=alpha) * y.std()
    assert alpha / 2 < exceeded / draws < 1.8 * alpha


@given(n=st.integers(1, 10**6), score=st.floats(0.1, 100), threshold=st.floats(1, 10))
def test_rows_to_stand_out_do_not_depend_on_the_rows_there_are(n, score, threshold):
    """Scores grow like sqrt(n)."""
    here = rows_to_stand_out(n, score, threshold)
    assert rows_to_stand_out(4 * n, 2 * score, threshold) == pytest.approx(here)
    assert rows_to_stand_out(n, 0.0, threshold) == np.inf


@pytest.mark.parametrize(
    "call",
    [
        lambda: effective_sparsity(4, 2.0),
        lambda: effective_sparsity(0),
        lambda: pruned_rows(100, 0, 4),
        lambda: pruned_rows(100, 1, 4, coefficient=0),
        lambda: pruned_rows(100, 1, 4, dropped=0.5),
        lambda: unpruned_rows(0, 1),
        lambda: noise_floor(10, 10, alpha=0),
    ],
)
def test_numbers_out_of_range_are_named(call):
    with pytest.raises(ValueError, match="expected"):
        call()


def test_a_certificate_claims_no_more_than_was_measured():
    p = planted_multi_index(400, 60, 1, "he1", sparsity=4, random_state=0)
    fit = multi_index(p.X, p.y)
    certificate = features_certificate(fit)
    names = [check.name for check in certificate.checks]
    assert names == [
        *("signal", "screen", "gap", "needed columns", "rows"),
        *("validation", "lower bound", "inputs"),
    ]
    for name in ("signal", "screen", "gap", "needed columns", "rows"):
        assert certificate[name].verdict == "holds"
    for name in ("validation", "lower bound", "inputs"):
        assert certificate[name].verdict == "unknown"
    assert not any("R_q" in check.statement for check in certificate.checks)


def test_too_few_rows_are_told():
    p = planted_multi_index(60, 400, 1, "he2", sparsity=8, random_state=0)
    certificate = features_certificate(multi_index(p.X, p.y))
    assert certificate["signal"].verdict == "fails"
    assert certificate["rows"].verdict != "holds"
    assert certificate["gap"].measured is not None
