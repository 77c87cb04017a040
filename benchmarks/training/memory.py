"""Measure the memory of training beyond the data at the allocators, and that of dense Adam.

python -m benchmarks.training.memory
"""

from __future__ import annotations

import numpy as np
import torch

from secateurs.experiments.allocation import Allocation, measure
from secateurs.training.dense import dense
from secateurs.training.moments import Scaling
from secateurs.training.prune_regrow import prune_regrow
from secateurs.training.training_data import TrainingData


def data_set(d: int) -> TrainingData:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1000, d), dtype=np.float32)
    return TrainingData(X, rng.integers(0, 10, 1000), Scaling(None, np.ones(d)), 10)


def sparse_run(d: int, m: int, s: int, overshoot: float, batch: int) -> Allocation:
    data = data_set(d)
    return measure(
        lambda: prune_regrow(
            data,
            (m,),
            s,
            n_steps=60,
            batch_size=batch,
            overshoot=overshoot,
            exchange_every=5,
        )
    )


def dense_run(d: int, m: int, batch: int) -> Allocation:
    data = data_set(d)
    return measure(lambda: dense(data, (m,), n_steps=3, batch_size=batch))


def main() -> None:
    torch.set_num_threads(1)
    print("peak in MB, torch + numpy; largest single allocation; batch 100, overshoot 4")
    for d, m in ((784, 50), (784, 2000), (784, 20_000)):
        print(f"d={d} m={m}: dense Adam {dense_run(d, m, 100).torch_peak / 1e6:.1f}")
        for s in (1_000, 10_000, 100_000):
            if 4 * s < d * m:
                a = sparse_run(d, m, s, 4, 100)
                print(
                    f"    s={s:<8}{a.torch_peak / 1e6:6.1f} + {a.numpy_peak / 1e6:.1f}; "
                    f"{a.largest / 1e6:.1f}"
                )
    ours, dense_mb = sparse_run(784, 100, 1000, 12, 500), dense_run(784, 100, 500).torch_peak / 1e6
    print(f"784-100-10, s=1000, overshoot 12, batch 500: {ours.torch_peak / 1e6:.1f}")
    print(f"    dense Adam {dense_mb:.1f}")
    print("s = 1000 fixed, m*d growing 16-fold:")
    for d, m in ((2000, 2000), (8000, 8000)):
        a = sparse_run(d, m, 1000, 4, 100)
        dense_mb = 16 * d * m / 1e6
        print(
            f"    d={d} m={m}: {a.torch_peak / 1e6:.1f} + {a.numpy_peak / 1e6:.1f} MB, largest "
            f"{a.largest / 1e6:.1f}; dense weights and moments would be {dense_mb:.0f} MB"
        )
    few, many = (sparse_run(784, 2000, s, 4, 20) for s in (40_000, 80_000))
    added = 4 * 40_000
    print(
        f"slope in overshoot * s: {(many.torch_peak - few.torch_peak) / added:.1f} bytes a weight "
        f"while training (torch), {(many.numpy_peak - few.numpy_peak) / added:.1f} before and "
        "after it (numpy)"
    )


if __name__ == "__main__":
    main()
