"""The written gradient of the network is that of automatic differentiation."""

import pytest
import torch
from torch.nn import functional

from secateurs.features.network import ScaledNetwork, fill_gradient, outputs


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("task", "k"), [("regression", 1), ("classification", 3)])
def test_the_gradient_equals_autograd(task: str, k: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    network = ScaledNetwork(draw(2, 7), draw(5, 2), draw(5), draw(5, k), draw(k))
    X = draw(40, 7)
    labels = torch.randint(0, k, (40,), generator=generator)
    Y = draw(40, 1) if k == 1 else functional.one_hot(labels, k).double()
    leaves = [p.clone().requires_grad_(True) for p in network.parameters()]
    out = outputs(ScaledNetwork(*leaves), X)
    loss = (out - Y).square().mean() if k == 1 else functional.cross_entropy(out, Y)
    loss.backward()
    by = ScaledNetwork(*(torch.zeros_like(p) for p in network.parameters()))
    assert fill_gradient(network, X, Y, task, by) == pytest.approx(float(loss.detach()))
    for leaf, written in zip(leaves, by.parameters(), strict=True):
        torch.testing.assert_close(written, leaf.grad)


def test_fixed_directions_have_no_gradient() -> None:
    network = ScaledNetwork(
        torch.eye(2), torch.ones(3, 2), torch.zeros(3), torch.ones(3, 1), torch.zeros(1)
    )
    by = ScaledNetwork(*(torch.full_like(p, 7.0) for p in network.parameters()))
    fill_gradient(
        network, torch.ones(4, 2), torch.zeros(4, 1), "regression", by, fixed_directions=True
    )
    assert (by.D == 7.0).all()
    assert (by.A != 7.0).any()
