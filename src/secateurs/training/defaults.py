"""What "auto" means: steps, batches, scaling, regularisation and widths, from the data.

Every number here was chosen on held-out rows of the training data (docs/training.md).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from secateurs.core.group import ALONE, Group
from secateurs.training.training_data import Scaling, column_moments, is_sparse

EPOCHS = 30
MIN_STEPS, MAX_STEPS = 2000, 8000
MIN_BATCH, MAX_BATCH = 32, 500
EXCHANGES = 72  # per run, at most one every 10 steps, at least one every 50
SMALL_TABLE = 16_000  # rows up to which input noise regularises better than weight decay
NOISE, NOISE_ROWS = 0.4, 1000
WEIGHT_DECAY = 0.3
SAME_UNITS = 4.0  # widest column over the median one, up to which columns share a factor
NEAR_ZERO = 2.5  # and typical |mean| / deviation up to which they do
CONSTANT = 1e-7  # deviation over |mean| below which a column is constant
MAX_BATCH_ENTRIES = 1 << 26  # entries of a batch that are held at once


def auto_batch_size(n: int, d: int) -> int:
    """A sixth of the rows, within [32, 500], fewer where rows are very long."""
    size = min(MAX_BATCH, max(MIN_BATCH, n // 6))
    return max(1, min(size, n, max(MIN_BATCH, MAX_BATCH_ENTRIES // max(1, d))))


def auto_steps(n: int, batch_size: int) -> int:
    """30 epochs, but at least 2000 and at most 8000 steps."""
    return min(MAX_STEPS, max(MIN_STEPS, EPOCHS * n // batch_size))


def exchange_interval(n_steps: int) -> int:
    """Steps between exchanges."""
    return min(50, max(10, n_steps // EXCHANGES))


def auto_noise(n: int) -> float:
    """Standard deviation of the input noise, in units of the scaled inputs."""
    return NOISE * min(1.0, math.sqrt(NOISE_ROWS / n)) if n <= SMALL_TABLE else 0.0


def auto_weight_decay(n: int) -> float:
    """Decoupled weight decay; on small tables the noise does its work."""
    return 0.0 if n <= SMALL_TABLE else WEIGHT_DECAY


def auto_widths(n_nonzero: int, n_outputs: int) -> list[int]:
    """Widths of one hidden layer worth trying for a budget."""
    base = min(500.0, max(8.0, n_nonzero / 20))
    widths = {max(2, min(n_outputs, 10), round(base * factor)) for factor in (0.5, 1, 2, 4)}
    return sorted(widths)


def auto_device(device: str) -> torch.device:
    """The device asked for; "auto" is a CUDA device where there is one."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device={device!r} cannot be used: {error}") from error


def input_scaling(X: Any, rows: NDArray[np.int64] | None = None, group: Group = ALONE) -> Scaling:
    """Bring the inputs to unit size.

    Columns in the same units, such as pixels, share one factor and keep their zeros.  They are
    taken to be so when the widest (by standard deviation) is at most `SAME_UNITS` times the
    median one, and typical means are at most `NEAR_ZERO` standard deviations from 0.
    Otherwise each column is centred and divided by its standard deviation.  Sparse data always
    share one factor, the root mean square of their stored entries.

    Parameters
    ----------
    X : array [n, d] or scipy CSR
    rows : array of int64, optional
        Rows to look at; all by default.
    group : Group
        Processes whose rows are counted in.

    Returns
    -------
    Scaling
        A constant column gets scale 0: it carries nothing beyond the bias.

    Raises
    ------
    ValueError
        The entries are too large to square in float64.
    """
    mean, variance = column_moments(X, rows, group)
    if not np.isfinite(variance).all():
        raise ValueError("X has entries too large to compute with; rescale it below 1e150")
    scaling = standardisation(mean, variance)
    varies = scaling.scale > 0
    if not varies.any():
        return Scaling(None, np.zeros(len(mean)))
    square = variance + mean**2
    if is_sparse(X):
        part = X if rows is None else X[rows]
        n, stored = group.total(part.shape[0]), group.total(part.nnz)
        return _one_factor(math.sqrt(square.sum() * n / stored), len(mean))
    spread = 1.0 / scaling.scale[varies]
    far = np.median(np.abs(mean[varies]) / spread)
    if spread.max() <= SAME_UNITS * np.median(spread) and far <= NEAR_ZERO:
        return _one_factor(math.sqrt(square.mean()), len(mean))
    return scaling


def standardisation(mean: NDArray[np.float64], variance: NDArray[np.float64]) -> Scaling:
    """Centre each column and divide it by its standard deviation; constant ones get scale 0."""
    deviation = np.sqrt(variance)
    deviation[deviation <= CONSTANT * np.abs(mean)] = 0.0  # what rounding leaves of a constant
    scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    return Scaling(mean, scale)


def _one_factor(size: float, d: int) -> Scaling:
    return Scaling(None, np.full(d, 1.0 / size))
