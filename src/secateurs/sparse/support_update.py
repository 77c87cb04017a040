"""Change the support of a compact network: drop weights, grow others, renumber the units.

The peak is 29 bytes for each weight, with 14 bytes of state (tests/training/test_memory.py).
Arrays are therefore handled in pieces and released as soon as they have been replaced.
"""

from __future__ import annotations

import torch
from torch import Tensor

from secateurs.sparse.compact import CompactNetwork, pieces


def update_support(
    net: CompactNetwork, state: list[Tensor], drop: Tensor, grown: list[Tensor]
) -> tuple[CompactNetwork, list[Tensor]]:
    """Drop some weights, grow others with the value 0, and renumber the units.

    Parameters
    ----------
    net : CompactNetwork
        Not usable afterwards: its arrays are released as they are replaced.
    state : list of Tensor, shape [nnz]
        State of each weight that moves with it; 0 for a weight that grows.  The list is emptied.
    drop : Tensor of bool, shape [nnz]
        Overwritten.
    grown : list of Tensor int64, one for each layer
        Sorted keys (as in `SparseNetwork`) of the weights to add; not on the support.

    Returns
    -------
    CompactNetwork, list of Tensor
        The new network and the state of its weights.
    """
    keep = drop.logical_not_()
    widths, units, crows = net.widths, net.units, net.crows
    values, col, where = net.values, net.col, net.slices()
    net.grad = net.values = net.col = torch.empty(0)
    net.matrices = []

    new_units = _used_units(widths, units, crows, col, where, keep, grown)
    merges = []
    for layer, part in enumerate(where):
        old = units[layer], units[layer + 1]
        new = new_units[layer], new_units[layer + 1]
        n_rows = len(new[1]) + (layer < len(where) - 1)
        kept_keys, counts = _kept_keys(
            crows[layer], col[part], keep[part], old, new, widths[layer], n_rows
        )
        grown_keys, more = _grown_keys(grown[layer], new, widths[layer], n_rows, kept_keys.dtype)
        merges.append((kept_keys, grown_keys, counts + more, len(new[0]) + 1))
    del col, grown, kept_keys, grown_keys
    new_crows, new_cols, fresh = [], [], []
    while merges:
        kept_keys, grown_keys, counts, n_cols = merges.pop(0)
        new_col, is_new = _merge(kept_keys, grown_keys, n_cols)
        del kept_keys, grown_keys
        crow = torch.zeros(len(counts) + 1, dtype=torch.int32, device=counts.device)
        torch.cumsum(counts, 0, out=crow[1:])
        new_crows.append(crow)
        new_cols.append(new_col)
        fresh.append(is_new)
    col, is_new = torch.cat(new_cols), torch.cat(fresh)
    del new_cols, fresh, new_col
    values = _follow(values, keep, is_new)
    moved = []
    while state:
        moved.append(_follow(state.pop(0), keep, is_new))
    return CompactNetwork(widths, new_units, new_crows, col, values), moved


def _used_units(
    widths: tuple[int, ...],
    units: list[Tensor],
    crows: list[Tensor],
    col: Tensor,
    where: list[slice],
    keep: Tensor,
    grown: list[Tensor],
) -> list[Tensor]:
    """Return the nominal numbers of the units that carry a kept or a grown weight."""
    result = []
    for boundary in range(len(widths) - 1):
        used = torch.zeros(len(units[boundary]) + 1, dtype=torch.bool, device=col.device)
        part_col, part_keep = col[where[boundary]], keep[where[boundary]]
        for piece in pieces(len(part_col)):
            used[part_col[piece][part_keep[piece]].long()] = True
        if boundary:
            used |= _row_counts(crows[boundary - 1], keep[where[boundary - 1]]) > 0
        result.append(units[boundary][used[:-1]])
    result.append(units[-1])
    for layer, keys in enumerate(grown):
        for piece in pieces(len(keys)):
            rows, cols = _rows_and_columns(keys[piece], widths[layer])
            cols = cols[cols < widths[layer]]
            result[layer] = torch.unique(torch.cat([result[layer], cols]))
            result[layer + 1] = torch.unique(torch.cat([result[layer + 1], rows]))
    return result


