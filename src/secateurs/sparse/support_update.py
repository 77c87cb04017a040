"""Change the support of a compact network in place: drop weights, grow others, renumber the units.

    move the kept entries of every array of one entry a weight to its front          (1)
    give units and columns their new numbers                                          (2)
    mark the places of the grown weights among the kept ones                          (3)
    move the kept entries to their places, from the last one on, and put 0 elsewhere  (4)

Beyond these arrays and the keys of the grown weights, two bytes for each weight are needed.
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
        Not usable afterwards: its arrays are overwritten.
    state : list of Tensor, shape [nnz]
        State of each weight that moves with it; 0 for a weight that grows.  The arrays are
        overwritten, and the list is emptied.
    drop : Tensor of bool, shape [nnz]
        Overwritten.
    grown : list of Tensor of int32 or int64, one for each layer
        Sorted keys (as in `SparseNetwork`) of the weights to add; not on the support.  They are
        overwritten.

    Returns
    -------
    CompactNetwork, list of Tensor
        The new network and the state of its weights.
    """
    widths, units, where = net.widths, net.units, net.slices()
    keep = drop.logical_not_()
    new_units = _used_units(widths, units, net.crows, net.col, where, keep, grown)
    kept_rows = [_row_counts(crow, keep[part]) for crow, part in zip(net.crows, where, strict=True)]
    arrays = [net.values, net.col, *state]
    n_kept = int(keep.sum())
    for array in arrays:
        _move_to_the_front(array, keep)  # (1)
    net.release()
    state.clear()
    del keep, drop
    crows: list[Tensor] = []
    col, done = arrays[1], 0
    n_grown = sum(len(keys) for keys in grown)
    is_new = torch.zeros(n_kept + n_grown, dtype=torch.bool, device=col.device)
    for layer, counts in enumerate(kept_rows):
        below, above = new_units[layer], new_units[layer + 1]
        n_rows = len(above) + (layer < len(kept_rows) - 1)
        part = slice(done, done + int(counts.sum()))
        done = part.stop
        _renumber_columns(col[part], units[layer], below, widths[layer])  # (2)
        rows = torch.searchsorted(above, units[layer + 1])  # old compact number -> new one
        kept = torch.zeros(n_rows, dtype=torch.int64, device=col.device)
        kept.index_add_(0, rows, counts[: len(rows)])
        more = _renumber_keys(grown[layer], below, above, widths[layer], n_rows)
        first = sum(int(crow[-1]) for crow in crows)
        crows.append(_starts(kept + more))
        marks = is_new[first : first + int(crows[-1][-1])]
        _mark(marks, _starts(kept), col[part], grown[layer], len(below) + 1)  # (3)
    arrays = [_moved_apart(arrays.pop(0), n_kept, is_new) for _ in range(len(arrays))]  # (4)
    values, col, *moved = arrays
    _put_columns(col, is_new, crows, grown, [len(below) + 1 for below in new_units])
    return CompactNetwork(widths, new_units, crows, col, values), moved


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


def _rows_and_columns(keys: Tensor, n_in: int) -> tuple[Tensor, Tensor]:
    """Return nominal rows and columns of keys; the column of a bias is `n_in`."""
    keys = keys.long()
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


def _move_to_the_front(array: Tensor, keep: Tensor) -> None:
    """Move the kept entries to the front of an array."""
    done = 0
    for piece in pieces(len(keep)):
        kept = array[piece][keep[piece]]
        array[done : done + len(kept)] = kept
        done += len(kept)


def _moved_apart(array: Tensor, n_kept: int, is_new: Tensor) -> Tensor:
    """Move the first entries to the places that are not new, in order, and put 0 elsewhere.

    The array keeps its memory while more than half of it is used.
    """
    n = len(is_new)
    capacity = array.untyped_storage().nbytes() // array.element_size()
    out = array.as_strided((capacity,), (1,), 0)[:n]
    if n > capacity or 2 * n < capacity:
        out = array.new_empty(n)
    left = n_kept
    for piece in reversed(pieces(n)):  # an entry never moves to the front
        old = ~is_new[piece]
        first = left - int(old.sum())
        part = array.new_zeros(piece.stop - piece.start)
        part[old] = array[first:left]
        out[piece] = part
        left = first
    return out


def _renumber_columns(col: Tensor, old: Tensor, new: Tensor, n_in: int) -> None:
    """Replace the compact columns of kept weights, given nominal numbers before and after."""
    numbers = torch.searchsorted(new, torch.cat([old, old.new_tensor([n_in])])).int()
    for piece in pieces(len(col)):
        col[piece] = numbers[col[piece].long()]


def _renumber_keys(keys: Tensor, below: Tensor, above: Tensor, n_in: int, n_rows: int) -> Tensor:
    """Replace the nominal keys of grown weights by compact ones; return the weights of each row."""
    counts = torch.zeros(n_rows, dtype=torch.int64, device=keys.device)
    for piece in pieces(len(keys)):
        nominal_rows, nominal_cols = _rows_and_columns(keys[piece], n_in)
        rows = torch.searchsorted(above, nominal_rows)
        keys[piece] = rows * (len(below) + 1) + torch.searchsorted(below, nominal_cols)
        counts += torch.bincount(rows, minlength=n_rows)
    return counts


def _starts(counts: Tensor) -> Tensor:
    """Return the row starts of a CSR matrix."""
    crow = torch.zeros(len(counts) + 1, dtype=torch.int32, device=counts.device)
    torch.cumsum(counts, 0, out=crow[1:])
    return crow


def _mark(is_new: Tensor, crow: Tensor, col: Tensor, grown_keys: Tensor, n_cols: int) -> None:
    """Mark the grown weights of a layer among the kept ones; both have increasing keys."""
    done = 0
    for piece in pieces(len(col)):
        index = torch.arange(piece.start, piece.stop, dtype=torch.int32, device=col.device)
        rows = torch.searchsorted(crow, index, right=True) - 1
        keys = (rows * n_cols + col[piece]).to(grown_keys.dtype)
        stop = int(torch.searchsorted(grown_keys, keys[-1])) if len(keys) else 0
        for part in pieces(stop, done) if stop > done else []:
            at = torch.searchsorted(keys, grown_keys[part]) + piece.start
            is_new[at + torch.arange(part.start, part.stop, device=at.device)] = True
        done = max(done, stop)
    is_new[len(col) + done :] = True


def _put_columns(
    col: Tensor, is_new: Tensor, crows: list[Tensor], grown: list[Tensor], n_cols: list[int]
) -> None:
    """Write the columns of the grown weights of all layers."""
    done = 0
    for crow, keys, n in zip(crows, grown, n_cols, strict=False):
        part = slice(done, done + int(crow[-1]))
        col[part].masked_scatter_(is_new[part], keys.remainder_(n).int())
        done = part.stop
