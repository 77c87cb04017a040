"""Compare two sums of ReLU neurons weight by weight, up to what the function does not tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

PARALLEL = 1 - 1e-9  # cosine from which two neurons are one: relu(a.x) + relu(c a.x), c > 0


@dataclass(frozen=True)
class NeuronMatch:
    """The best assignment of found neurons to true ones.

    Attributes
    ----------
    error : float
        Largest absolute difference of a matched weight, relative to the largest true weight.
    found, truth : arrays [p, d]
        Matched neurons after merging, row i with row i; rows of zeros where one side has none.
    """

    error: float
    found: NDArray[np.float64]
    truth: NDArray[np.float64]


def merge_parallel(W: sparse.csr_array | NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum the neurons that point the same way, drop empty ones; dense [p, d]."""
    dense = np.asarray(W.todense() if sparse.issparse(W) else W, dtype=np.float64)
    dense = dense[np.abs(dense).max(axis=1, initial=0.0) > 0]
    unit = dense / np.linalg.norm(dense, axis=1, keepdims=True)
    group = np.full(len(dense), -1)
    for j in range(len(dense)):
        if group[j] < 0:
            group[(unit @ unit[j] > PARALLEL) & (group < 0)] = j
    return np.array([dense[group == j].sum(axis=0) for j in np.unique(group)]).reshape(
        -1, dense.shape[1]
    )


def match_neurons(
    found: sparse.csr_array | NDArray[np.float64], truth: sparse.csr_array | NDArray[np.float64]
) -> NeuronMatch:
    """Merge parallel neurons on both sides, then assign them to each other (Hungarian method).

    Parameters
    ----------
    found, truth : CSR or dense arrays, shapes [m, d] and [m', d]

    Returns
    -------
    NeuronMatch
        O(p^2 d + p^3) for p live neurons, dense p x d.

    Raises
    ------
    ValueError
        The two have different numbers of inputs, or the truth is empty.
    """
    if found.shape[1] != truth.shape[1]:
        raise ValueError(
            f"found has {found.shape[1]} inputs, truth {truth.shape[1]}; they must agree"
        )
    A, B = merge_parallel(found), merge_parallel(truth)
    if len(B) == 0:
        raise ValueError("truth has no nonzero weight; there is nothing to match")
    size = max(len(A), len(B))
    A = np.pad(A, ((0, size - len(A)), (0, 0)))
    B = np.pad(B, ((0, size - len(B)), (0, 0)))
    i, j = linear_sum_assignment(cdist(A, B, "chebyshev"))
    error = float(np.abs(A[i] - B[j]).max() / np.abs(B).max())
    return NeuronMatch(error, A[i], B[j])
