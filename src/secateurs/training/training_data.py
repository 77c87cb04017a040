"""Serve the rows of a data set as batches, features first.

Many dense rows are copied once, shuffled and transposed (`secateurs.training.columns`): a batch
is then a contiguous piece of each column.  Other data are not copied.  Rows of a dense array are
gathered; the array may have any numeric dtype and may be memory-mapped.  Sparse data are expanded
for the requested rows and columns only.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from secateurs.core.group import ALONE, Group
from secateurs.training.columns import (
    copy_pays,
    is_memory_mapped,
    shuffled,
    shuffled_columns,
)
from secateurs.training.moments import Scaling, column_moments, is_sparse

_RESIDENT_SHARE = 0.5  # dense data move to a GPU if they take at most this share of its memory
_FEW_COLUMNS = 8  # columns are picked one by one if fewer than one in so many is used
_IN_FLOAT32 = 1e-20  # inputs with a factor beyond this or its inverse are scaled in float64


Rows = Tensor | slice  # row numbers, or a contiguous piece of the copy


class TrainingData:
    """Inputs, targets and their scaling, in batches.

    Parameters
    ----------
    X : array [N, d] or scipy CSR [N, d]
    y : array of int64 [N] (class numbers) or float32 [N, k] (standardised targets)
    scaling : Scaling
    n_outputs : int
        Number of classes, or k.
    rows : array of int64 [n], optional
        Rows to use; all by default.  The methods count rows within these.
    weights : array of float64 [N], optional
        What each row counts for in the loss, with a mean of about 1; 1 by default.
    noise : float
        Standard deviation of the Gaussian noise that `noisy_inputs` adds to scaled inputs.
    device : torch.device
    group : Group
        Processes that share the fit; each has its own rows, and all must construct this together.

    Attributes
    ----------
    n, d : int
        Number of rows in use and of inputs.
    n_all : int
        Number of rows in use on all processes.
    is_classification : bool
    """

    def __init__(
        self,
        X: Any,
        y: NDArray[Any],
        scaling: Scaling,
        n_outputs: int,
        *,
        rows: NDArray[np.int64] | None = None,
        weights: NDArray[np.float64] | None = None,
        noise: float = 0.0,
        device: torch.device | str = "cpu",
        group: Group = ALONE,
    ) -> None:
        self.d = int(X.shape[1])
        self.n = int(X.shape[0]) if rows is None else len(rows)
        self.group = group
        self.n_all = int(group.total(self.n))
        self.device = torch.device(device)
        self.n_outputs = n_outputs
        self.is_classification = y.ndim == 1
        self.scaling = scaling
        self.noise = noise
        self._X, self._rows_used = X, rows
        factor = float(scaling.scale[0])
        plain = scaling.shift is None and (scaling.scale == factor).all()
        self._factor = factor if plain and _IN_FLOAT32 < factor < 1 / _IN_FLOAT32 else None
        self._columns: Tensor | None = None
        self._copy_factor = 1.0
        if self.device.type == "cpu" and copy_pays(X, self.n):
            order = shuffled(self.n)
            rows = order if rows is None else rows[order]
            as_stored = self._factor is not None and X.dtype.itemsize <= 4
            self._columns = shuffled_columns(X, rows, scaling, as_stored=as_stored)
            self._copy_factor = factor if as_stored else 1.0
            y, weights = y[rows], None if weights is None else weights[rows]
            rows = None
        self._rows = None if rows is None else torch.from_numpy(rows)
        self._dense = None if is_sparse(X) or self._columns is not None else self._place(X)
        self._y = torch.from_numpy(np.ascontiguousarray(y)).to(self.device)
        self._weights = None
        if weights is not None:
            self._weights = torch.from_numpy(weights.astype(np.float32)).to(self.device)

    def _place(self, X: Any) -> Tensor:
        with warnings.catch_warnings():
            # torch warns that a read-only array could be overwritten, but it is only read here
            warnings.simplefilter("ignore", UserWarning)
            tensor = torch.from_numpy(X)
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if tensor.numel() * tensor.element_size() <= _RESIDENT_SHARE * free:
                return tensor.to(self.device)
        return tensor

    @property
    def copy_bytes(self) -> int:
        """Size of the shuffled copy, 0 without one."""
        return 0 if self._columns is None else self._columns.nbytes

    @property
    def can_be_sent(self) -> bool:
        """Whether other processes of this machine may get a copy of these data."""
        return self.group.size == 1 and self.device.type == "cpu" and not is_memory_mapped(self._X)

    def _absolute(self, rows: Tensor) -> Tensor:
        return rows if self._rows is None else self._rows[rows]

    def _placed(self, rows: Rows) -> Rows:
        return rows if isinstance(rows, slice) else self._absolute(rows).to(self.device)

    def part(self, count: int) -> int:
        """Return the rows of this process in a batch of `count` rows over all processes."""
        return min(self.n, max(1, round(count * self.n / self.n_all)))

    def batches(self, size: int, generator: torch.Generator) -> Iterator[Rows]:
        """Yield batches of `size` rows without end.

        Rows are permuted afresh in each epoch.  In a copy, where they are shuffled already, the
        pieces are permuted, and where the first one starts is drawn.
        """
        size = min(size, self.n)
        while True:
            if self._columns is None:
                order = torch.randperm(self.n, generator=generator)
                yield from (order[a : a + size] for a in range(0, self.n - size + 1, size))
            else:
                first = _drawn_below(self.n % size + 1, generator)
                for piece in torch.randperm(self.n // size, generator=generator).tolist():
                    yield slice(first + piece * size, first + (piece + 1) * size)

    def pieces(self, n: int, size: int) -> Iterator[Rows]:
        """Return the first `n` rows in pieces of at most `size`."""
        return row_pieces(torch.arange(n) if self._columns is None else slice(0, n), size)

    def sample(self, size: int, generator: torch.Generator) -> Rows:
        """Draw rows with replacement, or from a copy a piece of it; all rows for a large `size`."""
        if size >= self.n:
            return torch.arange(self.n) if self._columns is None else slice(0, self.n)
        if self._columns is None:
            return torch.randint(self.n, (size,), generator=generator).sort().values
        first = _drawn_below(self.n - size + 1, generator)
        return slice(first, first + size)

    def input_variance(self) -> NDArray[np.float64]:
        """Return the variance of each scaled input over all processes, shape [d]."""
        if self.scaling.variance is not None:
            return self.scaling.variance
        return column_moments(self._X, self._rows_used, self.group)[1] * self.scaling.scale**2

    def targets(self, rows: Rows) -> Tensor:
        """Return class numbers, shape [B], or standardised targets, shape [k, B]."""
        y = self._y[self._placed(rows)]
        return y if self.is_classification else y.t().contiguous()

    def weights(self, rows: Rows) -> Tensor | None:
        """Return what each row counts for, shape [B]; None where all count the same."""
        if self._weights is None:
            return None
        return self._weights[self._placed(rows)]

    def inputs(self, rows: Rows, units: Tensor) -> Tensor:
        """Return scaled inputs, features first, with the constant 1 as the last row.

        Parameters
        ----------
        rows : Tensor int64, shape [B], or a slice of the copy
        units : Tensor int64, shape [u]
            Requested columns, increasing.

        Returns
        -------
        Tensor float32, shape [u + 1, B]
            Takes O(u B) memory for any d.
        """
        if self._columns is not None:
            return self._copied(self._columns, rows, units)
        assert isinstance(rows, Tensor)
        rows = self._absolute(rows)
        H = torch.empty(len(units) + 1, len(rows), device=self.device)
        H[-1].fill_(1.0)
        if self._factor is None:
            H[:-1] = self._standardised(rows, units)
            return H
        if self._dense is None:
            part = self._X[rows.cpu().numpy()]
            H[:-1] = torch.from_numpy(_expand(part, units.cpu().numpy()).astype(np.float32))
        elif len(units):
            first, last = int(units[0]), int(units[-1])
            rows = rows.to(self._dense.device)
            if len(units) * _FEW_COLUMNS < last - first + 1:
                H[:-1] = self._dense[rows[:, None], units.to(rows.device)].t()
            else:  # gather rows from the first to the last unit: these reads are contiguous
                block = self._dense[:, first : last + 1].index_select(0, rows)
                block = block.to(self.device, torch.float32).t()
                torch.index_select(block, 0, units - first, out=H[:-1])
        H[:-1] *= self._factor
        return H

    def _copied(self, columns: Tensor, rows: Rows, units: Tensor) -> Tensor:
        """Return `inputs` from the copy."""
        if isinstance(rows, Tensor):
            part = columns[units[:, None], rows]
        elif len(units) == self.d:
            part = columns[:, rows]
        else:
            part = columns[:, rows].index_select(0, units)
        H = torch.empty(len(units) + 1, part.shape[1])
        H[-1].fill_(1.0)
        torch.mul(part, self._copy_factor, out=H[:-1])
        return H

    def _standardised(self, rows: Tensor, units: Tensor) -> Tensor:
        """Return entries [u, B], centred in float64, as a mean may be far above the deviation."""
        at = units.cpu().numpy()
        if self._dense is None:
            picked = torch.from_numpy(_expand(self._X[rows.cpu().numpy()], at)).t()
        else:
            device = self._dense.device
            picked = self._dense[rows.to(device)[:, None], units.to(device)].double()
        if self.scaling.shift is not None:
            picked = picked - torch.from_numpy(self.scaling.shift[at]).to(picked.device)
        return (picked * torch.from_numpy(self.scaling.scale[at]).to(picked.device)).t()

    def noisy_inputs(self, rows: Rows, units: Tensor, generator: torch.Generator) -> Tensor:
        """Return `inputs` with fresh Gaussian noise, for the gradients of the trainers.

        To first order the noise acts as a ridge penalty on the input weights that grows with the
        curvature of the loss.
        """
        H = self.inputs(rows, units)
        if self.noise > 0:
            fresh = torch.empty(H.shape[0] - 1, H.shape[1]).normal_(generator=generator)
            H[:-1].add_(fresh.to(self.device), alpha=self.noise)
        return H

    def column_blocks(self, rows: Rows, width: int) -> Iterator[tuple[int, Tensor]]:
        """Yield all inputs of some rows, at most `width` columns at a time.

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


def row_pieces(rows: Rows, size: int) -> Iterator[Rows]:
    """Cut rows into pieces of at most `size`."""
    if isinstance(rows, Tensor):
        yield from torch.split(rows, size)
        return
    for start in range(rows.start, rows.stop, size):
        yield slice(start, min(start + size, rows.stop))


def _drawn_below(n: int, generator: torch.Generator) -> int:
    return int(torch.randint(n, (1,), generator=generator))


def _expand(part: sparse.csr_array, units: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the columns `units` of a CSR matrix, transposed and dense, shape [u, B]."""
    B = part.shape[0]
    out = np.zeros((len(units), B))
    row = np.repeat(np.arange(B), np.diff(part.indptr))
    at = np.minimum(np.searchsorted(units, part.indices), max(len(units) - 1, 0))
    if len(units) and len(row):
        hit = units[at] == part.indices
        out[at[hit], row[hit]] = part.data[hit]
    return out
