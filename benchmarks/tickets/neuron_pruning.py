"""Neuron pruning: the error of the best subset found for each width, and tests of every bound.

    python -m benchmarks.tickets.neuron_pruning --part scaling --out neuron_pruning.json
    python -m benchmarks.tickets.neuron_pruning --part integer        # d = 2 against the optimum
    python -m benchmarks.tickets.neuron_pruning --part violations     # 2000 instances, d = 2 .. 8

Scaling (form A) uses Gaussian networks of N neurons.  It prints the medians over the seeds of the
certified error of the subset found, of the lower bound for all subsets and of the bound for every
alpha.  The slope is that of log N on log(1 / median error), and its band is the 95 % interval of a
bootstrap over the networks.  The slope is also given without the narrow networks, from several
widths on, because it depends on where the fit starts.  The points are written to a JSON file; those
that the file has already are not measured again.  The widest networks take most of the time, so
they have a number of seeds of their own.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize

from benchmarks.tickets.gap import width_law
from secateurs.core.atomic_write import write_atomically
from secateurs.tickets.neuron.certificate import neuron_lower_bound, required_width
from secateurs.tickets.neuron.pruned_neuron import checked
from secateurs.tickets.neuron.scaling import (
    NeuronPoint,
    gaussian_network,
    neuron_point,
)
from secateurs.tickets.neuron.subset import select_neurons
from secateurs.tickets.neuron.sup_error import sup_error

WIDTHS = {
    2: (16, 32, 64, 128, 256, 512, 1024, 2048),
    3: (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384),
    4: (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768),
}
WIDE = {2: math.inf, 3: 8192, 4: 16384}  # from here on a network takes 7 to 45 seconds
KINDS = ("Gaussian", "duplicates", "opposites", "near-parallel", "near the target", "axes")


def instance(d: int, n: int, seed: int, kind: str = "Gaussian") -> tuple[Any, Any, Any]:
    """W [n, d], alpha [n] and a unit target [d]."""
    rng = np.random.default_rng([seed, d, n])
    W, alpha, target = gaussian_network(d, n, rng)
    half = n // 2
    if kind == "duplicates":
        W[half : 2 * half] = W[:half]
    elif kind == "opposites":
        W[half : 2 * half] = -W[:half]
        alpha[half : 2 * half] = -alpha[:half]
    elif kind == "near-parallel":
        W[half : 2 * half] = W[:half] * rng.choice([-1, 1], (half, 1)) + 1e-7 * W[half : 2 * half]
    elif kind == "near the target":
        W = target * rng.choice([-1, 1], (n, 1)) + 10.0 ** rng.uniform(-9, 0, (n, 1)) * W
    elif kind == "axes":
        target = np.eye(d)[0]
        W = np.eye(d)[rng.integers(d, size=n)] * rng.choice([-1.0, 1.0], (n, 1))
        alpha = rng.choice([-1.0, -0.5, 0.5, 1.0], n)
    return W, alpha, target


def scaling(dimensions: list[int], seeds: int, wide_seeds: int, out: str | None) -> None:
    kept = stored(out)
    fits: list[dict[str, Any]] = []
    print("| d | N | networks | error found | lower bound, these alpha | any alpha | kept | s |")
    print("|---|---|---|---|---|---|---|---|")
    for d in dimensions:
        for n in WIDTHS[d]:
            start, before = time.process_time(), len(kept)
            for seed in range(wide_seeds if n >= WIDE[d] else seeds):
                if (d, n, seed) not in kept:
                    kept[d, n, seed] = neuron_point(d, n, seed)
            rows = [point for point in kept.values() if (point.d, point.n_neurons) == (d, n)]
            error, bound, free, size = (
                float(np.median([getattr(row, key) for row in rows]))
                for key in ("error", "lower_bound", "any_alpha_bound", "n_kept")
            )
            cpu = (time.process_time() - start) / max(len(kept) - before, 1)
            print(
                f"| {d} | {n} | {len(rows)} | {error:.4f} | {bound:.4f} | {free:.4f} | {size:g} | "
                f"{cpu:.1f} |",
                flush=True,
            )
            fits = [*(fit for fit in fits if fit["d"] != d), *slopes(d, kept)]
            if out is not None:  # after every width: a run that is stopped keeps what it has
                points = [asdict(kept[key]) for key in sorted(kept)]
                content = {"points": points, "slopes": fits, "proven_widths": proven(dimensions)}
                write_atomically(Path(out), json.dumps(content, indent=1).encode())
        for fit in slopes(d, kept):
            print(
                f"d = {d}, N from {fit['from']}: slope {fit['slope']:.2f} [{fit['low']:.2f}, "
                f"{fit['high']:.2f}]",
                flush=True,
            )


def stored(out: str | None) -> dict[tuple[int, int, int], NeuronPoint]:
    """Return the points that the file has, by d, width and seed."""
    if out is None or not Path(out).exists():
        return {}
    points = [NeuronPoint(**point) for point in json.loads(Path(out).read_text())["points"]]
    return {(p.d, p.n_neurons, p.seed): p for p in points}


def slopes(d: int, kept: dict[tuple[int, int, int], NeuronPoint]) -> list[dict[str, Any]]:
    """Fit the law to all widths, and to those from a fourth and from half of them on."""
    points = [point for point in kept.values() if point.d == d]
    widths = sorted({point.n_neurons for point in points})
    starts = sorted({widths[len(widths) * quarter // 4] for quarter in range(3)})
    groups = {start: [p for p in points if p.n_neurons >= start] for start in starts}
    return [
        {"d": d, "from": start, **asdict(width_law(group))}
        for start, group in groups.items()
        if len({p.n_neurons for p in group}) > 1
    ]


def proven(dimensions: list[int]) -> list[dict[str, Any]]:
    return [
        {"d": d, "eps": eps, "necessary": required_width(d, eps).necessary}
        for d in dimensions
        for eps in (0.3, 0.1, 0.03, 0.01)
    ]


def integer(seeds: int) -> None:
    """Compare the subset with the optimum for d = 2, where the integer program proves it."""
    print("| N | form | proven within 5 % | largest gap of those | median error | s |")
    print("|---|---|---|---|---|---|")
    for n in (24, 32, 48, 64):
        for form in ("A", "B"):
            start = time.process_time()
            gaps, errors = [], []
            for seed in range(seeds):
                found = select_neurons(*instance(2, n, seed), form).value
                errors.append(found.error)
                gaps.append(found.error / max(found.lower_bound, 1e-12) - 1)
            near = [gap for gap in gaps if gap <= 0.05]
            cpu = (time.process_time() - start) / seeds
            print(
                f"| {n} | {form} | {len(near)} of {seeds} | {max(near, default=0):.4f} | "
                f"{np.median(errors):.4f} | {cpu:.2f} |",
                flush=True,
            )


def fitted_alpha(W: np.ndarray, target: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Fit output weights of any sign and size, with the least largest error on the points."""
    A, f, one = np.maximum(X @ W.T, 0), np.maximum(X @ target, 0), np.ones((len(X), 1))
    solved = optimize.linprog(
        np.append(np.zeros(len(W)), 1.0),
        A_ub=np.block([[A, -one], [-A, -one]]),
        b_ub=np.concatenate([f, -f]),
        bounds=[(-100, 100)] * len(W) + [(0, None)],
        options={"maxiter": 20 * len(X)},
    )
    return np.zeros(len(W)) if solved.x is None else solved.x[:-1]


