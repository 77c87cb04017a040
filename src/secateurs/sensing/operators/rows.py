"""Rows of data in memory, in a memory-mapped file or in a torch tensor, read by blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.sensing.operators.base import BLOCK_BYTES, Array, symmetric_dtype

_NUMPY = {torch.float32: np.float32, torch.float64: np.float64}


class Rows:
    """A matrix [n, m] that is only ever multiplied, a block of rows at a time.

    Parameters
    ----------
    data : array, memmap or Tensor, shape [n, m]
        float32 or float64; never copied.  A tensor is used where it lives; factors and results
        travel, the rows do not.
    """

    def __init__(self, data: NDArray[np.floating] | Tensor, what: str) -> None:
        if data.ndim != 2 or 0 in data.shape:
            raise ValueError(f"got {what} of shape {tuple(data.shape)}; expected [n, m], not empty")
        if isinstance(data, Tensor):
            self.dtype: np.dtype[Any] = np.dtype(_NUMPY.get(data.dtype, np.int64))
            data = data.detach()
        else:
            self.dtype = np.asarray(data[:0]).dtype
        symmetric_dtype(self.dtype, what)
        self.data = data
        self.shape = (int(data.shape[0]), int(data.shape[1]))
        bytes_a_row = self.shape[1] * self.dtype.itemsize
        on_device = isinstance(data, Tensor) and data.device.type != "cpu"
        self.block = self.shape[0] if on_device else max(1, BLOCK_BYTES // bytes_a_row)

    def blocks(self) -> Iterator[slice]:
        """Slices of rows, in order."""
        for start in range(0, self.shape[0], self.block):
            yield slice(start, min(start + self.block, self.shape[0]))

    def read(self, block: slice) -> Any:
        """A block, as it is stored: array or tensor."""
        part = self.data[block]
        return part if isinstance(part, Tensor) else np.asarray(part)

    def like(self, small: Array) -> Any:
        """Something small where the rows are."""
        if isinstance(self.data, Tensor):
            return torch.from_numpy(np.ascontiguousarray(small)).to(self.data.device)
        return small


def as_array(part: Any) -> Array:
    """A result, back as an array."""
    return part.cpu().numpy() if isinstance(part, Tensor) else part
