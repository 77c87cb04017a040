"""Measure where the convex form recovers a planted network exactly.

    python -m benchmarks.recovery.convex_transition
    python -m benchmarks.recovery.convex_transition --seeds 12 --first-seed 100   # to choose n_kept
    python -m benchmarks.recovery.convex_transition --sequential    # without a dictionary

The neurons are separated, with |w| in [.5, 1.5].  The dictionary has the planted patterns
(h_j = w_j) and as many random ones.  A row of the table is for one c = n / (s log(d p / s)) and a
column for one number of entries that the iteration keeps.  A cell has the number of networks with
a weight error below 1e-6 over all three sizes, for the iteration alone, and for the iteration with
the exchanges that leave its stalls; then the median of steps and CPU seconds of the iteration.
"""

from __future__ import annotations

import argparse
import math
import time
from itertools import product

import numpy as np
import torch
from tests.reference.planted import planted

from benchmarks.recovery.pursuit_peers import decibels
from secateurs.recovery.planted import planted_relu
from secateurs.recovery.thresholding.iht import iht

SETTINGS = ((5, 20), (10, 50), (20, 100))
KEPT = (1.0, 1.5, 2.0, 3.0)  # n_kept / s


def recovered(
    c: float, m: int, s: int, seed: int, kept: float, n_steps: int, *, exchanges: bool
) -> tuple[bool, int]:
    """Fit one network of d = 100 inputs; return whether it is recovered, and the steps."""
    d, p = 100, 2 * m
    n = math.ceil(c * s * math.log(d * p / s))
    X, W, y = planted(n, d, m, s, separated=True, seed=seed)
    H = np.vstack([W, np.random.default_rng(1000 + seed).standard_normal((p - m, d))])
    fit = iht(
        *(X, y, s, p),
        n_kept=math.ceil(kept * s),
        mode="convex",
        generators=H,
        n_steps=n_steps,
        exchanges=exchanges,
    )
    truth = np.vstack([W, np.zeros((p - m, d))])
    return bool(np.abs(fit.value.weights.toarray() - truth).max() < 1e-6), fit.measured["n_steps"]


def cell(c: float, kept: float, seeds: range, n_steps: int) -> str:
    """Return the counts of one cell of the table."""
    parts = [(m, s, seed) for m, s in SETTINGS for seed in seeds]
    start = time.process_time()
    alone = [recovered(c, *part, kept, n_steps, exchanges=False) for part in parts]
    cpu = (time.process_time() - start) / len(parts)
    both = sum(recovered(c, *part, kept, n_steps, exchanges=True)[0] for part in parts)
    steps = np.median([steps for _, steps in alone])
    hits = sum(found for found, _ in alone)
    return f"{hits}, {both} of {len(parts)} ({steps:.0f} steps, {cpu:.3f} s)"


def sequential(kept: float) -> None:
    """Print how often 200 steps without a dictionary pass 60 dB on fresh rows."""
    reached = []
    for m, s, n, seed in product((5, 20, 100), (10, 20, 50, 100, 200), (500, 2000), (500, 501)):
        problem = planted_relu(n, 100, m, s, random_state=seed)
        fit = iht(problem.X, problem.y, s, m, n_kept=math.ceil(kept * s), n_steps=200)
        reached.append(decibels(problem.y_test, fit.value.predict(problem.X_test)))
    above = sum(db > 60 for db in reached)
    print(f"n_kept = {kept:g} s: {above} of {len(reached)}, median {np.median(reached):.0f} dB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--sequential", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.sequential:
        for kept in KEPT:
            sequential(kept)
        raise SystemExit
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    print("| c | " + " | ".join(f"n_kept = {kept:g} s" for kept in KEPT) + " |")
    print("|---|" + "---|" * len(KEPT))
    for c in (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0):
        cells = [cell(c, kept, seeds, arguments.steps) for kept in KEPT]
        print(f"| {c} | " + " | ".join(cells) + " |", flush=True)
