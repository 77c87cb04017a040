"""Compare the weights of two networks of ReLU layers, up to the order and scale of neurons.

relu(a z) = a relu(z) for a > 0, so that a neuron can grow while its outgoing weights shrink.  Each
network is brought into a normal form first: neurons that reach no output go, every hidden neuron
has incoming weights of norm 1, and parallel neurons of a layer are one.  The neurons of a summed
last layer keep their scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from secateurs.core.parameters import Shown, bad_value
from secateurs.core.short_repr import short_repr
from secateurs.recovery.matching import PARALLEL, merge_parallel

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LayerMatch:
    """The best assignment of found neurons to true ones, layer by layer.

    Parameters
    ----------
    error : float
        Largest absolute difference of a weight in the normal form, relative to the largest true
        weight of its layer.
    found, truth : lists of arrays
        The layers in the normal form, where row i of a hidden layer matches row i.
    """

    __repr__ = short_repr

    error: float
    found: list[Array]
    truth: list[Array]


def match_layers(found: Sequence[Any], truth: Sequence[Any], *, fused: bool) -> LayerMatch:
    """Compare two networks with the same number of layers, inputs and outputs.

    Parameters
    ----------
    found, truth : sequences of CSR or dense arrays [m_l, m_(l-1)]
    fused : bool
        Whether the last layer is hidden and summed; else it is linear.

    Returns
    -------
    LayerMatch

    Raises
    ------
    ValueError
        The numbers of layers, inputs or outputs differ, or the truth is empty.

    Notes
    -----
    O(p^2 d + p^3) time for p neurons in a layer.
    """
    ours, theirs = ([_dense(W) for W in layers] for layers in (found, truth))
    if len(ours) != len(theirs) or ours[0].shape[1] != theirs[0].shape[1]:
        shown = Shown(f"{len(theirs)} layers over {theirs[0].shape[1]} inputs")
        raise bad_value("truth", shown, f"{len(ours)} layers over {ours[0].shape[1]} inputs")
    if not fused and len(ours[-1]) != len(theirs[-1]):
        raise bad_value("truth", Shown(f"{len(theirs[-1])} outputs"), f"{len(ours[-1])} outputs")
    A, B = normal_form(ours, fused=fused), normal_form(theirs, fused=fused)
    if not B[-1].any():
        raise bad_value("truth", Shown("no nonzero weight that reaches an output"), "at least one")
    error = 0.0
    for layer in range(len(A)):
        if fused or layer < len(A) - 1:
            size = max(len(A[layer]), len(B[layer]))
            A[layer], B[layer] = (
                np.pad(W[layer], ((0, size - len(W[layer])), (0, 0))) for W in (A, B)
            )
            i, j = linear_sum_assignment(cdist(A[layer], B[layer], "chebyshev"))
            A[layer], B[layer] = A[layer][i], B[layer][j]
            if layer < len(A) - 1:
                for W, order in ((A, i), (B, j)):
                    above = W[layer + 1]
                    above = np.pad(above, ((0, 0), (0, size - above.shape[1])))
                    W[layer + 1] = above[:, order]
        gap = float(np.abs(A[layer] - B[layer]).max())
        error = max(error, gap / (float(np.abs(B[layer]).max()) or 1.0))
    return LayerMatch(error, A, B)


def normal_form(layers: Sequence[Array], *, fused: bool) -> list[Array]:
    """Return the layers of the same function in the normal form."""
    layers = [W.copy() for W in layers]
    n_hidden = len(layers) - (not fused)
    for layer in range(n_hidden - 1, -1, -1):  # units that reach no output
        if layer + 1 < len(layers):
            layers[layer][~layers[layer + 1].any(axis=0)] = 0.0
    for layer in range(n_hidden - fused):
        W, above = layers[layer], layers[layer + 1]
        norm = np.linalg.norm(W, axis=1)
        live = norm > 0.0
        W, above = W[live] / norm[live, None], above[:, live] * norm[live]
        group = np.full(len(W), -1)
        for j in range(len(W)):
            if group[j] < 0:
                group[(W @ W[j] > PARALLEL) & (group < 0)] = j
        first = np.unique(group)
        layers[layer] = W[first]
        layers[layer + 1] = np.array([above[:, group == j].sum(axis=1) for j in first]).T.reshape(
            len(above), len(first)
        )
    if fused:
        layers[-1] = merge_parallel(layers[-1])
    return layers


def _dense(W: Any) -> Array:
    return np.asarray(sparse.csr_array(W).toarray(), dtype=np.float64)
