"""Rows of data in memory, in a memory-mapped file or in a torch tensor, read in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.core.parameters import bad_value
from secateurs.sensing.operators.base import BLOCK_BYTES, Array, shape_of, symmetric_dtype

_NUMPY_TYPES = {torch.float32: np.float32, torch.float64: np.float64}


class BlockedRows:
    """A matrix [n, m] that is only multiplied, one block of rows at a time.

    Parameters
    ----------
    data : array, memmap or Tensor, shape [n, m]
        float32 or float64; never copied.  A tensor stays on its device: factors and results are
        moved, the rows are not.
    name : str
        Name of the data in messages.
    """

    def __init__(self, data: NDArray[np.floating] | Tensor, name: str) -> None:
        if data.ndim != 2 or 0 in data.shape:
            raise bad_value(name, shape_of(data), "[n, m], not empty")
        if isinstance(data, Tensor):
            self.dtype: np.dtype[Any] = np.dtype(_NUMPY_TYPES.get(data.dtype, np.int64))
            data = data.detach()
        else:
            self.dtype = np.asarray(data[:0]).dtype
        symmetric_dtype(self.dtype, name)
        self.data = data
        self.shape = (int(data.shape[0]), int(data.shape[1]))
        bytes_a_row = self.shape[1] * self.dtype.itemsize
        on_device = isinstance(data, Tensor) and data.device.type != "cpu"
        self.block = self.shape[0] if on_device else max(1, BLOCK_BYTES // bytes_a_row)

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        """Yield the blocks in order: positions, and the rows as they are stored."""
        for start in range(0, self.shape[0], self.block):
            block = slice(start, min(start + self.block, self.shape[0]))
            part = self.data[block]
            yield block, part if isinstance(part, Tensor) else np.asarray(part)

    def wide_blocks(self) -> Iterator[tuple[slice, Array]]:
        """Yield the blocks as float64 arrays in memory, row by row.

        A sum over the last axis then adds the entries of each row in the same order, whatever
        other rows there are; a matrix product does not.
        """
        for block, part in self.blocks():
            yield block, np.ascontiguousarray(as_array(part), dtype=np.float64)

    def like(self, small: Array) -> Any:
        """Return a small array as a tensor on the device of the rows if they are a tensor."""
        if isinstance(self.data, Tensor):
            return torch.from_numpy(np.ascontiguousarray(small)).to(self.data.device)
        return small


def as_array(part: Any) -> Array:
    """Return an array or a tensor as an array."""
    return part.cpu().numpy() if isinstance(part, Tensor) else part
