"""Compare the weights of two sums of ReLU neurons, up to order and parallel neurons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from secateurs.core.parameters import Shown, bad_value
from secateurs.core.short_repr import short_repr

PARALLEL = 1 - 1e-9  # cosine from which two neurons are the same: relu(a.x) + relu(c a.x), c > 0


@dataclass(frozen=True)
class NeuronMatch:
    """The best assignment of found neurons to true ones.

    Parameters
    ----------
    error : float
        Largest absolute difference of a matched weight, relative to the largest true weight.
    found, truth : arrays [p, d]
        Merged neurons, where row i matches row i; a row of zeros where one side has no match.
    """

    __repr__ = short_repr

    error: float
    found: NDArray[np.float64]
    truth: NDArray[np.float64]


def merge_parallel(W: sparse.csr_array | NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum the neurons that point the same way and drop empty ones; dense [p, d]."""
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
        The weights of the two sums, one neuron in each row.

    Returns
    -------
    NeuronMatch
        The assignment with the least sum of largest differences, and its error.

    Raises
    ------
    ValueError
        The two have different numbers of inputs, or the truth is empty.

    Notes
    -----
    O(p^2 d + p^3) time for p neurons with weights, and dense arrays p x d.
    """
    if found.shape[1] != truth.shape[1]:
        shown = Shown(f"{found.shape[1]} inputs")
        raise bad_value("found", shown, f"the {truth.shape[1]} inputs of truth")
    A, B = merge_parallel(found), merge_parallel(truth)
    if len(B) == 0:
        raise bad_value("truth", Shown("no nonzero weight"), "at least one")
    size = max(len(A), len(B))
    A = np.pad(A, ((0, size - len(A)), (0, 0)))
    B = np.pad(B, ((0, size - len(B)), (0, 0)))
    i, j = linear_sum_assignment(cdist(A, B, "chebyshev"))
    error = float(np.abs(A[i] - B[j]).max() / np.abs(B).max())
    return NeuronMatch(error, A[i], B[j])
