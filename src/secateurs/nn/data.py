"""Training batches and validation rows, from tensors, arrays or loaders."""

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

from secateurs.core.parameters import Shown, bad_value, check_real

N_CHUNKS = 30  # chunks of the validation rows; their losses give a standard error
EVALUATION_ROWS = 1 << 13  # most rows in one forward pass without gradients

Loss = Callable[[Tensor, Tensor], Tensor]
Data = tuple[Tensor | NDArray[Any], Tensor | NDArray[Any]] | DataLoader[Any]
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Selection:
    """Some rows of (X, y), which are not copied: at most a batch is taken at once."""

    rows: Batch
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def take(self, places: Tensor | slice) -> Batch:
        """Copy the rows at these places of the selection."""
        return _rows(self.rows, self.index[places])


@dataclass(frozen=True)
class PruningData:
    """Rows to train on, and validation rows to choose on.

    Attributes
    ----------
    training : Selection or DataLoader
    validation : (X, y) tensors or DataLoader
    batch_size : int
        For training tensors; a loader has its own.
    like : Tensor
        Every batch is moved to its device, and floating-point batches to its dtype.
    validation_given : bool
        The user gave the validation rows; otherwise they were split off the training rows.
    """

    training: Selection | DataLoader[Any]
    validation: Batch | DataLoader[Any]
    batch_size: int
    like: Tensor
    validation_given: bool

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        """Yield training batches without end; `generator` draws their order."""
        while True:
            if isinstance(self.training, DataLoader):
                epoch = _loaded(self.training)
            else:
                epoch = _shuffled(self.training, self.batch_size, generator)
            empty = True
            for batch in epoch:
                empty = False
                yield self._placed(batch)
            if empty:
                raise bad_value("data", Shown("a DataLoader without batches"), "at least one batch")

    def calibration(self, most: int | None) -> Batch | DataLoader[Any]:
        """Return the first training rows, or all; a loader as it is."""
        if isinstance(self.training, DataLoader):
            return self.training
        return self.training.take(slice(most))

    def chunks(self) -> Iterator[Batch]:
        """Yield the validation rows in fixed chunks."""
        held = self.validation
        for batch in _loaded(held) if isinstance(held, DataLoader) else _chunked(held):
            yield self._placed(batch)

    def _placed(self, batch: Batch) -> Batch:
        return placed(batch, self.like)


def first_parameter(module: nn.Module) -> Tensor:
    """Return a parameter of a module; ValueError if it has none."""
    for parameter in module.parameters():
        return parameter
    raise bad_value("module", Shown("no parameters"), "at least one layer with weights")


def labels(y: Tensor) -> Tensor:
    """Return integers as int64, which the losses of torch expect; others as they are."""
    is_integer = not (y.is_floating_point() or y.is_complex() or y.dtype == torch.bool)
    return y.long() if is_integer else y


def placed(batch: Batch, like: Tensor) -> Batch:
    """Move a batch to the device of a tensor, and numbers to its dtype."""
    X, y = (
        part.to(like.device, like.dtype if part.is_floating_point() else part.dtype)
        for part in batch
    )
    return X, labels(y)


def prepare_data(
    data: Data,
    validation: float | Data,
    batch_size: int,
    module: nn.Module,
    generator: torch.Generator,
) -> PruningData:
    """Check the data, and split validation rows off if only their share is given.

    `generator` draws the rows that are split off.  ValueError or TypeError if the data cannot
    be used.
    """
    like = first_parameter(module)
    if not isinstance(validation, float | int):
        given = _checked(validation, "validation")
        training = data if isinstance(data, DataLoader) else _all(checked_rows(data, "data"))
        return PruningData(training, given, batch_size, like, validation_given=True)
    if isinstance(data, DataLoader):
        expected = "(X, y) or another DataLoader, because the rows of a DataLoader cannot be split"
        raise bad_value("validation", validation, expected)
    rows = checked_rows(data, "data")
    share = check_real("validation", validation, above=0, below=1, otherwise="(X, y)")
    training, held = _split(rows, share, generator)
    return PruningData(training, held, batch_size, like, validation_given=False)


def _checked(data: Any, name: str) -> Batch | DataLoader[Any]:
    return data if isinstance(data, DataLoader) else checked_rows(data, name)


def checked_rows(data: Any, name: str) -> Batch:
    """Check that data are (X, y) with as many rows each, and finite."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(
            f"{name}: got {type(data).__name__}; expected (X, y) tensors or arrays, or a DataLoader"
        )
    X, y = (_tensor(a, letter, name) for a, letter in zip(data, "Xy", strict=True))
    if X.ndim == 0 or y.ndim == 0 or len(X) != len(y) or len(X) < 2:
        shapes = Shown(f"X of shape {tuple(X.shape)} and y of shape {tuple(y.shape)}")
        raise bad_value(name, shapes, "the same number of rows, at least 2")
    for a, letter in ((X, "X"), (y, "y")):
        if a.is_floating_point() and not _is_finite(a):
            got = Shown(f"{letter} with NaN or infinite entries")
            raise bad_value(name, got, "finite numbers", "drop or impute them")
    return X, y


def _tensor(given: Any, letter: str, name: str) -> Tensor:
    if isinstance(given, Tensor):
        return given
    try:
        return torch.as_tensor(np.asarray(given))
    except (TypeError, ValueError) as error:  # texts, objects, rows of several lengths
        got = Shown(f"{letter} that is no array of numbers ({error})")
        raise bad_value(name, got, "tensors or arrays of numbers") from error


def _is_finite(tensor: Tensor) -> bool:
    """Whether all numbers are finite, looked at in blocks, so that no copy is made."""
    size = EVALUATION_ROWS // 8
    starts = range(0, len(tensor), size)
    return all(bool(torch.isfinite(tensor[i : i + size]).all()) for i in starts)


def _all(data: Batch) -> Selection:
    return Selection(data, torch.arange(len(data[0])))


def _split(data: Batch, share: float, generator: torch.Generator) -> tuple[Selection, Batch]:
    n = len(data[0])
    n_held = min(max(1, round(share * n)), n - 1)
    order = torch.randperm(n, generator=generator)
    held, train = order[:n_held].sort().values, order[n_held:].sort().values
    return Selection(data, train), _rows(data, held)


def _rows(data: Batch, index: Tensor) -> Batch:
    X, y = data
    return X[index.to(X.device)], y[index.to(y.device)]


def _shuffled(data: Selection, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
    """Yield one epoch in a fresh order, without the rows of an incomplete last batch."""
    n = len(data)
    order = torch.randperm(n, generator=generator)
    size = min(batch_size, n)
    for start in range(0, n - size + 1, size):
        yield data.take(order[start : start + size])


def _chunked(data: Batch) -> Iterator[Batch]:
    X, y = data
    n = len(X)
    n_chunks = max(min(N_CHUNKS, n), -(-n // EVALUATION_ROWS))
    for a, b in pairwise(n * i // n_chunks for i in range(n_chunks + 1)):
        yield X[a:b], y[a:b]


def _loaded(loader: DataLoader[Any]) -> Iterator[Batch]:
    for batch in loader:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise TypeError(f"DataLoader: got {type(batch).__name__}; expected (X, y) batches")
        yield torch.as_tensor(batch[0]), torch.as_tensor(batch[1])
