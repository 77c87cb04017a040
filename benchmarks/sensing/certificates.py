"""How often all checks of a certificate hold although the rank is wrong, and how often they hold.

    python -m benchmarks.sensing.certificates    # four kinds of measurements with noise

Measurements: packed Gaussian matrices, and x x^T with x that is Gaussian, Student t with 3 degrees
of freedom, or Gaussian in one of ten entries and zero elsewhere; all x have unit variance.  The
noise is that of `planted_sensing`: nu / sigma_r^2, where nu is the norm that Gaussian noise has for
Gaussian measurements of this kind.  Checks that are always "unknown", and those of the penalty,
are not counted.
"""

from __future__ import annotations

import argparse
import itertools
import time

import numpy as np

from secateurs.sensing.certificate import sensing_certificate
from secateurs.sensing.operators.projected import centred
from secateurs.sensing.operators.rank_one import RankOne
from secateurs.sensing.planted import NOISE_NORM, SensingProblem, planted_sensing
from secateurs.sensing.regularisation_path import group_lasso_path

KINDS = ("gaussian", "rank-one", "student", "sparse")
COUNTED = ("stationarity", "second order", "singular gap", "sample size", "identification")
SPARSITY = 0.1


def problem(kind: str, n: int, d: int, r: int, noise: float, seed: int) -> SensingProblem:
    """Measurements of a random matrix, as of `planted_sensing`."""
    if kind in NOISE_NORM:
        return planted_sensing(n, d, r, kind=kind, noise_ratio=noise, random_state=seed)
    rng = np.random.default_rng(seed)
    U = rng.standard_normal((r, d))
    U /= np.linalg.norm(U, axis=1)[:, None]
    if kind == "student":
        X = rng.standard_t(3, size=(n, d)) / np.sqrt(3)
    else:
        X = rng.standard_normal((n, d)) * (rng.random((n, d)) < SPARSITY) / np.sqrt(SPARSITY)
    smallest = float(np.linalg.svd(U, compute_uv=False)[-1] ** 2)
    sigma = noise * smallest / (NOISE_NORM["rank-one"] * np.sqrt(d / n))
    operator = RankOne(X)
    y = operator.forward_factors(U) + sigma * rng.standard_normal(n)
    return SensingProblem(centred(operator), y, U, np.ones(r), sigma, operator, y)


def noisy(
    kinds: list[str], d: int, r: int, ratios: list[float], noises: list[float], seeds: int,
    first: int,
) -> None:  # fmt: skip
    total = wrong = 0
    for kind, ratio, noise in itertools.product(kinds, ratios, noises):
        right = holds = false = 0
        failed = dict.fromkeys(COUNTED, 0)
        spent = [0.0, 0.0]
        for seed in range(first, first + seeds):
            p = problem(kind, int(ratio * r * d), d, r, noise, seed)
            began = time.process_time()
            fit = group_lasso_path(p.operator, p.y).value
            fitted = time.process_time()
            checks = sensing_certificate(p.operator, p.y, fit.components, fit.signs)
            spent[0] += fitted - began
            spent[1] += time.process_time() - fitted
            exact = len(fit.components) == r
            certified = all(checks[name].verdict == "holds" for name in COUNTED)
            right += exact
            holds += exact and certified
            false += certified and not exact
            for name in COUNTED:
                failed[name] += exact and checks[name].verdict != "holds"
        total, wrong = total + seeds, wrong + false
        others = ", ".join(f"{name} {count}" for name, count in failed.items() if count)
        print(
            f"{kind}, d={d}, r={r}, n/(rd)={ratio:g}, noise {noise:g}: rank right {right}/{seeds}; "
            f"all hold and right {holds}, all hold and wrong {false}; "
            f"right, but does not hold: {others or 'none'}; "
            f"{spent[0] / seeds:.2f} s a fit, {spent[1] / seeds:.2f} s a certificate",
            flush=True,
        )
    print(f"all hold and wrong: {wrong} of {total}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS))
    parser.add_argument("--d", type=int, default=30)
    parser.add_argument("--r", type=int, default=3)
    parser.add_argument("--ratios", nargs="+", type=float, default=[3.0, 5.0])
    parser.add_argument("--noises", nargs="+", type=float, default=[0.3, 0.6])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=4_000_000)
    a = parser.parse_args()
    noisy(a.kinds, a.d, a.r, a.ratios, a.noises, a.seeds, a.first)
