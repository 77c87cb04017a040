"""Training of the dense networks that the benchmarks prune."""

from __future__ import annotations

import torch
from torch import nn

from secateurs.nn.data import Batch, Loss

BATCH = 128


def train_dense(
    module: nn.Module, loss: Loss, data: Batch, n_steps: int, learning_rate: float, seed: int
) -> None:
    """Train a module in place by Adam with a cosine schedule."""
    X, y = data
    optimizer = torch.optim.Adam(module.parameters(), lr=learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(n_steps):
        rows = torch.randint(len(X), (BATCH,), generator=generator)
        optimizer.zero_grad()
        loss(module(X[rows]), y[rows]).backward()
        optimizer.step()
        schedule.step()
