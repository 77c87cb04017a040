"""Recover planted networks on a grid of widths and budgets: how often exactly, and how fast.

    python benchmarks/pursuit_grid.py            # the grid at n = 2000
    python benchmarks/pursuit_grid.py --rows 5000
    python benchmarks/pursuit_grid.py --hard --large

A cell is exact when fresh rows are predicted to more than 100 dB, the matched weights differ by
less than 1e-6 of the largest, and both budgets hold.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy.optimize import linear_sum_assignment

from secateurs.problems.planted import planted_relu
from secateurs.solvers.pursuit import relu_pursuit

GRID = [(m, s, 0) for m in (5, 20, 100) for s in (10, 20, 50, 100, 200)]
HARD = [(20, 500, 4000), (100, 500, 4000), (1000, 200, 4000)]
LARGE = [(20, 50, 50000), (100, 100, 50000)]
FIRST_SEED = 7000  # of seeds never used while the solver was tuned


def merged(W: np.ndarray) -> np.ndarray:
    """Sum the neurons that point the same way: they are one neuron."""
    W = W[np.abs(W).max(axis=1) > 0]
    unit = W / np.linalg.norm(W, axis=1, keepdims=True)
    groups: list[list[int]] = []
    for j in range(len(W)):
        for group in groups:
            if unit[j] @ unit[group[0]] > 1 - 1e-9:
                group.append(j)
                break
        else:
            groups.append([j])
    return np.array([W[group].sum(axis=0) for group in groups]).reshape(len(groups), W.shape[1])


def weight_error(found: np.ndarray, truth: np.ndarray) -> float:
    """Largest error of a weight after merging and matching, relative to the largest weight."""
    A, B = merged(found), merged(truth)
    size = max(len(A), len(B))
    A = np.pad(A, ((0, size - len(A)), (0, 0)))
    B = np.pad(B, ((0, size - len(B)), (0, 0)))
    cost = np.abs(A[:, None, :] - B[None, :, :]).max(axis=2)
    i, j = linear_sum_assignment(cost)
    return float(cost[i, j].max() / np.abs(B).max())


def decibels(y: np.ndarray, prediction: np.ndarray) -> float:
    """Peak signal to noise on fresh rows."""
    error = np.sqrt(np.mean((y - prediction) ** 2))
    return float(20 * np.log10(np.abs(y).max() / max(error, 1e-300)))


def cell(m: int, s: int, n: int, d: int, seed: int) -> tuple[bool, float]:
    problem = planted_relu(n, d, m, s, random_state=seed)
    start = time.process_time()
    solution = relu_pursuit(problem.X, problem.y, s, m)
    cpu = time.process_time() - start
    W = solution.value.weights
    db = decibels(problem.y_test, solution.value.predict(problem.X_test))
    error = weight_error(W.toarray(), problem.truth[0].toarray())
    rows = int((np.diff(W.indptr) > 0).sum())
    exact = db > 100 and error < 1e-6 and W.nnz <= s and rows <= m
    print(
        f"m={m:<5}s={s:<4} n={n:<6}seed={seed:<6}{'exact' if exact else 'MISSED':7}"
        f"{db:6.0f} dB  weights {error:7.1e}  nnz {W.nnz:<4} rows {rows:<4}"
        f"cpu {cpu:6.2f}  rounds {solution.measured['rounds']:<4}{solution.status}",
        flush=True,
    )
    return exact, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--inputs", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3, help="fresh problems of each cell")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--hard", action="store_true", help="the three hard cells instead")
    parser.add_argument("--large", action="store_true", help="the two cells of 50,000 rows instead")
    args = parser.parse_args()
    cells = [(m, s, args.rows) for m, s, _ in GRID]
    if args.hard or args.large:
        cells = HARD * args.hard + LARGE * args.large
    results = [
        cell(m, s, n, args.inputs, args.first_seed + seed)
        for m, s, n in cells
        for seed in range(args.seeds)
    ]
    exact = [ok for ok, _ in results]
    cpu = [seconds for _, seconds in results]
    print(
        f"exact {sum(exact)} of {len(exact)} ({100 * np.mean(exact):.0f} %), "
        f"CPU median {np.median(cpu):.2f} s, mean {np.mean(cpu):.2f} s, largest {max(cpu):.1f} s"
    )


if __name__ == "__main__":
    main()
