"""Outputs and losses of a module, and its validation losses in eval mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from secateurs.core.parameters import Shown, bad_value
from secateurs.core.program import Inputs
from secateurs.nn.buffers import restored_buffers
from secateurs.nn.data import Loss, PruningData


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Use eval mode without gradients inside the block; restore the mode and buffers afterwards."""
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad(), restored_buffers(module):
            yield
    finally:
        module.train(was_training)


def outputs(module: nn.Module, inputs: Inputs) -> Tensor:
    """Compute the outputs of a module; TypeError unless they are one tensor."""
    with evaluation_mode(module):
        out = inputs.call(module)
    if not isinstance(out, Tensor):
        got = type(out).__name__
        raise TypeError(f"module: got outputs of type {got}; expected one Tensor; wrap the module")
    return out


def batch_loss(loss: Loss, output: Tensor, target: Tensor) -> Tensor:
    """Compute the loss of a batch; ValueError unless the loss takes it and gives one number."""
    given: Any = loss
    if not callable(given):
        expected = "a function of (output, target), such as torch.nn.functional.cross_entropy"
        raise bad_value("loss", given, expected)
    try:
        value: Any = given(output, target)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # code of the user can raise anything
        got = Shown(f"{_kind_of(output)} as outputs and {_kind_of(target)} as targets")
        expected = f"numbers that the loss takes, but it says: {line(error)}"
        raise bad_value("loss", got, expected, "change y or the loss") from error
    expected = "one number in a tensor, the mean over the batch"
    if not isinstance(value, Tensor) or value.ndim != 0 or not value.is_floating_point():
        raise bad_value("loss", Shown(_kind_of(value)), expected)
    if torch.is_grad_enabled() and not value.requires_grad:
        got = Shown("a number without a gradient")
        raise bad_value("loss", got, expected, "do not detach it")
    return value


def called(module: nn.Module, inputs: Inputs) -> Any:
    """Call a module on the rows of the user; ValueError if it does not accept them."""
    try:
        return inputs.call(module)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # code of the user can raise anything
        shapes = ", ".join(_kind_of(tensor) for tensor in inputs.tensors())
        mode = "training" if module.training else "eval"
        expected = f"rows that the module accepts in {mode} mode, unlike {shapes}"
        raise bad_value("data", Shown(line(error)), expected) from error


@contextmanager
def differentiated() -> Iterator[None]:
    """Raise ValueError if the gradient that is computed inside the block does not exist."""
    try:
        yield
    except RuntimeError as error:  # tensors that were changed in place, or kept between calls
        expected = "a forward that torch can differentiate"
        raise bad_value("module", Shown(line(error)), expected) from error


def line(error: Exception) -> str:
    """Return the kind and the first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:120] if lines else ''}"


def _kind_of(value: Any) -> str:
    """Name the type and the shape of a tensor, or the type of anything else."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return f"a {type(value).__name__}"


def chunk_losses(module: nn.Module, loss: Loss, data: PruningData) -> tuple[Tensor, Tensor]:
    """Compute the loss of each validation chunk and its share of the rows, float64 [chunks]."""
    losses, sizes = [], []
    with evaluation_mode(module):
        for X, y in data.chunks():
            losses.append(float(batch_loss(loss, called(module, Inputs.of(X)), y)))
            sizes.append(len(X))
    share = torch.tensor(sizes, dtype=torch.float64)
    return torch.tensor(losses, dtype=torch.float64), share / share.sum()


def constant_loss(module: nn.Module, loss: Loss, data: PruningData) -> float:
    """Compute the validation loss of a constant answer, the mean output of the module."""
    total: Tensor | float = 0.0
    count, value = 0, 0.0
    with evaluation_mode(module):
        for X, _ in data.chunks():
            total = total + module(X).sum(0)
            count += len(X)
        mean = torch.as_tensor(total / count)
        for X, y in data.chunks():
            answer = mean.expand(len(X), *mean.shape).contiguous()
            value += float(batch_loss(loss, answer, y)) * len(X) / count
    return value


def probe_rows(data: PruningData, most: int) -> Tensor:
    """Return the first validation inputs; ValueError if there are none."""
    for X, _ in data.chunks():
        return X[:most]
    raise bad_value("validation", Shown("a DataLoader without batches"), "at least one batch")
