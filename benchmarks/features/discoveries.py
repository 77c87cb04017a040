"""False discoveries and power of `discover`, beside knockoffs and LassoNet.

    python -m benchmarks.features.discoveries                          # 100 seeds, d = 1000
    python -m benchmarks.features.discoveries --d 10000 --seeds 100
    python -m benchmarks.features.discoveries --methods secateurs knockpy LassoNet --seeds 5
    python -m benchmarks.features.discoveries --large                  # d = 500,000 genotypes

y = u + .3 (u^2 - 1) + noise of standard deviation 1, u a sum of 20 standardised columns with random
signs, divided by sqrt(20).  The nominal rate is .1.  "FDR" is the mean share of columns found that
are not among the 20, "power" the mean share of the 20 that are found.  knockpy makes second-order
Gaussian knockoffs with an estimated covariance and the lasso statistic; LassoNet keeps the columns
of its best model on a fifth of the rows and controls no error.  Both run where they are installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from secateurs.features import discover, screen

RATE, RELEVANT = 0.1, 20
Array = NDArray[Any]
Generator = np.random.Generator


def correlated(rng: Generator, n: int, d: int) -> Array:
    X = rng.standard_normal((n, d)).astype(np.float32)
    for j in range(1, d):
        X[:, j] = 0.5 * X[:, j - 1] + np.sqrt(0.75) * X[:, j]
    return X


KINDS: dict[str, Callable[[Generator, int, int], Array]] = {
    "gaussian": lambda rng, n, d: rng.standard_normal((n, d)).astype(np.float32),
    "0/1": lambda rng, n, d: (rng.random((n, d)) < 0.3).astype(np.int8),
    "genotype": lambda rng, n, d: rng.binomial(2, rng.uniform(0.05, 0.5, d), (n, d)).astype("i1"),
    "AR(.5)": correlated,
}


def problem(kind: str, n: int, d: int, seed: int) -> tuple[Array, Array, Array]:
    """Return X, y and the relevant columns."""
    rng = np.random.default_rng([seed, n, d])
    X = KINDS[kind](rng, n, d)
    S = rng.choice(d, RELEVANT, replace=False)
    return X, target(X[:, S].astype(float), rng), S


def target(X: Array, rng: Generator) -> Array:
    u = (X - X.mean(axis=0)) / X.std(axis=0) @ rng.choice([-1.0, 1.0], RELEVANT)
    u /= np.sqrt(RELEVANT)
    return u + 0.3 * (u**2 - 1.0) + rng.standard_normal(len(X))


def knockoffs(X: Array, y: Array, seed: int) -> Array:
    from knockpy import KnockoffFilter

    np.random.seed(seed)  # noqa: NPY002 (knockpy has no other way)
    filter_ = KnockoffFilter(ksampler="gaussian", fstat="lasso")
    return np.flatnonzero(filter_.forward(X=X.astype(float), y=y, fdr=RATE))


def lassonet(X: Array, y: Array, seed: int) -> Array:
    from lassonet import LassoNetRegressor

    Z = ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32)
    t = (y - y.mean()) / y.std()
    cut = len(y) // 5
    model = LassoNetRegressor(hidden_dims=(32,), random_state=seed, torch_seed=seed, verbose=0)
    path = model.path(Z[cut:], t[cut:], X_val=Z[:cut], y_val=t[:cut], return_state_dicts=True)
    best = min(path, key=lambda state: state.val_loss)
    return np.flatnonzero(best.selected.numpy())


METHODS: dict[str, tuple[Callable[[Array, Array, int], Array], str | None]] = {
    "secateurs": (lambda X, y, _: discover(X, y, RATE).columns, None),
    "screen, BH": (lambda X, y, _: screen(X, y).discoveries(RATE), None),
    "knockpy": (knockoffs, "knockpy"),
    "LassoNet": (lassonet, "lassonet"),
}


def measure(kinds: list[str], methods: list[str], n: int, d: int, seeds: int, first: int) -> None:
    print(f"{'columns':12}{'method':14}{'d':>8}{'n':>7}{'FDR':>8}{'power':>8}{'s a fit':>9}")
    for kind in kinds:
        for name in methods:
            find, package = METHODS[name]
            if package is not None and importlib.util.find_spec(package) is None:
                print(f"{kind:12}{name:14} not installed", flush=True)
                continue
            rows = []
            for seed in range(first, first + seeds):
                X, y, S = problem(kind, n, d, seed)
                began = time.process_time()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    J = find(X, y, seed)
                spent = time.process_time() - began
                false = len(np.setdiff1d(J, S)) / max(1, len(J))
                rows.append((false, len(np.intersect1d(J, S)) / RELEVANT, spent))
            fdr, power, seconds = np.mean(rows, axis=0)
            line = f"{kind:12}{name:14}{d:8d}{n:7d}{fdr:8.3f}{power:8.3f}{seconds:9.2f}"
            print(line, flush=True)


def large(n: int, d: int, folder: str | None) -> None:
    """Time `discover` on a mapped file of genotypes, and print the largest memory."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / "genotypes.npy"
        X = open_memmap(path, mode="w+", dtype=np.int8, shape=(n, d), fortran_order=True)
        rng = np.random.default_rng(0)
        for a in range(0, d, 1 << 14):
            width = min(1 << 14, d - a)
            X[:, a : a + width] = KINDS["genotype"](rng, n, width)
        S = rng.choice(d, RELEVANT, replace=False)
        y = target(X[:, S].astype(float), rng)
        X.flush()
        del X
        Path("/proc/self/clear_refs").write_text("5")  # forget the largest memory so far
        wall, began = time.perf_counter(), time.process_time()
        J = discover(path, y, RATE).columns
        spent, wall = time.process_time() - began, time.perf_counter() - wall
        most = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    found, others = len(np.intersect1d(J, S)), len(np.setdiff1d(J, S))
    print(f"d = {d}, n = {n}: {spent:.0f} s of one processor, {wall:.0f} s, {most:.0f} MB")
    print(f"found {found} of {RELEVANT}, and {others} others")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--methods", nargs="+", default=["secateurs"], choices=list(METHODS))
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--d", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--folder", help="where the file of --large is put")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.large:
        large(2000, 500_000, arguments.folder)
    else:
        a = arguments
        measure(a.kinds, a.methods, a.n, a.d, a.seeds, a.first)
