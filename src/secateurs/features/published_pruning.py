"""Algorithm 1 of the paper, as printed: prune the inputs without knowing the exponent.

    append a column of N(0, 1) noise, the last of d                                        (1)
    probe e~_i = c e_i + sqrt(1 - c^2) e_d for i < d,   e~_d = e_d                          (2)
    g_j(w) = (1/n) sum_i y_i x_i relu'(<w, x_i> + b_j),   b_j ~ N(0, 1)                     (3)
    odd_j(e~)  = (g_j(e~) + g_j(-e~)) / 2,  cut to its M largest entries                   (4)
    even_j(e~) = (g_j(e~) - g_j(-e~)) / 2,  cut to its M largest entries
    J = support of odd_j(e_d) for the first neuron j with b_j >= 0, if there is one
        + the M probes of largest ||odd||  + the M probes of largest ||even||              (5)

(3) is the gradient of the squared loss up to its sign a_j: the 2 m neurons come in pairs that
differ in the sign of a_j only, so the output is 0 at the start.  The norms in (5) are over all
neurons, and one of each pair is enough for them.  The sum in (4) responds to components of odd
degree of the link, the difference to those of even degree.

Source: Vural & Erdogdu, "Pruning is Optimal for Learning Sparse Features in High-Dimensions" (COLT
2024, PMLR 247:4787-4861), Algorithm 1.  The paper leaves open at which probe the support in (5) is
taken; the probe of the noise column is a choice made here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.core.parameters import check_counts, check_integer, check_real
from secateurs.core.solution import Progress, ProgressCallback
from secateurs.data.columns import columns_of
from secateurs.features.ranks import FloatArray, IntArray
from secateurs.features.screening import FEWEST_ROWS, check_target


@dataclass(frozen=True, eq=False)
class PublishedPruning:
    """Inputs that Algorithm 1 keeps, and the norms by which it chose."""

    support: IntArray  # J without the noise column, increasing; at most 3 M columns
    odd_support: IntArray  # the first part of (5), empty where every bias is negative
    odd_norms: FloatArray  # of every probe, the one of the noise column last, [d + 1]
    even_norms: FloatArray
    biases: FloatArray  # [m]


def published_pruning(
    X: Any,
    y: NDArray[Any],
    sparsity: int,
    *,
    width: int = 8,
    shrinkage: float | None = None,
    random_state: int | None = 0,
    progress: ProgressCallback | None = None,
) -> PublishedPruning:
    """Run Algorithm 1 (PruneNetwork): keep at most 3 M inputs; the exponent is not given.

    Parameters
    ----------
    X : anything that `columns_of` reads, [n, d]
        Inputs, which the paper assumes to be standard normal; they are used as they are.
    y : array [n]
        Targets, used as they are.
    sparsity : int
        The number M of entries and of probes that each cut keeps, from 1 to d.
    width : int
        Half the number of neurons, m.
    shrinkage : float in (0, 1), optional
        The number c; by default 1 / log(d + 1), as in Theorem 4, but at most 1/2.
    random_state : int or None
        Random seed of the noise column and of the biases; None draws another at each call.
    progress : callable, optional
        Called after every probe.

    Returns
    -------
    PublishedPruning
        The kept inputs, and the odd and even norms of all probes.

    Raises
    ------
    ValueError
        Shapes do not match, values are missing, or a number is out of range.

    Notes
    -----
    O(n d^2 m) time, memory of two copies of X in float64.
    """
    source = columns_of(X)
    target = check_target(y, source.n, FEWEST_ROWS)
    check_counts(width=width)
    M = check_integer("sparsity", sparsity, 1, source.d)
    c = min(0.5, 1.0 / math.log(source.d + 1)) if shrinkage is None else shrinkage
    check_real("shrinkage", c, above=0, below=1)
    rng = np.random.default_rng(random_state)
    noise = rng.standard_normal(source.n)
    Z = np.concatenate([source.take(np.arange(source.d)), noise[:, None]], axis=1)  # (1)
    b = rng.standard_normal(width)
    d = Z.shape[1]
    yZ = Z * target[:, None] / len(Z)
    norms = np.empty((2, d))
    for i in range(d):
        u = noise if i == d - 1 else c * Z[:, i] + math.sqrt(1.0 - c * c) * noise  # (2)
        odd, even = (largest_entries(G, M) for G in split_gradients(yZ, u, b))
        norms[:, i] = np.linalg.norm(odd), np.linalg.norm(even)
        if progress is not None:
            progress(Progress(i + 1, d, math.nan, M))
    first = np.flatnonzero(b >= 0)[:1]
    odd_support = np.unique(np.nonzero(odd[first])[1])  # of the last probe, e_d
    kept = np.union1d(odd_support, np.concatenate([top(norm, M) for norm in norms]))  # (5)
    inputs = np.arange(source.d)
    J, odd_J = np.intersect1d(kept, inputs), np.intersect1d(odd_support, inputs)
    return PublishedPruning(J, odd_J, norms[0], norms[1], b)


def split_gradients(yZ: FloatArray, u: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the odd and the even gradients (4) before the cut, each [m, d].

    `yZ` [n, d] are the rows times y / n, `u` [n] is the probe applied to every row, `b` [m].
    """
    plus, minus = gradients(yZ, u, b), gradients(yZ, -u, b)
    return (plus + minus) / 2.0, (plus - minus) / 2.0


def gradients(yZ: FloatArray, u: FloatArray, b: FloatArray) -> FloatArray:
    """Return g_j (3) of every neuron at a probe, [m, d]; arguments as in `split_gradients`."""
    return np.asarray((u[:, None] + b > 0).astype(np.float64).T @ yZ)


def largest_entries(G: FloatArray, M: int) -> FloatArray:
    """Return G [m, d] with all but the M largest entries of each row set to 0."""
    out = np.zeros_like(G)
    kept = np.argsort(-np.abs(G), axis=1, kind="stable")[:, :M]
    np.put_along_axis(out, kept, np.take_along_axis(G, kept, axis=1), axis=1)
    return out


def top(values: FloatArray, M: int) -> IntArray:
    """Return the places of the M largest values; of equal values the first ones."""
    return np.argsort(-values, kind="stable")[:M]
