"""Tests of sensing certificates: their verdicts at the true matrix and away from it."""

from __future__ import annotations

import numpy as np
import pytest

from secateurs.sensing.certificate import predicted_error, sensing_certificate
from secateurs.sensing.operators.projected import centred
from secateurs.sensing.operators.rank_one import RankOne
from secateurs.sensing.planted import interactions_table, planted_sensing
from secateurs.sensing.regularisation_path import group_lasso_path


@pytest.mark.parametrize("kind", ["gaussian", "rank-one"])
@pytest.mark.parametrize("seed", range(4))
def test_checks_hold_at_the_true_rank_and_fail_at_a_smaller_one(kind, seed):
    p = planted_sensing(720, 40, 3, kind=kind, noise_ratio=0.2, random_state=seed)
    fit = group_lasso_path(p.operator, p.y)
    U = fit.value.components
    assert len(U) == 3
    good = sensing_certificate(p.operator, p.y, U, strength=fit.measured["strength"])
    for name in ("stationarity", "second order", "singular gap", "sample size"):
        assert good[name].verdict == "holds", name
    assert good["restricted isometry"].verdict == "unknown"
    assert good["predicted error"].verdict == "unknown"
    less = group_lasso_path(p.operator, p.y, max_rank=2)
    bad = sensing_certificate(p.operator, p.y, less.value.components)
    assert bad["second order"].verdict == "fails"
    assert bad["penalty"].verdict == bad["penalty window"].verdict == "unknown"


def test_a_point_that_is_not_stationary_fails():
    p = planted_sensing(400, 20, 2, noise_ratio=0.2, random_state=0)
    fit = group_lasso_path(p.operator, p.y).value.components
    check = sensing_certificate(p.operator, p.y, fit * 1.1)["stationarity"]
    assert check.verdict == "fails"


def test_the_penalty_check_agrees_with_the_change_of_the_objective():
    """A zero column grows at the eigenvector of N exactly when tau is below its eigenvalue."""
    p = planted_sensing(300, 20, 2, noise_ratio=0.3, random_state=1)
    N = p.operator.adjoint(p.y / 300)
    w, V = np.linalg.eigh(N)
    beta, a = 0.1, 1e-4
    for factor, verdict in ((0.97, "fails"), (1.03, "holds")):
        tau = factor * w[-1]
        none = np.zeros((0, 20))
        assert sensing_certificate(p.operator, p.y, none, tau=tau)["penalty"].verdict == verdict
        u = a * V[:, -1:].T
        penalty = 2 * tau * np.sqrt(beta) * a**2 / np.sqrt(a**2 + beta)
        change = np.mean((p.y - p.operator.forward_factors(u)) ** 2) - np.mean(p.y**2) + penalty
        assert (change < 0) == (verdict == "fails")


def test_the_error_agrees_with_its_prediction():
    errors, predicted = [], []
    for seed in range(8):
        p = planted_sensing(900, 30, 3, noise_ratio=0.2, random_state=seed)
        U = group_lasso_path(p.operator, p.y).value.components
        errors.append(p.error(U) * np.linalg.norm(p.matrix()))
        check = sensing_certificate(p.operator, p.y, U)["predicted error"]
        predicted.append(check.measured)
        assert predicted_error(900, 30, 3, p.sigma) == pytest.approx(check.measured, rel=0.15)
    assert np.mean(errors) == pytest.approx(np.mean(predicted), rel=0.1)


def test_noiseless_fits_hold_at_rounding():
    p = planted_sensing(300, 20, 2, random_state=0)
    U = group_lasso_path(p.operator, p.y).value.components
    found = sensing_certificate(p.operator, p.y, U)
    assert found["second order"].verdict == "holds"
    assert found["second order"].measured == 0


def test_signed_fits_count_both_ends():
    q = interactions_table(1000, 20, n_positive=1, n_negative=1, linear=0, random_state=0)
    op = centred(RankOne(q.X))
    positive = q.components[:1], q.signs[:1]
    assert sensing_certificate(op, q.y, *positive, signed=True)["second order"].verdict == "fails"


def test_bad_input_is_refused():
    p = planted_sensing(50, 5, 1, random_state=0)
    with pytest.raises(ValueError, match="expected"):
        sensing_certificate(p.operator, p.y[1:], p.components)
