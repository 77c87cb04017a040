"""Train on MNIST under a weight budget with every method.

    python -m benchmarks.training.mnist PATH.npz [--seeds 3] [--deep] [--methods ...]

Widths and weight decay of each method are chosen for each budget on 6,000 held-out rows of the
training set.  New seeds then train on all 60,000 rows and are scored once on the test set.
Processor seconds are those of the final runs, on one thread.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from secateurs import load_dataset
from secateurs.sparse.compact import CompactNetwork
from secateurs.sparse.network import SparseNetwork
from secateurs.training.imp import imp_path
from secateurs.training.moments import Scaling
from secateurs.training.scaling import input_scaling
from secateurs.training.trainers import TRAINERS
from secateurs.training.training_data import TrainingData

BUDGETS = [2000, 1000, 500, 200, 100]
STEPS, BATCH = 3600, 500  # 30 epochs
DECAYS = (0.0, 0.3)
PUBLISHED = "imp, authors' settings"
SLOW = "imp, 10 % a round"
METHODS = ("prune_regrow", "gradual", "imp", "rigl", "one_shot", "dense", SLOW, PUBLISHED)
Result = tuple[int, SparseNetwork, float]  # budget, network, processor seconds


def accuracy(network: SparseNetwork, data: TrainingData) -> float:
    net = CompactNetwork.from_network(network)
    correct = 0
    for rows in torch.arange(data.n).split(2000):
        Z = net.forward(data.inputs(rows, net.units[0]))[-1]
        correct += int((Z.argmax(0) == data.targets(rows)).sum())
    return 100 * correct / data.n


def train(
    method: str,
    data: TrainingData,
    hidden: tuple[int, ...],
    decay: float,
    budgets: list[int],
    seed: int,
    **own: Any,
) -> Iterator[Result]:
    if method.startswith("imp"):
        settings = {"learning_rate": 5e-3, "prune": 0.2, "retrain": True}
        if method == SLOW:
            settings = {"learning_rate": 1e-3, "prune": 0.1, "retrain": True}
        if method == PUBLISHED:
            settings = {"learning_rate": 1e-3, "prune": 0.1, "retrain": False}
        path = imp_path(
            data,
            hidden,
            budgets,
            round_steps=STEPS // 3,
            batch_size=BATCH,
            weight_decay=decay,
            random_state=seed,
            **settings,
        )
        for s, solution in zip(budgets, path, strict=True):
            yield s, solution.value, solution.measured["cpu_seconds"]
        return
    for s in budgets:
        began = time.process_time()
        solution = TRAINERS[method](
            data,
            hidden,
            s,
            n_steps=STEPS,
            batch_size=BATCH,
            weight_decay=decay,
            random_state=seed,
            **own,
        )
        yield s, solution.value, time.process_time() - began


def choose(
    method: str,
    data: TrainingData,
    held_out: TrainingData,
    grid: list[tuple[tuple[int, ...], float]],
    budgets: list[int],
) -> dict[int, tuple[tuple[int, ...], float]]:
    """Return the best (widths, decay) for each budget on the held-out rows."""
    scores: dict[int, dict[Any, float]] = defaultdict(dict)
    for hidden, decay in grid:
        for s, network, _ in train(method, data, hidden, decay, budgets, seed=1000):
            scores[s][hidden, decay] = accuracy(network, held_out)
    return {s: max(of_s, key=of_s.__getitem__) for s, of_s in scores.items()}


def report(
    method: str,
    chosen: dict[int, tuple[tuple[int, ...], float]],
    data: TrainingData,
    test: TrainingData,
    seeds: int,
    **own: Any,
) -> None:
    scores: dict[int, list[float]] = defaultdict(list)
    seconds: dict[int, list[float]] = defaultdict(list)
    for seed in range(seeds):
        for setting in sorted(set(chosen.values())):
            budgets = [s for s in chosen if chosen[s] == setting]
            for s, network, cpu in train(method, data, *setting, budgets, seed, **own):
                scores[s].append(accuracy(network, test))
                seconds[s].append(cpu)
    for s in sorted(chosen):
        hidden, decay = chosen[s]
        print(
            f"{method:24}s={s:<6} test {np.mean(scores[s]):6.2f} (min {min(scores[s]):5.2f})  "
            f"cpu {np.mean(seconds[s]):6.1f} s  hidden {hidden} weight decay {decay}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", default="mnist")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--deep", action="store_true", help="784-300-100-10 in place of one layer")
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    dataset = load_dataset(arguments.data)
    X, y = np.asarray(dataset.X), dataset.y.astype(np.int64)
    assert dataset.y_test is not None
    order = np.random.default_rng(7).permutation(len(y))
    rows, held = np.sort(order[: -len(y) // 10]), np.sort(order[-len(y) // 10 :])
    scaling = input_scaling(X, rows)

    def part(X: NDArray[Any], y: NDArray[np.int64], use: NDArray[np.int64] | None = None) -> Any:
        return TrainingData(X, y, Scaling(None, scaling.scale), 10, rows=use)

    fit, held_out, full = part(X, y, rows), part(X, y, held), part(X, y)
    test = part(np.asarray(dataset.X_test), dataset.y_test.astype(np.int64))
    if arguments.deep:
        shape = (300, 100)
        places = 784 * 300 + 300 * 100 + 100 * 10
        for density, overshoot in ((0.01, 8), (0.02, 4), (0.05, 2)):
            s = int(density * places)
            for method in arguments.methods:
                own = {"overshoot": overshoot} if method == "prune_regrow" else {}
                chosen = choose(method, fit, held_out, [(shape, d) for d in DECAYS], [s])
                report(method, chosen, full, test, arguments.seeds, **own)
        return
    single = [((m,), d) for m, d in itertools.product((20, 50), DECAYS)]
    ours = [((m,), 0.3) for m in (20, 50, 100)]
    for method in arguments.methods:
        if method == PUBLISHED:  # the published settings are fixed
            chosen = dict.fromkeys(BUDGETS, ((20,), 0.0))
        elif method == "dense":
            chosen = {0: ((100,), 0.3)}
        else:
            grid = ours if method == "prune_regrow" else single
            chosen = choose(method, fit, held_out, grid, BUDGETS)
        report(method, chosen, full, test, arguments.seeds)


if __name__ == "__main__":
    main()
