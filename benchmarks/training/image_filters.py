"""Images with learned filters under the same budget of weights, against the pixels themselves.

    python -m benchmarks.training.image_filters mnist.npz [--seeds 3] [--budgets 500 1000 2000]

The archive has x_train, y_train, x_test and y_test, images of one size.  A weight of a filter
counts once, however many positions it is used at, and so does a bias: a network behind filters has
as many weights less as the filters have.  The number of filters was chosen on held-out rows of the
training images of MNIST.  Filters see the rows that the network is trained on, 9 of 10 images.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch

from secateurs import SparseMLPClassifier
from secateurs.tiny import learn_filters

FEW, MANY = 6, 16  # filters for budgets below `LARGE` weights, and from there on
LARGE = 1000
HELD_OUT = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budgets", type=int, nargs="*", default=[500, 1000, 2000])
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = np.load(options.archive)
    shape = data["x_train"].shape[1:]
    X, X_test = (data[f"x_{part}"].reshape(-1, shape[0] * shape[1]) for part in ("train", "test"))
    y, y_test = data["y_train"], data["y_test"]
    for budget in options.budgets:
        scores: dict[str, list[float]] = {"pixels": [], "filters": []}
        seconds = dict.fromkeys(scores, 0.0)
        for seed in range(options.seeds):
            rows = np.random.default_rng(seed).permutation(len(y))[int(HELD_OUT * len(y)) :]
            for name in scores:
                began, read, left = time.process_time(), _same, budget
                if name == "filters":
                    count = FEW if budget < LARGE else MANY
                    read = learn_filters(X[rows], y[rows], shape, count, random_state=seed)
                    left -= read.n_nonzero
                model = SparseMLPClassifier(left, random_state=seed, validation_fraction=0.0)
                model.fit(read(X[rows]), y[rows])
                seconds[name] += time.process_time() - began
                scores[name].append(model.score(read(X_test), y_test))
        for name, found in scores.items():
            print(
                f"{budget} weights, {name}: mean {np.mean(found):.4f} ({min(found):.4f} to "
                f"{max(found):.4f}), {seconds[name] / options.seeds:.1f} CPU s",
                flush=True,
            )


def _same(X: Any) -> Any:
    return X


if __name__ == "__main__":
    main()
