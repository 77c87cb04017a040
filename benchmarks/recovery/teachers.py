"""Recover planted teachers with two hidden layers, several outputs and biases.

    python -m benchmarks.recovery.teachers [--seeds 2]

A teacher has standard normal weights at random places, and with biases one for each neuron of the
first hidden layer.  There are 2000 rows of 20 standard normal inputs.  A teacher counts as found
if fresh rows are predicted to 100 dB, and as matched if also its weights are found to 1e-6, up to
the order and scale of neurons.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from tests.reference.planted import psnr

from secateurs import SparseReLUNetworkRegressor
from secateurs.recovery.planted import planted_output, planted_relu

N, D = 2000, 20
# hidden widths, weights without biases, outputs, biases
TEACHERS = [
    ((5,), 20, 1, True),
    ((20,), 60, 1, True),
    ((10,), 50, 5, True),
    ((5, 5), 30, 1, False),
    ((10, 10), 60, 1, False),
    ((5, 5), 45, 5, True),
]


def run(
    hidden: tuple[int, ...], s: int, n_outputs: int, seed: int, *, biases: bool
) -> tuple[float, float, str, float]:
    """Return the dB on fresh rows, the error of the weights, the status and the CPU seconds."""
    layers = {"n_outputs": n_outputs, "n_hidden_layers": len(hidden)}
    problem = planted_relu(N, D, hidden[0], s, **layers, random_state=seed)
    b = np.random.default_rng(seed).standard_normal(hidden[0]) * biases
    first, *others = problem.truth
    fused = n_outputs == 1

    def outputs(X: np.ndarray) -> np.ndarray:
        H = np.maximum(X @ first.T.toarray() + b, 0.0)
        return planted_output(others, H, fused=fused) if others else H.sum(axis=1)

    budget = s + hidden[0] * biases
    model = SparseReLUNetworkRegressor(budget, hidden, fit_biases=biases, random_state=0)
    began = time.process_time()
    model.fit(problem.X, outputs(problem.X))
    seconds = time.process_time() - began
    decibels = psnr(outputs(problem.X_test), model.predict(problem.X_test))
    return min(350.0, decibels), model.match(problem.truth, b).error, model.status_, seconds


def main(n_seeds: int) -> None:
    torch.set_num_threads(1)
    print("| hidden | weights | outputs | biases | seed | dB | weight error | status | CPU s |")
    print(9 * "|---" + "|")
    found = matched = cells = 0
    for hidden, s, n_outputs, biases in TEACHERS:
        for seed in range(n_seeds):
            decibels, error, status, seconds = run(hidden, s, n_outputs, seed, biases=biases)
            cells, found = cells + 1, found + (decibels > 100)
            matched += decibels > 100 and error < 1e-6
            shown = f"{hidden} | {s} | {n_outputs} | {biases} | {seed} | {decibels:.0f}"
            print(f"| {shown} | {error:.1e} | {status} | {seconds:.1f} |", flush=True)
    print(f"found {found} of {cells}, matched {matched} of {cells}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    main(parser.parse_args().seeds)
