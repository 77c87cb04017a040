"""Tests of the paper's pipeline, the other solvers, and training without a regulariser."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.sensing.nuclear_norm import nuclear_norm
from benchmarks.sensing.unregularised import norm_pruning, overparameterised_gd

from secateurs.sensing import planted as sensing
from secateurs.sensing.baselines import compare_column_norms, scaled_gd
from secateurs.sensing.operators.entries import Entries
from secateurs.sensing.operators.projected import centred
from secateurs.sensing.operators.rank_one import RankOne
from secateurs.sensing.planted import fidelity, planted_sensing
from secateurs.sensing.published_pipeline import group_lasso
from secateurs.sensing.regularisation_path import group_lasso_path

SETTINGS = {"strength": 0.2, "beta": 0.05}


@pytest.mark.parametrize("seed", range(2))
def test_the_pipeline_finds_the_same_matrix_as_the_path(seed):
    p = planted_sensing(400, 20, 2, noise_ratio=0.1, random_state=seed)
    found = group_lasso(p.operator, p.y, **SETTINGS)
    assert len(found.value.components) == 2
    path = group_lasso_path(p.operator, p.y, tolerance=1e-8)
    same = replace(p, components=path.value.components)
    assert same.error(found.value.components) < 1e-5
    assert found.measured["loss"] <= found.measured["loss_pruned"]
    kept = found.measured["norms"] >= found.measured["threshold"]
    assert kept.sum() == 2


@pytest.mark.parametrize("seed", range(2))
def test_without_the_regulariser_norms_do_not_show_the_needed_columns(seed):
    p = planted_sensing(200, 30, 2, noise_ratio=0.1, random_state=seed)
    found = compare_column_norms(p.operator, p.y, **SETTINGS)
    assert found.n_kept == 2
    assert found.n_comparable > 20
    assert found.pruned_plain > 0.2 > 0.05 > found.pruned_penalised


def test_nuclear_norm_solves_its_problem():
    """At the optimum N <= mu, and N M = mu M."""
    p = planted_sensing(300, 15, 2, noise_ratio=0.1, random_state=0)
    for signed in (False, True):
        found = nuclear_norm(p.operator, p.y, 0.2, signed=signed, tolerance=1e-9, n_steps=3000)
        assert found.status == "converged"
        U, s = found.value.components, found.value.signs
        N = p.operator.adjoint((p.y - p.operator.forward_factors(U, s)) / 300)
        w = np.linalg.eigvalsh(N)
        assert w[-1] <= 0.2 * (1 + 1e-4)
        assert not signed or w[0] >= -0.2 * (1 + 1e-4)
        np.testing.assert_allclose(N @ U.T, 0.2 * U.T * s, atol=1e-4)


def test_scaled_gd_is_exact_only_where_the_measurements_identify_the_matrix():
    p = planted_sensing(300, 12, 2, random_state=0)
    found = scaled_gd(p.operator, p.y, 2, step=0.3)
    assert found.status == "exact"
    assert p.error(found.value.components) < 1e-8
    few = planted_sensing(14, 12, 2, random_state=0)  # 23 degrees of freedom
    found = scaled_gd(few.operator, few.y, 2, step=0.1, n_steps=5000, tolerance=1e-15)
    assert found.measured["loss"] < 1e-20
    assert found.status == "converged"
    assert found.measured["identification"].verdict == "fails"
    i, j = np.triu_indices(8)
    seen = (i < 4) == (j < 4)  # no entry joins the first four rows with the others
    rng = np.random.default_rng(0)
    u = rng.uniform(1, 2, 8)
    apart = Entries(8, i[seen], j[seen])
    found = scaled_gd(apart, (u[i] * u[j])[seen], 1, step=0.2, n_steps=5000, tolerance=1e-15)
    assert found.status != "exact"


def test_norm_pruning_keeps_the_largest():
    p = planted_sensing(400, 20, 2, noise_ratio=0.1, random_state=0)
    found = norm_pruning(p.operator, p.y, 2, n_steps=300)
    assert len(found.value.components) == 2
    assert found.measured["loss_pruned"] > found.measured["loss_before"]


def test_a_small_start_and_a_large_step_end_with_their_status():
    p = planted_sensing(200, 10, 1, noise_ratio=0.1, random_state=0)
    small = overparameterised_gd(p.operator, p.y, init_scale=1e-3, n_steps=60)
    assert small.status == "budget"
    norms = small.measured["norms"]
    assert norms[0] > 1.5 * norms[-1] > 0
    assert scaled_gd(p.operator, p.y, 1, step=1e6).status == "stalled"


@pytest.mark.parametrize("seed", range(3))
def test_scaled_gd_finds_its_step_for_measurements_with_heavy_tails(seed):
    """Rank-one measurements need a smaller step than Gaussian ones; targets may be negative."""
    rng = np.random.default_rng(seed)
    X, U = rng.standard_normal((300, 10)), rng.standard_normal((2, 10))
    y = np.square(X @ U.T).sum(axis=1)
    for operator in (RankOne(X), centred(RankOne(X))):
        found = scaled_gd(operator, y, 2)
        assert found.status == "exact"
        assert found.measured["step_size"] < 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no raw warning or error of a library
        negative = scaled_gd(RankOne(X), -y, 2)
    assert np.isfinite(negative.value.components).all()


@pytest.mark.parametrize("run", [group_lasso, overparameterised_gd, scaled_gd, nuclear_norm])
def test_an_interrupt_returns_the_columns_so_far(run):
    p = planted_sensing(200, 10, 1, noise_ratio=0.1, random_state=0)

    def stop(progress):
        raise KeyboardInterrupt

    arguments = {group_lasso: SETTINGS, scaled_gd: {"rank": 1}, nuclear_norm: {"strength": 0.1}}
    found = run(p.operator, p.y, progress=stop, **arguments.get(run, {}))
    assert found.status == "interrupted"
    assert np.isfinite(found.value.components).all()


def test_problems_are_deterministic_and_have_fresh_measurements():
    a, b = (planted_sensing(50, 8, 2, noise_ratio=0.3, random_state=7) for _ in range(2))
    np.testing.assert_array_equal(a.y, b.y)
    np.testing.assert_allclose(a.operator_test.forward_factors(a.components), a.y_test)
    assert a.error(a.components) < 1e-15
    doubled = a.error(np.sqrt(2) * a.components)
    assert doubled == pytest.approx(1)
    assert fidelity(a.components, 3 * a.components) == pytest.approx(1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: planted_sensing(10, 5, 6),
        lambda: planted_sensing(10, 5, 1, kind="uniform"),
        lambda: planted_sensing(10, 5, 1, noise_ratio=-1),
        lambda: planted_sensing(10, 5, 1, condition=0.5),
        lambda: sensing.matrix_completion(99, 5, 1),
        lambda: sensing.pauli_tomography(99, 2, 1),
        lambda: sensing.interactions_table(10, 5, n_positive=0, n_negative=0),
        lambda: group_lasso(planted_sensing(9, 3, 1).operator, np.ones(9), strength=0, beta=1),
        lambda: scaled_gd(planted_sensing(9, 3, 1).operator, np.ones(9), 4),
    ],
)
def test_bad_input_is_refused(make):
    with pytest.raises(ValueError, match=r"got .* expected"):
        make()
