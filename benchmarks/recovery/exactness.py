"""Count fits that are called exact and are wrong on 100,000 fresh rows, by the kind of input.

    python -m benchmarks.recovery.exactness                     # every kind, 10 instances each
    python -m benchmarks.recovery.exactness --instances 40 --first 1000
    python -m benchmarks.recovery.exactness --kinds twins shifted --solver auto
    python -m benchmarks.recovery.exactness --grid              # share of planted networks

Each instance is fitted with four budgets: as planted, one and three more, and twice as many.  A fit
is wrong if its largest error on the fresh rows exceeds 1e-6 of the largest output.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import product

import numpy as np
import torch
from tests.recovery.kinds_of_input import BUDGETS, FRESH, KINDS, budget_of, instance

from secateurs import SparseReLURegressor
from secateurs.recovery.planted import planted_relu

FEWER = 5000  # fresh rows for a fit that is not called exact


def run(
    kind: str, seed: int, solver: str, budgets: list[str]
) -> list[tuple[str, str, int, bool, bool, str, float]]:
    """Fit one instance with every budget."""
    torch.set_num_threads(1)
    case = instance(kind, seed)
    told = []
    for i, name in enumerate(BUDGETS):
        if name not in budgets:
            continue
        limit = case.n_neurons if (seed + i) % 3 == 0 else None
        began = time.process_time()
        model = SparseReLURegressor(
            budget_of(name, case.n_planted),
            limit,
            "pursuit" if case.intercept else solver,
            fit_intercept=case.intercept,
            random_state=0,
        ).fit(case.X, case.y)
        seconds = time.process_time() - began
        fits = model.certificate_["residual"].verdict == "holds"
        why = model.certificate_["identification"].statement
        n_rows = FRESH if model.status_ == "exact" else FEWER
        wrong = case.is_wrong(model.predict, n_rows)
        told.append((kind, name, seed, fits, wrong, f"{model.status_}: {why}", seconds))
    return told


def grid_run(m: int, s: int, d: int, factor: float, seed: int) -> tuple[str, str, bool]:
    """Fit one planted network of the grid with n = factor (s + d) rows."""
    torch.set_num_threads(1)
    problem = planted_relu(int(factor * (s + d) / 0.9) + 1, d, m, s, random_state=seed)
    model = SparseReLURegressor(s, m, random_state=0).fit(problem.X, problem.y)
    error = np.abs(model.predict(problem.X_test) - problem.y_test).max()
    right = bool(error <= 1e-6 * np.abs(problem.y_test).max())
    why = model.certificate_["identification"].statement
    return f"m={m} s={s} d={d} n={factor}(s+d) seed={seed}", f"{model.status_}: {why}", right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS))
    parser.add_argument("--instances", type=int, default=10)
    parser.add_argument("--budgets", nargs="+", default=list(BUDGETS), choices=BUDGETS)
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--solver", default="pursuit")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--grid", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.instances)
    with ProcessPoolExecutor(options.workers) as pool:
        if options.grid:
            sizes = product((2, 5, 10, 20), (10, 20, 40), (15, 30), (4, 8), seeds)
            cells = [
                pool.submit(grid_run, m, s, d, f, seed)
                for m, s, d, f, seed in sizes
                if m <= s <= m * d // 2
            ]
            show_grid([cell.result() for cell in cells])
            return
        parts = [
            pool.submit(run, kind, seed, options.solver, options.budgets)
            for kind in options.kinds
            for seed in seeds
        ]
        show([fit for part in parts for fit in part.result()], options.verbose)


def show_grid(results: list[tuple[str, str, bool]]) -> None:
    exact = sum(status.startswith("exact") for _, status, _ in results)
    right = sum(good for _, _, good in results)
    wrong = sum(status.startswith("exact") and not good for _, status, good in results)
    for name, status, good in results:
        if not status.startswith("exact"):
            print(f"{name:36} {'right' if good else 'wrong':6} {status}")
    print(f"{len(results)} fits, {right} right, {exact} exact, {wrong} exact and wrong")


def show(fits: list[tuple[str, str, int, bool, bool, str, float]], verbose: bool) -> None:
    """Print the table, and each fit that is exact and wrong."""
    print(f"{'kind':22}{'fits':>6}{'no residual':>12}{'right':>7}{'exact':>7}{'wrong':>7}")
    total = np.zeros(5, dtype=int)
    for kind in dict.fromkeys(fit[0] for fit in fits):
        rows = [fit for fit in fits if fit[0] == kind]
        fitted = [fit for fit in rows if fit[3]]
        exact = [fit for fit in rows if fit[5].startswith("exact")]
        counts = (
            len(rows),
            len(fitted),
            sum(not fit[4] for fit in fitted),
            len(exact),
            sum(fit[4] for fit in exact),
        )
        total += counts
        print(f"{kind:22}{counts[0]:6}{counts[1]:12}{counts[2]:7}{counts[3]:7}{counts[4]:7}")
    print(f"{'all':22}{total[0]:6}{total[1]:12}{total[2]:7}{total[3]:7}{total[4]:7}")
    print(f"CPU of a fit: median {np.median([fit[6] for fit in fits]):.3f} s")
    for fit in fits:
        if fit[5].startswith("exact") and fit[4]:
            print("WRONG", fit)
        elif verbose and not fit[5].startswith("exact") and fit[3] and not fit[4]:
            print("right", fit)


if __name__ == "__main__":
    main()
