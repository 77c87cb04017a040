"""Scores of integer networks on small tables, beside the float network of the same budget.

python -m benchmarks.tiny.tables [--seeds 3] [NAME=PATH:TARGET:WEIGHTS ...]

The tables are those of scikit-learn; others are given as arguments.  Bits and budgets are fixed
beforehand.  Bytes of flash are those of `benchmarks.tiny.mnist.compiled_bytes`.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from benchmarks.tiny.mnist import compiled_bytes
from secateurs import SparseMLPClassifier, SparseMLPRegressor, load_dataset
from secateurs.data.datasets import split
from secateurs.tiny import quantize

CASES = [
    ("digits", "digits", None, 500),
    ("breast_cancer", "breast_cancer", None, 60),
    ("wine", "wine", None, 60),
    ("diabetes", "diabetes", None, 40),
]
BITS = 5


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("tables", nargs="*")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = list(CASES)
    for table in options.tables:
        name, _, rest = table.partition("=")
        path, target, budget = rest.rsplit(":", 2)
        cases.append((name, path, target, int(budget)))
    print("mean test score: float, integer, difference; most bytes of flash")
    for name, path, target, budget in cases:
        scores, flash = [], 0
        for seed in range(options.seeds):
            data = split(load_dataset(path, target=target), 0.2, random_state=seed)
            kind = SparseMLPClassifier if data.task == "classification" else SparseMLPRegressor
            model = kind(budget, (16,), random_state=seed).fit(data.X, data.y)
            network = quantize(model, data.X, data.y, BITS, random_state=seed)
            scores.append((model.score(data.X_test, data.y_test),
                           network.score(data.X_test, data.y_test)))  # fmt: skip
            flash = max(flash, compiled_bytes(network))
        before, after = np.mean(scores, axis=0)
        print(f"{name:16}{before:.4f} {after:.4f} {after - before:+.4f} {flash:6} B", flush=True)


if __name__ == "__main__":
    main()
