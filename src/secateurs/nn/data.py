"""Rows to train on and rows to judge by, from tensors, arrays or loaders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

N_CHUNKS = 30  # of the validation rows: the loss on each gives a standard error
EVALUATION_ROWS = 1 << 13  # rows forwarded at once

Loss = Callable[[Tensor, Tensor], Tensor]
Data = tuple[Tensor | NDArray[Any], Tensor | NDArray[Any]] | DataLoader[Any]
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Rows:
    """Where batches come from.

    Attributes
    ----------
    stream : callable
        ``stream(generator)`` yields training batches without end.
    chunks : callable
        Yields the validation rows in fixed chunks.
    given : bool
        The validation rows were given as such, not split off.
    """

    stream: Callable[[torch.Generator], Iterator[Batch]]
    chunks: Callable[[], Iterator[Batch]]
    given: bool


def prepare(
    data: Data,
    validation: float | Data,
    batch_size: int,
    module: nn.Module,
    generator: torch.Generator,
) -> Rows:
    """Training batches and validation chunks, on the device and in the dtype of a module.

    Parameters
    ----------
    data : (X, y) of n rows each, or DataLoader
        A loader yields (X, y) batches of its own size and order.
    validation : float, (X, y) or DataLoader
        Share of the rows of (X, y) that is set aside, or other data.  With a loader as `data`
        other data are needed: what it holds cannot be told apart.
    batch_size : int
    module : nn.Module
    generator : torch.Generator
        Draws the rows that are set aside.

    Raises
    ------
    ValueError, TypeError
        Data that cannot be used.
    """
    place = _placement(module)
    share = float(validation) if isinstance(validation, float | int) else None
    if isinstance(data, DataLoader):
        if share is not None:
            raise ValueError(
                f"got a DataLoader and validation={validation}; expected validation=(X, y) or "
                "another DataLoader, because the rows of a loader cannot be split"
            )
        train, loader = None, data
    else:
        train, loader = _pair(data, "data"), None
    if share is not None:
        assert train is not None
        train, held = _split(train, share, generator)
    elif isinstance(validation, DataLoader):
        held = None
    else:
        held = _pair(validation, "validation")

    def stream(draws: torch.Generator) -> Iterator[Batch]:
        while True:
            empty = True
            batches = _shuffled(train, batch_size, draws) if train is not None else _of(loader)
            for batch in batches:
                empty = False
                yield place(batch)
            if empty:
                raise ValueError("the DataLoader of the training data yields no batches")

    def chunks() -> Iterator[Batch]:
        for batch in _chunked(held) if held is not None else _of(validation):
            yield place(batch)

    return Rows(stream, chunks, given=share is None)


@torch.no_grad()
def chunk_losses(module: nn.Module, loss: Loss, rows: Rows) -> tuple[Tensor, Tensor]:
    """Validation loss of each chunk and its share of the rows, float64 [chunks], in eval mode."""
    was_training = module.training
    module.eval()
    try:
        losses, sizes = [], []
        for X, y in rows.chunks():
            losses.append(float(loss(module(X), y)))
            sizes.append(len(X))
    finally:
        module.train(was_training)
    if not sizes:
        raise ValueError("the validation data are empty")
    share = torch.tensor(sizes, dtype=torch.float64)
    return torch.tensor(losses, dtype=torch.float64), share / share.sum()


@torch.no_grad()
def constant_loss(module: nn.Module, loss: Loss, rows: Rows) -> float:
    """Validation loss of always answering the mean output of the module."""
    was_training = module.training
    module.eval()
    try:
        total, count = None, 0
        for X, _ in rows.chunks():
            out = module(X)
            total = out.sum(0) if total is None else total + out.sum(0)
            count += len(X)
        assert total is not None
        mean, value = total / count, 0.0
        for X, y in rows.chunks():
            value += float(loss(mean.expand(len(X), *mean.shape).contiguous(), y)) * len(X) / count
    finally:
        module.train(was_training)
    return value


def _placement(module: nn.Module) -> Callable[[Batch], Batch]:
    first = next(module.parameters())

    def place(batch: Batch) -> Batch:
        X, y = batch
        X, y = X.to(first.device), y.to(first.device)
        X = X.to(first.dtype) if X.is_floating_point() else X
        return X, y.to(first.dtype) if y.is_floating_point() else y

    return place


def _pair(data: Any, name: str) -> Batch:
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(
            f"{name} of type {type(data).__name__}: expected (X, y) tensors or arrays, or a "
            "DataLoader"
        )
    X, y = (torch.as_tensor(np.asarray(a) if not isinstance(a, Tensor) else a) for a in data)
    if X.ndim == 0 or y.ndim == 0 or len(X) != len(y) or len(X) < 2:
        raise ValueError(
            f"{name}: got X of shape {tuple(X.shape)} and y of shape {tuple(y.shape)}; expected "
            "the same number of rows, at least 2"
        )
    for a, letter in ((X, "X"), (y, "y")):
        if a.is_floating_point() and not bool(torch.isfinite(a).all()):
            raise ValueError(f"{name}: {letter} has NaN or infinite entries; drop or impute them")
    return X, y


def _split(data: Batch, share: float, generator: torch.Generator) -> tuple[Batch, Batch]:
    if not 0 < share < 1:
        raise ValueError(f"validation={share}: expected a share between 0 and 1, or (X, y)")
    X, y = data
    n_held = min(max(1, round(share * len(X))), len(X) - 1)
    order = torch.randperm(len(X), generator=generator)
    held, train = order[:n_held].sort().values, order[n_held:].sort().values
    return tuple((X[i.to(X.device)], y[i.to(y.device)]) for i in (train, held))  # type: ignore[return-value]


def _shuffled(data: Batch, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
    """One epoch in a fresh order; the rows of an incomplete last batch wait for the next."""
    X, y = data
    order = torch.randperm(len(X), generator=generator)
    size = min(batch_size, len(X))
    for start in range(0, len(X) - size + 1, size):
        index = order[start : start + size]
        yield X[index.to(X.device)], y[index.to(y.device)]


def _chunked(data: Batch) -> Iterator[Batch]:
    X, y = data
    n = len(X)
    pieces = max(min(N_CHUNKS, n), -(-n // EVALUATION_ROWS))
    cuts = [n * i // pieces for i in range(pieces + 1)]
    for a, b in pairwise(cuts):
        yield X[a:b], y[a:b]


def _of(loader: Any) -> Iterator[Batch]:
    for batch in loader:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise TypeError("the DataLoader must yield (X, y) batches")
        yield torch.as_tensor(batch[0]), torch.as_tensor(batch[1])
