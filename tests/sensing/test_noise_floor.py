"""Tests of the noise floor: its largest eigenvalue, and the rates that it promises."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from secateurs.sensing import noise_floor as module
from secateurs.sensing.noise_floor import NoiseFloor
from secateurs.sensing.operators.dense import PackedDense, pack
from secateurs.sensing.operators.rank_one import RankOne
from secateurs.sensing.tangent import Tangent

DRAWS = 40
MOST = int(binom.ppf(0.999, DRAWS, 0.05))  # as many of the draws may break a promise of 95 %


def _floor(operator, seed, *, signed=False):
    return NoiseFloor(operator, signed=signed, rng=np.random.default_rng(seed))


def _measurements(kind, rng, n=60, d=6):
    if kind == "dense":
        A = rng.standard_normal((n, d, d))
        return PackedDense(pack(A + A.transpose(0, 2, 1)))
    draws = {
        "heavy": lambda: rng.standard_t(2, (n, d)),
        "rank-one": lambda: rng.normal(size=(n, d)),
    }
    return RankOne(draws[kind]())


@pytest.mark.parametrize("kind", ["dense", "rank-one"])
@pytest.mark.parametrize("signed", [False, True])
def test_the_largest_value_is_an_eigenvalue_off_the_matrix(kind, signed):
    rng = np.random.default_rng(0)
    operator = _measurements(kind, rng)
    tangent = Tangent(operator, rng.standard_normal((2, 6)))
    floor = _floor(operator, 0, signed=signed)
    residuals = rng.uniform(-1, 1, (60, 5))  # none is cut
    found = floor.largest(residuals, tangent.V)
    for value, residual in zip(found, residuals.T, strict=True):
        N = operator.adjoint(floor._weights[:, 0] * residual / 60)
        inside = np.linalg.eigvalsh(tangent.W @ N @ tangent.W.T)
        expected = max(inside[-1], -inside[0]) if signed else inside[-1]
        assert value == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("kind", ["dense", "rank-one", "heavy"])
@pytest.mark.parametrize("noise", ["gaussian", "heavy", "sparse"])
def test_noise_alone_is_rarely_above_its_random_signs(kind, noise):
    n_above = 0
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        operator = _measurements(kind, rng)
        e = rng.standard_t(1.5, 60) if noise == "heavy" else rng.standard_normal(60)
        e *= rng.random(60) < 0.1 if noise == "sparse" else 1
        n_above += _floor(operator, seed).against_signs(e, np.zeros((0, 6))).above
    assert n_above <= MOST


@pytest.mark.parametrize("kind", ["dense", "rank-one", "heavy"])
@pytest.mark.parametrize("size", [0.2, 1.0])
def test_a_hidden_component_is_rarely_below_the_planted_ones(kind, size):
    n_below = 0
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        operator = _measurements(kind, rng)
        tangent = Tangent(operator, rng.standard_normal((1, 6)))
        v = rng.standard_normal(6)
        v -= tangent.V[0] * (tangent.V[0] @ v)
        hidden = size * operator.forward_factors(v[None] / np.linalg.norm(v))
        e = tangent.off((hidden + rng.standard_normal(60))[:, None])[:, 0]
        n_below += _floor(operator, seed).against_planted(e, tangent, size).below
    assert n_below <= MOST


@pytest.mark.parametrize("kind", ["dense", "rank-one"])
def test_the_absence_of_a_component_far_above_the_noise_is_seen(kind):
    n_below = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        operator = _measurements(kind, rng)
        tangent = Tangent(operator, rng.standard_normal((1, 6)))
        e = tangent.off(0.1 * rng.standard_normal((60, 1)))[:, 0]
        n_below += _floor(operator, seed).against_planted(e, tangent, 1.0).below
    assert n_below == 20


def test_a_stack_in_parts_has_the_same_values(monkeypatch):
    rng = np.random.default_rng(0)
    operator = _measurements("dense", rng)
    residuals = rng.standard_normal((60, 7))
    usual = _floor(operator, 0).largest(residuals, np.zeros((0, 6)))
    monkeypatch.setattr(module, "MOST_STACKED", 80)
    np.testing.assert_allclose(_floor(operator, 0).largest(residuals, np.zeros((0, 6))), usual)
