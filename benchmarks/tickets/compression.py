"""Seed and mask compared with plain quantisers of the same size; the quantisers are better.

    python -m benchmarks.tickets.compression [PATH.npz] [--part after during] [--seeds 3]

After training, at b bits a weight, the best subset of b random candidates (one mask bit each; the
seed costs nothing) is compared with a uniform quantiser of 2^b levels.  The scale or step of a
layer is the one with the least squared error of the weights.  During training, at 1 bit a weight,
edge-popup (half of the weights of a random network) is compared with a network with weights +-c_l.
Both have no biases, and their learning rates are chosen on 6,000 rows of the training set.  It
takes about four minutes of one core; the seconds in brackets are processor time since the start.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.tickets.network import images, outputs, perceptron, train
from benchmarks.training.edge_popup import edge_popup
from secateurs.sparse.compact import CompactNetwork
from secateurs.tickets.subset_sums import subset_sum, unpack_masks
from secateurs.training.moments import Scaling
from secateurs.training.training_data import TrainingData

HIDDEN, BATCH = 500, 500
PARTS = ("after", "during")
HELD = 6_000  # training rows on which learning rates are compared
SAMPLE = 20_000  # weights on which a scale is chosen


def accuracy(module: nn.Module, X: Tensor, y: Tensor) -> float:
    return 100 * float((outputs(module, X).argmax(1) == y).double().mean())


def by_masks(w: NDArray[np.float64], bits: int, scale: float, seed: int) -> NDArray[np.float64]:
    """Return the best subset sums of `bits` random candidates for each weight."""
    factors = np.random.default_rng(seed).standard_normal((2, w.size, bits))
    a = scale * factors[0] * factors[1]
    return (a * unpack_masks(subset_sum(a, w).mask, bits)).sum(1)


def by_levels(w: NDArray[np.float64], bits: int, step: float, _: int) -> NDArray[np.float64]:
    """Return the nearest of 2^bits levels, which are half a step off zero."""
    half = 2 ** (bits - 1)
    return step * (np.clip(np.floor(w / step), -half, half - 1) + 0.5)


def coded(
    module: nn.Module, code: Callable[..., NDArray[np.float64]], bits: int
) -> tuple[nn.Module, float]:
    """Return the module with weights coded at their best scale, and their relative error."""
    result, error, total = perceptron(), 0.0, 0.0
    result.load_state_dict(module.state_dict())
    for number, layer in enumerate(m for m in result.modules() if isinstance(m, nn.Linear)):
        w = layer.weight.detach().double().numpy().ravel()
        sample = w[:: max(len(w) // SAMPLE, 1)]
        grid = w.std() * 2.0 ** np.arange(-7, 3, 0.5)
        costs = [np.square(code(sample, bits, scale, 9) - sample).sum() for scale in grid]
        found = code(w, bits, grid[int(np.argmin(costs))], number)
        error, total = error + np.square(found - w).sum(), total + np.square(w).sum()
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(found).view_as(layer.weight))
    return result, float(np.sqrt(error / total))


class Sign(torch.autograd.Function):
    """Sign of a weight times the mean size of its layer, with the gradient of the identity."""

    @staticmethod
    def forward(ctx: object, w: Tensor) -> Tensor:  # noqa: ARG004, D102
        return torch.where(w >= 0, 1.0, -1.0) * w.abs().mean()

    @staticmethod
    def backward(ctx: object, g: Tensor) -> Tensor:  # noqa: ARG004, D102
        return g


def binary(X: Tensor, y: Tensor, rate: float, steps: int, seed: int) -> nn.Module:
    """Train 784-500-10 with weights +-c_l, no biases."""
    generator = torch.Generator().manual_seed(seed)
    widths = (784, HIDDEN, 10)
    w = [
        (torch.randn(b, a, generator=generator) / a**0.5).requires_grad_()
        for a, b in pairwise(widths)
    ]
    optimizer = torch.optim.Adam(w, rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = torch.randint(len(X), (BATCH,), generator=generator)
        hidden = torch.relu(X[rows].flatten(1) @ Sign.apply(w[0]).t())
        loss = nn.functional.cross_entropy(hidden @ Sign.apply(w[1]).t(), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    module = perceptron()
    with torch.no_grad():
        for layer, weight in zip((module[1], module[3]), w, strict=True):
            layer.weight.copy_(Sign.apply(weight))
            layer.bias.zero_()
    return module


def popup(X: Tensor, y: Tensor, rate: float, steps: int, seed: int) -> nn.Module:
    scale = float(1 / X.flatten(1).square().mean().sqrt())
    inputs = X.flatten(1).numpy()
    data = TrainingData(inputs, y.numpy(), Scaling(None, np.full(784, scale)), 10)
    half = (784 * HIDDEN + HIDDEN * 10) // 2
    network = edge_popup(
        data, (HIDDEN,), half, n_steps=steps, batch_size=BATCH, learning_rate=rate,
        random_state=seed,
    ).value  # fmt: skip
    net = CompactNetwork.from_network(network)

    class Scored(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            H = torch.ones(len(net.units[0]) + 1, len(x))
            H[:-1] = scale * x.flatten(1).t()[net.units[0]]
            return net.forward(H)[-1].t()

    return Scored()


def say(text: str) -> None:
    print(f"[{time.process_time():4.0f} s] {text}", flush=True)


def after_training(X: Tensor, y: Tensor, X_test: Tensor, y_test: Tensor, epochs: int) -> None:
    torch.manual_seed(0)
    module = train(perceptron(), X, y, epochs, seed=0)
    say(f"float32: {accuracy(module, X_test, y_test):.2f} %")
    for bits in (1, 2, 3, 4, 6, 8):
        row = []
        for code in (by_masks, by_levels):
            result, error = coded(module, code, bits)
            row.append(f"{accuracy(result, X_test, y_test):6.2f} % (weight error {error:.3f})")
        say(f"{bits} bits a weight: seed + mask {row[0]}, quantiser {row[1]}")


def during_training(
    X: Tensor, y: Tensor, X_test: Tensor, y_test: Tensor, steps: int, seeds: int
) -> None:
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(7))
    fit, held = order[HELD:], order[:HELD]
    for name, method, rates in (
        ("edge-popup", popup, (0.1, 1.0, 10.0)),
        ("binary weights", binary, (3e-3, 1e-2, 3e-2)),
    ):
        scores = []
        for rate in rates:
            module = method(X[fit], y[fit], rate, steps // 3, 1000)
            scores.append(accuracy(module, X[held], y[held]))
            say(f"1 bit, {name}, rate {rate:g}, {steps // 3} steps: {scores[-1]:.2f} % held out")
        rate = rates[int(np.argmax(scores))]
        found = []
        for seed in range(seeds):
            found.append(accuracy(method(X, y, rate, steps, seed), X_test, y_test))
            say(f"1 bit, {name}, rate {rate:g}, seed {seed}: {found[-1]:.2f} %")
        say(f"1 bit, {name}: mean {np.mean(found):.2f} %")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", default="mnist")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = images(arguments.data)
    if "after" in arguments.part:
        after_training(*data, arguments.epochs)
    if "during" in arguments.part:
        during_training(*data, arguments.steps, arguments.seeds)
