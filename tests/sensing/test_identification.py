"""Tests of what measurements identify: a matrix is called identified only if it is the only one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.sensing.twins import ROWS, VECTORS, draw, has_a_twin
from hypothesis import given, settings
from hypothesis import strategies as st

from secateurs.sensing.factored import Factors, Sensed
from secateurs.sensing.fixed_rank import fit_rank
from secateurs.sensing.identification import identify
from secateurs.sensing.operators.dense import PackedDense, pack
from secateurs.sensing.operators.entries import Entries
from secateurs.sensing.operators.projected import centred
from secateurs.sensing.operators.rank_one import RankOne
from secateurs.sensing.planted import planted_sensing
from secateurs.sensing.regularisation_path import group_lasso_path


def _factors(d, r, rng):
    return Factors(rng.standard_normal((r, d)), np.ones(r))


@given(seed=st.integers(0, 500), d=st.integers(3, 8), r=st.integers(1, 2), share=st.floats(0.2, 3))
def test_an_identified_matrix_is_the_only_fit_from_any_start(seed, d, r, share):
    rng = np.random.default_rng(seed)
    n = max(2, int(share * (r * d - r * (r - 1) // 2)))
    A = rng.standard_normal((n, d, d))
    operator, truth = PackedDense(pack(A + A.transpose(0, 2, 1))), _factors(d, r, rng)
    y = operator.forward_factors(truth.components)
    if identify(Sensed.of(operator, y), truth, random_state=seed).verdict != "holds":
        return
    for start in (None, _factors(d, r, rng), _factors(d, r, rng)):
        found = fit_rank(operator, y, r, start=start, tolerance=1e-12, n_steps=2000)
        if found.measured["loss"] <= 1e-24 * np.mean(y**2):
            np.testing.assert_allclose(found.value.matrix(), truth.matrix(), atol=1e-6 * d)


@given(seed=st.integers(0, 10**6), d=st.integers(4, 9), r=st.integers(1, 2))
@settings(max_examples=25)
def test_a_second_matrix_is_found_wherever_it_is(seed, d, r):
    """Of two matrices whose difference is projected out of the measurements, none is identified."""
    rng = np.random.default_rng(seed)
    one, other = _factors(d, r, rng), _factors(d, r, rng)
    n = int(rng.uniform(2, 4) * (r * d))
    A = rng.standard_normal((n, d, d))
    rows, difference = pack(A + A.transpose(0, 2, 1)), pack(one.matrix() - other.matrix())
    rows -= np.outer(rows @ difference, difference) / (difference @ difference)
    operator = PackedDense(rows)
    sensed = Sensed.of(operator, operator.forward_factors(one.components))
    assert identify(sensed, one, random_state=seed).verdict != "holds"
    assert identify(sensed, other, random_state=seed).verdict != "holds"


def _entries(d, seen):
    i, j = np.triu_indices(d)
    kept = seen(i, j)
    return Entries(d, i[kept], j[kept])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (lambda i, j: (i != 2) & (j != 2), "no measurement contains rows 2"),
        (lambda i, j: (i < 4) == (j < 4), "no measurement joins rows"),
        (lambda i, j: (i == 0) & (j < 3), "degrees of freedom"),
    ],
)
def test_what_entries_leave_open_is_named(seen, reason, seed):
    truth = _factors(8, 1, np.random.default_rng(seed))
    operator = _entries(8, seen)
    sensed = Sensed.of(operator, operator.forward_factors(truth.components))
    found = identify(sensed, truth)
    assert found.verdict == "fails"
    assert found.status == "converged"
    assert reason in found.reason


@pytest.mark.parametrize("seed", range(3))
def test_copied_measurements_and_copied_columns_do_not_identify(seed):
    rng = np.random.default_rng(seed)
    X = np.repeat(rng.standard_normal((5, 6)), 40, axis=0)
    X_same = rng.standard_normal((200, 6))[:, [0, 0, 1, 2, 3, 4]]
    truth = _factors(6, 1, rng)
    for rows in (X, X_same):
        operator = centred(RankOne(rows))
        sensed = Sensed.of(operator, operator.forward_factors(truth.components))
        assert identify(sensed, truth).verdict == "fails"


@pytest.mark.parametrize("kind", ["gaussian", "rank-one"])
@pytest.mark.parametrize("seed", range(4))
def test_enough_random_measurements_identify_with_noise_and_without(kind, seed):
    for noise in (0.0, 0.3):
        p = planted_sensing(300, 20, 2, kind=kind, noise_ratio=noise, random_state=seed)
        fit = fit_rank(p.operator, p.y, 2).value
        found = identify(Sensed.of(p.operator, p.y), fit, exact=not noise)
        assert found.verdict == "holds", found.reason


def test_under_noise_another_fit_that_is_as_good_is_no_identification():
    """With two entries in a row, a matrix of rank one fits with many patterns of signs."""
    n_unknown = n_false = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((120, 20)) * (rng.random((120, 20)) < 0.1)
        U = rng.standard_normal((2, 20))
        operator = centred(RankOne(X))
        y = operator.forward_factors(U / np.linalg.norm(U, axis=1)[:, None])
        y = y + 0.5 * y.std() * rng.standard_normal(120)
        fit = fit_rank(operator, y, 1).value
        found = identify(Sensed.of(operator, y), fit, exact=False)
        n_unknown += found.verdict == "unknown"
        n_false += found.verdict == "holds"
    assert n_unknown >= 8
    assert n_false <= 1


def test_a_fit_and_the_fit_in_other_units_have_the_same_answer():
    p = planted_sensing(300, 12, 2, noise_ratio=0.3, random_state=0)
    fit = fit_rank(p.operator, p.y, 2).value
    usual = identify(Sensed.of(p.operator, p.y), fit, exact=False)
    far = replace(fit, components=2.0**100 * fit.components)
    same = identify(Sensed(p.operator, 4.0**100 * p.y), far, exact=False)
    assert same == usual


@pytest.mark.parametrize("kind", ROWS)
def test_an_identified_vector_has_no_twin_among_all_signs(kind):
    n_twins = n_held = n_alone = 0
    for seed in range(36):
        rng = np.random.default_rng(5_000_000 + seed)
        X, u = draw(kind, seed % len(VECTORS), rng)
        if not (X @ u).any():
            continue
        operator = RankOne(X)
        sensed = Sensed.of(operator, operator.forward_factors(u[None]))
        held = identify(sensed, Factors(u[None], np.ones(1)), random_state=seed).verdict == "holds"
        twin = has_a_twin(X, u)
        assert not (held and twin), (X, u)
        n_twins, n_held, n_alone = n_twins + twin, n_held + held, n_alone + (not twin)
    assert n_twins > 0 or kind in ("gaussian", "sparse")
    assert n_held >= (0.9 if kind == "gaussian" else 0.2) * n_alone > 0


@pytest.mark.parametrize("kind", ["gaussian", "rank-one"])
@pytest.mark.parametrize("ratio", [1.2, 1.5, 1.8])
def test_with_few_measurements_an_exact_matrix_is_the_planted_one(kind, ratio):
    """Ranks with more than half as many degrees of freedom as measurements are tried too."""
    n_exact = 0
    for seed in range(3):
        r = 1 + seed
        p = planted_sensing(int(ratio * r * 16), 16, r, kind=kind, random_state=8_000_000 + seed)
        found = group_lasso_path(p.operator, p.y)
        if found.status == "exact":
            n_exact += 1
            assert p.error(found.value.components) < 1e-8
    assert n_exact >= (ratio > 1.5)


def test_a_rank_with_too_many_degrees_of_freedom_is_tried_but_never_exact():
    for seed in range(4):
        rng = np.random.default_rng(seed)
        A = rng.standard_normal((20, 8, 8))
        operator = PackedDense(pack(A + A.transpose(0, 2, 1)))
        y = rng.standard_normal(20)
        found = group_lasso_path(operator, y, max_rank=8, signed=True)
        assert found.status != "exact"
        assert len(group_lasso_path(operator, y, signed=True).value.components) <= 2
    p = planted_sensing(100, 8, 4, random_state=0)
    assert group_lasso_path(p.operator, p.y, max_rank=8).value.components.shape == (4, 8)
    assert len(group_lasso_path(p.operator, p.y, max_rank=2).value.components) <= 2
