"""Cost of the group lasso path, beside perturbed GD, ScaledGD at the true rank, and bare passes.

    python -m benchmarks.sensing.speed --part solvers   # d = 50, 100, 200
    python -m benchmarks.sensing.speed --part passes    # a pass over the bare memory pass or GEMM
    python -m benchmarks.sensing.speed --part large     # rank-one d = 1000, n = 20,000, float32

Processor time on one thread.  All solvers run to the same distance (1e-6, relative) from the least
squares fit of the true rank.  Perturbed GD gets lambda and beta from the path and runs its first
stage to 1e-4 of the gradient's scale; with an oracle, it stops at the loosest of three tolerances
at which its rank is right.  ScaledGD gets the true rank and the best of three step sizes.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from secateurs.sensing.baselines import scaled_gd
from secateurs.sensing.operators.base import Array
from secateurs.sensing.operators.dense import PackedDense, packed_size
from secateurs.sensing.operators.rank_one import RankOne
from secateurs.sensing.operators.seeded import Seeded
from secateurs.sensing.planted import SensingProblem, planted_sensing
from secateurs.sensing.published_pipeline import group_lasso
from secateurs.sensing.regularisation_path import group_lasso_path

RANK = 3
DISTANCE = 1e-6
NAMES = ("path", "ScaledGD", "PGD", "PGD stopped by an oracle")
STOP = (1e-2, 1e-3, 1e-4)  # tolerances of PGD's first stage; the last needs no oracle
Runs = dict[str, list[tuple[float, float]]]  # calls and seconds of each run, by solver


def timed(f: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    found = f()
    return found, time.process_time() - start


def best_of(f: Callable[[], Any], repeats: int = 7) -> float:
    f()
    return min(timed(f)[1] for _ in range(repeats))


def solvers(sizes: list[int], seeds: int, *, with_pgd: bool) -> None:
    for d in sizes:
        for kind in ("gaussian", "rank-one"):
            runs: Runs = {name: [] for name in NAMES}
            for seed in range(seeds):
                p = planted_sensing(
                    4 * RANK * d, d, RANK, kind=kind, noise_ratio=0.2, random_state=seed,
                    dtype=np.float32 if d >= 200 else np.float64,
                )  # fmt: skip
                fit = group_lasso_path(p.operator, p.y, tolerance=1e-9)
                optimum = replace(p, components=fit.value.components)
                ours, spent = timed(lambda: group_lasso_path(p.operator, p.y))
                runs["path"].append((ours.measured["calls"], spent))
                far = optimum.error(ours.value.components)
                run_scaled_gd(runs, p, optimum, kind, far)
                if with_pgd:
                    run_pgd(runs, p, optimum, far, ours.measured)
            report(f"{kind}, d={d}, r={RANK}, n={4 * RANK * d}, medians of {seeds}:", runs)


def run_scaled_gd(
    runs: Runs, p: SensingProblem, optimum: SensingProblem, kind: str, far: float
) -> None:
    """Keep the fastest of three step sizes that reaches the optimum."""
    found = []
    for step in (0.5, 0.35, 0.25) if kind == "gaussian" else (0.2, 0.1, 0.05):
        for tolerance in (1e-5, 1e-6, 1e-7):
            settings = {"step": step, "tolerance": tolerance, "n_steps": 3000}
            peer, spent = timed(lambda: scaled_gd(p.operator, p.y, RANK, **settings))
            if optimum.error(peer.value.components) <= max(DISTANCE, far):
                found.append((peer.measured["calls"], spent))
                break
    if found:
        runs["ScaledGD"].append(min(found))


def run_pgd(
    runs: Runs, p: SensingProblem, optimum: SensingProblem, far: float, path: dict[str, Any]
) -> None:
    """Run perturbed GD to each tolerance; keep the first and the last that finds the optimum."""
    stopped = False
    for tolerance in STOP:
        if stopped and tolerance != STOP[-1]:
            continue
        slow, spent = timed(
            lambda: group_lasso(
                p.operator,
                p.y,
                strength=path["strength"],
                beta=path["beta"],
                tolerance=tolerance,
                tuning_tolerance=1e-7,
                n_steps=20_000,
                n_tuning_steps=20_000,
            )
        )
        away = optimum.error(slow.value.components)
        if len(slow.value.components) != RANK or away > max(10 * DISTANCE, far):
            continue
        if not stopped:
            stopped = True
            runs[NAMES[3]].append((slow.measured["calls"], spent))
        if tolerance == STOP[-1]:
            runs["PGD"].append((slow.measured["calls"], spent))


def report(line: str, runs: Runs) -> None:
    medians = {name: np.median(each, axis=0) for name, each in runs.items() if each}
    for name, (calls, seconds) in medians.items():
        line += f" {name} {calls:.0f} calls, {seconds:.3f} s ({len(runs[name])} reached it);"
    for name, (calls, seconds) in medians.items():
        if name != "path":
            path_calls, path_seconds = medians["path"]
            line += (
                f" {name} over path: calls {calls / path_calls:.1f}x, time "
                f"{seconds / path_seconds:.1f}x;"
            )
    print(line, flush=True)


def passes() -> None:
    rng = np.random.default_rng(0)

    def compare(name: str, ours: float, floor: float, unit: str) -> None:
        print(f"{name}: {ours * 1e3:.2f} ms over {unit} {floor * 1e3:.2f} ms = {ours / floor:.2f}x")

    for n, d, dtype in ((3000, 100, np.float64), (3000, 200, np.float32)):
        A = rng.standard_normal((n, packed_size(d)), dtype=dtype)
        op, r = PackedDense(A), rng.standard_normal(n).astype(dtype)
        U, w = rng.standard_normal((5, d)).astype(dtype), A[0].copy()
        name = f"packed n={n} d={d} {dtype.__name__}"
        compare(f"{name} forward", best_of(lambda: op.forward_factors(U)), best_of(lambda: A @ w),
             "GEMV")  # fmt: skip
        compare(f"{name} adjoint", best_of(lambda: op.adjoint(r)), best_of(lambda: r @ A), "GEMV")
        both = np.stack([w, w], axis=1)
        compare(f"{name} line", best_of(lambda: op.forward_line(U, U)), best_of(lambda: A @ both),
             "GEMM of two")  # fmt: skip
    for n, d, dtype in ((20_000, 1000, np.float32), (20_000, 200, np.float64)):
        X = rng.standard_normal((n, d), dtype=dtype)
        op, r = RankOne(X), rng.standard_normal(n).astype(dtype)
        U = rng.standard_normal((5, d)).astype(dtype)
        W: Array = U.T.copy()
        Z: Array = X @ W
        name = f"rank-one n={n} d={d} {dtype.__name__}"
        compare(f"{name} forward", best_of(lambda: op.forward_factors(U)), best_of(lambda: X @ W),
             "GEMM")  # fmt: skip
        two = best_of(lambda: X @ W) + best_of(lambda: X.T @ Z)
        compare(f"{name} N-times", best_of(lambda: op.adjoint_times(r, W)), two, "two GEMMs")
    drawn = Seeded(3000, 100, dtype=np.float32)
    stored = PackedDense(drawn.rows(0, 3000))
    U = rng.standard_normal((5, 100))
    compare("seeded signs n=3000 d=100 forward", best_of(lambda: drawn.forward_factors(U), 3),
         best_of(lambda: stored.forward_factors(U)), "stored")  # fmt: skip


def large(n: int, d: int, r: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    p = planted_sensing(n, d, r, kind="rank-one", noise_ratio=0.2, dtype=np.float32, random_state=0)
    fit, spent = timed(lambda: group_lasso_path(p.operator, p.y))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"rank-one d={d}, r={r}, n={n}, float32: rank {len(fit.value.components)}, error "
        f"{p.error(fit.value.components):.3f}, status {fit.status}, {fit.measured['calls']:.0f} "
        f"calls, {spent:.1f} s, peak memory {(after - before) / 1024:.0f} MB above the imports "
        f"(data {n * d * 4 / 2**20:.0f} MB)"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("solvers", "passes", "large"), default="solvers")
    parser.add_argument("--d", nargs="+", type=int, default=[50, 100, 200])
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--r", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--no-pgd", action="store_true")
    a = parser.parse_args()
    if a.part == "solvers":
        solvers(a.d, a.seeds, with_pgd=not a.no_pgd)
    elif a.part == "passes":
        passes()
    else:
        large(a.n, a.d[0] if len(a.d) == 1 else 1000, a.r)
