"""Measure how often and how fast planted networks are recovered exactly, on a grid of sizes.

    python -m benchmarks.recovery.pursuit_grid            # the grid at n = 2000
    python -m benchmarks.recovery.pursuit_grid --rows 5000
    python -m benchmarks.recovery.pursuit_grid --hard --large
    python -m benchmarks.recovery.pursuit_grid --kind non-negative   # judged by fresh rows only
    python -m benchmarks.recovery.pursuit_grid --kind non-negative --solver pursuit
    python -m benchmarks.recovery.pursuit_grid --rows 400 --inputs 1000 --few
    python -m benchmarks.recovery.pursuit_grid --seeds 1 --peers     # also other methods

A cell is exact when fresh rows are predicted to more than 100 dB, the matched weights differ by
less than 1e-6 of the largest, and both budgets hold.  It is ambiguous when the network found fits
all rows of the fit within both budgets, but not the fresh rows.  Then the planted network and this
one agree on the rows, so that nothing can tell which of the two made them.
"""

from __future__ import annotations

import argparse
import time
from itertools import product

import numpy as np
import torch
from scipy.linalg import toeplitz

from benchmarks.recovery.pursuit_peers import decibels, pruning, thresholding
from secateurs.recovery.matching import match_neurons
from secateurs.recovery.planted import planted_output, planted_relu
from secateurs.recovery.solvers import NO_RESIDUAL, Found, Solvers, Split, relu_sum

GRID = [(m, s, 0) for m in (5, 20, 100) for s in (10, 20, 50, 100, 200)]
HARD = [(20, 500, 4000), (100, 500, 4000), (1000, 200, 4000)]
FEW = [(5, 20), (10, 20), (5, 50), (20, 50)]
KINDS = {
    "normal": lambda _, Z: Z,
    "correlated": lambda _, Z: Z @ np.linalg.cholesky(toeplitz(0.9 ** np.arange(Z.shape[1]))).T,
    "badly scaled": lambda _, Z: Z * 10.0 ** np.linspace(-3, 3, Z.shape[1]),
    "shifted": lambda _, Z: Z + 1.0,
    "non-negative": lambda _, Z: np.abs(Z),
    "sparse": lambda rng, Z: Z * (rng.random(Z.shape) < 0.05),
    "binary": lambda _, Z: (Z > 0) * 1.0,
    "signs": lambda _, Z: np.sign(Z),
}
LARGE = [(20, 50, 50000), (100, 100, 50000)]
FIRST_SEED = 7000  # the solver was tuned on other seeds


def solve(X: np.ndarray, y: np.ndarray, s: int, m: int, solver: str) -> Found:
    """Return the result of a solver on all rows."""
    solvers = Solvers(solver, s, m, fit_intercept=False, max_seconds=None, seed=0, progress=None)
    return solvers.best(Split(X, y, X[:0], y[:0], X, y), may_use_all=False)[0]


def cell(
    m: int,
    s: int,
    n: int,
    d: int,
    seed: int,
    kind: str = "normal",
    noise: float = 0.0,
    solver: str = "auto",
) -> tuple[str, float, float]:
    problem = planted_relu(n, d, m, s, random_state=seed)
    rng = np.random.default_rng(seed)
    X, X_test = KINDS[kind](rng, problem.X), KINDS[kind](rng, problem.X_test)
    y, y_test = (planted_output(problem.truth, Z, fused=True) for Z in (X, X_test))
    y = y + noise * y.std() * rng.standard_normal(n)
    start = time.process_time()
    found = solve(X, y, s, m, solver)
    cpu = time.process_time() - start
    W = found.weights
    db = decibels(y_test, relu_sum(X_test, W) + found.intercept)
    error = match_neurons(W, problem.truth[0]).error
    rows = int((np.diff(W.indptr) > 0).sum())
    unique = kind in (
        "normal",
        "correlated",
        "shifted",
    )  # otherwise several weights can give the same function
    within = W.nnz <= s and rows <= m
    exact = db > 100 and (error < 1e-6 or not unique) and within
    ambiguous = db <= 100 and found.left(X, y) < NO_RESIDUAL and within
    verdict = "exact" if exact else "ambiguous" if ambiguous else "MISSED"
    print(
        f"m={m:<5}s={s:<4} n={n:<6}seed={seed:<6}{verdict:10}"
        f"{db:6.0f} dB  weights {error:7.1e}  nnz {W.nnz:<4} rows {rows:<4}"
        f"cpu {cpu:6.2f}  {found.solver:9} {found.solution.status}",
        flush=True,
    )
    return verdict, db, cpu


