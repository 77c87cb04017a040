"""The weights of a fitted estimator as small dense matrices, ready to be quantised.

Units that do not depend on the input are folded into biases, and units that nothing reads are
removed.  The function is that of the estimator; only zero entries are absent weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from secateurs.core.parameters import Shown, bad_value
from secateurs.sparse.network import SparseNetwork

FloatArray = NDArray[np.float64]

MOST_ENTRIES = 20_000_000  # entries of the dense form of a network


class ScaledNetwork(Protocol):
    """A network with the scaling of its inputs and outputs, as a fitted estimator holds it.

    The inputs of the network are ``(x[columns] - shift) * scale``, and its outputs are
    ``network * out_scale + out_shift``.
    """

    @property
    def network(self) -> SparseNetwork:
        """The weights."""

    @property
    def columns(self) -> NDArray[np.int64]:
        """Inputs that the network reads, increasing."""

    @property
    def shift(self) -> FloatArray | None:
        """None stands for zeros."""

    @property
    def scale(self) -> FloatArray:
        """One factor, or one for each of `columns`."""

    @property
    def out_shift(self) -> FloatArray:
        """Of each output."""

    @property
    def out_scale(self) -> FloatArray:
        """Of each output."""


def scaled_network(model: Any) -> ScaledNetwork:
    """Return the network of a fitted perceptron, or raise ValueError for another model."""
    if hasattr(model, "fit"):
        check_is_fitted(model)
    fitted: Any = getattr(model, "fitted_", None)
    if not isinstance(getattr(fitted, "network", None), SparseNetwork):
        got = Shown(type(model).__name__)
        raise bad_value("model", got, "a fitted SparseMLPClassifier or SparseMLPRegressor")
    found: ScaledNetwork = fitted
    if any(width > MOST_ENTRIES for width in found.network.widths[1:]):
        raise bad_value("model", Shown(f"widths {found.network.widths}"), "a small network")
    return found


def used_scaling(fitted: ScaledNetwork) -> tuple[FloatArray, FloatArray]:
    """Return shift and scale of the inputs that are read, one for each."""
    u = len(fitted.columns)
    shift = np.zeros(u) if fitted.shift is None else np.asarray(fitted.shift, dtype=np.float64)
    return shift, np.broadcast_to(fitted.scale, u).astype(np.float64)


def dense_layers(network: SparseNetwork, inputs: Sequence[int]) -> list[FloatArray]:
    """Return each layer as a matrix [n_out, n_in + 1] over live units; biases come last.

    Parameters
    ----------
    network : SparseNetwork
        Without dead weights.
    inputs : sequence of int
        Inputs that the first matrix has columns for, increasing; all that are read.
    """
    kept = np.asarray(inputs, dtype=np.int64)
    constant = np.zeros(network.widths[0])  # values of units that do not depend on the input
    last = len(network.keys) - 1
    layers = []
    for layer, (n_in, n_out) in enumerate(pairwise(network.widths)):
        rows, columns = network.entries(layer)
        values = network.values[layer].astype(np.float64)
        varies = np.isin(columns, kept)
        live = np.arange(n_out) if layer == last else np.unique(rows[varies])
        if len(live) * (len(kept) + 1) > MOST_ENTRIES:
            got = Shown(f"a layer of {len(live)} units with {len(kept)} inputs")
            raise bad_value("model", got, "a small network")
        offsets = np.zeros(n_out)
        fixed = np.append(constant, 1.0)[columns[~varies]]
        np.add.at(offsets, rows[~varies], values[~varies] * fixed)
        dense = np.zeros((len(live), len(kept) + 1))
        at = np.searchsorted(live, rows[varies]), np.searchsorted(kept, columns[varies])
        dense[at] = values[varies]
        dense[:, -1] = offsets[live]
        layers.append(dense)
        constant = np.maximum(offsets, 0.0)
        constant[live] = 0.0
        kept = live
        del n_in
    return layers


def balanced(layers: Sequence[FloatArray]) -> list[FloatArray]:
    """Scale hidden units so that the weights before and after them have similar sizes.

    A ReLU unit computes the same if its incoming weights are multiplied by a positive number and
    its outgoing weights divided by it.  One step size for a layer then suits all of its units.
    """
    result = [layer.copy() for layer in layers]
    for before, after in pairwise(result):
        into = _typical(before[:, :-1], axis=1)
        out = _typical(after[:, :-1], axis=0)
        factor = np.sqrt(out / into)
        before *= factor[:, None]
        after[:, :-1] /= factor
    return result


def _typical(weights: FloatArray, axis: int) -> FloatArray:
    """Root mean square of the weights of each unit, relative to that of a typical unit."""
    count = np.maximum((weights != 0).sum(axis=axis), 1)
    size = np.sqrt(np.square(weights).sum(axis=axis) / count)
    size[size == 0] = 1.0
    relative: FloatArray = size / np.exp(np.log(size).mean()) if len(size) else size
    return relative
