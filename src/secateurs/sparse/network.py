"""A sparse ReLU network in two forms: canonical (what is kept) and compact (what runs).

Canonical, `SparseNetwork`: per layer a sorted array of keys ``row * (n_in + 1) + column`` and
their values; column ``n_in`` is the bias, a weight from a constant input.  12 bytes a weight,
nothing that grows with the width of a layer.

Compact, `CompactNetwork`: only the units that carry a weight, as CSR over their own numbering,
all layers in one flat array of values.  Time and memory depend on the number of weights and on
the batch, not on the nominal width of the layers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from secateurs.sparse.matrix import SparseMatrix

MAX_UNITS = 10_000_000  # hidden units or outputs of one layer
MAX_INPUTS = 2**31 - 2  # int32 column indices, one of them for the constant input
_PIECE = 1 << 16


@dataclass(frozen=True)
class SparseNetwork:
    """Weights of a sparse multilayer perceptron, immutable.

    Attributes
    ----------
    widths : tuple of int
        ``(d, m_1, ..., m_L, k)``.
    keys : list of int64 arrays, one per layer, strictly increasing
        ``row * (n_in + 1) + column``; ``column == n_in`` is the bias of that row.
    values : list of float32 arrays, one per layer
    """

    widths: tuple[int, ...]
    keys: list[NDArray[np.int64]]
    values: list[NDArray[np.float32]]

    @property
    def n_nonzero(self) -> int:
        """Number of weights kept, biases included."""
        return sum(len(k) for k in self.keys)

    def entries(self, layer: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column of each weight of a layer; the bias column is ``n_in``."""
        rows, cols = np.divmod(self.keys[layer], self.widths[layer] + 1)
        return rows, cols

    def coefs(self) -> list[sparse.csr_array]:
        """Weights without biases, layer l as a CSR array of shape [n_out, n_in]."""
        result = []
        for layer, (n_in, n_out) in enumerate(pairwise(self.widths)):
            rows, cols = self.entries(layer)
            keep = cols < n_in
            triple = (self.values[layer][keep], (rows[keep], cols[keep]))
            result.append(sparse.csr_array(triple, shape=(n_out, n_in)))
        return result

    def intercepts(self) -> list[NDArray[np.float32]]:
        """Biases, layer l as an array of shape [n_out]."""
        result = []
        for layer, (n_in, n_out) in enumerate(pairwise(self.widths)):
            rows, cols = self.entries(layer)
            bias = np.zeros(n_out, dtype=np.float32)
            bias[rows[cols == n_in]] = self.values[layer][cols == n_in]
            result.append(bias)
        return result

    def select(self, masks: list[NDArray[np.bool_]]) -> SparseNetwork:
        """Only the weights whose mask is True."""
        return SparseNetwork(
            self.widths,
            [k[m] for k, m in zip(self.keys, masks, strict=True)],
            [v[m] for v, m in zip(self.values, masks, strict=True)],
        )

    def live(self) -> list[NDArray[np.bool_]]:
        """Which weights can influence an output.

        A weight is dead when it enters a unit from which no path of weights leads to an
        output, or leaves a hidden unit that nothing enters.
        """
        n = len(self.keys)
        entries = [self.entries(layer) for layer in range(n)]
        masks = [v != 0 for v in self.values]
        for layer in range(n - 1):  # forwards: a unit nothing enters is always 0
            filled = np.unique(entries[layer][0][masks[layer]])
            cols = entries[layer + 1][1]
            masks[layer + 1] &= np.isin(cols, filled) | (cols == self.widths[layer + 1])
        for layer in range(n - 1, 0, -1):  # backwards: a unit nothing leaves is never read
            read = np.unique(entries[layer][1][masks[layer]])
            masks[layer - 1] &= np.isin(entries[layer - 1][0], read)
        return masks

    def trimmed(self) -> SparseNetwork:
        """The same function without dead weights and explicit zeros."""
        return self.select(self.live())


