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
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import product

import numpy as np
import torch
from tests.recovery.kinds_of_input import BUDGETS, FRESH, KINDS, budget_of, instance

from secateurs import SparseReLURegressor
from secateurs.recovery.planted import planted_relu

FEWER = 5000  # fresh rows for a fit that is not called exact

# kind, budget, seed, whether it fits, whether it is wrong, status and reason, CPU seconds
Fit = tuple[str, str, int, bool, bool, str, float]


def run(kind: str, seed: int, solver: str, budgets: list[str]) -> list[Fit]:
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
        parts = {
            kind: [pool.submit(run, kind, seed, options.solver, options.budgets) for seed in seeds]
            for kind in options.kinds
        }
        show(
            (
                (kind, [fit for part in of_kind for fit in part.result()])
                for kind, of_kind in parts.items()
            ),
            verbose=options.verbose,
        )


def show_grid(results: list[tuple[str, str, bool]]) -> None:
    exact = sum(status.startswith("exact") for _, status, _ in results)
    right = sum(good for _, _, good in results)
    wrong = sum(status.startswith("exact") and not good for _, status, good in results)
    for name, status, good in results:
        if not status.startswith("exact"):
            print(f"{name:36} {'right' if good else 'wrong':6} {status}")
    print(f"{len(results)} fits, {right} right, {exact} exact, {wrong} exact and wrong")


def show(kinds: Iterable[tuple[str, list[Fit]]], *, verbose: bool) -> None:
    """Print a line for each kind as soon as it is done, with the fits that are exact and wrong."""
    print(f"{'kind':22}{'fits':>6}{'no residual':>12}{'right':>7}{'exact':>7}{'wrong':>7}")
    total, seconds = np.zeros(5, dtype=int), []
    for kind, fits in kinds:
        fitted = [fit for fit in fits if fit[3]]
        exact = [fit for fit in fits if fit[5].startswith("exact")]
        wrong = [fit for fit in exact if fit[4]]
        right = sum(not fit[4] for fit in fitted)
        counts = (len(fits), len(fitted), right, len(exact), len(wrong))
        print_line(kind, counts)
        total += counts
        seconds += [fit[6] for fit in fits]
        for fit in wrong:
            print("WRONG", fit)
        if verbose:
            for fit in fitted:
                if not fit[5].startswith("exact") and not fit[4]:
                    print("right", fit)
    print_line("all", tuple(total))
    print(f"CPU of a fit: median {np.median(seconds):.3f} s")


def print_line(kind: str, counts: tuple[int, ...]) -> None:
    n_fits, n_fitted, n_right, n_exact, n_wrong = counts
    print(f"{kind:22}{n_fits:6}{n_fitted:12}{n_right:7}{n_exact:7}{n_wrong:7}", flush=True)


if __name__ == "__main__":
    main()
