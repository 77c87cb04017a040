"""Change the scaling of a network's inputs and outputs without changing its function."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateurs.sparse.network import SparseNetwork
from secateurs.training.fitted_network import FittedNetwork
from secateurs.training.moments import Scaling

DRIFT = 0.25  # deviations by which a mean, and share by which a scale, may be off


def has_drifted(before: Scaling, after: Scaling) -> bool:
    """Whether some column has another mean or size than the scaling says."""
    shift_0, shift_1 = _shift(before), _shift(after)
    moved = np.abs(shift_1 - shift_0) * np.maximum(before.scale, after.scale)
    grown = np.abs(before.scale - after.scale) > DRIFT * before.scale
    return bool((moved > DRIFT).any() or grown.any())


def continued(
    before: FittedNetwork,
    scaling: Scaling,
    out_shift: NDArray[np.float64],
    out_scale: NDArray[np.float64],
) -> SparseNetwork:
    """Return the network that computes with other scalings what a fitted one predicts.

    Parameters
    ----------
    before : FittedNetwork
    scaling : Scaling
        Of all d inputs.
    out_shift, out_scale : arrays, shape [k]

    Returns
    -------
    SparseNetwork
        The network of `before` itself, where the scalings are the same.
    """
    used, network = before.columns, before.network
    old = Scaling(np.zeros(len(scaling.scale)), np.ones(len(scaling.scale)))
    old.scale[used] = before.scale
    if before.shift is not None and old.shift is not None:
        old.shift[used] = before.shift
    same = old.scale[used] == scaling.scale[used]
    same &= _shift(old)[used] == _shift(scaling)[used]
    if not same.all():
        network = rescaled_inputs(network, old, scaling)
    targets = (before.out_shift, before.out_scale), (out_shift, out_scale)
    if all(np.array_equal(old, new) for old, new in zip(*targets, strict=True)):
        return network
    return rescaled_outputs(network, *targets)


def rescaled_inputs(network: SparseNetwork, before: Scaling, after: Scaling) -> SparseNetwork:
    """Return a network that computes with inputs scaled by `after` as this one by `before`.

    With u = (x - s) c and v = (x - s') c' the weights of the first layer become

        W u + b = (W c / c') v + b + W c (s' - s)

    so rows without a bias may get one.  A column that `after` gives the scale 0 loses its weights.
    """
    n_in, n_out = network.widths[0], network.widths[1]
    rows, cols = network.entries(0)
    values = network.values[0].astype(np.float64)
    is_bias = cols == n_in
    rows, cols, weights = rows[~is_bias], cols[~is_bias], values[~is_bias]
    bias = network.intercepts()[0].astype(np.float64)
    weights *= before.scale[cols]
    moved = weights * (_shift(after) - _shift(before))[cols]
    bias += np.bincount(rows, moved, minlength=n_out)
    ratio = np.divide(1.0, after.scale, out=np.zeros_like(after.scale), where=after.scale > 0)
    weights *= ratio[cols]
    return _with_layer(network, 0, rows, cols, weights, bias)


def rescaled_outputs(
    network: SparseNetwork,
    before: tuple[NDArray[np.float64], NDArray[np.float64]],
    after: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> SparseNetwork:
    """Return a network for targets with another shift and scale, [k] each.

    A target that was constant, or is, keeps its weights: they have no effect on the prediction.
    """
    (shift_0, scale_0), (shift_1, scale_1) = before, after
    last = len(network.keys) - 1
    rows, cols = network.entries(last)
    inner = cols < network.widths[last]
    varied = (scale_0 > 0) & (scale_1 > 0)
    factor = np.divide(scale_0, scale_1, out=np.ones_like(scale_1), where=varied)
    moved = np.divide(shift_0 - shift_1, scale_1, out=np.zeros_like(scale_1), where=varied)
    bias = network.intercepts()[last].astype(np.float64) * factor + moved
    rows, cols, weights = (
        rows[inner],
        cols[inner],
        network.values[last][inner] * factor[rows[inner]],
    )
    return _with_layer(network, last, rows, cols, weights, bias)


def with_outputs(network: SparseNetwork, place: NDArray[np.int64], k: int) -> SparseNetwork:
    """Return a network with k outputs; output i of this one becomes output ``place[i]``."""
    last = len(network.keys) - 1
    rows, cols = network.entries(last)
    keys = list(network.keys)
    keys[last] = place[rows] * (network.widths[last] + 1) + cols
    order = np.argsort(keys[last])
    values = list(network.values)
    keys[last], values[last] = keys[last][order], values[last][order]
    return SparseNetwork((*network.widths[:-1], k), keys, values)


def _with_layer(
    network: SparseNetwork,
    layer: int,
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
    weights: NDArray[np.float64],
    bias: NDArray[np.float64],
) -> SparseNetwork:
    """Return the network with another layer, without the entries that are 0."""
    n_in = network.widths[layer]
    biased = np.flatnonzero(bias)
    keys = np.concatenate([rows * (n_in + 1) + cols, biased * (n_in + 1) + n_in])
    values = np.concatenate([weights, bias[biased]]).astype(np.float32)
    order = np.argsort(keys)
    order = order[values[order] != 0]
    all_keys, all_values = list(network.keys), list(network.values)
    all_keys[layer], all_values[layer] = keys[order], values[order]
    return SparseNetwork(network.widths, all_keys, all_values)


def _shift(scaling: Scaling) -> NDArray[np.float64]:
    return np.zeros(len(scaling.scale)) if scaling.shift is None else scaling.shift
