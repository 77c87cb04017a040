"""Rows of a data set as features-first batches, whatever they are stored in.

Nothing here copies the data: dense arrays (also memory-mapped, of any numeric dtype) are
gathered by rows, sparse ones are expanded for the asked rows and columns only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

# dense data are moved to an accelerator whole when they take at most this share of its memory
_RESIDENT_SHARE = 0.5
# when fewer than one in so many columns is used, they are picked one by one
_FEW_COLUMNS = 8


@dataclass(frozen=True)
class Scaling:
    """Input ``x`` enters the network as ``(x - shift) * scale``.

    Attributes
    ----------
    shift : array of float32, shape [d], or None
        None leaves zeros at zero (always so for sparse data).
    scale : array of float32, shape [d]
    """

    shift: NDArray[np.float32] | None
    scale: NDArray[np.float32]


class TrainingData:
    """Inputs, targets and their scaling, served in batches.

    Parameters
    ----------
    X : array [n, d] or scipy CSR
    y : array of int64 [n] (class numbers) or float32 [n, k] (standardised targets)
    scaling : Scaling
    n_outputs : int
        Number of classes, or k.
    device : torch.device

    Attributes
    ----------
    is_classification : bool
    n, d : int
        Rows and inputs.
    """

    def __init__(
        self,
        X: Any,
        y: NDArray[Any],
        scaling: Scaling,
        n_outputs: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.n, self.d = X.shape
        self.device = torch.device(device)
        self.n_outputs = n_outputs
        self.is_classification = y.ndim == 1
        self.scaling = scaling
        self._raw = X
        self._sparse = X if sparse.issparse(X) else None
        self._dense = None if sparse.issparse(X) else self._place(X)
        self._y = torch.from_numpy(np.ascontiguousarray(y)).to(self.device)
        shift = np.zeros(0, np.float32) if scaling.shift is None else scaling.shift
        self._shift = torch.from_numpy(np.ascontiguousarray(shift)).to(self.device)
        self._scale = torch.from_numpy(np.ascontiguousarray(scaling.scale)).to(self.device)
        same = self.d > 0 and bool((scaling.scale == scaling.scale[0]).all())
        self._common_scale = float(scaling.scale[0]) if same and scaling.shift is None else None

    def _place(self, X: Any) -> Tensor:
        writable = X if X.flags.writeable else X.view()
        with _quiet_readonly():
            tensor = torch.from_numpy(writable)
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if tensor.numel() * tensor.element_size() <= _RESIDENT_SHARE * free:
                return tensor.to(self.device)
        return tensor

    def input_variance(self) -> NDArray[np.float64]:
        """Variance of each scaled input, shape [d]; one pass over the data."""
        return column_moments(self._raw)[1] * self.scaling.scale.astype(np.float64) ** 2

    def targets(self, rows: Tensor) -> Tensor:
        """Class numbers [B], or targets features first [k, B]."""
        y = self._y[rows.to(self.device)]
        return y if self.is_classification else y.t().contiguous()

    def inputs(self, rows: Tensor, units: Tensor) -> Tensor:
        """Scaled inputs, features first, with the constant 1 as last row.

        Parameters
        ----------
        rows : Tensor int64, shape [B]
        units : Tensor int64, shape [u]
            Columns wanted, increasing.

        Returns
        -------
        Tensor float32, shape [u + 1, B]; O(u B) memory whatever d is.
        """
        H = torch.empty(len(units) + 1, len(rows), device=self.device)
        H[-1] = 1.0
        if self._dense is not None:
            data = self._dense
            rows, columns = rows.to(data.device), units.to(data.device)
            if len(units) * _FEW_COLUMNS < self.d:
                H[:-1] = data[rows[:, None], columns].t()
            else:
                # whole rows first: contiguous reads, then whole columns of the transpose
                block = data.index_select(0, rows).to(self.device, torch.float32)
                torch.index_select(block.t(), 0, units, out=H[:-1])
        else:
            assert self._sparse is not None
            part = self._sparse[rows.cpu().numpy()]
            H[:-1] = torch.from_numpy(_expand(part, units.cpu().numpy(), self.d))
        if self._common_scale is not None:
            H[:-1] *= self._common_scale
            return H
        if self.scaling.shift is not None:
            H[:-1] -= self._shift[units, None]
        H[:-1] *= self._scale[units, None]
        return H

    def column_blocks(self, rows: Tensor, width: int) -> Iterator[tuple[int, Tensor]]:
        """All inputs for some rows, at most `width` columns at a time.

        Yields
        ------
        start : int
            First column of the block.
        block : Tensor float32, shape [c, B]
            Scaled inputs, features first; no constant.
        """
        for start in range(0, self.d, width):
            units = torch.arange(start, min(start + width, self.d), device=self.device)
            yield start, self.inputs(rows, units)[:-1]


def _expand(part: sparse.csr_array, units: NDArray[np.int64], d: int) -> NDArray[np.float32]:
    """Columns `units` of a CSR matrix, transposed and dense: [u, B]."""
    B = part.shape[0]
    out = np.zeros((len(units), B), dtype=np.float32)
    row = np.repeat(np.arange(B), np.diff(part.indptr))
    at = np.minimum(np.searchsorted(units, part.indices), max(len(units) - 1, 0))
    if len(units) and len(row):
        hit = units[at] == part.indices
        out[at[hit], row[hit]] = part.data[hit]
    return out


class _quiet_readonly:
    """torch warns that a read-only array could be written to; we only read."""

    def __enter__(self) -> None:
        import warnings

        self._catch = warnings.catch_warnings()
        self._catch.__enter__()
        warnings.simplefilter("ignore", UserWarning)

    def __exit__(self, *args: object) -> None:
        self._catch.__exit__(None, None, None)


def column_moments(X: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of each column in one pass over blocks of rows.

    Parameters
    ----------
    X : array [n, d] or scipy CSR

    Returns
    -------
    mean, variance : arrays of float64, shape [d]
        O(n d) time, O(d + block) memory; deviations are taken from the first block's mean.
    """
    n, d = X.shape
    step = max(1, min(n, (1 << 20) // max(1, d)))
    if sparse.issparse(X):
        total = np.asarray(X.sum(axis=0), dtype=np.float64).ravel()
        square = np.asarray(X.multiply(X).sum(axis=0), dtype=np.float64).ravel()
        mean = total / n
        return mean, np.maximum(square / n - mean**2, 0.0)
    origin = np.asarray(X[:step], dtype=np.float64).mean(axis=0)
    total, square = np.zeros(d), np.zeros(d)
    for start in range(0, n, step):
        block = np.asarray(X[start : start + step], dtype=np.float64) - origin
        total += block.sum(axis=0)
        square += np.einsum("ij,ij->j", block, block)
    shift = total / n
    return origin + shift, np.maximum(square / n - shift**2, 0.0)


def batches(n: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Endless mini-batches of row numbers, a fresh permutation each epoch."""
    batch_size = min(batch_size, n)
    while True:
        order = torch.randperm(n, generator=generator)
        for start in range(0, n - batch_size + 1, batch_size):
            yield order[start : start + batch_size]
