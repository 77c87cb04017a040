"""Interchangeable channels: atoms that appear at the same places of the parameters, as often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from secateurs.nn.slots import FIXED, IntArray, distinct
from secateurs.nn.walk import GraphWalk

Table = NDArray[np.int32]  # there are fewer than 2^31 slots
SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")


@dataclass(frozen=True)
class Place:
    """Coordinates of a parameter or buffer that go with a channel.

    Attributes
    ----------
    name : str
        The parameter or buffer.
    axis : int
    per_channel : int
        How many coordinates of this axis go with each channel.
    """

    name: str
    axis: int
    per_channel: int


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels that are interchangeable: each can be removed, and all cost the same.

    Parameters
    ----------
    name : str
        The module whose parameter is first in the group, with a number if there are several.
    size : int
        Number of its channels, at least 2.
    places : tuple of Place
        Where a channel appears.
    n_parameters : int
        Numbers in the module that go with one channel while all others stay.
    flops : float
        Floating-point operations on the example inputs that go with one channel.
    inside_heads : bool
        The channels are positions inside heads or copies of a channel.  Removing them is exact,
        but keeps the class of the module less often.
    atoms : tuple of int
        The slot of each channel.
    """

    name: str
    size: int
    places: tuple[Place, ...]
    n_parameters: int
    flops: float
    inside_heads: bool
    atoms: tuple[int, ...] = field(repr=False)


def find_groups(graph_walk: GraphWalk) -> list[ChannelGroup]:
    """Group the atoms that appear at the same places, as often."""
    slots = graph_walk.walk.slots
    at = [(name, d) for name, axes in graph_walk.parameters.items() for d in range(len(axes))]
    inside = distinct(slots.find(np.fromiter(slots.inside, np.int64, len(slots.inside))))
    names: Counter[str] = Counter()
    groups = []
    for atoms, signature in _families(_places(graph_walk, at)):
        if len(atoms) < 2:
            continue  # the only channel of its kind has to stay
        of_group = tuple(
            Place(name, axis, count)
            for (name, axis), count in ((at[place], count) for place, count in signature.tolist())
        )
        owner = of_group[0].name.rpartition(".")[0] or of_group[0].name
        names[owner] += 1
        name = owner if names[owner] == 1 else f"{owner}#{names[owner]}"
        is_inside = bool(np.isin(atoms, inside).any())
        groups.append(
            ChannelGroup(name, len(atoms), of_group, 0, 0.0, is_inside, tuple(atoms.tolist()))
        )
    return groups


def _places(graph_walk: GraphWalk, at: list[tuple[str, int]]) -> Table:
    """Return rows (atom, place, count, first coordinate), in the order of atoms and places."""
    slots = graph_walk.walk.slots
    axes = [graph_walk.parameters[name][d].slots for name, d in at]
    lengths = [len(axis) for axis in axes]
    keys = slots.find(np.concatenate([np.zeros(0, dtype=np.int64), *axes]))
    free = np.flatnonzero(keys != FIXED)
    # the distinct roots of each place, where each is first, and how often it is there
    keys = (np.repeat(np.arange(len(at)) * slots.size, lengths) + keys)[free]
    keys, first, counts = np.unique(keys, return_index=True, return_counts=True)
    place, roots = np.divmod(keys, slots.size)
    begins = np.cumsum([0, *lengths])[:-1] if at else np.zeros(1, dtype=np.int64)
    every_root, which = np.unique(roots, return_inverse=True)
    owners, atoms = slots.atoms_of(every_root)
    # each root at a place stands for all of its atoms
    low, high = (np.searchsorted(owners, np.arange(len(every_root)), side) for side in SIDES)
    many = (high - low)[which]
    row = np.repeat(np.arange(len(keys)), many)
    nth = np.arange(len(row)) - np.repeat(np.cumsum(many) - many, many)
    columns = (
        atoms[low[which][row] + nth],
        place[row],
        counts[row],
        (free[first] - begins[place])[row],
    )
    del keys, row, nth, roots, which
    table = np.stack([column.astype(np.int32) for column in columns], axis=1)
    del columns
    table = table[np.lexsort((table[:, 3], table[:, 1], table[:, 0]))]
    starts = _starts(table[:, :2])
    total = np.add.reduceat(table[:, 2], starts) if len(starts) else table[:, 2]
    table = table[starts]
    table[:, 2] = total
    return table


def _families(table: Table) -> Iterator[tuple[Table, Table]]:
    """Yield the atoms of each group [n], and their places and counts [places, 2].

    Groups come in the order of their first atom, atoms in that of their first coordinate.
    """
    starts = _starts(table[:, :1])
    lengths = np.diff(np.append(starts, len(table)))
    # the place of each atom in the order of the first place and coordinate where it appears
    order = np.empty(len(starts), dtype=np.int64)
    order[np.lexsort((table[starts, 3], table[starts, 1]))] = np.arange(len(starts))
    families = []
    for length in distinct(lengths).tolist():
        of_length = starts[lengths == length]
        rows = of_length[:, None] + np.arange(length)
        signatures = table[rows, 1:3].reshape(len(rows), -1)
        kinds, family = np.unique(signatures, axis=0, return_inverse=True)
        ranks = order[lengths == length]
        by_family = np.lexsort((ranks, family))
        parts = np.split(by_family, np.cumsum(np.bincount(family))[:-1])
        families += [
            (int(ranks[mine[0]]), table[of_length[mine], 0], signature.reshape(-1, 2))
            for mine, signature in zip(parts, kinds, strict=True)
        ]
    for _, atoms, signature in sorted(families, key=lambda one: one[0]):
        yield atoms, signature


def _starts(keys: Table) -> IntArray:
    """Return where runs of equal rows begin."""
    if not len(keys):
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(np.append(True, (keys[1:] != keys[:-1]).any(1)))
