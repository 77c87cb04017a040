"""MNIST networks at 25 % and 10 % of their channels: ours against Torch-Pruning, L2 and scratch.

    python -m benchmarks.nn.peers mnist.npz [--network mlp lenet resnet] [--seeds 3]
        [--steps 1000] [--dense-steps 3000] [--rates 1e-3 3e-3]

All methods start from the same dense network, keep the same number of channels in every layer,
take the same number of steps of Adam after it, and return the best state on 6,000 validation rows
for the best of the learning rates on these rows.  The group lasso of Torch-Pruning spends half of
its steps under its penalty, whose strength is also chosen on the validation rows.  Training from
scratch takes the steps of the dense network as well.  Torch-Pruning has to be importable.
"""

from __future__ import annotations

import argparse
import copy
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.nn.dense_training import train_dense
from benchmarks.nn.mnist import Pair, read_parts, score
from benchmarks.nn.zoo_networks import ResidualBlock
from secateurs.nn import prune
from secateurs.nn.pruned_module import PrunedModule

PENALTIES = (1e-4, 1e-3, 1e-2)


def mlp(a: int, b: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, a), nn.ReLU(), nn.Linear(a, b), nn.ReLU(), nn.Linear(b, 10)
    )


def lenet(a: int, b: int, c: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, a, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(a, b, 5), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * b, c), nn.ReLU(), nn.Linear(c, 10),
    )  # fmt: skip


def resnet(a: int, b: int, c: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, a, 3, 2, 1), nn.BatchNorm2d(a), nn.ReLU(), ResidualBlock(a, b, 2),
        ResidualBlock(b, c, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 10),
    )  # fmt: skip


NETWORKS: dict[str, tuple[Callable[..., nn.Module], tuple[int, ...]]] = {
    "mlp": (mlp, (300, 100)),
    "lenet": (lenet, (20, 50, 120)),
    "resnet": (resnet, (32, 48, 64)),
}


def best_of(validation: Pair, runs: list[nn.Module]) -> nn.Module:
    return min(runs, key=lambda module: score(module.eval(), validation)[1])


