"""Pruning of MNIST networks from 512 to 56 hidden neurons: group lasso against L2 norms.

    python -m benchmarks.nn.mnist mnist.npz [--seeds 3] [--neurons 56] [--auto]
        [--path-steps 12000]

Both methods start from the same dense network and use the same optimiser and schedule.  They take
the same number of steps in all: L2 pruning uses the steps of the path for its fine-tuning.  Both
return the state with the lowest loss on 6,000 validation rows, for the better of two learning
rates on these rows; the seconds are the mean of the two runs.  "From scratch" trains a network of
that width for as many steps as dense training and pruning take together.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.nn.dense_training import BATCH, train_dense
from secateurs import load_dataset
from secateurs.nn import PrunedModule, l2_prune_neurons, prune_neurons

HIDDEN, N_VALIDATION = 512, 6000
DENSE_STEPS, FINE_TUNE_STEPS = 4200, 8000
RATES = (1e-3, 3e-3)
Pair = tuple[torch.Tensor, torch.Tensor]


def new_network(hidden: int, seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(784, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def score(module: nn.Module, data: Pair) -> tuple[float, float]:
    with torch.no_grad():
        out = module(data[0])
    correct = (out.argmax(1) == data[1]).double().mean()
    return 100 * float(correct), float(cross_entropy(out, data[1]))


def read_parts(data: str) -> tuple[Pair, Pair, Pair]:
    """Read the rows to fit, the validation rows and the test rows."""
    dataset = load_dataset(data)
    order = np.random.default_rng(7).permutation(len(dataset.y))
    held, rows = np.sort(order[:N_VALIDATION]), np.sort(order[N_VALIDATION:])

    def part(X: Any, y: Any) -> Pair:
        pixels = np.asarray(X, dtype=np.float32).reshape(len(X), -1) / 255
        return torch.from_numpy(pixels), torch.from_numpy(np.asarray(y).astype(np.int64))

    X, y = np.asarray(dataset.X), dataset.y
    return part(X[rows], y[rows]), part(X[held], y[held]), part(dataset.X_test, dataset.y_test)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", default="mnist")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--neurons", type=int, default=56)
    parser.add_argument("--auto", action="store_true", help="also run with keep='auto'")
    parser.add_argument("--path-steps", type=int, default=12_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    k = arguments.neurons
    fit, validation, test = read_parts(arguments.data)
    scores: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def report(name: str, module: nn.Module, cpu: float = 0.0, note: str = "") -> None:
        scores[name].append(score(module, test))
        accuracy, loss = scores[name][-1]
        seconds = f"cpu {cpu:5.1f} s" if cpu else ""
        print(f"{name:30}test {accuracy:6.2f} % loss {loss:.4f} {seconds} {note}", flush=True)

    def best_rate(name: str, run: Callable[[float], PrunedModule]) -> tuple[PrunedModule, float]:
        began = time.process_time()
        runs = {rate: run(rate) for rate in RATES}
        rate = min(RATES, key=lambda rate: runs[rate].loss_after)
        found = runs[rate]
        note = f"rate {rate:g}, validation loss {found.loss_after:.4f}, widths {found.widths}"
        report(name, found.module, (time.process_time() - began) / len(RATES), note)
        return found, rate

    for seed in range(arguments.seeds):
        dense = new_network(HIDDEN, seed)
        began = time.process_time()
        train_dense(dense, cross_entropy, fit, DENSE_STEPS, 1e-3, seed)
        report("dense", dense, time.process_time() - began)
        common: dict[str, Any] = {
            "validation": validation, "batch_size": BATCH, "random_state": seed
        }  # fmt: skip

        def ours(
            rate: float, tuned: int, keep: Any = k, net: Any = dense, common: Any = common
        ) -> PrunedModule:
            return prune_neurons(
                net, cross_entropy, fit, keep, n_steps=arguments.path_steps, fine_tune_steps=tuned,
                learning_rate=rate, **common,
            )  # fmt: skip

        def plain(rate: float, tuned: int, net: Any = dense, common: Any = common) -> PrunedModule:
            return l2_prune_neurons(
                net, cross_entropy, fit, k, fine_tune_steps=tuned, learning_rate=rate, **common
            )

        found, rate = best_rate("group lasso", lambda rate: ours(rate, FINE_TUNE_STEPS))
        report("group lasso, not fine-tuned", ours(rate, 0).module)
        steps = int(found.history["step"][-1]) + FINE_TUNE_STEPS
        _, rate = best_rate("L2 pruning", lambda rate: plain(rate, steps))
        report("L2 pruning, not fine-tuned", plain(rate, 0).module)
        small = new_network(k, seed)
        best_rate("from scratch", lambda rate: plain(rate, steps + DENSE_STEPS, small))
        if arguments.auto:
            best_rate("group lasso, auto", lambda rate: ours(rate, FINE_TUNE_STEPS, "auto"))
    print()
    for name, results in scores.items():
        accuracies, losses = np.array(results).T
        print(
            f"{name:30}test {accuracies.mean():6.2f} % (min {accuracies.min():.2f}, max "
            f"{accuracies.max():.2f}), loss {losses.mean():.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
