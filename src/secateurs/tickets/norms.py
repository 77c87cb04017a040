"""Bounds of the l2 operator norms of the layers of a ticket.

The norm of a convolution has two bounds, of which the less is taken: the norm of its matrix times
the square root of the number of windows that hold one input, and the sum over its taps.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from secateurs.tickets.layers import Layer

SLACK = 1 + 1e-9  # more than the relative rounding of a bound in float64


def operator_norm(layer: Layer, rows: NDArray[np.float64]) -> float:
    """Bound the l2 operator norm of a layer from above.

    `rows` [(output, tap), input] are its weights.  For a linear layer the bound is the norm itself,
    up to rounding.
    """
    if layer.kind == "linear":
        return spectral_norm(rows)
    taps = rows.reshape(layer.n_out, layer.taps, -1)
    windows = 1
    for k, stride, dilation in zip(layer.kernel, layer.stride, layer.dilation, strict=True):
        windows *= math.ceil(k / stride) if dilation == 1 else k  # that hold one input
    whole = math.sqrt(windows) * spectral_norm(taps.reshape(layer.n_out, -1))
    return min(whole, sum(spectral_norm(taps[:, t]) for t in range(layer.taps)))


def spectral_norm(M: NDArray[np.float64]) -> float:
    """Return the largest singular value, rounded up."""
    largest = float(np.abs(M).max())
    if largest == 0:
        return 0.0
    M = M / largest  # squares stay inside float64
    gram = M @ M.T if len(M) <= M.shape[1] else M.T @ M
    # more than the relative rounding of the product and of its eigenvalue
    slack = max(SLACK, 1 + 4 * max(M.shape) * min(M.shape) * float(np.finfo(float).eps))
    norm = largest * (math.sqrt(max(float(np.linalg.eigvalsh(gram)[-1]), 1.0)) * slack)
    return math.nextafter(norm, math.inf)  # a product below 1e-308 may have been rounded down


def lipschitz(layer: Layer) -> float:
    """Return the l2 Lipschitz constant of a layer without weights; every such layer maps 0 to 0."""
    if layer.kind == "max_pool2d":  # an input is the largest of at most this many windows
        pairs = zip(layer.kernel, layer.stride, strict=True)
        return math.sqrt(math.prod(math.ceil(k / s) for k, s in pairs))
    return 1.0  # averages: rows and columns of the matrix sum to at most 1


def absolute_norm(layer: Layer, rows: NDArray[np.float64]) -> float:
    """Bound the operator norm of a layer whose weights are the sizes of `rows`, without a solver.

    The norm of a nonnegative matrix is at most the root of its largest row sum times its largest
    column sum (Schur).  A column of the matrix of a convolution holds each weight once at most.
    """
    sizes = np.abs(rows)
    by_output = sizes.reshape(layer.n_out, -1).sum(1)
    return math.sqrt(float(by_output.max()) * SLACK) * math.sqrt(float(sizes.sum(0).max()) * SLACK)
