"""Gauss-Newton has right derivatives, never makes a fit worse, and ends exactly."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from secateurs.recovery.thresholding.gauss_newton import gauss_newton
from secateurs.sparse import stack_model
from secateurs.sparse.stack import Generators, ReLUStack
from tests.reference.planted import planted, planted_network, psnr


def stack_of(layers: list[np.ndarray], fused: bool) -> ReLUStack:
    return ReLUStack(tuple(sp.csr_array(W) for W in layers), fused)


def problems():
    X, W, y = planted(120, 9, 5, 12, seed=1)
    yield X, y, stack_of([W], fused=True)
    X, layers, y = planted_network(120, (9, 6, 3), 20, seed=2)
    yield X, y, stack_of(layers, fused=False)
    X, layers, y = planted_network(120, (9, 6, 5, 3), 45, seed=3)
    yield X, y, stack_of(layers, fused=False)
    X, layers, _ = planted_network(120, (9, 6, 5), 30, seed=4)
    net = stack_of(layers, fused=True)
    yield X, net.predict(X), net


@pytest.mark.parametrize("case", range(4))
def test_derivatives_match_finite_differences_and_their_adjoint(case, monkeypatch):
    X, y, net = list(problems())[case]
    monkeypatch.setattr(stack_model, "CHUNK_ELEMENTS", 64 * 10)  # several chunks
    model, live, _ = stack_model.model_of(torch.from_numpy(X), torch.from_numpy(y), net)
    problem = model.problem
    rng = np.random.default_rng(0)
    w = torch.from_numpy(np.concatenate([W.data for W in live]))
    w = w + 0.1 * torch.from_numpy(rng.standard_normal(len(w)))
    p = torch.from_numpy(rng.standard_normal(len(w)))
    model = problem.at(w)
    Jp = model.forward_derivative(p)
    ahead, behind = problem.at(w + 1e-7 * p).residual(), problem.at(w - 1e-7 * p).residual()
    assert len(Jp) > 1
    for exact, a, b in zip(Jp, ahead, behind, strict=True):
        torch.testing.assert_close(exact, (a - b) / 2e-7, rtol=1e-5, atol=1e-5)
    u = [torch.from_numpy(rng.standard_normal(tuple(part.shape))) for part in Jp]
    left = sum(float((a * b).sum()) for a, b in zip(Jp, u, strict=True))
    assert left == pytest.approx(float(p @ model.adjoint(u)))
    # J^T J and its diagonal, one unit vector at a time
    squares, gram = model.column_squares(), model.gram()
    torch.testing.assert_close(gram.diagonal(), squares)
    for e in range(0, len(w), 5):
        unit = torch.zeros_like(w)
        unit[e] = 1.0
        torch.testing.assert_close(gram[e], model.adjoint(model.forward_derivative(unit)))


@pytest.mark.parametrize("case", range(4))
def test_a_perturbed_network_is_polished_back(case):
    X, y, net = list(problems())[case]
    rng = np.random.default_rng(1)
    moved = [W.copy() for W in net.layers]
    for W in moved:
        W.data *= 1 + 0.01 * rng.standard_normal(W.nnz)
    start = ReLUStack(tuple(moved), net.fused)
    fit = gauss_newton(X, y, start)
    assert fit.status == "exact"
    assert psnr(y, fit.value.predict(X)) > 250
    assert fit.value.n_nonzero <= net.n_nonzero


def test_the_loss_never_rises_and_the_support_never_grows():
    X, W, y = planted(150, 9, 5, 12, seed=5)
    wrong = np.where(W != 0, W + 0.7, 0.0)
    fit = gauss_newton(
        X, y + np.random.default_rng(0).standard_normal(150), stack_of([wrong], True)
    )
    losses = fit.history["loss"]
    assert losses == sorted(losses, reverse=True)
    assert fit.status in ("converged", "stalled", "budget")
    assert not np.any((fit.value.weights.toarray() != 0) & (W == 0))


def test_weights_that_reach_no_output_are_dropped():
    W1 = np.array([[1.0, 2.0], [3.0, 0.0], [0.0, 0.0]])
    W2 = np.array([[1.0, 0.0, 5.0]])  # no output reads neuron 1, and neuron 2 has no inputs
    X = np.random.default_rng(0).standard_normal((50, 2))
    net = stack_of([W1, W2], fused=False)
    fit = gauss_newton(X, net.predict(X) * 1.1, net)
    assert fit.value.n_nonzero == 3
    assert fit.status == "exact"


def test_bad_input_is_refused():
    X, W, y = planted(50, 9, 5, 12, seed=5)
    with pytest.raises(ValueError, match=r"shapes .n, 9. and .n."):
        gauss_newton(X, y[:10], stack_of([W], True))
    convex = ReLUStack((sp.csr_array(W),), True, Generators(5, 9))
    with pytest.raises(ValueError, match="convex form"):
        gauss_newton(X, y, convex)


def test_an_interrupt_keeps_the_best():
    X, W, y = planted(150, 9, 5, 12, seed=5)

    def stop(progress):
        raise KeyboardInterrupt

    fit = gauss_newton(X, y, stack_of([W * 1.1], True), progress=stop)
    assert fit.status == "interrupted"
    assert fit.measured["relative_residual"] < 0.1
