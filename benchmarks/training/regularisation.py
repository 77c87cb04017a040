"""Compare input noise and weight decay on held-out rows of the training data.

    python -m benchmarks.training.regularisation [MNIST.npz]

The test rows of every data set are set aside and not used.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import torch

from secateurs import SparseMLPClassifier, SparseMLPRegressor, load_dataset
from secateurs.data.datasets import split

TABLES = [
    ("digits", 300),
    ("breast_cancer", 30),
    ("breast_cancer", 300),
    ("wine", 30),
    ("wine", 300),
    ("diabetes", 30),
    ("diabetes", 300),
]
SMALL = [(0.0, 0.0), (0.2, 0.0), (0.4, 0.0), (0.0, 0.3), (0.0, 1.0), (0.4, 0.3)]
LARGE = [(0.0, 0.0), (0.0, 0.1), (0.0, 0.3), (0.0, 1.0), (0.4, 0.0)]


def held_out_scores(
    name: str, s: int, variants: list[tuple[float, float]], seeds: int, hidden: int
) -> None:
    for noise, decay in variants:
        scores = []
        for seed in range(seeds):
            outer = split(load_dataset(name), 0.2, random_state=seed)
            inner = split(replace(outer, X_test=None, y_test=None), 0.2, random_state=seed)
            kind = SparseMLPClassifier if outer.task == "classification" else SparseMLPRegressor
            model = kind(
                s,
                (hidden,),
                input_noise=noise,
                weight_decay=decay,
                validation_fraction=0.0,
                random_state=seed,
            )
            scores.append(model.fit(inner.X, inner.y).score(inner.X_test, inner.y_test))
        error = np.std(scores) / len(scores) ** 0.5
        print(
            f"{name[-20:]:20}s={s:<5} noise {noise} decay {decay}: {np.mean(scores):.4f} "
            f"± {error:.4f}",
            flush=True,
        )


def main() -> None:
    torch.set_num_threads(1)
    for name, s in TABLES:
        held_out_scores(name, s, SMALL, seeds=8, hidden=50)
    for path in sys.argv[1:]:
        held_out_scores(path, 2000, LARGE, seeds=2, hidden=100)


if __name__ == "__main__":
    main()
