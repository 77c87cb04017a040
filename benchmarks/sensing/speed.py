"""What the group lasso path costs: against perturbed GD, ScaledGD told the rank, and the data.

    python -m benchmarks.sensing.speed --part solvers   # d = 50, 100, 200
    python -m benchmarks.sensing.speed --part passes    # a pass over the bare memory pass or GEMM
    python -m benchmarks.sensing.speed --part large     # rank-one d = 1000, n = 20,000, float32

Processor time on one thread.  Solvers go to the same distance (1e-6, relative) from the least
squares fit of the true rank.  Perturbed GD is told lambda and beta (from the path) and runs its
first stage to 1e-4 of the gradient's scale, or, told when to stop, to the loosest of three
tolerances at which its rank is right.  ScaledGD is told the rank and gets the best of three steps.
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
from secateurs.sensing.planted import planted_sensing
from secateurs.sensing.published_pipeline import group_lasso
from secateurs.sensing.regularisation_path import group_lasso_path

DISTANCE = 1e-6
NAMES = ("path", "ScaledGD", "PGD", "PGD told when to stop")
STOP = (1e-2, 1e-3, 1e-4)  # tolerances of PGD's first stage; the last is the one without an oracle


def timed(f: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    found = f()
    return found, time.process_time() - start


def best_of(f: Callable[[], Any], repeats: int = 7) -> float:
    f()
    return min(timed(f)[1] for _ in range(repeats))


def solvers(sizes: list[int], seeds: int, with_pgd: bool) -> None:
    for d in sizes:
        r = 3
        for kind in ("gaussian", "rank-one"):
            times: dict[str, list[float]] = {name: [] for name in NAMES}
            calls: dict[str, list[float]] = {name: [] for name in NAMES}
            for seed in range(seeds):
                p = planted_sensing(
                    4 * r * d, d, r, kind=kind, noise_ratio=0.2, random_state=seed,
                    dtype=np.float32 if d >= 200 else np.float64,
                )  # fmt: skip
                fit = group_lasso_path(p.operator, p.y, tolerance=1e-9)
                truth = replace(p, components=fit.value.components)
                ours, spent = timed(lambda: group_lasso_path(p.operator, p.y))
                far = truth.error(ours.value.components)
                note(times, calls, "path", spent, ours.measured["calls"])
                peers = []
                for step in (0.5, 0.35, 0.25) if kind == "gaussian" else (0.2, 0.1, 0.05):
                    for tolerance in (1e-5, 1e-6, 1e-7):
                        peer, spent = timed(
                            lambda: scaled_gd(
                                p.operator, p.y, r, step=step, tolerance=tolerance, n_steps=3000
                            )
                        )
                        if truth.error(peer.value.components) <= max(DISTANCE, far):
                            peers.append((peer.measured["calls"], spent))
                            break
                if peers:
                    note(times, calls, "ScaledGD", min(peers)[1], min(peers)[0])
                if not with_pgd:
                    continue
                told = {key: ours.measured[key] for key in ("strength", "beta")}
                stopped = False
                for tolerance in STOP:
                    if stopped and tolerance != STOP[-1]:
                        continue
                    slow, spent = timed(
                        lambda: group_lasso(
                            p.operator,
                            p.y,
                            **told,
                            tolerance=tolerance,
                            tuning_tolerance=1e-7,
                            n_steps=20_000,
                            n_tuning_steps=20_000,
                        )
                    )
                    away = truth.error(slow.value.components)
                    if len(slow.value.components) != r or away > max(10 * DISTANCE, far):
                        continue
                    if not stopped:
                        stopped = True
                        note(times, calls, NAMES[3], spent, slow.measured["calls"])
                    if tolerance == STOP[-1]:
                        note(times, calls, "PGD", spent, slow.measured["calls"])
            line = f"{kind}, d={d}, r={r}, n={4 * r * d}, medians of {seeds}:"
            for name in times:
                if times[name]:
                    line += (
                        f" {name} {np.median(calls[name]):.0f} calls, "
                        f"{np.median(times[name]):.3f} s ({len(times[name])} reached it);"
                    )
            for name in NAMES[1:]:
                if times[name]:
                    line += (
                        f" {name} over path: calls "
                        f"{np.median(calls[name]) / np.median(calls['path']):.1f}x, time "
                        f"{np.median(times[name]) / np.median(times['path']):.1f}x;"
                    )
            print(line, flush=True)


def note(times: dict, calls: dict, name: str, spent: float, made: float) -> None:
    times[name].append(spent)
    calls[name].append(made)


def passes() -> None:
    rng = np.random.default_rng(0)

    def told(name: str, ours: float, floor: float, what: str) -> None:
        print(f"{name}: {ours * 1e3:.2f} ms over {what} {floor * 1e3:.2f} ms = {ours / floor:.2f}x")

    for n, d, dtype in ((3000, 100, np.float64), (3000, 200, np.float32)):
        A = rng.standard_normal((n, packed_size(d)), dtype=dtype)
        op, r = PackedDense(A), rng.standard_normal(n).astype(dtype)
        U, w = rng.standard_normal((5, d)).astype(dtype), A[0].copy()
        name = f"packed n={n} d={d} {dtype.__name__}"
        told(f"{name} forward", best_of(lambda: op.forward_factors(U)), best_of(lambda: A @ w),
             "GEMV")  # fmt: skip
        told(f"{name} adjoint", best_of(lambda: op.adjoint(r)), best_of(lambda: r @ A), "GEMV")
        both = np.stack([w, w], axis=1)
        told(f"{name} line", best_of(lambda: op.forward_line(U, U)), best_of(lambda: A @ both),
             "GEMM of two")  # fmt: skip
    for n, d, dtype in ((20_000, 1000, np.float32), (20_000, 200, np.float64)):
        X = rng.standard_normal((n, d), dtype=dtype)
        op, r = RankOne(X), rng.standard_normal(n).astype(dtype)
        U = rng.standard_normal((5, d)).astype(dtype)
        W: Array = U.T.copy()
        Z: Array = X @ W
        name = f"rank-one n={n} d={d} {dtype.__name__}"
        told(f"{name} forward", best_of(lambda: op.forward_factors(U)), best_of(lambda: X @ W),
             "GEMM")  # fmt: skip
        two = best_of(lambda: X @ W) + best_of(lambda: X.T @ Z)
        told(f"{name} N-times", best_of(lambda: op.adjoint_times(r, W)), two, "two GEMMs")
    drawn = Seeded(3000, 100, dtype=np.float32)
    stored = PackedDense(drawn.rows(0, 3000))
    U = rng.standard_normal((5, 100))
    told("seeded signs n=3000 d=100 forward", best_of(lambda: drawn.forward_factors(U), 3),
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
        solvers(a.d, a.seeds, not a.no_pgd)
    elif a.part == "passes":
        passes()
    else:
        large(a.n, a.d[0] if len(a.d) == 1 else 1000, a.r)
