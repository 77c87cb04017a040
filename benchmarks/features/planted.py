"""Solve sparse multi-index problems from few rows: R^2 on test rows, recall, number of columns.

    python -m benchmarks.features.planted                    # every cell, eight seeds
    python -m benchmarks.features.planted --cells he1 null   # some of them

Problems have d = 1600 columns, of which M = 8 matter, noise of a fifth of the standard deviation
of y, and 2000 test rows without noise.  A seed counts as solved if R^2 > .9.  "det" counts the
seeds in which `signal_detected` is true.  Seconds are processor seconds of a fit, on one thread.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch

from secateurs.features.planted import planted_multi_index
from secateurs.features.solver import multi_index

WIDE: dict[str, Any] = {"d": 1600, "r": 1, "sparsity": 8}
NARROW: dict[str, Any] = {"d": 400, "r": 1, "sparsity": 8, "n": 2000, "link": "he2"}
SOFT: dict[str, Any] = {"d": 1600, "r": 1, "q": 1.5, "n": 4000, "link": "he2"}
CELLS: dict[str, dict[str, Any]] = {
    "he1": {**WIDE, "link": "he1", "n": 256},
    "he2": {**WIDE, "link": "he2", "n": 1024},
    "he3": {**WIDE, "link": "he3", "n": 2048},
    "he2+he3": {**WIDE, "link": "he2+he3", "n": 1448},
    "multi z1*z2": {**WIDE, "link": "z1*z2", "r": 2, "n": 724},
    "multi he2+he2": {**WIDE, "link": "he2(z1)+he2(z2)", "r": 2, "n": 724},
    "multi he2+z1*z2": {**WIDE, "link": "he2(z1)+z1*z2", "r": 2, "n": 724},
    "he4": {**WIDE, "link": "he4", "n": 4096},
    "he2 uneven": {**WIDE, "link": "he2", "n": 1448, "spread": 0.8},
    "t5": {**NARROW, "inputs": "t5"},
    "exponential": {**NARROW, "inputs": "exponential"},
    "ar he1": {**WIDE, "link": "he1", "n": 512, "inputs": "ar"},
    "ar he2": {**WIDE, "link": "he2", "n": 1448, "inputs": "ar"},
    "ar he3": {**WIDE, "link": "he3", "n": 2048, "inputs": "ar"},
    "binary pair": {
        "d": 1600, "r": 2, "sparsity": 2, "n": 500, "link": "z1*z2", "inputs": "binary"
    },
    "binary triple": {
        "d": 400, "r": 3, "sparsity": 3, "n": 500, "link": "z1*z2*z3", "inputs": "binary"
    },
    "soft R_q 3.2": {**SOFT, "sparsity": 3.2},
    "soft R_q 4.5": {**SOFT, "sparsity": 4.5},
    "null": {**WIDE, "link": "null", "n": 1000},
    "null small": {**WIDE, "link": "null", "n": 256},
    "null t5": {**WIDE, "link": "null", "n": 1000, "inputs": "t5"},
    "null exponential": {**WIDE, "link": "null", "n": 1000, "inputs": "exponential"},
}  # fmt: skip


def one(cell: dict[str, Any], seed: int) -> dict[str, float]:
    problem = planted_multi_index(noise=0.2, random_state=seed, **cell)
    start = time.process_time()
    solution = multi_index(problem.X, problem.y, random_state=seed)
    seconds = time.process_time() - start
    fit = solution.value
    error = np.mean((fit.predict(problem.X_test) - problem.y_test) ** 2)
    spread = problem.y_test.var()
    return {
        "r2": 1.0 - error / spread if spread > 0 else np.nan,
        "val": fit.val_r2,
        "recall": float(np.isin(problem.support, fit.support).mean()),
        "size": len(fit.support),
        "false": len(np.setdiff1d(solution.measured["hits"], problem.support)),
        "detected": fit.signal_detected,
        "seconds": seconds,
    }


def main(names: list[str], seeds: int, first: int) -> None:
    print(
        f"{'cell':18}{'n':>6}{'R^2>.9':>8}{'R^2 min':>9}{'median':>8}{'val':>7}{'recall':>8}"
        f"{'size':>7}{'most':>6}{'false hits':>11}{'det':>7}{'sec':>6}"
    )
    for name in names:
        cell = CELLS[name]
        n_seeds = 20 if name.startswith("null") else seeds
        rows = [one(cell, first + seed) for seed in range(n_seeds)]
        column = {key: np.array([row[key] for row in rows], dtype=float) for key in rows[0]}
        solved = int((column["r2"] > 0.9).sum())
        null = name.startswith("null")
        recall = "" if null or "q" in cell else f"{column['recall'].mean():.3f}"
        false = "" if "ar" in name or "q" in cell else f"{column['false'].mean():.2f}"
        print(
            f"{name:18}{cell['n']:6d}"
            + ("" if null else f"{solved}/{n_seeds}").rjust(8)
            + ("" if null else f"{column['r2'].min():.3f}").rjust(9)
            + ("" if null else f"{np.median(column['r2']):.3f}").rjust(8)
            + f"{np.median(column['val']):7.3f}{recall:>8}{column['size'].mean():7.1f}"
            + f"{column['size'].max():6.0f}{false:>11}"
            + f"{int(column['detected'].sum())}/{n_seeds}".rjust(7)
            + f"{column['seconds'].mean():6.1f}",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", default=list(CELLS), choices=list(CELLS))
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first", type=int, default=1000, help="first seed")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    main(arguments.cells, arguments.seeds, arguments.first)
