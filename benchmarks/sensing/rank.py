"""How often the group lasso path finds the rank, and its error beside that of an oracle.

    python -m benchmarks.sensing.rank --part grid     # exact rank over d, r, n / (r d), noise
    python -m benchmarks.sensing.rank --part slopes   # error against sqrt(r d / n) in n, r, d
    python -m benchmarks.sensing.rank --part oracle   # error over that of ScaledGD at the true rank

The true components are independent random unit vectors; noise is nu / sigma_r^2 (see
`planted_sensing`).  Nothing is tuned to a case.  Measurements are float32 in the grid and float64
elsewhere.
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter

import numpy as np

from secateurs.sensing.baselines import scaled_gd
from secateurs.sensing.factored import Factors
from secateurs.sensing.fixed_rank import fit_rank
from secateurs.sensing.planted import planted_sensing
from secateurs.sensing.regularisation_path import group_lasso_path


def grid(
    kinds: list[str], ds: list[int], rs: list[int], ratios: list[float], noises: list[float],
    seeds: int, first: int,
) -> None:  # fmt: skip
    total: Counter[tuple[float, float, str]] = Counter()
    for kind, d, r, ratio, noise in itertools.product(kinds, ds, rs, ratios, noises):
        found: Counter[int] = Counter()
        honest = calls = 0.0
        for seed in range(first, first + seeds):
            p = planted_sensing(
                int(ratio * r * d), d, r, kind=kind, noise_ratio=noise, dtype=np.float32,
                random_state=seed,
            )  # fmt: skip
            fit = group_lasso_path(p.operator, p.y)
            rank = len(fit.value.components)
            found[rank] += 1
            honest += rank == r or not fit.measured["certified"]
            calls += fit.measured["calls"] / seeds
        total[ratio, noise, "seeds"] += seeds
        total[ratio, noise, "exact"] += found[r]
        total[ratio, noise, "wrong and certified"] += int(seeds - honest)
        others = {k: v for k, v in sorted(found.items()) if k != r}
        print(
            f"{kind}, d={d}, r={r}, n/(rd)={ratio:g}, noise {noise:g}: exact "
            f"{found[r]}/{seeds}, others {others}, {calls:.0f} calls",
            flush=True,
        )
    for ratio, noise in itertools.product(ratios, noises):
        n, exact = total[ratio, noise, "seeds"], total[ratio, noise, "exact"]
        wrong = total[ratio, noise, "wrong and certified"]
        print(
            f"n/(rd)={ratio:g}, noise {noise:g}: exact {exact}/{n} = {100 * exact / n:.1f} %, "
            f"wrong but certified {wrong}"
        )


def slopes(kinds: list[str], vary: list[str], seeds: int) -> None:
    """Fit log-log slopes of the Frobenius error at a fixed sigma, with one of n, r, d varying.

    "Oracle" is least squares at the true rank, from the true components.
    """
    cases = {
        "n": [(n, 50, 3) for n in (2000, 4000, 8000, 16_000)],
        "r": [(10_000, 50, r) for r in (2, 4, 6, 8)],
        "d": [(10_000, d, 3) for d in (25, 40, 60, 80)],
    }
    for kind in kinds:
        for name in vary:
            scales, errors, best = [], [], []
            for n, d, r in cases[name]:
                found, told = [], []
                for seed in range(seeds):
                    p = planted_sensing(
                        n, d, r, kind=kind, noise_ratio=0.05 * np.sqrt(d / n) * 10, condition=1.0,
                        random_state=seed,
                    )  # fmt: skip
                    fit = group_lasso_path(p.operator, p.y)
                    size = np.linalg.norm(p.matrix())
                    truth = Factors(p.components, p.signs)
                    oracle_fit = fit_rank(p.operator, p.y, r, start=truth)
                    found.append(p.error(fit.value.components) * size / p.sigma)
                    told.append(p.error(oracle_fit.value.components) * size / p.sigma)
                scales.append(np.sqrt(r * d / n))
                errors.append(np.mean(found))
                best.append(np.mean(told))
            slope, of_oracle = (np.polyfit(np.log(scales), np.log(e), 1)[0] for e in (errors, best))
            ratios = ", ".join(f"{e / s:.3f}" for e, s in zip(errors, scales, strict=True))
            print(
                f"{kind}, varying {name}: slope {slope:.3f} (oracle {of_oracle:.3f}); "
                f"error / (sigma sqrt(rd/n)) {ratios}",
                flush=True,
            )


def oracle(seeds: int) -> None:
    """Divide the error of the path by that of ScaledGD at the true rank; noiseless errors."""
    for kind, step, n_steps in (("gaussian", 0.4, 1000), ("rank-one", 0.05, 6000)):
        worst = exact = 0.0
        for d, r in ((30, 2), (50, 3), (50, 5), (100, 2)):
            for seed in range(seeds):
                p = planted_sensing(
                    3 * r * d, d, r, kind=kind, noise_ratio=0.3, random_state=500 + seed
                )
                ours = p.error(group_lasso_path(p.operator, p.y).value.components)
                peer = scaled_gd(p.operator, p.y, r, step=step, n_steps=n_steps)
                worst = max(worst, ours / p.error(peer.value.components))
                p = planted_sensing(3 * r * d, d, r, kind=kind, random_state=500 + seed)
                exact = max(exact, p.error(group_lasso_path(p.operator, p.y).value.components))
        print(f"{kind}: largest error over ScaledGD's {worst:.6f}; noiseless, largest {exact:.1e}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("grid", "slopes", "oracle"), default="grid")
    parser.add_argument("--kinds", nargs="+", default=["gaussian", "rank-one"])
    parser.add_argument("--vary", nargs="+", choices=("n", "r", "d"), default=["n", "r", "d"])
    parser.add_argument("--d", nargs="+", type=int, default=[30, 50, 100])
    parser.add_argument("--r", nargs="+", type=int, default=[2, 5, 10])
    parser.add_argument("--ratios", nargs="+", type=float, default=[2.25, 3.0, 4.0])
    parser.add_argument("--noises", nargs="+", type=float, default=[0.1, 0.3, 0.6])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=20_000)
    a = parser.parse_args()
    if a.part == "grid":
        grid(a.kinds, a.d, a.r, a.ratios, a.noises, a.seeds, a.first)
    elif a.part == "slopes":
        slopes(a.kinds, a.vary, a.seeds)
    else:
        oracle(a.seeds)
