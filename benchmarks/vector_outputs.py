"""Vector outputs and two hidden layers: planted networks under one budget.

    python -m benchmarks.vector_outputs [--n 4000] [--seeds 2]

d = 100 inputs, 10 outputs, the budget is the number of planted weights, which are spread
evenly over the layers.  PSNR in dB on fresh rows; the textbook version is the authors' fixed
step rule (the better of 15 and 200 steps, 0 dB where it diverges), layer by layer for two.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from numpy.typing import NDArray
from tests.reference.planted import planted_network, psnr
from tests.reference.textbook_iht import textbook_vector_iht

from secateurs.solvers.iht_network import iht_network

Array = NDArray[np.floating]
GRID = [((m,), s) for m in (5, 20, 100) for s in (20, 50, 100, 200)] + [
    ((m, m), s) for m in (10, 20, 50) for s in (60, 120)
]


def textbook(X: Array, y: Array, s: int, hidden: tuple[int, ...], fresh: Array) -> Array:
    """Predictions on fresh rows, layer by layer."""
    best, least = np.zeros((len(fresh), y.shape[1])), float((y**2).sum())
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| hidden | s | seed | textbook dB | ours dB | status | CPU s |")
    print(7 * "|---" + "|")
    wins = exact = cells = 0
    for hidden, s in GRID:
        for seed in range(arguments.seeds):
            widths = (100, *hidden, 10)
            X, _, y = planted_network(arguments.n + 1000, widths, s, seed=seed)
            if not y.any():
                continue
            X, fresh, y, target = X[:-1000], X[-1000:], y[:-1000], y[-1000:]
            theirs = psnr(target, textbook(X, y, s, hidden, fresh))
            start = time.process_time()
            fit = iht_network(X, y, s, hidden, n_rounds=100)
            cpu = time.process_time() - start
            ours = psnr(target, fit.value.predict(fresh))
            cells, wins, exact = cells + 1, wins + (ours > theirs), exact + (ours > 100)
            print(
                f"| {hidden} | {s} | {seed} | {theirs:.1f} | {ours:.1f} | {fit.status} "
                f"| {cpu:.1f} |",
                flush=True,
            )
    print(f"above the textbook in {wins} of {cells}, above 100 dB in {exact} of {cells}")
