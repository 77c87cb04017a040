"""Tests of the map from the tangent space to the measurements, against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from secateurs.sensing import tangent as module
from secateurs.sensing.planted import pauli_tomography, planted_sensing
from secateurs.sensing.tangent import Tangent, degrees_of_freedom


def _problem(complex_):
    return pauli_tomography(40, 3, 2, random_state=0) if complex_ else planted_sensing(60, 8, 2)


def _formed_and_not(p, monkeypatch):
    formed = Tangent(p.operator, p.components)
    assert formed.dense is not None
    monkeypatch.setattr(module, "MOST_COORDINATES", module.FEW)
    by_products = Tangent(p.operator, p.components)
    assert by_products.dense is None
    return formed, by_products


@pytest.mark.parametrize("complex_", [False, True])
def test_the_coordinates_are_isometric_and_the_map_is_the_derivative(complex_, monkeypatch):
    p = _problem(complex_)
    rng = np.random.default_rng(0)
    for tangent in _formed_and_not(p, monkeypatch):
        x = rng.standard_normal(tangent.n_coordinates)
        P, V = tangent._direction(x), tangent.V
        moved = V.T @ P.conj() + P.T @ V.conj()
        assert np.linalg.norm(moved) == pytest.approx(np.linalg.norm(x))
        t = 1e-5
        up, down = (p.operator.forward_factors(V + s * P) for s in (t, -t))
        np.testing.assert_allclose(tangent.times(x), (up - down) / (2 * t), atol=1e-7)


@pytest.mark.parametrize("complex_", [False, True])
def test_the_transposed_map_is_the_adjoint(complex_, monkeypatch):
    p = _problem(complex_)
    rng = np.random.default_rng(1)
    for tangent in _formed_and_not(p, monkeypatch):
        x, y = rng.standard_normal(tangent.n_coordinates), rng.standard_normal(len(p.y))
        assert tangent.times(x) @ y == pytest.approx(x @ tangent.transposed(y))


@pytest.mark.parametrize("complex_", [False, True])
def test_both_ways_remove_the_same_part_and_agree_on_the_extremes(complex_, monkeypatch):
    p = _problem(complex_)
    y = np.random.default_rng(2).standard_normal((len(p.y), 3))
    formed, by_products = _formed_and_not(p, monkeypatch)
    left = formed.off(y)
    np.testing.assert_allclose(formed.dense.T @ left, 0, atol=1e-9)
    np.testing.assert_allclose(by_products.off(y), left, atol=1e-9)
    sizes = np.linalg.svd(formed.dense, compute_uv=False) / np.sqrt(len(y))
    ends = formed.extremes()
    assert (ends.largest, ends.smallest) == pytest.approx((sizes[0], sizes[-1]))
    others = by_products.extremes()
    assert others.largest == pytest.approx(sizes[0], rel=0.05)
    assert others.smallest is None or others.smallest == pytest.approx(sizes[-1], rel=0.2)


@pytest.mark.parametrize("d", range(1, 6))
def test_degrees_of_freedom_are_the_rank_of_the_derivative(d):
    rng = np.random.default_rng(d)
    for r in range(1, d + 1):
        U = rng.standard_normal((r, d))
        moves = []
        for k in range(r):
            for j in range(d):
                P = np.zeros((r, d))
                P[k, j] = 1
                moves.append((U.T @ P + P.T @ U).ravel())
        assert degrees_of_freedom(d, r, complex_=False) == np.linalg.matrix_rank(np.array(moves))
    assert degrees_of_freedom(d, d, complex_=True) == d * d
