"""Which coordinates of which axes must be removed together: a union-find of slots.

Every coordinate of every axis of every tensor has a slot:

    0           it cannot be removed (rows, outputs, sums over an axis, unknown operations)
    plain       an atom: it is removed or kept, with everything that was united with it
    composite   (a, b, ...): it is removed if any of its parts is; a flat axis of heads x dims
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FIXED = 0


class Slots:
    """A union-find of slots.

    Attributes
    ----------
    inside : set of int
        Slots of positions inside heads, the last axis where a flat axis was split.
    lost : bool
        Whether a slot was united with one that cannot be removed; the reader resets it.
    """

    def __init__(self) -> None:
        self._up = np.zeros(1024, dtype=np.int64)
        self._size = 1
        self._parts: dict[int, tuple[int, ...]] = {}
        self._composite = np.zeros(1024, dtype=bool)  # whether a slot is in _parts
        self.inside: set[int] = set()
        self.lost = False

    def new(self, n: int) -> IntArray:
        """Make n slots that are tied to nothing."""
        first, self._size = self._size, self._size + n
        while len(self._up) < self._size:
            self._up = np.concatenate([self._up, np.zeros_like(self._up)])
            self._composite = np.concatenate([self._composite, np.zeros_like(self._composite)])
        fresh = np.arange(first, self._size)
        self._up[first : self._size] = fresh
        return fresh

    def find(self, slots: IntArray) -> IntArray:
        """Return the representative of every slot."""
        root = self._up[slots]
        while True:
            above = self._up[root]
            if np.array_equal(above, root):
                return root
            root = above

    def root(self, slot: int) -> int:
        """Return the representative of one slot."""
        up = self._up
        while (above := int(up[slot])) != slot:
            up[slot] = up[above]
            slot = above
        return slot

    def unite_axes(self, first: IntArray, second: IntArray) -> None:
        """Unite two axes of the same length coordinate by coordinate."""
        a, b = self.find(first), self.find(second)
        different = a != b
        if not different.any():
            return
        keys = distinct(a[different] * self._size + b[different])
        pairs = np.stack(np.divmod(keys, self._size))
        if self._is_simple(*pairs):
            self._up[pairs[1]] = pairs[0]
            self.lost = self.lost or bool((pairs[0] == FIXED).any())
            return
        for one, other in pairs.T.tolist():
            self.unite(one, other)

    def _is_simple(self, a: IntArray, b: IntArray) -> bool:
        """Whether plain slots b, each once, can all be hung below the slots a at once."""
        return (
            len(distinct(b)) == len(b)
            and not bool((b == FIXED).any())
            and not np.isin(b, a).any()
            and not self._composite[b].any()
        )

    def unite(self, a: int, b: int) -> None:
        """Unite two slots; composites of equal length are united part by part."""
        todo = [(a, b)]
        while todo:
            a, b = (self.root(slot) for slot in todo.pop())
            if a == b:
                continue
            if b == FIXED:
                a, b = b, a
            ours, theirs = self._without_parts(a), self._without_parts(b)
            self._up[b] = a
            if a == FIXED:
                self.lost = True
                todo += [(FIXED, part) for part in theirs or ()]
                continue
            if ours is not None and theirs is not None:
                todo += self._united_parts(a, ours, theirs)
            elif (parts := ours or theirs) is not None:
                self._give_parts([a], [parts])

    def _give_parts(self, slots: list[int], parts: Iterable[tuple[int, ...]]) -> None:
        """Make each of these slots a composite."""
        self._parts.update(zip(slots, parts, strict=True))
        self._composite[slots] = True

    def _without_parts(self, slot: int) -> tuple[int, ...] | None:
        """Make a slot plain; return the parts that it had."""
        self._composite[slot] = False
        return self._parts.pop(slot, None)

    def _united_parts(
        self, a: int, ours: tuple[int, ...], theirs: tuple[int, ...]
    ) -> list[tuple[int, int]]:
        left, right = (
            [root for part in parts if (root := self.root(part)) != FIXED]
            for parts in (ours, theirs)
        )
        if len(left) == len(right):
            self._give_parts([a], [tuple(left)])
            return list(zip(left, right, strict=True))
        # one flat axis that is split in two ways: nothing of it can be removed
        return [(FIXED, part) for part in (*left, *right, a)]

    def define(self, a: int, parts: Iterable[int]) -> None:
        """Let slot a be removed if any of the parts is."""
        parts = tuple(parts)
        if len(parts) == 1:
            self.unite(a, parts[0])
            return
        composite = int(self.new(1)[0])
        self._give_parts([composite], [parts])
        self.unite(a, composite)

    def define_many(self, slots: IntArray, parts: IntArray) -> None:
        """Let each slot be removed if any of its parts [slots, parts] is.

        The parts are new slots.
        """
        roots = self.find(slots)
        for here in _each_once(roots):
            self._define_distinct(roots[here], parts[here])

    def _define_distinct(self, slots: IntArray, parts: IntArray) -> None:
        """Define slots of which no two were united before."""
        roots = self.find(slots).tolist()
        n_known = int(self._composite[roots].sum())
        differ = len(set(roots)) == len(roots)
        if not n_known and FIXED not in roots and differ:
            self._give_parts(roots, map(tuple, parts.tolist()))
            return
        if (
            n_known == len(roots)
            and differ
            and {len(self._parts[root]) for root in roots} == {parts.shape[1]}
        ):
            before = np.array([self._parts[root] for root in roots])
            if self.find(before).all():  # split in the same way once more
                for i in range(parts.shape[1]):
                    self.unite_axes(before[:, i], parts[:, i])
                return
        for slot, of_slot in zip(roots, parts.tolist(), strict=True):
            self.define(slot, of_slot)

    def merged(self, first: IntArray, second: IntArray) -> IntArray:
        """Return slots of which each is removed with either of two slots."""
        fresh = self.new(len(first))
        parts = zip(first.tolist(), second.tolist(), strict=True)
        self._give_parts(fresh.tolist(), parts)
        return fresh

    def is_composite(self, roots: IntArray) -> NDArray[np.bool_]:
        """Whether each of these representatives has parts."""
        found: NDArray[np.bool_] = self._composite[roots]
        return found

    def fix(self, slots: IntArray) -> bool:
        """Let none of these be removed; return whether one of them could be until now."""
        free = distinct(self.find(slots))
        free = free[free != FIXED]
        changed = bool(len(free))
        while len(free):
            split = free[self.is_composite(free)].tolist()
            self._up[free] = FIXED
            parts = [part for root in split for part in self._without_parts(root) or ()]
            free = distinct(self.find(np.array(parts, dtype=np.int64)))
            free = free[free != FIXED]
        return changed

    @property
    def size(self) -> int:
        """How many slots there are."""
        return self._size

    def atoms_of(self, roots: IntArray) -> tuple[IntArray, IntArray]:
        """Return (owners, atoms): each atom removes the representative at place owner."""
        owners, now = np.arange(len(roots)), roots
        pairs, found = np.zeros(0, dtype=np.int64), []
        while len(now):
            free = now != FIXED
            owners, now = owners[free], now[free]
            split = self.is_composite(now)
            found.append(owners[~split] * self._size + now[~split])
            parts = [self._parts[root] for root in now[split].tolist()]
            owners = np.repeat(owners[split], [len(of_root) for of_root in parts])
            now = self.find(np.array([part for of_root in parts for part in of_root], np.int64))
            new = distinct(owners * self._size + now)
            new = new[~np.isin(new, pairs)]  # parts can go in circles
            pairs = np.concatenate([pairs, new])
            owners, now = np.divmod(new, self._size)
        return np.divmod(distinct(np.concatenate([pairs[:0], *found])), self._size)


def distinct(values: IntArray) -> IntArray:
    """Return each value once, increasing; for many values faster than numpy's hash table."""
    ordered = np.sort(values)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if len(ordered) else ordered


def _each_once(roots: IntArray) -> list[IntArray]:
    """Part positions so that no root is twice in a part: first all first ones, and so on."""
    order = np.argsort(roots, kind="stable")
    ordered = roots[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(roots) else order
    number = np.arange(len(roots)) - np.repeat(first, np.diff(np.append(first, len(roots))))
    return [order[number == i] for i in range(int(number.max(initial=-1)) + 1)]