def _kept_keys(
    crow: Tensor,
    col: Tensor,
    keep: Tensor,
    old: tuple[Tensor, Tensor],
    new: tuple[Tensor, Tensor],
    n_in: int,
    n_rows: int,
) -> tuple[Tensor, Tensor]:
    """Return the keys of the kept weights of a layer in the new numbering, and their row counts.

    `old` and `new` hold the nominal numbers of the units below and above the layer.
    """
    n_cols = len(new[0]) + 1
    dtype = torch.int32 if n_rows * n_cols < 2**31 else torch.int64
    # old compact number -> new compact number; increasing, so kept weights stay in order
    col_map = torch.searchsorted(new[0], torch.cat([old[0], old[0].new_tensor([n_in])]))
    row_map = torch.searchsorted(new[1], old[1])
    counts = _row_counts(crow, keep)[: row_map.numel()]
    total = torch.zeros(n_rows, dtype=torch.int64, device=col.device)
    total.index_add_(0, row_map, counts)
    result = torch.empty(int(counts.sum()), dtype=dtype, device=col.device)
    done = 0
    for piece in pieces(len(keep)):
        rows = row_map[_kept_rows(crow, keep, piece)]
        keys = rows * n_cols + col_map[col[piece][keep[piece]].long()]
        result[done : done + len(keys)] = keys
        done += len(keys)
    return result, total


def _grown_keys(
    grown: Tensor, new: tuple[Tensor, Tensor], n_in: int, n_rows: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return the keys of the grown weights of a layer in the new numbering, and row counts."""
    total = torch.zeros(n_rows, dtype=torch.int64, device=grown.device)
    result = torch.empty(len(grown), dtype=dtype, device=grown.device)
    for piece in pieces(len(grown)):
        nominal_rows, nominal_cols = _rows_and_columns(grown[piece], n_in)
        rows = torch.searchsorted(new[1], nominal_rows)
        result[piece] = rows * (len(new[0]) + 1) + torch.searchsorted(new[0], nominal_cols)
        total += torch.bincount(rows, minlength=n_rows)
    return result, total


def _rows_and_columns(keys: Tensor, n_in: int) -> tuple[Tensor, Tensor]:
    """Return nominal rows and columns of keys; the column of a bias is `n_in`."""
    rows = torch.div(keys, n_in + 1, rounding_mode="floor")
    return rows, keys - rows * (n_in + 1)


def _kept_rows(crow: Tensor, keep: Tensor, piece: slice) -> Tensor:
    """Return the compact row of each kept weight in a piece of a layer."""
    index = torch.arange(piece.start, piece.stop, dtype=torch.int32, device=crow.device)
    return torch.searchsorted(crow, index[keep[piece]], right=True) - 1


def _row_counts(crow: Tensor, keep: Tensor) -> Tensor:
    """Count the kept weights of each row."""
    counts = torch.zeros(crow.numel() - 1, dtype=torch.int64, device=crow.device)
    for piece in pieces(keep.numel()):
        counts += torch.bincount(_kept_rows(crow, keep, piece), minlength=len(counts))
    return counts


def _merge(kept_keys: Tensor, grown_keys: Tensor, n_cols: int) -> tuple[Tensor, Tensor]:
    """Merge two increasing lists of keys, which are overwritten; return columns and new ones."""
    total = len(kept_keys) + len(grown_keys)
    is_new = torch.zeros(total, dtype=torch.bool, device=kept_keys.device)
    for piece in pieces(len(grown_keys)):
        at = torch.searchsorted(kept_keys, grown_keys[piece])
        is_new[at + torch.arange(piece.start, piece.stop, device=at.device)] = True
    col = torch.empty(total, dtype=torch.int32, device=kept_keys.device)
    col.masked_scatter_(is_new, grown_keys.remainder_(n_cols).int())
    col.masked_scatter_(~is_new, kept_keys.remainder_(n_cols).int())
    return col, is_new


def _follow(old: Tensor, keep: Tensor, is_new: Tensor) -> Tensor:
    """Return the state of the weights after an update: kept entries in order, 0 where new."""
    kept = torch.cat([old[:0], *(old[p][keep[p]] for p in pieces(old.numel()))])
    new = torch.zeros(is_new.numel(), dtype=old.dtype, device=old.device)
    return new.masked_scatter_(~is_new, kept)
