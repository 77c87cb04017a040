"""A shuffled, transposed copy of many rows, in which a batch is a contiguous piece of each column.

Loading a batch from it is faster than gathering rows (`benchmarks.training.kernels`).  The copy
is made where the training is long enough to pay for it, and where it fits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from secateurs.training.moments import Scaling

COPY_ROWS = 16_000  # an array with more rows is copied,
COPY_BYTES = 1 << 30  # unless the copy takes more than this
_SEED = 12345  # of the order, which is the same for every fit
_PIECE = 1 << 20  # entries that are transposed at a time


def copy_pays(X: Any, n: int) -> bool:
    """Tell whether `n` rows of an array are to be copied; a memory-mapped array never is."""
    if sparse.issparse(X) or is_memory_mapped(X):
        return False
    return bool(n > COPY_ROWS and 4 * n * X.shape[1] <= COPY_BYTES)


def is_memory_mapped(X: Any) -> bool:
    """Tell whether an array lies in a file."""
    return isinstance(X, np.memmap) or isinstance(getattr(X, "base", None), np.memmap)


def shuffled(n: int) -> NDArray[np.int64]:
    """Return the order of the rows in the copy."""
    return np.random.default_rng(_SEED).permutation(n)


def shuffled_columns(
    X: NDArray[Any], rows: NDArray[np.int64], scaling: Scaling, *, as_stored: bool
) -> Tensor:
    """Return the transpose of ``X[rows]``.

    Parameters
    ----------
    X : array [N, d]
    rows : array of int64 [n]
    scaling : Scaling
    as_stored : bool
        Keep the entries as they are; otherwise scale them in float64 and keep float32.

    Returns
    -------
    Tensor, shape [d, n]
        Scaled float32 entries, or those of X.
    """
    n, d = len(rows), X.shape[1]
    out = np.empty((d, n), dtype=X.dtype if as_stored else np.float32)
    step = max(1, _PIECE // max(1, d))
    for start in range(0, n, step):
        part = X[rows[start : start + step]]
        if not as_stored:
            part = part.astype(np.float64)
            if scaling.shift is not None:
                part -= scaling.shift
            part *= scaling.scale
        out[:, start : start + step] = part.T
    return torch.from_numpy(out)