def from_dense(weights: list[Tensor], biases: list[Tensor]) -> SparseNetwork:
    """Canonical form of dense layers; entries that are exactly 0 are left out.

    Parameters
    ----------
    weights : list of Tensor, shapes [n_out, n_in]
    biases : list of Tensor, shapes [n_out]
    """
    keys, values = [], []
    for W, b in zip(weights, biases, strict=True):
        full = torch.cat([W, b[:, None]], 1).detach().cpu().numpy().astype(np.float32)
        key = np.flatnonzero(full)
        keys.append(key.astype(np.int64))
        values.append(full.ravel()[key])
    widths = (weights[0].shape[1], *(W.shape[0] for W in weights))
    return SparseNetwork(widths, keys, values)


@dataclass
class CompactNetwork:
    """The running form of a sparse network: live units only, one flat array of values.

    Attributes
    ----------
    widths : tuple of int
        Nominal widths, as in `SparseNetwork`.
    units : list of Tensor int64
        Per boundary (inputs, hidden layers, outputs) the nominal index of each compact unit,
        increasing.  Compact unit ``len(units[l])`` is the constant 1.
    crows : list of Tensor int32
        CSR row starts of each layer; a hidden layer has one more, empty, row for its constant.
    col : Tensor int32, shape [nnz]
        Compact columns, all layers one after the other.
    values, grad : Tensor, shape [nnz]
        `matrices` are views of them.
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
        self.matrices = []
        for layer, where in enumerate(self.slices()):
            self.matrices.append(
                SparseMatrix(
                    self.crows[layer],
                    self.col[where],
                    self.values[where],
                    (self.crows[layer].numel() - 1, len(self.units[layer]) + 1),
                    grad=self.grad[where],
                )
            )

    @property
    def n_layers(self) -> int:
        """Number of weight matrices."""
        return len(self.crows)

    @property
    def nnz(self) -> int:
        """Number of weights, biases included."""
        return self.values.numel()

    def slices(self) -> list[slice]:
        """Where each layer lies in the flat arrays."""
        cuts = np.cumsum([0, *(int(c[-1]) for c in self.crows)]).tolist()
        return [slice(a, b) for a, b in pairwise(cuts)]

    def forward(self, H: Tensor) -> list[Tensor]:
        """Activations of every boundary, features first.

        Parameters
        ----------
        H : Tensor, shape [len(units[0]) + 1, B], contiguous
            Inputs of the compact units, last row all ones.

        Returns
        -------
        list of Tensor
            Inputs, hidden activations (last row all ones), outputs [k, B]; 2 nnz B flops.
        """
        activations = [H]
        for matrix in self.matrices[:-1]:
            H = matrix.product(H).relu_()
            H[-1] = 1.0
            activations.append(H)
        activations.append(self.matrices[-1].product(H))
        return activations

    @classmethod
    def from_network(
        cls, network: SparseNetwork, device: torch.device | str = "cpu"
    ) -> CompactNetwork:
        """Compact form of a canonical network; O(nnz log nnz)."""
        n_layers = len(network.keys)
        entries = [network.entries(layer) for layer in range(n_layers)]
        units = []
        for boundary, width in enumerate(network.widths[:-1]):
            cols = entries[boundary][1]
            used = cols[cols < width]
            if boundary:
                used = np.concatenate([used, entries[boundary - 1][0]])
            units.append(np.unique(used))
        units.append(np.arange(network.widths[-1]))
        crows, columns = [], []
        for layer, (rows, cols) in enumerate(entries):
            n_rows = len(units[layer + 1]) + (layer < n_layers - 1)
            counts = np.bincount(np.searchsorted(units[layer + 1], rows), minlength=n_rows)
            crows.append(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
            compact = np.searchsorted(units[layer], cols)  # the constant comes out last
            columns.append(compact.astype(np.int32))
        return cls(
            network.widths,
            [torch.from_numpy(u).to(device) for u in units],
            [torch.from_numpy(c).to(device) for c in crows],
            torch.from_numpy(np.concatenate(columns)).to(device),
            torch.from_numpy(np.concatenate(network.values)).to(device),
        )

    def to_network(self) -> SparseNetwork:
        """Canonical form; the values are copied."""
        keys, values = [], []
        for layer, matrix in enumerate(self.matrices):
            n_in = self.widths[layer]
            columns = torch.cat([self.units[layer], self.units[layer].new_tensor([n_in])])
            rows = self.units[layer + 1][matrix.rows()]
            keys.append((rows * (n_in + 1) + columns[matrix.col.long()]).cpu().numpy())
            values.append(matrix.values.detach().cpu().numpy().copy())
        return SparseNetwork(self.widths, keys, values)


def exchange(
    net: CompactNetwork, state: list[Tensor], drop: Tensor, grown: list[Tensor]
) -> tuple[CompactNetwork, list[Tensor]]:
    """Drop some weights, grow others at 0, renumber the units.

    Parameters
    ----------
    net : CompactNetwork
        Consumed: its arrays are released as they are replaced.
    state : list of Tensor, shape [nnz]
        Per-weight state that follows the weights; 0 where a weight grows.
    drop : Tensor of bool, shape [nnz]
    grown : list of Tensor int64, one per layer
        Sorted keys (as in `SparseNetwork`) of the weights to add; not on the support.

    Returns
    -------
    CompactNetwork, list of Tensor
        Extra memory while it runs: about 10 bytes a weight, so that the peak of training
        stays below 30 bytes a weight.
    """
    keep = ~drop
    values, col, units, crows = net.values, net.col, net.units, net.crows
    where = net.slices()
    widths = net.widths
    n_layers = net.n_layers
    net.grad = net.values = net.col = torch.empty(0)
    net.matrices = []

    ends = [torch.div(g, widths[i] + 1, rounding_mode="floor") for i, g in enumerate(grown)]
    starts = [g - e * (widths[i] + 1) for i, (g, e) in enumerate(zip(grown, ends, strict=True))]
    new_units = _used_units(widths, units, crows, col, where, keep, starts, ends)
    new_crows, new_cols, fresh = [], [], []
    for layer in range(n_layers):
        n_rows = len(new_units[layer + 1]) + (layer < n_layers - 1)
        n_cols = len(new_units[layer]) + 1
        # old compact index -> new compact index; monotone, so the order of kept weights stands
        col_map = torch.searchsorted(
            new_units[layer], torch.cat([units[layer], units[layer].new_tensor([widths[layer]])])
        )
        row_map = torch.searchsorted(new_units[layer + 1], units[layer + 1])
        crow, new_col, is_new = _merge(
            crows[layer],
            col[where[layer]],
            keep[where[layer]],
            row_map,
            col_map,
            torch.searchsorted(new_units[layer + 1], ends[layer]),
            torch.searchsorted(new_units[layer], starts[layer]),
            (n_rows, n_cols),
        )
        new_crows.append(crow)
        new_cols.append(new_col)
        fresh.append(is_new)
    del col
    new_col = torch.cat(new_cols)
    is_new = torch.cat(fresh)
    del new_cols, fresh
    moved = []
    values = _follow(values, keep, is_new)
    while state:
        moved.append(_follow(state.pop(0), keep, is_new))
    return CompactNetwork(widths, new_units, new_crows, new_col, values), moved


def _used_units(
    widths: tuple[int, ...],
    units: list[Tensor],
    crows: list[Tensor],
    col: Tensor,
    where: list[slice],
    keep: Tensor,
    starts: list[Tensor],
    ends: list[Tensor],
) -> list[Tensor]:
    """Nominal indices of the units that carry a kept or a grown weight."""
    result = []
    for boundary, width in enumerate(widths[:-1]):
        used = torch.zeros(len(units[boundary]) + 1, dtype=torch.bool, device=col.device)
        for piece in _pieces(where[boundary]):
            used[col[piece][keep[piece]].long()] = True
        extra = [starts[boundary][starts[boundary] < width]]
        if boundary:
            used |= _row_counts(crows[boundary - 1], keep[where[boundary - 1]]) > 0
            extra.append(ends[boundary - 1])
        result.append(torch.unique(torch.cat([units[boundary][used[:-1]], *extra])))
    result.append(units[-1])
    return result


def _row_counts(crow: Tensor, keep: Tensor) -> Tensor:
    """Kept weights of each row."""
    total = torch.zeros(keep.numel() + 1, dtype=torch.int32, device=keep.device)
    torch.cumsum(keep, 0, dtype=torch.int32, out=total[1:])
    return total[crow.long()].diff()


def _merge(
    crow: Tensor,
    col: Tensor,
    keep: Tensor,
    row_map: Tensor,
    col_map: Tensor,
    grown_rows: Tensor,
    grown_cols: Tensor,
    shape: tuple[int, int],
) -> tuple[Tensor, Tensor, Tensor]:
    """Merge the kept and the grown weights of one layer: row starts, columns, which are new."""
    n_rows, n_cols = shape
    dtype = torch.int32 if n_rows * n_cols < 2**31 else torch.int64
    counts = _row_counts(crow, keep)[: row_map.numel()]
    new_counts = torch.bincount(grown_rows, minlength=n_rows)
    kept_keys = torch.empty(int(counts.sum()), dtype=dtype, device=col.device)
    new_counts.index_add_(0, row_map, counts.long())
    done = 0
    for piece in _pieces(slice(0, col.numel())):
        index = torch.arange(piece.start, piece.stop, dtype=torch.int32, device=col.device)
        rows = torch.searchsorted(crow, index[keep[piece]], right=True) - 1
        keys = row_map[rows] * n_cols + col_map[col[piece][keep[piece]].long()]
        kept_keys[done : done + len(keys)] = keys
        done += len(keys)
    grown_keys = (grown_rows * n_cols + grown_cols).to(dtype)
    total = len(kept_keys) + len(grown_keys)
    is_new = torch.zeros(total, dtype=torch.bool, device=col.device)
    at = torch.searchsorted(kept_keys, grown_keys)
    is_new[at + torch.arange(len(at), device=at.device)] = True
    new_col = torch.empty(total, dtype=torch.int32, device=col.device)
    kept = grown = 0
    for piece in _pieces(slice(0, total)):
        flags = is_new[piece]
        n_new = int(flags.sum())
        n_old = flags.numel() - n_new
        target = new_col[piece]
        target[flags] = (grown_keys[grown : grown + n_new] % n_cols).int()
        target[~flags] = (kept_keys[kept : kept + n_old] % n_cols).int()
        grown, kept = grown + n_new, kept + n_old
    new_crow = torch.zeros(n_rows + 1, dtype=torch.int32, device=col.device)
    torch.cumsum(new_counts, 0, out=new_crow[1:])
    return new_crow, new_col, is_new


def _follow(old: Tensor, keep: Tensor, is_new: Tensor) -> Tensor:
    """Per-weight state after an exchange: kept entries in order, 0 where new."""
    kept = torch.cat([old[:0], *(old[p][keep[p]] for p in _pieces(slice(0, old.numel())))])
    new = torch.zeros(is_new.numel(), dtype=old.dtype, device=old.device)
    done = 0
    for piece in _pieces(slice(0, is_new.numel())):
        old_here = ~is_new[piece]
        n = int(old_here.sum())
        new[piece][old_here] = kept[done : done + n]
        done += n
    return new


def _pieces(where: slice) -> list[slice]:
    """Cut a slice so that index temporaries stay small."""
    starts = range(where.start, where.stop, _PIECE)
    return [slice(a, min(a + _PIECE, where.stop)) for a in starts] or [
        slice(where.start, where.start)
    ]
