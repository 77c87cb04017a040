"""Measure how many planted networks are found from few rows, and in which time.

    python -m benchmarks.recovery.few_rows                        # the points of the table
    python -m benchmarks.recovery.few_rows --points 5,20,50 --networks 4
    python -m benchmarks.recovery.few_rows --points 5,20,80 --solver pursuit

A point is m, s and n, with d = 100 inputs.  A network is found if 2000 fresh rows are predicted to
more than 100 dB.  c is n / (s log(d m / s)).
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
import torch

from benchmarks.recovery.pursuit_peers import decibels
from secateurs import SparseReLURegressor
from secateurs.recovery.planted import planted_relu

POINTS = ("5,20,80", "20,50,230", "5,20,65", "20,50,185", "5,20,50")
D = 100
FIRST_SEED = 92000  # the solver was tuned on other seeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", nargs="+", default=POINTS)
    parser.add_argument("--networks", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--solver", default="auto")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| (m, s), n | c | found | exact | exact and wrong | CPU s: median, largest |")
    print(6 * "|---" + "|")
    warm_up = planted_relu(20, 5, 1, 2, random_state=0)  # compiles
    SparseReLURegressor(2, 1, "sampling", random_state=0).fit(warm_up.X, warm_up.y)
    for point in options.points:
        m, s, n = (int(number) for number in point.split(","))
        found, exact, wrong, cpu = 0, 0, 0, []
        for seed in range(options.first_seed, options.first_seed + options.networks):
            problem = planted_relu(n, D, m, s, random_state=seed)
            began = time.process_time()
            model = SparseReLURegressor(s, m, options.solver, random_state=0)
            model.fit(problem.X, problem.y)
            cpu.append(time.process_time() - began)
            right = decibels(problem.y_test, model.predict(problem.X_test)) > 100
            found += right
            exact += model.status_ == "exact"
            wrong += model.status_ == "exact" and not right
            if options.verbose:
                print(f"  {seed} {right} {model.status_} {model.solver_} {cpu[-1]:.2f}", flush=True)
        c = n / (s * math.log(D * m / s))
        print(
            f"| ({m}, {s}), {n} | {c:.2f} | {found} of {options.networks} | {exact} | {wrong} | "
            f"{np.median(cpu):.2f}, {max(cpu):.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
