"""Memory of pruning a perceptron on MNIST, beyond the module and the data (Linux only).

    python -m benchmarks.nn.memory mnist.npz

Each line is the peak of the process during a call, beyond what it had before the call.  Small calls
first load what torch loads once.
"""

from __future__ import annotations

import argparse
import warnings

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.nn.mnist import Pair, read_parts
from benchmarks.nn.torch_zoo import extra_megabytes
from secateurs.nn import plan, prune, prune_neurons


def perceptron(*widths: int) -> nn.Module:
    a, b, c, d = widths
    return nn.Sequential(
        nn.Linear(a, b), nn.ReLU(), nn.Linear(b, c), nn.ReLU(), nn.Linear(c, d)
    )  # fmt: skip


def calls(module: nn.Module, fit: Pair, validation: Pair, test: Pair, steps: int) -> None:
    halves = {"0": module[0].out_features // 2, "2": module[2].out_features // 2}  # type: ignore[index]
    for name, work in (
        ("plan", lambda: plan(module, fit[0][:4])),
        ("prune", lambda: prune(
            module, cross_entropy, fit, flops=0.25, validation=validation, certify=test,
            fine_tune_steps=steps,
        )),
        ("prune, rows split off", lambda: prune(
            module, cross_entropy, fit, flops=0.25, fine_tune_steps=steps
        )),
        ("prune_neurons", lambda: prune_neurons(
            module, cross_entropy, fit, halves, validation=validation, n_steps=2 * steps,
            fine_tune_steps=steps,
        )),
    ):  # fmt: skip
        print(f"{name:24}{extra_megabytes(work):6.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    few = torch.randn(300, 10), torch.arange(300) % 2
    other = torch.randn(100, 10), torch.arange(100) % 2
    print("small calls, which load libraries:")
    calls(perceptron(10, 8, 6, 2), few, other, (other[0] + 1, other[1]), 10)
    parts = [(X.reshape(len(X), -1), y) for X, y in read_parts(arguments.data)]
    print(f"784-300-100-10, {parts[0][0].nbytes / 2**20:.0f} MB of training rows:")
    calls(perceptron(784, 300, 100, 10), *parts, 100)


if __name__ == "__main__":
    main()
