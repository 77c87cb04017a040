"""All subsets, by the definition."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def all_sums(candidates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of every subset of [n] candidates, entry = mask; 2^n of them."""
    sums = np.zeros(1)
    for a in candidates:
        sums = np.concatenate([sums, sums + a])
    return sums
