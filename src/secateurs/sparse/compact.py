"""The compact form of a sparse ReLU network: the form that computes.

It holds only the units that carry a weight, as CSR matrices over their own numbering, with all
layers in one flat array of values.  Time and memory depend on the number of weights and on the
batch, not on the nominal width of the layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.sparse.matrix import SparseMatrix
from secateurs.sparse.network import SparseNetwork

_PIECE = 1 << 16  # weights that are handled together


@dataclass
class CompactNetwork:
    """A sparse network over its live units, with one flat array of values.

    Attributes
    ----------
    widths : tuple of int
        Nominal widths, as in `SparseNetwork`.
    units : list of Tensor int64
        For the inputs, each hidden layer and the outputs: the nominal number of each compact
        unit, increasing.  Compact unit ``len(units[l])`` is the constant 1.
    crows : list of Tensor int32
        CSR row starts of each layer.  A hidden layer has one more, empty, row for its constant.
    col : Tensor int32, shape [nnz]
        Compact columns, all layers one after the other.
    values, grad : Tensor, shape [nnz]
        The values and gradients of `matrices` are views of these.
    """

    widths: tuple[int, ...]
    units: list[Tensor]
    crows: list[Tensor]
    col: Tensor
    values: Tensor
    grad: Tensor = field(init=False)
    matrices: list[SparseMatrix] = field(init=False)

    def __post_init__(self) -> None:
        self.grad = torch.zeros_like(self.values)
        self.matrices = [
            SparseMatrix(
                crow,
                self.col[where],
                self.values[where],
                (crow.numel() - 1, len(units) + 1),
                grad=self.grad[where],
            )
            for crow, units, where in zip(self.crows, self.units[:-1], self.slices(), strict=True)
        ]

    @property
    def n_layers(self) -> int:
        """Number of weight matrices."""
        return len(self.crows)

    @property
    def nnz(self) -> int:
        """Number of weights, biases included."""
        return self.values.numel()

    def slices(self) -> list[slice]:
        """Return the part of the flat arrays that belongs to each layer."""
        cuts = np.cumsum([0, *(int(c[-1]) for c in self.crows)]).tolist()
        return [slice(a, b) for a, b in pairwise(cuts)]

    def forward(self, H: Tensor) -> list[Tensor]:
        """Return the inputs, the hidden activations and the outputs, features first.

        Parameters
        ----------
        H : Tensor, shape [len(units[0]) + 1, B], contiguous
            Inputs of the compact units; the last row is all ones.

        Returns
        -------
        list of Tensor
            The last row of a hidden layer is all ones.  The outputs have shape [k, B].
            Costs 2 nnz B flops.
        """
        activations = [H]
        for matrix in self.matrices[:-1]:
            H = matrix.product(H).relu_()
            H[-1].fill_(1.0)
            activations.append(H)
        activations.append(self.matrices[-1].product(H))
        return activations

    @classmethod
    def from_network(
        cls, network: SparseNetwork, device: torch.device | str = "cpu"
    ) -> CompactNetwork:
        """Return the compact form of a canonical network; O(nnz log nnz) time."""
        live: list[NDArray[np.int64]] = [np.empty(0, np.int64) for _ in network.widths]
        for layer, n_in in enumerate(network.widths[:-1]):
            for rows, cols in _blocks_of_entries(network, layer):
                live[layer] = np.union1d(live[layer], cols[cols < n_in])
                live[layer + 1] = np.union1d(live[layer + 1], rows)
        live[-1] = np.arange(network.widths[-1])
        col = np.empty(network.n_nonzero, dtype=np.int32)
        crows, done, n_layers = [], 0, len(network.keys)
        for layer in range(n_layers):
            counts = np.zeros(len(live[layer + 1]) + (layer < n_layers - 1), dtype=np.int64)
            for rows, cols in _blocks_of_entries(network, layer):
                # the bias column is larger than all units, so the constant comes out last
                col[done : done + len(cols)] = np.searchsorted(live[layer], cols)
                at = np.searchsorted(live[layer + 1], rows)
                counts += np.bincount(at, minlength=len(counts))
                done += len(cols)
            crows.append(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
        return cls(
            network.widths,
            [torch.from_numpy(u).to(device) for u in live],
            [torch.from_numpy(c).to(device) for c in crows],
            torch.tensor(col, device=device),
            torch.cat([torch.tensor(value, device=device) for value in network.values]),
        )

    def to_network(self) -> SparseNetwork:
        """Return the canonical form, with a copy of the values."""
        keys, values = [], []
        for layer, matrix in enumerate(self.matrices):
            n_in = self.widths[layer]
            columns = torch.cat([self.units[layer], self.units[layer].new_tensor([n_in])])
            rows = self.units[layer + 1][matrix.rows_of(slice(0, matrix.nnz))]
            keys.append((rows * (n_in + 1) + columns[matrix.col.long()]).cpu().numpy())
            values.append(matrix.values.detach().cpu().numpy().copy())
        return SparseNetwork(self.widths, keys, values)


def _blocks_of_entries(
    network: SparseNetwork, layer: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield rows and columns of the weights of a layer, a piece at a time."""
    for piece in pieces(len(network.keys[layer])):
        rows, cols = np.divmod(network.keys[layer][piece], network.widths[layer] + 1)
        yield rows, cols


def pieces(stop: int, start: int = 0) -> list[slice]:
    """Cut a range into slices, so that temporary index arrays stay small; at least one slice."""
    starts = range(start, stop, _PIECE) or [start]
    return [slice(a, min(a + _PIECE, stop)) for a in starts]
