"""The canonical form of a sparse ReLU network: sorted positions and values, layer by layer.

A weight of a layer has the key ``row * (n_in + 1) + column``.  Column ``n_in`` holds the biases,
which are weights from a constant input.  A weight takes 12 bytes, and memory does not grow with
the width of a layer.  `secateurs.sparse.compact` has the form that computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from secateurs.core.short_repr import short_repr

MAX_UNITS = 10_000_000  # hidden units or outputs of one layer
MAX_INPUTS = 2**31 - 2  # int32 column indices, one of them for the constant input


@dataclass(frozen=True)
class SparseNetwork:
    """The weights of a sparse multilayer perceptron; immutable.

    Parameters
    ----------
    widths : tuple of int
        ``(d, m_1, ..., m_L, k)``: inputs, hidden units of each layer, outputs.
    keys : list of int64 arrays, one for each layer, strictly increasing
        ``row * (n_in + 1) + column``; ``column == n_in`` is the bias of that row.
    values : list of float32 (or float64) arrays, one for each layer
        The weights, in the order of the keys.
    """

    __repr__ = short_repr

    widths: tuple[int, ...]
    keys: list[NDArray[np.int64]]
    values: list[NDArray[Any]]

    @property
    def n_nonzero(self) -> int:
        """Number of weights, biases included."""
        return sum(len(k) for k in self.keys)

    def entries(self, layer: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the places of the weights of a layer.

        Parameters
        ----------
        layer : int
            Number of the layer, from 0.

        Returns
        -------
        rows : array of int64, shape [nnz of the layer]
            Units of the layer, increasing.
        columns : array of int64, shape [nnz of the layer]
            Inputs of the layer; a bias has column ``n_in``.
        """
        rows, cols = np.divmod(self.keys[layer], self.widths[layer] + 1)
        return rows, cols

    def used_inputs(self) -> NDArray[np.int64]:
        """Return the inputs that the network reads.

        Returns
        -------
        array of int64
            Numbers of the inputs that have a weight in the first layer, increasing.
        """
        columns = np.unique(self.entries(0)[1])
        return columns[columns < self.widths[0]]

    def coefs(self) -> list[sparse.csr_array]:
        """Return the weights without biases.

        Returns
        -------
        list of csr_array, shapes [n_out, n_in]
            One array for each layer.
        """
        result = []
        for layer, (n_in, n_out) in enumerate(pairwise(self.widths)):
            rows, cols = self.entries(layer)
            keep = cols < n_in
            triple = (self.values[layer][keep], (rows[keep], cols[keep]))
            result.append(sparse.csr_array(triple, shape=(n_out, n_in)))
        return result

    def intercepts(self) -> list[NDArray[Any]]:
        """Return the biases.

        Returns
        -------
        list of arrays, shapes [n_out]
            One array for each layer; a unit without a bias has 0.
        """
        result = []
        for layer, (n_in, n_out) in enumerate(pairwise(self.widths)):
            rows, cols = self.entries(layer)
            bias = np.zeros(n_out, dtype=self.values[layer].dtype)
            bias[rows[cols == n_in]] = self.values[layer][cols == n_in]
            result.append(bias)
        return result

    def trimmed(self) -> SparseNetwork:
        """Return the same function without dead weights and without explicit zeros.

        A weight is dead if no path of weights leads from its unit to an output, or if it leaves a
        hidden unit that has no weights of its own.

        Returns
        -------
        SparseNetwork
            A network of the same widths.
        """
        masks = self._live()
        return SparseNetwork(
            self.widths,
            [k[m] for k, m in zip(self.keys, masks, strict=True)],
            [v[m] for v, m in zip(self.values, masks, strict=True)],
        )

    def _live(self) -> list[NDArray[np.bool_]]:
        """Mark the weights that can influence an output.

        A weight is dead if no path of weights leads from its unit to an output, or if it leaves
        a hidden unit that has no weights of its own.
        """
        n = len(self.keys)
        entries = [self.entries(layer) for layer in range(n)]
        masks = [v != 0 for v in self.values]
        for layer in range(n - 1):  # forwards: a unit without weights is always 0
            filled = np.unique(entries[layer][0][masks[layer]])
            cols = entries[layer + 1][1]
            masks[layer + 1] &= np.isin(cols, filled) | (cols == self.widths[layer + 1])
        for layer in range(n - 1, 0, -1):  # backwards: a unit that no weight leaves is not read
            read = np.unique(entries[layer][1][masks[layer]])
            masks[layer - 1] &= np.isin(entries[layer - 1][0], read)
        return masks


def from_dense(matrices: list[Tensor]) -> SparseNetwork:
    """Return the canonical form of dense layers without the entries that are exactly 0.

    Parameters
    ----------
    matrices : list of Tensor, shapes [n_out, n_in + 1]
        The last column of each holds the biases.
    """
    keys, values = [], []
    for matrix in matrices:
        full = matrix.detach().cpu().numpy().astype(np.float32).ravel()
        key = np.flatnonzero(full)
        keys.append(key.astype(np.int64))
        values.append(full[key])
    widths = (matrices[0].shape[1] - 1, *(matrix.shape[0] for matrix in matrices))
    return SparseNetwork(widths, keys, values)
