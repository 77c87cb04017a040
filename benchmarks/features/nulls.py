"""How often a screen of pure noise passes a column, by the kind of columns and of target.

    python -m benchmarks.features.nulls                       # every kind, 200 data sets each
    python -m benchmarks.features.nulls --kinds gaussian id   # some of them
    python -m benchmarks.features.nulls --sets 50 --n 60
    python -m benchmarks.features.nulls --power --n 200 400   # share of 4 relevant columns found

Every data set has 300 columns that are independent of y.  The screen is set to alpha = .1, so at
most a tenth of the data sets should have any column that passes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from secateurs.features.screening import screen

ALPHA = 0.1
D = 300
LEVELS = (0.6, 0.2, 0.1, 0.07, 0.03)
Draw = Callable[[np.random.Generator, int, int], NDArray[np.float64]]


def zeros_or(rng: np.random.Generator, share: float, values: NDArray[np.float64]):
    return np.where(rng.random(values.shape) < share, values, 0.0)


def ids(rng: np.random.Generator, n: int, d: int) -> NDArray[np.float64]:
    return np.eye(d)[rng.integers(0, d, n)]


def genotypes(rng: np.random.Generator, n: int, d: int) -> NDArray[np.float64]:
    return rng.binomial(2, rng.uniform(0.01, 0.5, d), (n, d)).astype(float)


COLUMNS: dict[str, Draw] = {
    "gaussian": lambda rng, n, d: rng.standard_normal((n, d)),
    "cauchy": lambda rng, n, d: rng.standard_cauchy((n, d)),
    "0/1 at 50 %": lambda rng, n, d: (rng.random((n, d)) < 0.5) * 1.0,
    "0/1 at 5 %": lambda rng, n, d: (rng.random((n, d)) < 0.05) * 1.0,
    "0/1 at 1 %": lambda rng, n, d: (rng.random((n, d)) < 0.01) * 1.0,
    "three genotypes": genotypes,
    "poisson(.01)": lambda rng, n, d: rng.poisson(0.01, (n, d)) * 1.0,
    "poisson(1)": lambda rng, n, d: rng.poisson(1.0, (n, d)) * 1.0,
    "one-hot id": ids,
    "zero-inflated": lambda rng, n, d: zeros_or(rng, 0.03, rng.standard_normal((n, d))),
    "zero-inflated, positive": lambda rng, n, d: zeros_or(rng, 0.1, rng.lognormal(size=(n, d))),
    "ordinal, 5 levels": lambda rng, n, d: rng.choice(5, (n, d), p=LEVELS) * 1.0,
    "rounded": lambda rng, n, d: np.round(rng.standard_normal((n, d)), 1),
}  # fmt: skip
TARGETS: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "gaussian": lambda rng, n: rng.standard_normal(n),
    "zero-inflated": lambda rng, n: zeros_or(rng, 0.05, rng.lognormal(size=n)),
    "class at 8 %": lambda rng, n: (rng.random(n) < 0.08) * 1.0,
    "class at 50 %": lambda rng, n: (rng.random(n) < 0.5) * 1.0,
    "heavy tails": lambda rng, n: rng.standard_t(1.5, n),
    "poisson(1)": lambda rng, n: rng.poisson(1.0, n) * 1.0,
}


def passes(columns: str, target: str, n: int, copies: int, seed: int) -> bool:
    """Whether any column of a data set of noise passes; every row is repeated `copies` times."""
    rng = np.random.default_rng([seed, n, copies])
    X, y = COLUMNS[columns](rng, n, D), TARGETS[target](rng, n)
    while len(np.unique(y)) < 2:
        y = TARGETS[target](rng, n)
    X, y = np.repeat(X, copies, axis=0), np.repeat(y, copies)
    return len(screen(X, y, alpha=ALPHA).selected) > 0


def share_found(columns: str, n: int, seed: int) -> float:
    """Return the share of 4 relevant columns that pass, where y is a class at 50 %."""
    rng = np.random.default_rng([seed, n, 4])
    X = COLUMNS[columns](rng, n, D)
    relevant = X[:, :4]
    spread = relevant.std(axis=0)
    u = ((relevant - relevant.mean(axis=0)) / np.where(spread > 0, spread, 1.0)).sum(axis=1)
    u += rng.standard_normal(n)
    return float((screen(X, (u > np.median(u)) * 1.0, alpha=ALPHA).selected < 4).sum()) / 4.0


def power(kinds: list[str], sizes: list[int], sets: int) -> None:
    print(f"share of 4 relevant columns of {D} that pass, mean of {sets} data sets")
    for kind in kinds:
        for n in sizes:
            found = [share_found(kind, n, seed) for seed in range(sets)]
            print(f"{kind:24}{n:6d}{np.mean(found):8.3f}", flush=True)


def main(kinds: list[str], targets: list[str], sizes: list[int], copies: list[int], sets: int):
    print(f"data sets of noise, of {sets}, in which a column passes at alpha = {ALPHA}")
    print(f"{'columns':24}{'n':>6}{'copies':>8}" + "".join(f"{t:>15}" for t in targets))
    for n in sizes:
        for repeated in copies:
            for kind in kinds:
                start = time.process_time()
                counts = [
                    sum(passes(kind, target, n, repeated, seed) for seed in range(sets))
                    for target in targets
                ]
                seconds = time.process_time() - start
                print(
                    f"{kind:24}{n:6d}{repeated:8d}"
                    + "".join(f"{count:15d}" for count in counts)
                    + f"   {seconds:.0f} s",
                    flush=True,
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", default=list(COLUMNS), choices=list(COLUMNS))
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--n", nargs="+", type=int, default=[60, 200, 1000])
    parser.add_argument("--copies", nargs="+", type=int, default=[1])
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--power", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.power:
        power(arguments.kinds, arguments.n, arguments.sets)
        raise SystemExit
    main(arguments.kinds, arguments.targets, arguments.n, arguments.copies, arguments.sets)
