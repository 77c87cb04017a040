"""Train on MNIST under a weight budget with every method.

    python -m benchmarks.training.mnist PATH.npz [--seeds 5] [--effort 1 3] [--budgets 200 100]
        [--deep] [--methods ...]

Widths, weight decay and learning rate of each method are chosen for each budget on 6,000 held-out
rows of the training set, at effort 1; with --deep, ours has its defaults.  New seeds then train on
all 60,000 rows and are scored once on the test set.  The effort multiplies the steps; ours are
spent as an estimator spends them.  Processor seconds are those of the final runs, on one thread.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from secateurs import load_dataset
from secateurs.sparse.compact import CompactNetwork
from secateurs.sparse.network import SparseNetwork
from secateurs.training.defaults import (
    auto_at_budget,
    auto_learning_rate,
    exchange_interval,
    score_batches,
)
from secateurs.training.effort import best_run, run_plan
from secateurs.training.imp import imp_path
from secateurs.training.moments import Scaling
from secateurs.training.scaling import input_scaling
from secateurs.training.trainers import TRAINERS
from secateurs.training.training_data import TrainingData

BUDGETS = [2000, 1000, 500, 200, 100]
STEPS, BATCH = 3600, 500  # 30 epochs
SELECTION = (1000, 1001, 1002)  # seeds of the runs that choose
DECAYS, RATES = (0.0, 0.3), (1e-2, 2e-2, 6e-2)
AUTO_RATE = 0.0  # stands for the rate that the estimators use
PUBLISHED = "imp, authors' settings"
SLOW = "imp, 10 % a round"
METHODS = ("prune_regrow", "gradual", "imp", "rigl", "one_shot", "dense", SLOW, PUBLISHED)
Setting = tuple[tuple[int, ...], float, float]  # widths, weight decay, learning rate
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
    rate: float,
    budgets: list[int],
    seed: int,
    effort: float = 1.0,
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
    options: dict[str, Any] = {"batch_size": BATCH, "weight_decay": decay, "learning_rate": rate}
    for s in budgets:
        began = time.process_time()
        length, n_runs = effort, 1
        if method == "prune_regrow":
            length, n_runs = run_plan(effort, s, 10)
            places = sum((a + 1) * b for a, b in pairwise((data.d, *hidden, 10)))
            every = exchange_interval(STEPS, places, length)
            options |= {"exchange_every": every, "score_batches": score_batches(length)}
            options["learning_rate"] = rate or auto_learning_rate(data.n, s / 10)
            options["at_budget"] = auto_at_budget(data.n, s / 10)
        steps = int(STEPS * length)
        run = partial(TRAINERS[method], data, hidden, s, n_steps=steps, **options)
        solution = best_run(
            lambda seed, _, run=run: run(random_state=seed), data, n_runs, seed, None
        )
        yield s, solution.value, time.process_time() - began


def choose(
    method: str,
    data: TrainingData,
    held_out: TrainingData,
    grid: list[Setting],
    budgets: list[int],
) -> dict[int, Setting]:
    """Return the best widths, decay and learning rate for each budget on the held-out rows."""
    if len(grid) == 1:
        return dict.fromkeys(budgets, grid[0])
    scores: dict[int, dict[Any, float]] = defaultdict(lambda: defaultdict(float))
    for setting, seed in itertools.product(grid, SELECTION):
        for s, network, _ in train(method, data, *setting, budgets, seed):
            scores[s][setting] += accuracy(network, held_out)
    return {s: max(of_s, key=of_s.__getitem__) for s, of_s in scores.items()}


def report(
    method: str,
    chosen: dict[int, Setting],
    data: TrainingData,
    test: TrainingData,
    n_seeds: int,
    effort: float,
) -> None:
    scores: dict[int, list[float]] = defaultdict(list)
    seconds: dict[int, list[float]] = defaultdict(list)
    for seed in range(n_seeds):
        for setting in sorted(set(chosen.values())):
            budgets = [s for s in chosen if chosen[s] == setting]
            for s, network, cpu in train(method, data, *setting, budgets, seed, effort=effort):
                scores[s].append(accuracy(network, test))
                seconds[s].append(cpu)
    for s in sorted(chosen):
        hidden, decay, rate = chosen[s]
        print(
            f"{method:24}s={s:<6} effort {effort:<4g} "
            f"test {np.mean(scores[s]):6.2f} +- {_error(scores[s]):.2f}  "
            f"cpu {np.mean(seconds[s]):6.1f} s  hidden {hidden} decay {decay} "
            f"rate {rate or 'auto'}",
            flush=True,
        )


def _error(scores: list[float]) -> float:
    """Return the standard error of the mean."""
    return float(np.std(scores, ddof=1) / np.sqrt(len(scores))) if len(scores) > 1 else np.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", default="mnist")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--effort", type=float, nargs="*", default=[1.0])
    parser.add_argument("--budgets", type=int, nargs="*", default=BUDGETS)
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
        for s in (int(density * places) for density in (0.01, 0.02, 0.05)):
            for method in arguments.methods:
                grid = [(shape, d, r) for d, r in itertools.product(DECAYS, RATES)]
                if method == "prune_regrow":
                    grid = [(shape, 0.3, AUTO_RATE)]
                chosen = choose(method, fit, held_out, grid, [s])
                for effort in arguments.effort:
                    report(method, chosen, full, test, arguments.seeds, effort)
        return
    budgets = sorted(arguments.budgets, reverse=True)  # a path goes from large to small
    single = [((m,), d, r) for m, d, r in itertools.product((20, 50), DECAYS, RATES)]
    ours = [((m,), 0.3, AUTO_RATE) for m in (24, 50, 100)]
    for method in arguments.methods:
        if method == PUBLISHED:  # the published settings are fixed
            chosen = dict.fromkeys(budgets, ((20,), 0.0, 1e-3))
        elif method == "dense":
            chosen = {0: ((100,), 0.3, 1e-2)}
        else:
            grid = ours if method == "prune_regrow" else single
            if method.startswith("imp"):  # its rates are part of its schedule
                grid = [setting for setting in single if setting[2] == RATES[0]]
            chosen = choose(method, fit, held_out, grid, budgets)
        for effort in arguments.effort:
            report(method, chosen, full, test, arguments.seeds, effort)


if __name__ == "__main__":
    main()
