"""Pairwise interactions: QuadraticRegressor beside ridge, lasso and trees, on two kinds of tables.

Planted tables: R^2 on fresh rows without noise.  Real tables: R^2 over five folds.  Times are
processor seconds of a fit, with the choice of the strength by cross-validation on training rows.

    python -m benchmarks.sensing.quadratic [--seeds 5]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    make_friedman1,
    make_friedman2,
    make_friedman3,
)
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV, RidgeCV
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from secateurs import QuadraticRegressor
from secateurs.sensing.planted import interactions_table

STRENGTHS = np.logspace(-2, 5, 15)
METHODS: dict[str, Callable[[], Any]] = {
    "ours": lambda: QuadraticRegressor(random_state=0),
    "ridge": lambda: make_pipeline(StandardScaler(), RidgeCV(STRENGTHS)),
    "ridge, degree 2": lambda: make_pipeline(
        StandardScaler(), PolynomialFeatures(2), StandardScaler(), RidgeCV(STRENGTHS)
    ),
    "lasso, degree 2": lambda: make_pipeline(
        StandardScaler(),
        PolynomialFeatures(2),
        StandardScaler(),
        LassoCV(cv=3, alphas=20, max_iter=2000),
    ),
    "boosting": lambda: HistGradientBoostingRegressor(random_state=0),
}
REAL: dict[str, Callable[[], tuple[Any, Any]]] = {
    "diabetes": lambda: load_diabetes(return_X_y=True),
    "breast_cancer": lambda: load_breast_cancer(return_X_y=True),
    "friedman 1": lambda: make_friedman1(1000, 10, noise=1, random_state=0),
    "friedman 2": lambda: make_friedman2(1000, noise=50, random_state=0),
    "friedman 3": lambda: make_friedman3(1000, noise=0.1, random_state=0),
}


def fitted(name: str, X: Any, y: Any) -> tuple[Any, float]:
    model = METHODS[name]()
    began = time.process_time()
    model.fit(X, y)
    return model, time.process_time() - began


def row(label: str, scores: list[float], seconds: list[float], extra: str = "") -> None:
    spread = f"{min(scores):.3f} to {max(scores):.3f}"
    print(
        f"  {label:16} R^2 {np.mean(scores):6.3f} ({spread})  {np.mean(seconds):7.2f} s  {extra}",
        flush=True,
    )


def planted(d: int, n: int, n_seeds: int) -> None:
    print(f"planted, d={d} n={n}: two squares of each sign and a line, {n_seeds} seeds")
    cost = {}
    for name in METHODS:
        scores, seconds, ranks = [], [], []
        for seed in range(n_seeds):
            problem = interactions_table(n, d, random_state=100 + seed)
            model, spent = fitted(name, problem.X, problem.y)
            scores.append(model.score(problem.X_test, problem.y_test))
            seconds.append(spent)
            if name == "ours":
                ranks.append(model.n_components_)
        cost[name] = np.mean(seconds)
        extra = f"squares {ranks}" if ranks else f"{cost[name] / cost['ours']:.0f}x our time"
        row(name, scores, seconds, extra)


def real(name: str) -> None:
    X, y = REAL[name]()
    y = y.astype(float)
    print(f"{name}: n={len(X)} d={X.shape[1]}, five folds")
    for method in METHODS:
        scores, seconds, ranks = [], [], []
        for train, test in KFold(5, shuffle=True, random_state=0).split(X):
            model, spent = fitted(method, X[train], y[train])
            scores.append(model.score(X[test], y[test]))
            seconds.append(spent)
            if method == "ours":
                ranks.append(model.n_components_)
        row(method, scores, seconds, f"squares {ranks}" if ranks else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    n_seeds = parser.parse_args().seeds
    warnings.simplefilter("ignore", ConvergenceWarning)
    planted(60, 1500, n_seeds)
    planted(100, 4000, n_seeds)
    for name in REAL:
        real(name)


if __name__ == "__main__":
    main()
