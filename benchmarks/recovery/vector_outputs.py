"""Recover planted networks with vector outputs and two hidden layers under one budget.

    python -m benchmarks.recovery.vector_outputs [--n 2000] [--seeds 2] [--sampling]

There are d = 50 inputs and 10 outputs.  The budget is the number of planted weights, which are
spread evenly over the layers.  The table has the PSNR in dB on fresh rows, at most 350, of

- textbook IHT: the authors' fixed step rule, the better of 15 and 200 steps, 0 dB where it
  diverges, layer by layer for two hidden layers;
- iterative magnitude pruning on standardised targets, with 2000 steps a round (300 steps make it up
  to 28 dB worse).  It has two advantages: biases, and the means of the outputs, which do not count;
- `iht_network` of secateurs, and its `sample_network`, which is the only one with `--sampling`.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from numpy.typing import NDArray
from tests.reference.planted import psnr
from tests.reference.textbook_iht import textbook_vector_iht

from secateurs.recovery.planted import PlantedProblem, planted_relu
from secateurs.recovery.sampling.layered import sample_network
from secateurs.recovery.thresholding.layer_by_layer import iht_network
from secateurs.training.imp import imp_path
from secateurs.training.moments import Scaling
from secateurs.training.training_data import TrainingData

Array = NDArray[np.floating]
D, N_OUTPUTS = 50, 10
GRID = [((5,), 20), ((10,), 50), ((20,), 100), ((20,), 200), ((10, 10), 60), ((20, 20), 120)]


def textbook(problem: PlantedProblem, s: int, hidden: tuple[int, ...]) -> Array:
    """Return predictions of textbook IHT on fresh rows, layer by layer."""
    X, y, fresh = problem.X, problem.y, problem.X_test
    best, least = np.zeros(problem.y_test.shape), float((y**2).sum())
    for n_steps in (15, 200):
        H, H_fresh = X, fresh
        with np.errstate(all="ignore"):
            for m in hidden:
                W1, W2 = textbook_vector_iht(H, y, s // len(hidden), m, n_steps)
                H, H_fresh = np.maximum(H @ W1.T, 0), np.maximum(H_fresh @ W1.T, 0)
            error = float(((H @ W2.T - y) ** 2).sum())
        if error < least:
            best, least = H_fresh @ W2.T, error
    return best


def pruning(problem: PlantedProblem, s: int, hidden: tuple[int, ...], seed: int) -> Array:
    """Return predictions of iterative magnitude pruning on fresh rows."""
    mean, std = problem.y.mean(axis=0), problem.y.std(axis=0)
    std[std == 0] = 1.0
    targets = ((problem.y - mean) / std).astype(np.float32)
    data = TrainingData(problem.X, targets, Scaling(None, np.ones(D)), N_OUTPUTS)
    settings = {"round_steps": 2000, "batch_size": 200, "learning_rate": 5e-3}
    network = imp_path(data, hidden, [s], random_state=seed, **settings)[0].value
    H = problem.X_test
    for W, b in zip(network.coefs(), network.intercepts(), strict=True):
        Z = H @ W.T + b
        H = np.maximum(Z, 0)
    return mean + std * Z


def ours(problem: PlantedProblem, s: int, hidden: tuple[int, ...]) -> Array:
    """Return predictions of `iht_network` on fresh rows."""
    fit = iht_network(problem.X, problem.y, s, hidden)
    assert fit.value.n_nonzero <= s
    return fit.value.predict(problem.X_test)


def sampled(problem: PlantedProblem, s: int, hidden: tuple[int, ...]) -> Array:
    """Return predictions of `sample_network` on fresh rows."""
    fit = sample_network(problem.X, problem.y, s, hidden)
    assert fit.value.n_nonzero <= s
    return fit.value.predict(problem.X_test)


def main(n: int, n_seeds: int, *, sampling: bool) -> None:
    torch.set_num_threads(1)
    methods = {
        "textbook": lambda problem, s, hidden, _: textbook(problem, s, hidden),
        "IMP": pruning,
        "iht_network": lambda problem, s, hidden, _: ours(problem, s, hidden),
        "sample_network": lambda problem, s, hidden, _: sampled(problem, s, hidden),
    }
    if sampling:
        methods = {"sample_network": methods["sample_network"]}
    sampled(planted_relu(60, D, 2, 8, n_outputs=2, random_state=0), 8, (2,))  # compiles
    print(f"| hidden | s | seed | {' dB | '.join(methods)} dB | CPU s of each |")
    print((4 + len(methods)) * "|---" + "|")
    exact, cells = dict.fromkeys(methods, 0), 0
    for hidden, s in GRID:
        for seed in range(n_seeds):
            layers = {"n_outputs": N_OUTPUTS, "n_hidden_layers": len(hidden)}
            problem = planted_relu(n, D, hidden[0], s, **layers, random_state=seed)
            clock, decibels = [time.process_time()], []
            for name, method in methods.items():
                found = method(problem, s, hidden, seed)
                clock.append(time.process_time())
                decibels.append(min(350.0, psnr(problem.y_test, found)))
                exact[name] += decibels[-1] > 100
            cells += 1
            shown = " | ".join(f"{v:.1f}" for v in decibels)
            seconds = ", ".join(f"{v:.1f}" for v in np.diff(clock))
            print(f"| {hidden} | {s} | {seed} | {shown} | {seconds} |", flush=True)
    for name, count in exact.items():
        print(f"{name}: above 100 dB in {count} of {cells} cells")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--sampling", action="store_true")
    arguments = parser.parse_args()
    main(arguments.n, arguments.seeds, sampling=arguments.sampling)
