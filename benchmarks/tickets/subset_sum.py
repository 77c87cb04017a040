"""Subset sums a second, compared with general solvers; terms and neurons for a bit of accuracy.

    python -m benchmarks.tickets.subset_sum [--ortools-python PYTHON] [--part speed|peers|slopes]

Candidates are products of two standard normal numbers, and targets are uniform on [-1, 1].  Rates
are in processor time on one thread.  For two threads the wall time of the same work is compared;
runs on one and two threads alternate, and the best of each counts.  HiGHS (scipy.optimize.milp) and
CP-SAT (OR-tools) solve the same instances on one thread to optimality.  Each runs in its own
process, because two copies of HiGHS in one process break each other.  OR-tools is imported by
`--ortools-python`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

import numpy as np
from numpy.typing import NDArray

from benchmarks.tickets.gap import bit_law
from secateurs.tickets.neuron.scaling import BITS, NETWORKS, fewest_neurons
from secateurs.tickets.subset_sums import subset_sum

N_MINIMUM = 21
CPSAT = """
import json, sys, time
from ortools.sat.python import cp_model
rows = []
for a, t in json.load(sys.stdin):
    keys, goal = [round(x * 2**40) for x in a], round(t * 2**40)
    model = cp_model.CpModel()
    x = [model.new_bool_var("") for _ in keys]
    e = model.new_int_var(0, sum(map(abs, keys)) + abs(goal), "")
    total = sum(k * v for k, v in zip(keys, x))
    model.add(total - goal <= e)
    model.add(goal - total <= e)
    model.minimize(e)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.linearization_level = int(sys.argv[1])
    start = time.process_time()
    solver.solve(model)
    seconds = time.process_time() - start
    rows.append((seconds, abs(sum(v for v, one in zip(a, x) if solver.value(one)) - t)))
print(json.dumps(rows))
"""
HIGHS = """
import json, sys, time
import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
rows = []
for a, t in json.load(sys.stdin):
    n = len(a)
    A = np.array([[*a, -1.0], [*a, 1.0]])
    both = LinearConstraint(A, [-np.inf, t], [t, np.inf])
    bounds = Bounds(np.zeros(n + 1), np.r_[np.ones(n), np.inf])
    start = time.process_time()
    found = milp(np.r_[np.zeros(n), 1.0], constraints=both, bounds=bounds,
                 integrality=np.r_[np.ones(n), 0], options={"mip_rel_gap": 0.0})
    seconds = time.process_time() - start
    rows.append((seconds, abs(np.dot(np.round(found.x[:n]), a) - t)))
print(json.dumps(rows))
"""


def instances(
    n_targets: int, n_terms: int, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((2, n_targets, n_terms))
    return factors[0] * factors[1], rng.uniform(-1, 1, n_targets)


def seconds(
    a: NDArray[np.float64], t: NDArray[np.float64], eps: float | None, n_threads: int
) -> tuple[float, float]:
    """Return processor and wall time of one run."""
    wall, cpu = time.perf_counter(), time.process_time()
    subset_sum(a, t, eps, n_threads=n_threads)
    return time.process_time() - cpu, time.perf_counter() - wall


def speed(repeats: int) -> float:
    """Print the rates, and return the seconds for a weight at n = 21."""
    subset_sum(np.ones(3), np.ones(1))  # compiles
    settings = [(None, 20_000), (1e-2, 400_000), (1e-3, 200_000), (1e-4, 100_000), (1e-5, 40_000)]
    settings += [(1e-6, 20_000), (1e-8, 2_000)]
    minimum = 0.0
    for eps, n_targets in settings:
        a, t = instances(n_targets, N_MINIMUM if eps is None else 40)
        runs = [(seconds(a, t, eps, 1), seconds(a, t, eps, 2)) for _ in range(repeats)]
        one, two = min(r[0][0] for r in runs), min(r[1][0] for r in runs)
        wall = min(r[0][1] for r in runs) / min(r[1][1] for r in runs)
        found = subset_sum(a, t, eps)
        name = f"minimum, n = {N_MINIMUM}" if eps is None else f"eps {eps:g}"
        print(
            f"{name:20}{n_targets / one:10,.0f} a second, mean n {found.n_used.mean():5.2f}, "
            f"error median {np.median(found.error):.1e}, outside {np.sum(found.error > (eps or 1))}"
            f"; two threads: {wall:.2f}x in wall time, {two / one:.2f}x the processor time",
            flush=True,
        )
        minimum = one / n_targets if eps is None else minimum
    a, t = instances(200_000, 40)
    for eps in (None, 1e-3):
        shared = a[0, :N_MINIMUM] if eps is None else a[0]
        some = t[:20_000] if eps is None else t
        one = min(seconds(shared, some, eps, 1)[0] for _ in range(repeats))
        name = f"minimum, n = {N_MINIMUM}" if eps is None else f"eps {eps:g}"
        print(f"one set for all, {name}: {len(some) / one:,.0f} a second")
    return minimum


def peers(ours: float, python: str, n_instances: int) -> None:
    a, t = instances(n_instances, N_MINIMUM, seed=1)
    given = json.dumps(list(zip(a.tolist(), t.tolist(), strict=True)))
    best = subset_sum(a, t).error
    for name, command in (
        ("CP-SAT", [python, "-c", CPSAT, "1"]),  # its default
        ("CP-SAT without linear relaxations", [python, "-c", CPSAT, "0"]),
        ("HiGHS", [sys.executable, "-c", HIGHS]),
    ):
        run = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        if run.returncode:
            missing = "ModuleNotFoundError" in run.stderr
            print(f"{name}: {'not installed' if missing else run.stderr.strip()[-300:]}")
            continue
        times, errors = np.array(json.loads(run.stdout)).T
        print(
            f"{name}: {times.mean():.3g} s a weight (median {np.median(times):.3g}, {n_instances} "
            f"instances), {times.mean() / ours:,.0f}x ours; its error minus ours: at most "
            f"{(errors - best).max():.1e} more, {(best - errors).max():.1e} less",
            flush=True,
        )


def slopes(n_seeds: int) -> None:
    a, t = instances(2000, 44, seed=2)
    bits = np.arange(4, 27, 2)
    terms = [subset_sum(a, t, 2.0**-b, max_terms=44).n_used.mean() for b in bits]
    fit = np.polyfit(bits, terms, 1)
    print(f"terms: {fit[0]:.3f} log2(1 / eps) + {fit[1]:.2f}, eps 2^-4 to 2^-26, 2000 targets")
    for d in (2, 3, 4, 8, 16):
        needed = np.array(
            [[fewest_neurons(d, 2.0**-b, seed) for b in BITS] for seed in range(n_seeds)]
        )
        law = bit_law(BITS, needed)
        print(
            f"weight pruning, d = {d}: N = {law.per_bit:.2f} log2(1 / eps) + {law.at_one:.1f} "
            f"(standard error {law.standard_error:.2f} a bit), that is {law.per_bit / d:.2f} d a "
            f"bit ({law.standard_error / d:.2f}), median of {n_seeds} networks",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ortools-python", default=sys.executable)
    parser.add_argument("--part", choices=("speed", "peers", "slopes", "all"), default="all")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--instances", type=int, default=20)
    parser.add_argument("--networks", type=int, default=NETWORKS)
    arguments = parser.parse_args()
    if arguments.part in ("speed", "peers", "all"):
        minimum = speed(arguments.repeats)
    if arguments.part in ("peers", "all"):
        peers(minimum, arguments.ortools_python, arguments.instances)
    if arguments.part in ("slopes", "all"):
        slopes(arguments.networks)