def violations(count: int) -> None:
    """Test every bound with points, subsets and output weights that are chosen to break it."""
    broken = dict.fromkeys(("interval", "all subsets", "a subset", "any alpha", "fitted alpha"), 0)
    tried = dict.fromkeys(broken, 0)

    def record(law: str, bound: float, value: float) -> None:
        tried[law] += 1
        if bound > value:
            broken[law] += 1
            print(f"BROKEN {law}: {bound!r} > {value!r}, d = {d}, n = {n}, {kind}, seed {k}")

    start = time.process_time()
    for k in range(count):
        d, form = 2 + k % 7, "AB"[k // 7 % 2]
        kind = KINDS[k // 14 % len(KINDS)]
        rng = np.random.default_rng(k)
        n = int(rng.integers(1, 13))
        W, alpha, target = instance(d, n, k, kind)
        subset = rng.random(n) < 0.6
        X = rng.standard_normal((2000, d))
        X /= np.linalg.norm(X, axis=1)[:, None]
        sampled = float(checked(W, alpha, target, form, subset).errors(X).max())
        lower, upper = sup_error(W, alpha, target, form, subset, max_cells=2000)
        record("interval", max(lower, sampled), upper)
        found = select_neurons(W, alpha, target, form, max_cells=2000, tolerance=5e-3).value
        record("all subsets", found.lower_bound, found.error)
        record("a subset", found.lower_bound, upper)
        if form == "A":
            bound = neuron_lower_bound(W, target)
            record("any alpha", bound, min(found.error, upper))
            best = fitted_alpha(W, target, X[:300])
            record("fitted alpha", bound, sup_error(W, best, target, "A", max_cells=2000)[1])
    for law, number in tried.items():
        print(f"{law}: {broken[law]} of {number} broken")
    print(f"{count} instances, d = 2 .. 8, {time.process_time() - start:.0f} s of processor time")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("scaling", "integer", "violations"), default="scaling")
    parser.add_argument("--d", type=int, nargs="+", default=[2, 3, 4], choices=(2, 3, 4))
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--wide-seeds", type=int, default=6)
    parser.add_argument("--instances", type=int, default=2000)
    parser.add_argument("--out", help="JSON file of the points (scaling)")
    arguments = parser.parse_args()
    if arguments.part == "scaling":
        scaling(arguments.d, arguments.seeds, arguments.wide_seeds, arguments.out)
    elif arguments.part == "integer":
        integer(arguments.seeds)
    else:
        violations(arguments.instances)
