"""ScaledGD(lambda), which knows no rank, beside the group lasso path and ScaledGD that knows it.

    python -m benchmarks.sensing.scaled_gd_lambda [--seeds 5]

Positive semidefinite M of rank r, n = 4 r d, d = 50, with noise and without.  ScaledGD(lambda) has
k columns, more than r.  It gets the best of three lambda in hindsight (smallest true error), and
with noise also the best step to stop at ("oracle stop"), because it fits the noise after that.
Effective rank: eigenvalues above 1e-3 of the largest.  Processor time of one run.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np

from secateurs.sensing.baselines import scaled_gd
from secateurs.sensing.factored import Point, Sensed, rotated, squares
from secateurs.sensing.operators.base import Array
from secateurs.sensing.planted import SensingProblem, planted_sensing
from secateurs.sensing.regularisation_path import group_lasso_path

DIVERGED = 1e6
LEAST_LOSS = 1e-28
LAMBDAS = (0.01, 0.1, 0.5)  # of the smallest nonzero eigenvalue of M
FIRST_SIZE = 1e-12  # norm of the start over that of M's factors: the paper asks for a small one
EFFECTIVE = 1e-3


@dataclass(frozen=True)
class Run:
    """The last columns, the smallest true error on the way, and its step."""

    U: Array
    best_error: float
    best_step: int
    n_steps: int
    seconds: float


def scaled_gd_lambda(
    p: SensingProblem, width: int, damping: float, step: float, *, n_steps: int, seed: int
) -> Run:
    """Run U <- U + eta (U U^H + lambda I)^-1 N U from small random columns U [width, d].

    N is half of minus the gradient of L in M, so this is U - eta (U U^H + lambda I)^-1 grad of the
    paper's loss, half the mean squared residual, up to a factor in eta.
    Source: Xu, Shen, Chi & Ma, "The power of preconditioning in overparameterized low-rank matrix
    sensing" (2023, arXiv 2302.01186).
    """
    began = time.process_time()
    measuring = 0.0
    sensed = Sensed.of(p.operator, p.y)
    d = p.operator.shape[1]
    U = np.random.default_rng(seed).standard_normal((width, d))
    U *= FIRST_SIZE * np.linalg.norm(p.components) / np.linalg.norm(U)
    best, best_step, done = np.inf, 0, 0
    for done in range(1, n_steps + 1):
        point = Point.at(sensed, U, np.ones(width))
        if not LEAST_LOSS * sensed.power < point.loss < DIVERGED * sensed.power:
            break
        force = point.times(U)
        U = U + step * np.linalg.solve(U @ U.T + damping * np.eye(width), force)
        now = time.process_time()
        error = p.error(U)
        measuring += time.process_time() - now
        if error < best:
            best, best_step = error, done
    return Run(U, best, best_step, done, time.process_time() - began - measuring)


def effective_rank(U: Array, p: SensingProblem) -> int:
    """Eigenvalues of U^T U above 1e-3 of the largest."""
    turned = rotated(Point(Sensed(p.operator, p.y), U, np.ones(len(U)), p.y))
    sizes = squares(turned.U)
    return int((sizes > EFFECTIVE * sizes.max()).sum())


def compare(kind: str, r: int, noise: float, widths: list[int], seeds: int) -> None:
    d, step = 50, 0.4 if kind == "gaussian" else 0.1
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for seed in range(seeds):
        p = planted_sensing(4 * r * d, d, r, kind=kind, noise_ratio=noise, random_state=9000 + seed)
        smallest = float(np.linalg.svd(p.components, compute_uv=False)[-1] ** 2)
        began = time.process_time()
        found = group_lasso_path(p.operator, p.y).value.components
        spent = time.process_time() - began
        rows.setdefault("path, no rank", []).append((p.error(found), len(found), spent))
        began = time.process_time()
        told = scaled_gd(p.operator, p.y, r, step=step, n_steps=1500).value.components
        spent = time.process_time() - began
        rows.setdefault("ScaledGD, true rank", []).append((p.error(told), len(told), spent))
        for width in widths:
            runs = [
                scaled_gd_lambda(p, width, share * smallest, step, n_steps=600, seed=seed)
                for share in LAMBDAS
            ]
            name = f"ScaledGD(lambda), {width} columns"
            last = min(runs, key=lambda run: p.error(run.U))
            line = (p.error(last.U), effective_rank(last.U, p), last.seconds)
            rows.setdefault(name, []).append(line)
            early = min(runs, key=lambda run: run.best_error)
            share = early.best_step / early.n_steps
            line = (early.best_error, width, early.seconds * share)
            rows.setdefault(f"{name}, oracle stop", []).append(line)
    print(f"{kind}, d={d}, r={r}, n={4 * r * d}, noise {noise:g}, medians of {seeds}:")
    for name, each in rows.items():
        error, rank, seconds = np.median(each, axis=0)
        print(f"  {name}: error {error:.2e}, rank {rank:g}, {seconds:.3f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--widths", nargs="+", type=int, default=[6, 25])
    a = parser.parse_args()
    for kind in ("gaussian", "rank-one"):
        for noise in (0.0, 0.3):
            compare(kind, 3, noise, a.widths, a.seeds)