def compare(cells: list[tuple[int, int, int]], d: int, seeds: list[int]) -> None:
    """Run the pursuit and its peers on the grid, and print a table of the results."""
    torch.set_num_threads(1)
    reached: dict[str, list[tuple[float, float]]] = {}
    for (m, s, n), seed in product(cells, seeds):
        problem = planted_relu(n, d, m, s, random_state=seed)
        peers = {
            "IHT, 15 steps": lambda p=problem, m=m, s=s: thresholding(p, m, s, 15),
            "IHT, 200 steps": lambda p=problem, m=m, s=s: thresholding(p, m, s, 200),
            "IMP, tuned": lambda p=problem, m=m, s=s: pruning(p, m, s),
        }
        reached.setdefault("pursuit", []).append(cell(m, s, n, d, seed, solver="pursuit")[1:])
        for name, peer in peers.items():
            reached.setdefault(name, []).append(peer())
            db, cpu = reached[name][-1]
            print(f"    {name:15}{db:6.0f} dB  cpu {cpu:6.2f}", flush=True)
    print("| method | above 100 dB | median dB | lowest, highest dB | median CPU s |")
    print(5 * "|---" + "|")
    for name, values in reached.items():
        db, cpu = np.array(values).T
        print(
            f"| {name} | {(db > 100).sum()} of {len(db)} | {np.median(db):.0f} | "
            f"{db.min():.0f}, {db.max():.0f} | {np.median(cpu):.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--inputs", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3, help="problems in each cell")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--hard", action="store_true", help="run the three hard cells instead")
    parser.add_argument(
        "--large", action="store_true", help="run the two cells of 50,000 rows instead"
    )
    parser.add_argument("--few", action="store_true", help="run cells with fewer rows than inputs")
    parser.add_argument("--kind", choices=list(KINDS), default="normal")
    parser.add_argument(
        "--noise",
        type=float,
        default=0.0,
        help="standard deviation of the noise in units of the std of y",
    )
    parser.add_argument("--solver", choices=("auto", "pursuit", "sampling", "iht"), default="auto")
    parser.add_argument("--peers", action="store_true", help="run thresholding and pruning too")
    args = parser.parse_args()
    cells = [(m, s, args.rows) for m, s, _ in GRID]
    if args.few:
        cells = [(m, s, args.rows) for m, s in FEW]
    if args.hard or args.large:
        cells = HARD * args.hard + LARGE * args.large
    seeds = [args.first_seed + seed for seed in range(args.seeds)]
    if args.peers:
        if args.kind != "normal" or args.noise:
            parser.error("--peers compares on normal inputs without noise")
        compare(cells, args.inputs, seeds)
        return
    results = [
        cell(m, s, n, args.inputs, seed, args.kind, args.noise, args.solver)
        for (m, s, n), seed in product(cells, seeds)
    ]
    verdicts, _, cpu = zip(*results, strict=True)
    print(
        f"exact {verdicts.count('exact')}, ambiguous {verdicts.count('ambiguous')} of {len(cpu)}, "
        f"CPU median {np.median(cpu):.2f} s, mean {np.mean(cpu):.2f} s, largest {max(cpu):.1f} s"
    )


if __name__ == "__main__":
    main()