def fine_tuned(
    module: nn.Module, data: Pair, validation: Pair, steps: int, seed: int, rates: list[float]
) -> nn.Module:
    """Train for the best of some rates; ten looks at the validation rows."""
    runs = []
    for rate in rates:
        work = copy.deepcopy(module).train()
        states = [copy.deepcopy(work)]
        optimizer = torch.optim.Adam(work.parameters(), lr=rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
        generator = torch.Generator().manual_seed(seed)
        for step in range(steps):
            rows = torch.randint(len(data[0]), (128,), generator=generator)
            optimizer.zero_grad()
            cross_entropy(work(data[0][rows]), data[1][rows]).backward()
            optimizer.step()
            schedule.step()
            if (step + 1) % max(1, steps // 10) == 0:
                states.append(copy.deepcopy(work))
        runs.append(best_of(validation, states))
    return best_of(validation, runs)


def torch_pruning(
    dense: nn.Module, kind: str, share: float, data: Pair, penalty: float = 0.0, steps: int = 0
) -> nn.Module:
    """Prune with Torch-Pruning, every layer to the same share."""
    import torch_pruning as tp

    module = copy.deepcopy(dense)
    last = [m for m in module.modules() if isinstance(m, nn.Linear)][-1]
    importance = {
        "norm": tp.importance.MagnitudeImportance(p=2),
        "taylor": tp.importance.TaylorImportance(),
        "group lasso": tp.importance.GroupMagnitudeImportance(p=2),
    }[kind]
    maker = tp.pruner.GroupNormPruner if kind == "group lasso" else tp.pruner.MetaPruner
    options = {"reg": penalty} if kind == "group lasso" else {}
    pruner = maker(
        module, data[0][:2], importance=importance, pruning_ratio=1 - share,
        ignored_layers=[last], **options,
    )  # fmt: skip
    if kind == "taylor":
        cross_entropy(module(data[0][:2000]), data[1][:2000]).backward()
    if kind == "group lasso":
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
        generator = torch.Generator().manual_seed(0)
        pruner.update_regularizer()
        for _ in range(steps):
            rows = torch.randint(len(data[0]), (128,), generator=generator)
            optimizer.zero_grad()
            cross_entropy(module(data[0][rows]), data[1][rows]).backward()
            pruner.regularize(module)
            optimizer.step()
    pruner.step()
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--network", nargs="*", default=list(NETWORKS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--dense-steps", type=int, default=3000)
    parser.add_argument("--rates", type=float, nargs="*", default=[1e-3, 3e-3])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    fit, validation, test = ((X.view(-1, 1, 28, 28), y) for X, y in read_parts(arguments.data))
    steps, rates = arguments.steps, arguments.rates
    scores: dict[Any, list[tuple[float, float]]] = defaultdict(list)
    for network in arguments.network:
        build, widths = NETWORKS[network]
        for seed in range(arguments.seeds):
            torch.manual_seed(seed)
            dense = build(*widths)
            train_dense(dense, cross_entropy, fit, arguments.dense_steps, 1e-3, seed)
            dense.eval()
            print(f"{network} seed {seed} dense {score(dense, test)[0]:.2f}", flush=True)

            def report(
                share: float, name: str, before: nn.Module, after: nn.Module, network: str = network
            ) -> None:
                pair = score(before.eval(), test)[0], score(after.eval(), test)[0]
                scores[network, share, name].append(pair)
                print(f"  {share:.2f} {name:24} {pair[0]:6.2f} -> {pair[1]:6.2f}", flush=True)

            for share in (0.25, 0.1):

                def ours(
                    how: str, repair: bool, n: int, rate: float = 1e-3,
                    dense: nn.Module = dense, share: float = share, seed: int = seed,
                ) -> PrunedModule:  # fmt: skip
                    sizes = {
                        name: max(1, round(share * group.size))
                        for name, group in first.plan.groups.items()
                    }
                    return prune(
                        dense, cross_entropy, fit, widths=sizes, score=how, repair=repair,
                        validation=validation, fine_tune_steps=n, learning_rate=rate,
                        random_state=seed,
                    )  # fmt: skip

                first = prune(
                    dense, cross_entropy, fit, params=1.0, score="norm", repair=False,
                    validation=validation, fine_tune_steps=0, random_state=seed,
                )  # fmt: skip
                for name, how, repair in (
                    ("reconstruction (default)", "reconstruction", True),
                    ("L2", "norm", False),
                ):
                    before = ours(how, repair, 0).module
                    after = fine_tuned(before, fit, validation, steps, seed, rates)
                    report(share, name, before, after)
                for kind in ("norm", "taylor"):
                    before = torch_pruning(dense, kind, share, fit)
                    after = fine_tuned(before, fit, validation, steps, seed, rates)
                    report(share, f"Torch-Pruning {kind}", before, after)
                tuned = [
                    torch_pruning(dense, "group lasso", share, fit, penalty, steps // 2)
                    for penalty in PENALTIES
                ]
                before = best_of(validation, tuned)
                after = fine_tuned(before, fit, validation, steps - steps // 2, seed, rates)
                report(share, "Torch-Pruning group lasso", before, after)
                torch.manual_seed(seed + 100)
                small = build(*(max(1, round(share * w)) for w in widths))
                n = arguments.dense_steps + steps
                after = fine_tuned(small, fit, validation, n, seed, rates)
                report(share, "from scratch", small, after)
    print()
    for (network, share, name), pairs in scores.items():
        before, after = np.array(pairs).mean(0)
        low, high = np.array(pairs)[:, 1].min(), np.array(pairs)[:, 1].max()
        print(
            f"{network:8}{share:.2f} {name:26} before {before:6.2f} after {after:6.2f} "
            f"({low:.2f} to {high:.2f})"
        )


if __name__ == "__main__":
    main()
