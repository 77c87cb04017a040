"""Serve the rows of a data set as batches, features first.

The data are not copied.  Rows of a dense array are gathered; the array may have any numeric dtype
and may be memory-mapped.  Sparse data are expanded for the requested rows and columns only.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from secateurs.core.group import ALONE, Group

_RESIDENT_SHARE = 0.5  # dense data move to a GPU if they take at most this share of its memory
_FEW_COLUMNS = 8  # columns are picked one by one if fewer than one in so many is used
_IN_FLOAT32 = 1e-20  # inputs with a factor beyond this or its inverse are scaled in float64
_MOMENT_ELEMENTS = 1 << 18  # entries of a block of rows over which columns are averaged


@dataclass(frozen=True)
class Scaling:
    """The scaling of the inputs: the network reads ``(x - shift) * scale``.

    Attributes
    ----------
    shift : array of float64, shape [d], or None
        None keeps every zero at zero.
    scale : array of float64, shape [d]
        0 for a constant column.
    variance : array of float64, shape [d], optional
        The variance of the scaled inputs without their outliers, where it is known.
    """

    shift: NDArray[np.float64] | None
    scale: NDArray[np.float64]
    variance: NDArray[np.float64] | None = None


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
        self._rows = None if rows is None else torch.from_numpy(rows)
        self._dense = None if is_sparse(X) else self._place(X)
        self._y = torch.from_numpy(np.ascontiguousarray(y)).to(self.device)
        factor = float(scaling.scale[0])
        plain = scaling.shift is None and (scaling.scale == factor).all()
        self._weights = None
        if weights is not None:
            self._weights = torch.from_numpy(weights.astype(np.float32)).to(self.device)
        self._factor = factor if plain and _IN_FLOAT32 < factor < 1 / _IN_FLOAT32 else None

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

    def _absolute(self, rows: Tensor) -> Tensor:
        return rows if self._rows is None else self._rows[rows]

    def part(self, count: int) -> int:
        """Return the rows of this process in a batch of `count` rows over all processes."""
        return min(self.n, max(1, round(count * self.n / self.n_all)))

    def input_variance(self) -> NDArray[np.float64]:
        """Return the variance of each scaled input over all processes, shape [d]."""
        if self.scaling.variance is not None:
            return self.scaling.variance
        return column_moments(self._X, self._rows_used, self.group)[1] * self.scaling.scale**2

    def targets(self, rows: Tensor) -> Tensor:
        """Return class numbers, shape [B], or standardised targets, shape [k, B]."""
        y = self._y[self._absolute(rows).to(self.device)]
        return y if self.is_classification else y.t().contiguous()

    def weights(self, rows: Tensor) -> Tensor | None:
        """Return what each row counts for, shape [B]; None where all count the same."""
        if self._weights is None:
            return None
        return self._weights[self._absolute(rows).to(self.device)]

    def inputs(self, rows: Tensor, units: Tensor) -> Tensor:
        """Return scaled inputs, features first, with the constant 1 as the last row.

        Parameters
        ----------
        rows : Tensor int64, shape [B]
        units : Tensor int64, shape [u]
            Requested columns, increasing.

        Returns
        -------
        Tensor float32, shape [u + 1, B]
            Takes O(u B) memory for any d.
        """
        rows = self._absolute(rows)
        H = torch.empty(len(units) + 1, len(rows), device=self.device)
        H[-1].fill_(1.0)
        if self._factor is None:
            H[:-1] = self._standardised(rows, units)
            return H
        if self._dense is None:
            part = self._X[rows.cpu().numpy()]
            H[:-1] = torch.from_numpy(_expand(part, units.cpu().numpy()).astype(np.float32))
        elif len(units) * _FEW_COLUMNS < self.d:
            device = self._dense.device
            H[:-1] = self._dense[rows.to(device)[:, None], units.to(device)].t()
        else:
            # gather whole rows first, because these reads are contiguous
            block = self._dense.index_select(0, rows.to(self._dense.device))
            torch.index_select(block.to(self.device, torch.float32).t(), 0, units, out=H[:-1])
        H[:-1] *= self._factor
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

    def noisy_inputs(self, rows: Tensor, units: Tensor, generator: torch.Generator) -> Tensor:
        """Return `inputs` with fresh Gaussian noise, for the gradients of the trainers.

        To first order the noise acts as a ridge penalty on the input weights that grows with the
        curvature of the loss.
        """
        H = self.inputs(rows, units)
        if self.noise > 0:
            fresh = torch.empty(H.shape[0] - 1, H.shape[1]).normal_(generator=generator)
            H[:-1].add_(fresh.to(self.device), alpha=self.noise)
        return H

    def column_blocks(self, rows: Tensor, width: int) -> Iterator[tuple[int, Tensor]]:
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


def is_sparse(X: Any) -> bool:
    """Tell whether `X` is a scipy sparse array or matrix."""
    return bool(sparse.issparse(X))


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


def column_moments(
    X: Any,
    rows: NDArray[np.int64] | None = None,
    group: Group = ALONE,
    power: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and variance of each column in one pass over blocks of rows.

    Parameters
    ----------
    X : array [n, d] or scipy CSR
    rows : array of int64, optional
        Rows to use; all by default.
    group : Group
        Processes whose rows are used too.
    power : array, shape [d], optional
        Multiply the columns by these numbers first.

    Returns
    -------
    mean, variance : arrays of float64, shape [d]
        Cost O(n d) time and O(d + block) memory.  The sums are of deviations from the mean of the
        first block, or of the stored entries of a sparse matrix, for accuracy.
    """
    n = X.shape[0] if rows is None else len(rows)
    if is_sparse(X):
        mean, variance = _sparse_moments(X if rows is None else X[rows], power)
        return (mean, variance) if group.size == 1 else _pooled(mean, variance, n, group)
    d = X.shape[1]
    step = max(1, min(n, _MOMENT_ELEMENTS // max(1, d)))
    origin, total, square = np.zeros(d), np.zeros(d), np.zeros(d)
    for start in range(0, n, step):
        where = slice(start, start + step)
        block = np.asarray(X[where] if rows is None else X[rows[where]], dtype=np.float64)
        if power is not None:
            block = block * power
        if start == 0:
            origin = block.mean(axis=0)
        block = block - origin
        total += block.sum(axis=0)
        square += np.einsum("ij,ij->j", block, block)
    shift = total / n
    mean, variance = origin + shift, np.maximum(square / n - shift**2, 0.0)
    return (mean, variance) if group.size == 1 else _pooled(mean, variance, n, group)


def _sparse_moments(
    X: sparse.csr_array, power: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and variance of the columns of a CSR matrix, zeros included."""
    n, d = X.shape
    data = X.data.astype(np.float64) if power is None else X.data * power[X.indices]
    stored = np.bincount(X.indices, minlength=d)
    centre = np.bincount(X.indices, data, minlength=d) / np.maximum(stored, 1)
    around = np.bincount(X.indices, np.square(data - centre[X.indices]), minlength=d)
    share = stored / n
    return share * centre, around / n + share * (1 - share) * centre**2


def _pooled(
    mean: NDArray[np.float64], variance: NDArray[np.float64], n: int, group: Group
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Combine mean and variance of each process (Chan et al. 1983)."""
    n_all = group.total(n)
    whole = group.sum_(torch.from_numpy(mean * (n / n_all))).numpy()
    around = variance + (mean - whole) ** 2
    return whole, group.sum_(torch.from_numpy(around * (n / n_all))).numpy()


def batches(n: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield batches of row numbers without end, with a fresh permutation for each epoch."""
    batch_size = min(batch_size, n)
    while True:
        order = torch.randperm(n, generator=generator)
        for start in range(0, n - batch_size + 1, batch_size):
            yield order[start : start + batch_size]
