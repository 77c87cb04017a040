"""Tests of the path: exact rank for all kinds of measurements, and the parts of the solver."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from secateurs.sensing.baselines import scaled_gd
from secateurs.sensing.descent import descend, line_search
from secateurs.sensing.factored import Point, Sensed, gradient, penalty, rotated, squares
from secateurs.sensing.operators.dense import PackedDense
from secateurs.sensing.operators.projected import Projected, centred
from secateurs.sensing.operators.rank_one import RankOne
from secateurs.sensing.planted import (
    fidelity,
    interactions_table,
    matrix_completion,
    pauli_tomography,
    phase_retrieval,
    planted_sensing,
)
from secateurs.sensing.regularisation_path import group_lasso_path


@pytest.mark.parametrize("kind", ["gaussian", "rank-one", "rademacher"])
@pytest.mark.parametrize("r", [1, 2, 5])
def test_the_rank_is_exact_and_the_fit_equals_least_squares_at_that_rank(kind, r):
    for seed in range(3):
        p = planted_sensing(3 * r * 30, 30, r, kind=kind, noise_ratio=0.2, random_state=100 + seed)
        found = group_lasso_path(p.operator, p.y, tolerance=1e-8)
        assert len(found.value.components) == r
        assert found.status == "converged"
        assert found.measured["certified"]
        oracle = scaled_gd(
            p.operator,
            p.y,
            r,
            step=0.05 if kind == "rank-one" else 0.4,
            n_steps=6000,
            tolerance=1e-7,
        )
        assert oracle.status == "converged"
        same = replace(p, components=oracle.value.components, signs=oracle.value.signs)
        assert same.error(found.value.components) < 1e-5


@pytest.mark.parametrize("kind", ["gaussian", "rank-one"])
def test_without_noise_the_matrix_is_exact(kind):
    p = planted_sensing(450, 50, 3, kind=kind, random_state=0)
    found = group_lasso_path(p.operator, p.y)
    assert found.status == "exact"
    assert p.error(found.value.components, found.value.signs) < 1e-10


def test_the_path_does_not_depend_on_scales():
    p = planted_sensing(300, 20, 3, kind="rank-one", noise_ratio=0.2, random_state=0)
    X = p.operator.operator.rows.data
    for a, b in ((1e3, 1.0), (1e-3, 1.0), (1.0, 1e6)):
        found = group_lasso_path(centred(RankOne(a * X)), b * p.y)
        U = found.value.components * a / np.sqrt(b)
        assert len(U) == 3
        assert p.error(U) == pytest.approx(
            p.error(group_lasso_path(p.operator, p.y).value.components), rel=1e-3
        )


def test_noise_alone_has_no_component():
    p = planted_sensing(600, 30, 1, random_state=0)
    noise = np.random.default_rng(0).standard_normal(600)
    found = group_lasso_path(p.operator, noise)
    assert len(found.value.components) == 0
    assert found.status == "converged"
    assert group_lasso_path(p.operator, np.zeros(600)).status == "exact"


def test_signs_are_found_under_a_linear_part():
    for seed in range(3):
        q = interactions_table(800, 30, n_positive=2, n_negative=1, random_state=seed)
        op = Projected(RankOne(q.X), np.column_stack([np.ones(800), q.X]))
        found = group_lasso_path(op, q.y, signed=True)
        assert sorted(found.value.signs) == [-1, 1, 1]
        plain = group_lasso_path(op, q.y)  # M >= 0 cannot explain it
        assert plain.measured["loss"] > 2 * found.measured["loss"]


def test_phase_retrieval_completion_and_tomography():
    p = phase_retrieval(300, 100, random_state=1)
    assert p.error(group_lasso_path(p.operator, p.y).value.components) < 1e-10
    p = matrix_completion(900, 60, 3, random_state=1)
    found = group_lasso_path(p.operator, p.y)
    assert found.status == "exact"
    assert p.error(found.value.components) < 1e-10
    p = pauli_tomography(512, 5, 2, shots=2000, random_state=1)
    found = group_lasso_path(p.operator, p.y)
    assert len(found.value.components) == 2
    assert fidelity(found.value.components, p.components) > 0.98


def test_lanczos_and_dense_spectra_give_the_same_path(monkeypatch):
    p = planted_sensing(600, 40, 3, kind="rank-one", noise_ratio=0.2, random_state=3)
    formed = group_lasso_path(p.operator, p.y)
    monkeypatch.setattr("secateurs.sensing.operators.spectrum.SMALL", 1)
    lanczos = group_lasso_path(p.operator, p.y)
    same = replace(p, components=formed.value.components)
    assert same.error(lanczos.value.components) < 1e-5


def test_float32_measurements():
    p = planted_sensing(300, 30, 2, dtype=np.float32, noise_ratio=0.2, random_state=0)
    wide = PackedDense(p.operator.rows.data.astype(np.float64))
    a, b = (group_lasso_path(op, p.y).value.components for op in (p.operator, wide))
    assert replace(p, components=a).error(b) < 1e-4


def test_a_run_is_deterministic_and_bic_agrees():
    p = planted_sensing(600, 30, 3, noise_ratio=0.1, random_state=0)
    a, b = (group_lasso_path(p.operator, p.y) for _ in range(2))
    np.testing.assert_array_equal(a.value.components, b.value.components)
    assert a.history == b.history or np.isnan(a.history["bic"]).any()
    assert len(group_lasso_path(p.operator, p.y, criterion="bic").value.components) == 3


def test_max_rank_limits_the_rank_and_sets_the_status():
    p = planted_sensing(600, 30, 3, noise_ratio=0.1, random_state=0)
    found = group_lasso_path(p.operator, p.y, max_rank=2)
    assert len(found.value.components) <= 2
    assert found.status in ("budget", "stalled")
    assert not found.measured["certified"]


def test_an_interrupt_returns_the_best_fit_so_far():
    p = planted_sensing(900, 30, 5, noise_ratio=0.1, random_state=0)

    def stop(progress):
        raise KeyboardInterrupt

    found = group_lasso_path(p.operator, p.y, progress=stop)
    assert found.status == "interrupted"
    assert np.isfinite(found.value.components).all()
    assert len(found.history["tau"]) == 1


@pytest.mark.parametrize("strength", [0.0, 0.3])
def test_the_gradient_equals_finite_differences(strength):
    p = planted_sensing(60, 6, 2, noise_ratio=0.2, random_state=0)
    g = np.random.default_rng(0)
    U, P, s = g.standard_normal((3, 6)), g.standard_normal((3, 6)), np.array([1.0, -1, 1])
    sensed = Sensed(p.operator, p.y)

    def value(t):
        at = Point.at(sensed, U + t * P, s)
        return at.loss + strength * penalty(squares(at.U), 0.2)

    slope, _ = gradient(Point.at(sensed, U, s), strength, 0.2)
    numeric = (value(1e-6) - value(-1e-6)) / 2e-6
    assert np.sum(slope * P) == pytest.approx(numeric, rel=1e-6)


@pytest.mark.parametrize("strength", [0.0, 0.3])
def test_the_line_search_finds_a_minimum(strength):
    p = planted_sensing(60, 6, 2, noise_ratio=0.2, random_state=0)
    g = np.random.default_rng(1)
    U, s = g.standard_normal((2, 6)), np.ones(2)
    sensed = Sensed(p.operator, p.y)
    point = Point.at(sensed, U, s)
    P = -gradient(point, strength, 0.2)[0]
    t = line_search(point, P, *sensed.line(U, P, s), strength, 0.2)

    def value(t):
        at = Point.at(sensed, U + t * P, s)
        return at.loss + strength * penalty(squares(at.U), 0.2)

    assert t > 0
    assert value(t) <= min(value(0.99 * t), value(1.01 * t), value(0.0)) + 1e-12


@pytest.mark.parametrize("complex_", [False, True])
def test_rotation_keeps_the_matrix_and_never_raises_the_penalty(complex_):
    p = planted_sensing(60, 8, 2, random_state=0)
    for seed in range(20):
        g = np.random.default_rng(seed)
        U = g.standard_normal((4, 8)) + (1j * g.standard_normal((4, 8)) if complex_ else 0)
        s = g.choice([-1.0, 1.0], 4)
        point = Point(Sensed(p.operator, p.y), U, s, p.y)
        turned = rotated(point)
        before, after = ((v.U.T * v.signs) @ v.U.conj() for v in (point, turned))
        np.testing.assert_allclose(before, after, atol=1e-10)
        for beta in (1e-3, 0.1, 10.0):
            assert penalty(squares(turned.U), beta) <= penalty(squares(U), beta) + 1e-10


def test_descent_never_raises_the_objective_and_counts_its_passes():
    p = planted_sensing(90, 10, 2, noise_ratio=0.2, random_state=0)
    sensed = Sensed(p.operator, p.y)
    point = Point.at(sensed, np.random.default_rng(0).standard_normal((4, 10)), np.ones(4))
    last = point.loss + 0.3 * penalty(squares(point.U), 0.1)
    for _ in range(10):
        before = sensed.forward + sensed.adjoint
        point = descend(point, strength=0.3, beta=0.1, n_steps=1, tolerance=0)
        assert sensed.forward + sensed.adjoint - before <= 2
        now = point.loss + 0.3 * penalty(squares(point.U), 0.1)
        assert now <= last + 1e-12
        last = now
    np.testing.assert_allclose(point.residual, p.y - p.operator.forward_factors(point.U), atol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": np.ones(3)}, "one value for a measurement"),
        ({"y": np.full(50, np.nan)}, "finite"),
        ({"criterion": "aic"}, "criterion: got 'aic'"),
        ({"max_rank": 0}, "max_rank"),
        ({"tolerance": 0}, "tolerance"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    p = planted_sensing(50, 5, 1, random_state=0)
    with pytest.raises(ValueError, match=message):
        group_lasso_path(p.operator, **{"y": p.y, **arguments})
