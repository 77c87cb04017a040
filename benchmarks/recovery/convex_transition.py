"""Measure where the convex form recovers a planted network exactly.

    python -m benchmarks.recovery.convex_transition

The neurons are separated, with |w| in [.5, 1.5].  The dictionary has the planted patterns
(h_j = w_j) and as many random ones.  A row of the table is for one c = n / (s log(d p / s)).  A
cell has the number of networks with a weight error below 1e-6, for the iteration alone and for the
iteration with the exchanges that leave its stalls.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
import torch
from tests.reference.planted import planted

from secateurs.recovery.thresholding.iht import iht

SETTINGS = ((5, 20), (10, 50), (20, 100))


def recovered(
    c: float, m: int, s: int, d: int, seed: int, n_steps: int, *, exchanges: bool
) -> tuple[bool, int]:
    p = 2 * m
    n = math.ceil(c * s * math.log(d * p / s))
    X, W, y = planted(n, d, m, s, separated=True, seed=seed)
    H = np.vstack([W, np.random.default_rng(1000 + seed).standard_normal((p - m, d))])
    fit = iht(X, y, s, p, mode="convex", generators=H, n_steps=n_steps, exchanges=exchanges)
    truth = np.vstack([W, np.zeros((p - m, d))])
    return bool(np.abs(fit.value.weights.toarray() - truth).max() < 1e-6), fit.measured["n_steps"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=500)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| c | " + " | ".join(f"(m, s) = {ms}" for ms in SETTINGS) + " |")
    print("|---|" + "---|" * len(SETTINGS))
    for c in (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0):
        cells = []
        for m, s in SETTINGS:
            seeds = range(arguments.seeds)
            alone = [recovered(c, m, s, 100, k, arguments.steps, exchanges=False)[0] for k in seeds]
            start = time.process_time()
            runs = [recovered(c, m, s, 100, k, arguments.steps, exchanges=True) for k in seeds]
            hits = sum(exact for exact, _ in runs)
            steps = int(np.median([k for _, k in runs]))
            cpu = (time.process_time() - start) / len(runs)
            cells.append(f"{sum(alone)}, {hits} of {len(runs)} ({steps} steps, {cpu:.2f} s)")
        print(f"| {c} | " + " | ".join(cells) + " |", flush=True)
