"""Score all methods on small tables, with the default settings and five splits.

python -m benchmarks.training.tables
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from secateurs import SparseMLPClassifier, SparseMLPRegressor, compare, load_dataset
from secateurs.data.datasets import split

CASES = [("digits", 300), ("digits", 100), ("breast_cancer", 30), ("wine", 30), ("diabetes", 30)]


def main() -> None:
    torch.set_num_threads(1)
    print("mean test score (min) over 5 splits, processor seconds a fit")
    for name, s in CASES:
        scores: dict[str, list[float]] = {}
        seconds: dict[str, list[float]] = {}
        for seed in range(5):
            dataset = split(load_dataset(name), 0.2, random_state=seed)
            kind = SparseMLPClassifier if dataset.task == "classification" else SparseMLPRegressor
            model = kind(n_nonzero=s, random_state=seed)
            parts = (dataset.X, dataset.y, dataset.X_test, dataset.y_test)
            for row in compare(
                model, *parts, methods=["prune_regrow", "gradual", "imp", "rigl", "dense"]
            ):
                scores.setdefault(row["method"], []).append(row["score"])
                seconds.setdefault(row["method"], []).append(row["cpu_seconds"])
            linear = make_pipeline(
                StandardScaler(),
                LogisticRegression(max_iter=2000) if kind is SparseMLPClassifier else RidgeCV(),
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                linear.fit(dataset.X, dataset.y)
            scores.setdefault("linear, all weights", []).append(
                linear.score(dataset.X_test, dataset.y_test)
            )
        for method, values in scores.items():
            cpu = f"{np.mean(seconds[method]):5.1f} s" if method in seconds else ""
            print(
                f"{name:14}s={s:<5}{method:22}{np.mean(values):.4f} ({min(values):.4f}) {cpu}",
                flush=True,
            )


if __name__ == "__main__":
    main()
