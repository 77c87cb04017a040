"""Compare secateurs with other methods on sparse multi-index problems and tables, in one run.

    python -m benchmarks.features.peers                     # planted tasks and tables
    python -m benchmarks.features.peers --tasks he1 he3     # some of them

Planted tasks have d = 400 Gaussian columns, of which M = 8 matter, and noise of a fifth of the
standard deviation of y; R^2 is on 2000 test rows without noise.  Tables keep a fifth of their rows
for the test; friedman1 has 1000 rows to fit, 1000 test rows without noise, and 5 columns that
matter.  F1 is that of the support.  Seconds are processor seconds of a fit, on one thread.
LassoNet and xRFM run where they are installed.  The number of columns of the forest, and the
penalties of Lasso and LassoNet, are chosen on validation rows taken from the training rows.
Boosting, MLPRegressor and xRFM run with their defaults.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import make_friedman1
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LassoCV
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from secateurs import SparseMultiIndexRegressor, load_dataset
from secateurs.data.datasets import split
from secateurs.features.planted import normalised_hermite, planted_multi_index

Array = NDArray[np.float64]
Result = tuple[Callable[[Array], Array], Array | None]  # prediction, columns used

TASKS: dict[str, dict[str, Any]] = {
    "he1": {"link": "he1", "r": 1, "n": 300},
    "he2": {"link": "he2", "r": 1, "n": 1500},
    "he3": {"link": "he3", "r": 1, "n": 2000},
    "multi": {"link": "z1*z2", "r": 2, "n": 1500},
}
TABLES = ("diabetes", "diabetes + 500 columns of noise", "friedman1 + 200 columns of noise")
SIZES = (4, 8, 16, 32)  # columns kept by the forest; validation rows choose one of them


def ours(X: Array, y: Array, seed: int) -> Result:
    model = SparseMultiIndexRegressor(random_state=seed).fit(X, y)
    return model.predict, model.support_


def forest_then_mlp(X: Array, y: Array, seed: int) -> Result:
    """Keep the columns of largest importance; validation rows choose how many."""
    forest = RandomForestRegressor(300, random_state=seed).fit(X, y)
    order = np.argsort(-forest.feature_importances_, kind="stable")
    rows = np.random.default_rng(seed).permutation(len(y))
    val, train = np.split(rows, [len(y) // 5])
    best, kept = -np.inf, order[: SIZES[0]]
    for size in SIZES:
        J = order[:size]
        score = _mlp(X[train][:, J], y[train], seed)(X[val][:, J])
        r2 = 1 - np.mean((score - y[val]) ** 2) / y[val].var()
        if r2 > best:
            best, kept = r2, J
    predict = _mlp(X[:, kept], y, seed)
    return lambda Z: predict(Z[:, kept]), kept


def hermite_lasso(X: Array, y: Array, seed: int) -> Result:
    """Fit Lasso on he_1, he_2 and he_3 of every column; cross-validation chooses the penalty."""
    scaler = StandardScaler().fit(X)

    def features(Z: Array) -> Array:
        standard = scaler.transform(Z)
        return np.concatenate([normalised_hermite(standard, k) for k in (1, 2, 3)], axis=1)

    model = LassoCV(cv=5, random_state=seed).fit(features(X), y)
    used = np.flatnonzero(np.abs(model.coef_).reshape(3, -1).max(axis=0))
    return lambda Z: model.predict(features(Z)), used


def boosting(X: Array, y: Array, seed: int) -> Result:
    model = HistGradientBoostingRegressor(early_stopping=True, random_state=seed).fit(X, y)
    return model.predict, None


def mlp(X: Array, y: Array, seed: int) -> Result:
    return _mlp(X, y, seed), None


def lassonet(X: Array, y: Array, seed: int) -> Result:
    """Fit the whole path, and take the model with the largest R^2 on validation rows."""
    from lassonet import LassoNetRegressor

    rows = np.random.default_rng(seed).permutation(len(y))
    val, train = np.split(rows, [len(y) // 5])
    scaler = StandardScaler().fit(X)
    mean, spread = y.mean(), y.std()
    Z, t = scaler.transform(X), (y - mean) / spread
    model = LassoNetRegressor(hidden_dims=(64,), random_state=seed, torch_seed=seed, verbose=0)
    path = model.path(Z[train], t[train], X_val=Z[val], y_val=t[val], return_state_dicts=True)
    errors = []
    for state in path:
        model.load(state.state_dict)
        errors.append(np.mean((model.predict(Z[val]).ravel() - t[val]) ** 2))
    best = path[int(np.argmin(errors))]
    model.load(best.state_dict)
    used = np.flatnonzero(best.selected.numpy())
    return lambda W: mean + spread * model.predict(scaler.transform(W)).ravel(), used


def xrfm(X: Array, y: Array, seed: int) -> Result:
    from xrfm import xRFM

    rows = np.random.default_rng(seed).permutation(len(y))
    val, train = np.split(rows, [len(y) // 5])
    scaler = StandardScaler().fit(X)
    mean, spread = y.mean(), y.std()

    def tensor(values: Array) -> torch.Tensor:
        return torch.from_numpy(values).float()

    Z, t = tensor(scaler.transform(X)), tensor((y - mean) / spread)[:, None]
    model = xRFM(device=torch.device("cpu"), tuning_metric="mse", random_state=seed)
    model.fit(Z[train], t[train], Z[val], t[val])

    def predict(W: Array) -> Array:
        out = model.predict(tensor(scaler.transform(W)))
        return np.asarray(mean + spread * np.asarray(out, dtype=np.float64).ravel())

    return predict, None


METHODS: dict[str, tuple[Callable[[Array, Array, int], Result], str | None]] = {
    "secateurs": (ours, None),
    "forest + MLP": (forest_then_mlp, None),
    "Lasso on Hermite": (hermite_lasso, None),
    "HistGradientBoosting": (boosting, None),
    "MLPRegressor": (mlp, None),
    "xRFM": (xrfm, "xrfm"),
    "LassoNet": (lassonet, "lassonet"),
}


def _mlp(X: Array, y: Array, seed: int) -> Callable[[Array], Array]:
    scaler = StandardScaler().fit(X)
    mean, spread = y.mean(), y.std()
    model = MLPRegressor(hidden_layer_sizes=(64,), early_stopping=True, max_iter=1000)
    model.set_params(random_state=seed, validation_fraction=0.2, n_iter_no_change=30).fit(
        scaler.transform(X), (y - mean) / spread
    )
    return lambda Z: mean + spread * model.predict(scaler.transform(Z))


def data(task: str, seed: int) -> tuple[Array, Array, Array, Array, Array | None]:
    """Return X, y, test X, test y, and the support where it is known."""
    if task in TASKS:
        p = planted_multi_index(d=400, sparsity=8, noise=0.2, random_state=seed, **TASKS[task])
        return p.X, p.y, p.X_test, p.y_test, p.support
    if task.startswith("friedman1"):
        X, y = make_friedman1(1000, 205, noise=1.0, random_state=seed)
        X_test, y_test = make_friedman1(1000, 205, noise=0.0, random_state=1000 + seed)
        return X, y, X_test, y_test, np.arange(5)
    d = split(load_dataset("diabetes"), 0.2, random_state=seed)
    assert d.y_test is not None
    X, X_test = np.asarray(d.X, dtype=np.float64), np.asarray(d.X_test, dtype=np.float64)
    if task != "diabetes":
        rng = np.random.default_rng(seed)
        X, X_test = (np.hstack([Z, rng.standard_normal((len(Z), 500))]) for Z in (X, X_test))
    return X, d.y.astype(np.float64), X_test, d.y_test.astype(np.float64), None


def f1(found: Array | None, truth: Array | None) -> float:
    if found is None or truth is None:
        return np.nan
    both = len(np.intersect1d(found, truth))
    return 2 * both / max(1, len(found) + len(truth))


def main(tasks: list[str], methods: list[str], seeds: int) -> None:
    print(f"{'task':34}{'method':22}{'R^2':>8}{'F1':>7}{'columns':>9}{'seconds':>9}")
    for task in tasks:
        for name in methods:
            fit, package = METHODS[name]
            if package is not None and importlib.util.find_spec(package) is None:
                print(f"{task:34}{name:22} not installed", flush=True)
                continue
            rows = []
            for seed in range(seeds):
                X, y, X_test, y_test, support = data(task, seed)
                start = time.process_time()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    predict, used = fit(X, y, seed)
                    spent = time.process_time() - start
                    error = np.mean((predict(X_test) - y_test) ** 2)
                size = np.nan if used is None else float(len(used))
                rows.append((1 - error / y_test.var(), f1(used, support), size, spent))
            r2, score, size, seconds = np.mean(rows, axis=0)
            shown = "" if np.isnan(score) else f"{score:.2f}"
            kept = "" if np.isnan(size) else f"{size:.1f}"
            print(f"{task:34}{name:22}{r2:8.3f}{shown:>7}{kept:>9}{seconds:9.1f}", flush=True)


if __name__ == "__main__":
    known = [*TASKS, *TABLES]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=known, choices=known)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    main(arguments.tasks, arguments.methods, arguments.seeds)
