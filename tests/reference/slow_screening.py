"""Screen one column, or one pair, at a time, by the definition."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata


def slow_statistics(X: np.ndarray, T: np.ndarray, degrees: int, ranked: bool) -> np.ndarray:
    """Return n^(-1/2) sum_i T_c(i) h_k(x_ij), [d, C, K]; with ranks h_k is standardised."""
    n, d = X.shape
    Z = np.zeros((d, T.shape[1], degrees))
    for j in range(d):
        x = np.asarray(X[:, j], dtype=float)
        if ranked:
            x = ndtri((rankdata(x) - 0.5) / n)
        if np.ptp(x) == 0:
            continue
        x = (x - x.mean()) / x.std()
        for k, h in enumerate([x, (x**2 - 1) / 2**0.5, (x**3 - 3 * x) / 6**0.5][:degrees]):
            if ranked:
                if h.std() < 1e-6:
                    continue
                h = (h - h.mean()) / h.std()
            for c in range(T.shape[1]):
                Z[j, c, k] = T[:, c] @ h / n**0.5
    return Z


def slow_pairs(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return n^(-1/2) sum_i t(i) x_a(i) x_b(i), [d, d], for columns x [d, n]."""
    d, n = x.shape
    H = np.zeros((d, d))
    for a in range(d):
        for b in range(d):
            H[a, b] = np.sum(t * x[a] * x[b]) / n**0.5
    return H
