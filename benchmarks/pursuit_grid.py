"""Recover planted networks on a grid of widths and budgets: how often exactly, and how fast.

    python -m benchmarks.pursuit_grid            # the grid at n = 2000
    python -m benchmarks.pursuit_grid --rows 5000
    python -m benchmarks.pursuit_grid --hard --large
    python -m benchmarks.pursuit_grid --kind non-negative   # judged by fresh rows alone
    python -m benchmarks.pursuit_grid --rows 400 --inputs 1000 --few

A cell is exact when fresh rows are predicted to more than 100 dB, the matched weights differ by
less than 1e-6 of the largest, and both budgets hold.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy.linalg import toeplitz

from secateurs.problems.planted import planted_output, planted_relu
from secateurs.solvers.matching import match_neurons
from secateurs.solvers.pursuit import relu_pursuit

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
FIRST_SEED = 7000  # of seeds never used while the solver was tuned


def decibels(y: np.ndarray, prediction: np.ndarray) -> float:
    """Peak signal to noise on fresh rows."""
    error = np.sqrt(np.mean((y - prediction) ** 2))
    return float(20 * np.log10(np.abs(y).max() / max(error, 1e-300)))


def cell(
    m: int, s: int, n: int, d: int, seed: int, kind: str = "normal", noise: float = 0.0
) -> tuple[bool, float]:
    problem = planted_relu(n, d, m, s, random_state=seed)
    rng = np.random.default_rng(seed)
    X, X_test = KINDS[kind](rng, problem.X), KINDS[kind](rng, problem.X_test)
    y, y_test = (planted_output(problem.truth, Z, fused=True) for Z in (X, X_test))
    y = y + noise * y.std() * rng.standard_normal(n)
    start = time.process_time()
    solution = relu_pursuit(X, y, s, m)
    cpu = time.process_time() - start
    W = solution.value.weights
    db = decibels(y_test, solution.value.predict(X_test))
    error = match_neurons(W, problem.truth[0]).error
    rows = int((np.diff(W.indptr) > 0).sum())
    unique = kind in ("normal", "correlated", "shifted")  # else weights may be ambiguous
    exact = db > 100 and (error < 1e-6 or not unique) and W.nnz <= s and rows <= m
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
    parser.add_argument("--few", action="store_true", help="cells for fewer rows than inputs")
    parser.add_argument("--kind", choices=list(KINDS), default="normal")
    parser.add_argument("--noise", type=float, default=0.0, help="in units of the std of y")
    args = parser.parse_args()
    cells = [(m, s, args.rows) for m, s, _ in GRID]
    if args.few:
        cells = [(m, s, args.rows) for m, s in FEW]
    if args.hard or args.large:
        cells = HARD * args.hard + LARGE * args.large
    results = [
        cell(m, s, n, args.inputs, args.first_seed + seed, args.kind, args.noise)
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
