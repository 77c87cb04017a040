"""The compact form of a sparse ReLU network: the form that computes.

It holds only the units that carry a weight, as CSR matrices over their own numbering, with all
layers in one flat array of values.  Time and memory depend on the number of weights and on the
batch, not on the nominal width of the layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.sparse.matrix import BLOCK, SparseMatrix, part_of, row_blocks
from secateurs.sparse.network import SparseNetwork

_PIECE = 1 << 16  # weights that are handled together


@dataclass(frozen=True)
class GradientBlock:
    """Rows of a layer whose gradient is computed by one product.

    Attributes
    ----------
    rows : slice or None
        The rows of the layer; None for all of them.
    matrix : SparseMatrix
        These rows; its gradient is a part of `CompactNetwork.gradients`.
    completes : int or None
        The number of the piece of the flat arrays whose gradient is complete after this block.
    """

    rows: slice | None
    matrix: SparseMatrix
    completes: int | None


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
    values : Tensor, shape [nnz]
        The values of `matrices` are views of these.
    pieces : list of slice
        Parts of the flat arrays that are updated together, the last one first: 65,536 weights,
        or those of one row if it has more.
    gradients : list of Tensor, shape [weights of the piece]
        The gradient of each piece.  All share one memory, so only one of them exists at a time.
    blocks : list of lists of GradientBlock
        For each layer, the products that compute its gradient, the last rows first.
    """

    widths: tuple[int, ...]
    units: list[Tensor]
    crows: list[Tensor]
    col: Tensor
    values: Tensor
    matrices: list[SparseMatrix] = field(init=False)
    pieces: list[slice] = field(init=False)
    gradients: list[Tensor] = field(init=False)
    blocks: list[list[GradientBlock]] = field(init=False)
    _floors: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.matrices = [
            SparseMatrix(
                crow, self.col[where], self.values[where], (crow.numel() - 1, len(units) + 1)
            )
            for crow, units, where in zip(self.crows, self.units[:-1], self.slices(), strict=True)
        ]
        self._prepare_gradient()
        self._floors = []  # 0 for a unit, and 1 for the constant
        for units in self.units[1:-1]:
            floor = torch.zeros(len(units) + 1, 1, device=self.values.device)
            floor[-1] = 1.0
            self._floors.append(floor)

    def _prepare_gradient(self) -> None:
        """Cut the layers into blocks of rows, and join blocks from the last on to pieces."""
        first = [where.start for where in self.slices()]
        cuts = [
            (layer, rows, slice(first[layer] + where.start, first[layer] + where.stop))
            for layer in range(self.n_layers - 1, -1, -1)
            for rows, where in reversed(row_blocks(self.crows[layer]))
        ]
        groups = [[cuts[0]]]
        for cut in cuts[1:]:
            if groups[-1][0][2].stop - cut[2].start > BLOCK:
                groups.append([])
            groups[-1].append(cut)
        self.pieces = [slice(group[-1][2].start, group[0][2].stop) for group in groups]
        largest = max(piece.stop - piece.start for piece in self.pieces)
        grad = self.values.new_zeros(largest)
        self.gradients = [grad[: piece.stop - piece.start] for piece in self.pieces]
        self.blocks = [[] for _ in self.crows]
        for number, (piece, group) in enumerate(zip(self.pieces, groups, strict=True)):
            for layer, rows, flat in group:
                is_whole = rows.stop - rows.start == self.matrices[layer].shape[0]
                where = slice(flat.start - first[layer], flat.stop - first[layer])
                matrix = part_of(
                    self.crows[layer],
                    self.matrices[layer].col,
                    self.values[flat],
                    rows,
                    where,
                    self.matrices[layer].shape[1],
                    grad=grad[flat.start - piece.start : flat.stop - piece.start],
                )
                of_layer = self.blocks[layer]
                of_layer.append(GradientBlock(None if is_whole else rows, matrix, None))
            of_layer[-1] = replace(of_layer[-1], completes=number)

    def release(self) -> None:
        """Let go of the arrays of the weights."""
        self.values = self.col = torch.empty(0)
        self.gradients, self.matrices, self.blocks = [], [], []

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
        for matrix, floor in zip(self.matrices, self._floors, strict=False):
            H = matrix.product(H)
            torch.maximum(H, floor, out=H)  # the product has 0 in the row of the constant
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
