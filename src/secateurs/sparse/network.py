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
from typing import Any

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
    values : list of float32 (or float64) arrays, one per layer
    """

    widths: tuple[int, ...]
    keys: list[NDArray[np.int64]]
    values: list[NDArray[Any]]

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

    def intercepts(self) -> list[NDArray[Any]]:
        """Biases, layer l as an array of shape [n_out]."""
        result = []
        for layer, (n_in, n_out) in enumerate(pairwise(self.widths)):
            rows, cols = self.entries(layer)
            bias = np.zeros(n_out, dtype=self.values[layer].dtype)
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
            H[-1].fill_(1.0)
            activations.append(H)
        activations.append(self.matrices[-1].product(H))
        return activations

    @classmethod
    def from_network(
        cls, network: SparseNetwork, device: torch.device | str = "cpu"
    ) -> CompactNetwork:
        """Compact form of a canonical network; O(nnz log nnz), 8 bytes a weight."""
        n_layers = len(network.keys)
        live: list[NDArray[np.int64]] = [np.empty(0, np.int64) for _ in network.widths]
        for layer, keys in enumerate(network.keys):
            for piece in pieces(slice(0, len(keys))):
                rows, cols = np.divmod(keys[piece], network.widths[layer] + 1)
                live[layer] = np.union1d(live[layer], cols[cols < network.widths[layer]])
                live[layer + 1] = np.union1d(live[layer + 1], rows)
        live[-1] = np.arange(network.widths[-1])
        col = np.empty(network.n_nonzero, dtype=np.int32)
        crows, done = [], 0
        for layer, keys in enumerate(network.keys):
            counts = np.zeros(len(live[layer + 1]) + (layer < n_layers - 1), dtype=np.int64)
            for piece in pieces(slice(0, len(keys))):
                rows, cols = np.divmod(keys[piece], network.widths[layer] + 1)
                compact = np.searchsorted(live[layer], cols)  # the constant comes out last
                col[done : done + len(compact)] = compact
                at = np.searchsorted(live[layer + 1], rows)
                counts += np.bincount(at, minlength=len(counts))
                done += len(compact)
            crows.append(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
        return cls(
            network.widths,
            [torch.from_numpy(u).to(device) for u in live],
            [torch.from_numpy(c).to(device) for c in crows],
            torch.tensor(col, device=device),
            torch.cat([torch.tensor(value, device=device) for value in network.values]),
        )

    def to_network(self) -> SparseNetwork:
        """Canonical form; the values are copied."""
        keys, values = [], []
        for layer, matrix in enumerate(self.matrices):
            n_in = self.widths[layer]
            columns = torch.cat([self.units[layer], self.units[layer].new_tensor([n_in])])
            rows = self.units[layer + 1][matrix.rows_of(slice(0, matrix.nnz))]
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
        Consumed too.
    grown : list of Tensor int64, one per layer
        Sorted keys (as in `SparseNetwork`) of the weights to add; not on the support.

    Returns
    -------
    CompactNetwork, list of Tensor
        The peak is 29 bytes a weight, with 14 of state: see tests/training/test_memory.py.
    """
    keep = drop.logical_not_()
    widths, units, crows = net.widths, net.units, net.crows
    values, col, where = net.values, net.col, net.slices()
    net.grad = net.values = net.col = torch.empty(0)
    net.matrices = []

    new_units = _used_units(widths, units, crows, col, where, keep, grown)
    row_counts, kept_keys, grown_keys = [], [], []
    for layer, part in enumerate(where):
        n_in = widths[layer]
        n_rows = len(new_units[layer + 1]) + (layer < net.n_layers - 1)
        n_cols = len(new_units[layer]) + 1
        dtype = torch.int32 if n_rows * n_cols < 2**31 else torch.int64
        # old compact index -> new compact index; monotone, so the order of kept weights stands
        nominal = torch.cat([units[layer], units[layer].new_tensor([n_in])])
        col_map = torch.searchsorted(new_units[layer], nominal)
        row_map = torch.searchsorted(new_units[layer + 1], units[layer + 1])
        counts = _row_counts(crows[layer], keep[part])[: row_map.numel()]
        total = torch.zeros(n_rows, dtype=torch.int64, device=col.device)
        total.index_add_(0, row_map, counts.long())
        kept = torch.empty(int(counts.sum()), dtype=dtype, device=col.device)
        done = 0
        for piece in pieces(part):
            index = torch.arange(piece.start, piece.stop, dtype=torch.int32, device=col.device)
            rows = torch.searchsorted(crows[layer], index[keep[piece]] - part.start, right=True) - 1
            keys = row_map[rows] * n_cols + col_map[col[piece][keep[piece]].long()]
            kept[done : done + len(keys)] = keys
            done += len(keys)
        new = torch.empty(len(grown[layer]), dtype=dtype, device=col.device)
        for piece in pieces(slice(0, len(new))):
            ends, starts = _ends_and_starts(grown[layer][piece], n_in)
            rows = torch.searchsorted(new_units[layer + 1], ends)
            new[piece] = rows * n_cols + torch.searchsorted(new_units[layer], starts)
            total += torch.bincount(rows, minlength=n_rows)
        row_counts.append(total)
        kept_keys.append(kept)
        grown_keys.append(new)
    del col, grown
    new_crows, new_cols, fresh = [], [], []
    for layer, total in enumerate(row_counts):
        n_cols = len(new_units[layer]) + 1
        new_col, is_new = _merge(kept_keys[layer], grown_keys[layer], n_cols)
        kept_keys[layer] = grown_keys[layer] = new_col[:0]
        crow = torch.zeros(len(total) + 1, dtype=torch.int32, device=total.device)
        torch.cumsum(total, 0, out=crow[1:])
        new_crows.append(crow)
        new_cols.append(new_col)
        fresh.append(is_new)
    col, is_new = torch.cat(new_cols), torch.cat(fresh)
    del new_cols, fresh
    values = _follow(values, keep, is_new)
    moved = []
    while state:
        moved.append(_follow(state.pop(0), keep, is_new))
    return CompactNetwork(widths, new_units, new_crows, col, values), moved


