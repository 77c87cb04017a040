"""Ends of the spectrum of N = sum_i residual_i A_i."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import eigh
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from secateurs.sensing.operators.base import Array, SensingOperator

SMALL = 512  # up to this d the matrix is formed, because Lanczos would need more passes
WANTED = 12  # eigenpairs that one Lanczos run computes


def eigenpairs(
    operator: SensingOperator,
    residual: Array,
    *,
    both_ends: bool = False,
    n_pairs: int = WANTED,
    tolerance: float = 1e-4,
) -> tuple[Array, Array, int]:
    """Compute the largest eigenvalues of sum_i residual_i A_i and their eigenvectors.

    Parameters
    ----------
    operator : SensingOperator
    residual : array, shape [n]
    both_ends : bool
        True for the eigenvalues of largest modulus.
    n_pairs : int
        The most that Lanczos computes; if the matrix is formed, all d are returned.
    tolerance : float
        Relative accuracy of Lanczos.

    Returns
    -------
    values : array, shape [k]
        In decreasing order (of modulus).
    vectors : array, shape [k, d]
        Eigenvectors as rows, unit norm.
    passes : int
        Adjoint products that were made.

    Notes
    -----
    If `adjoint` costs one pass or d is at most 512: one `adjoint` and O(d^3).  Otherwise Lanczos
    on `adjoint_times` from a fixed start vector: O(n d) a step, O(k d) memory.
    """
    d = operator.shape[1]
    values: Array
    vectors: Array
    if operator.dense_adjoint or d <= SMALL:
        values, vectors = eigh(operator.adjoint(residual), check_finite=False)
        passes = 1
    else:
        passes = 0

        def times(v: Array) -> Array:
            nonlocal passes
            passes += 1
            return operator.adjoint_times(residual, v.reshape(d, -1)).reshape(v.shape)

        N: Any = LinearOperator((d, d), matvec=times, matmat=times, dtype=operator.dtype)
        start = np.random.default_rng(0).standard_normal(d).astype(operator.dtype)
        k = min(n_pairs, d - 2)
        which: Any = "LM" if both_ends else "LA"
        try:
            values, vectors = eigsh(N, k, which=which, v0=start, tol=tolerance)
        except ArpackNoConvergence as found:  # use those that converged
            values, vectors = found.eigenvalues.real, found.eigenvectors
    return *ordered(values, vectors, both_ends=both_ends), passes


def ordered(values: Array, vectors: Array, *, both_ends: bool) -> tuple[Array, Array]:
    """Sort eigenpairs in decreasing order (of modulus for both ends), with vectors as rows."""
    order = np.argsort(-np.abs(values) if both_ends else -values, kind="stable")
    return values[order], np.ascontiguousarray(vectors[:, order].T)


def noise_norm(
    operator: SensingOperator, random_state: int = 0, n_draws: int = 3
) -> tuple[float, int]:
    """Estimate the mean of ||(1/n) sum_i g_i A_i||_op over standard normal g; count the passes.

    Noise of standard deviation sigma changes N by about sigma times this norm.  It is
    sqrt(2 d / n) for Gaussian measurements.
    """
    n = operator.shape[0]
    rng = np.random.default_rng(random_state)
    norms, passes = [], 0
    for _ in range(n_draws):
        g = rng.standard_normal(n)
        values, _, made = eigenpairs(operator, g / n, both_ends=True, n_pairs=1, tolerance=1e-2)
        norms.append(abs(float(values[0])))
        passes += made
    return float(np.mean(norms)), passes
