"""Sums of all subsets, by the definition."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def all_sums(candidates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of all 2^n subsets of n candidates; entry k is that of mask k."""
    sums = np.zeros(1)
    for a in candidates:
        sums = np.concatenate([sums, sums + a])
    return sums
