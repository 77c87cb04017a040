"""Compare with SparseLab on MNIST: RigL on padded CSR, which also trains in sparse memory.

    pip install sparselab
    python -m benchmarks.training.sparselab PATH.npz

Both get 30 epochs, batches of 500, the same scaled inputs, and Adam with warm-up and cosine.  The
learning rate and the update interval of SparseLab are the best of a small grid on held-out rows.
"""

from __future__ import annotations

import argparse
import itertools
import time

import numpy as np
import torch
from sparselab import RigL, SparseLinear
from torch import nn

from secateurs import load_dataset
from secateurs.core.schedules import learning_rate_at
from secateurs.training.prune_regrow import prune_regrow
from secateurs.training.rigl import layer_counts
from secateurs.training.scaling import input_scaling
from secateurs.training.training_data import TrainingData

from .mnist import BATCH, STEPS, accuracy

CASES = [(200, 20), (1000, 50), (2000, 50)]


def train_sparselab(
    data: TrainingData, m: int, s: int, rate: float, every: int, seed: int
) -> nn.Sequential:
    torch.manual_seed(seed)
    widths = (data.d, m, 10)
    counts = layer_counts(widths, s)
    sparsity = [1 - c / (widths[i] * widths[i + 1]) for i, c in enumerate(counts)]
    model = nn.Sequential(
        SparseLinear(data.d, m, bias=False, sparsity=sparsity[0]),
        nn.ReLU(),
        SparseLinear(m, 10, bias=False, sparsity=sparsity[1]),
    )
    movers = [RigL(sparsity=x, update_freq=every, seed=seed) for x in sparsity]
    for layer, mover in zip((model[0], model[2]), movers, strict=True):
        layer.apply(mover)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    stream = data.batches(BATCH, torch.Generator().manual_seed(seed))
    units = torch.arange(data.d)
    for step in range(STEPS):
        rows = next(stream)
        optimizer.param_groups[0]["lr"] = rate * learning_rate_at(step, STEPS)
        loss = nn.functional.cross_entropy(
            model(data.inputs(rows, units)[:-1].t().contiguous()), data.targets(rows)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for mover in movers if step < 0.75 * STEPS else []:
            mover.step()
    return model


def score(model: nn.Sequential, data: TrainingData) -> float:
    correct = 0
    with torch.no_grad():
        for rows in torch.arange(data.n).split(2000):
            x = data.inputs(rows, torch.arange(data.d))[:-1].t().contiguous()
            correct += int((model(x).argmax(1) == data.targets(rows)).sum())
    return 100 * correct / data.n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", default="mnist")
    torch.set_num_threads(1)
    dataset = load_dataset(parser.parse_args().data)
    X, y = np.asarray(dataset.X), dataset.y.astype(np.int64)
    assert dataset.y_test is not None
    scaling = input_scaling(X)
    order = np.random.default_rng(7).permutation(len(y))
    rows, held = np.sort(order[: -len(y) // 10]), np.sort(order[-len(y) // 10 :])
    fit, held_out = (TrainingData(X, y, scaling, 10, rows=r) for r in (rows, held))
    full = TrainingData(X, y, scaling, 10)
    test = TrainingData(np.asarray(dataset.X_test), dataset.y_test.astype(np.int64), scaling, 10)
    for s, m in CASES:
        began = time.process_time()
        ours = prune_regrow(full, (m,), s, n_steps=STEPS, batch_size=BATCH, weight_decay=0.3).value
        cpu = time.process_time() - began
        print(f"s={s}: secateurs {accuracy(ours, test):.2f} in {cpu:.1f} s", flush=True)
        grid = itertools.product((1e-2, 3e-3), (50, 200))
        rate, every = max(
            grid, key=lambda g: score(train_sparselab(fit, m, s, *g, seed=9), held_out)
        )
        began = time.process_time()
        model = train_sparselab(full, m, s, rate, every, seed=0)
        cpu = time.process_time() - began
        print(
            f"s={s}: SparseLab {score(model, test):.2f} in {cpu:.1f} s "
            f"(learning rate {rate}, update every {every})",
            flush=True,
        )


if __name__ == "__main__":
    main()