def _ends_and_starts(keys: Tensor, n_in: int) -> tuple[Tensor, Tensor]:
    """Nominal rows and columns of keys; the column of a bias is `n_in`."""
    ends = torch.div(keys, n_in + 1, rounding_mode="floor")
    return ends, keys - ends * (n_in + 1)


def _used_units(
    widths: tuple[int, ...],
    units: list[Tensor],
    crows: list[Tensor],
    col: Tensor,
    where: list[slice],
    keep: Tensor,
    grown: list[Tensor],
) -> list[Tensor]:
    """Nominal indices of the units that carry a kept or a grown weight."""
    result = []
    for boundary in range(len(widths) - 1):
        used = torch.zeros(len(units[boundary]) + 1, dtype=torch.bool, device=col.device)
        for piece in pieces(where[boundary]):
            used[col[piece][keep[piece]].long()] = True
        if boundary:
            used |= _row_counts(crows[boundary - 1], keep[where[boundary - 1]]) > 0
        result.append(units[boundary][used[:-1]])
    result.append(units[-1])
    for layer, keys in enumerate(grown):
        for piece in pieces(slice(0, len(keys))):
            ends, starts = _ends_and_starts(keys[piece], widths[layer])
            starts = starts[starts < widths[layer]]
            result[layer] = torch.unique(torch.cat([result[layer], starts]))
            result[layer + 1] = torch.unique(torch.cat([result[layer + 1], ends]))
    return result


def _row_counts(crow: Tensor, keep: Tensor) -> Tensor:
    """Kept weights of each row."""
    counts = torch.zeros(crow.numel() - 1, dtype=torch.int64, device=crow.device)
    for piece in pieces(slice(0, keep.numel())):
        index = torch.arange(piece.start, piece.stop, dtype=torch.int32, device=crow.device)
        rows = torch.searchsorted(crow, index[keep[piece]], right=True) - 1
        counts += torch.bincount(rows, minlength=len(counts))
    return counts


def _merge(kept_keys: Tensor, grown_keys: Tensor, n_cols: int) -> tuple[Tensor, Tensor]:
    """Merge two increasing runs of compact keys: columns of the result, and which are new."""
    total = len(kept_keys) + len(grown_keys)
    is_new = torch.zeros(total, dtype=torch.bool, device=kept_keys.device)
    for piece in pieces(slice(0, len(grown_keys))):
        at = torch.searchsorted(kept_keys, grown_keys[piece])
        is_new[at + torch.arange(piece.start, piece.stop, device=at.device)] = True
    col = torch.empty(total, dtype=torch.int32, device=kept_keys.device)
    kept = grown = 0
    for piece in pieces(slice(0, total)):
        flags = is_new[piece]
        n_new = int(flags.sum())
        n_old = flags.numel() - n_new
        target = col[piece]
        target[flags] = (grown_keys[grown : grown + n_new] % n_cols).int()
        target[~flags] = (kept_keys[kept : kept + n_old] % n_cols).int()
        grown, kept = grown + n_new, kept + n_old
    return col, is_new


def _follow(old: Tensor, keep: Tensor, is_new: Tensor) -> Tensor:
    """Per-weight state after an exchange: kept entries in order, 0 where new."""
    kept = torch.cat([old[:0], *(old[p][keep[p]] for p in pieces(slice(0, old.numel())))])
    new = torch.zeros(is_new.numel(), dtype=old.dtype, device=old.device)
    done = 0
    for piece in pieces(slice(0, is_new.numel())):
        old_here = ~is_new[piece]
        n = int(old_here.sum())
        new[piece][old_here] = kept[done : done + n]
        done += n
    return new


def pieces(where: slice) -> list[slice]:
    """Cut a slice so that index temporaries stay small."""
    starts = range(where.start, where.stop, _PIECE)
    return [slice(a, min(a + _PIECE, where.stop)) for a in starts] or [
        slice(where.start, where.start)
    ]
