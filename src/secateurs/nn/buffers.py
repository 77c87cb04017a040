"""Buffers that a forward writes to: counters, running means, caches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def restored_buffers(module: nn.Module) -> Iterator[None]:
    """Give the buffers of a module their tensors and values back after the block."""
    before = [
        (child, name, buffer, buffer.detach().clone())
        for child in module.modules()
        for name, buffer in child._buffers.items()
        if buffer is not None
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for child, name, buffer, value in before:
                child._buffers[name] = buffer
                if not torch.equal(buffer, value):
                    buffer.copy_(value)
