"""Compare the R^2 that a fit reports with R^2 on test rows, for tables with few rows, five folds.

    python -m benchmarks.features.tables                      # all tables
    python -m benchmarks.features.tables --tables diabetes

"reported" is `val_r2_`, and "test" is R^2 on the fold.  Leave-one-out chooses the penalty of ridge,
and boosting runs with its defaults.  friedman1 has 5 columns that matter.  Seconds are processor
seconds of a fit by secateurs.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import make_friedman1
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from secateurs import SparseMultiIndexRegressor, load_dataset

Array = NDArray[np.float64]
TABLES = ("diabetes", "diabetes + 500 columns of noise", "friedman1 + 45", "friedman1 + 200")


def table(name: str, seed: int) -> tuple[Array, Array]:
    if name.startswith("friedman1"):
        return make_friedman1(1000, 5 + int(name.split("+ ")[1]), noise=1.0, random_state=seed)
    d = load_dataset("diabetes")
    X, y = np.asarray(d.X, dtype=np.float64), d.y.astype(np.float64)
    if name != "diabetes":
        X = np.hstack([X, np.random.default_rng(seed).standard_normal((len(X), 500))])
    return X, y


def main(names: list[str], seed: int) -> None:
    print(f"{'table':34}{'reported':>9}{'test':>8}{'ridge':>8}{'boosting':>9}{'cols':>7}{'sec':>6}")
    for name in names:
        X, y = table(name, seed)
        rows = []
        for train, test in KFold(5, shuffle=True, random_state=seed).split(X):
            start = time.process_time()
            model = SparseMultiIndexRegressor(random_state=seed).fit(X[train], y[train])
            spent = time.process_time() - start
            ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 25)))
            others = (ridge, HistGradientBoostingRegressor(random_state=seed))
            r2 = [m.fit(X[train], y[train]).score(X[test], y[test]) for m in others]
            ours = model.score(X[test], y[test])
            rows.append((model.val_r2_, ours, *r2, len(model.support_), spent))
        val, ours, by_ridge, boosted, size, seconds = np.mean(rows, axis=0)
        print(
            f"{name:34}{val:9.3f}{ours:8.3f}{by_ridge:8.3f}{boosted:9.3f}{size:7.1f}{seconds:6.1f}",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=list(TABLES))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    main(arguments.tables, arguments.seed)
