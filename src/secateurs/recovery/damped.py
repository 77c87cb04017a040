"""Damped normal equations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg


def solve_damped(
    Q: NDArray[np.float64], g: NDArray[np.float64], damping: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Solve (Q + diag(damping)) delta = g."""
    damped = Q.copy()
    damped.flat[:: len(Q) + 1] += damping
    try:
        factor = linalg.cho_factor(damped, overwrite_a=True, check_finite=False)
        return linalg.cho_solve(factor, g, check_finite=False)
    except linalg.LinAlgError:
        return g / (np.diagonal(Q) + damping + np.finfo(float).tiny)
