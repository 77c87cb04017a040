"""What one channel of each group costs: the FLOPs and parameters that go with it alone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from secateurs.nn.channels import ChannelPlan
from secateurs.nn.grouping import ChannelGroup
from secateurs.nn.slots import IntArray


def priced_groups(draft: ChannelPlan) -> dict[str, ChannelGroup]:
    """Note what the first channel of each group costs while all others stay.

    Notes
    -----
    Only the tensors and products where a channel appears are looked at.
    """
    lost = _Lost(draft)
    flops: dict[int, float] = defaultdict(float)
    n_parameters: dict[int, int] = defaultdict(int)
    for product in draft.graph_walk.walk.products:
        for atom, n in lost.entries(product.axes).items():
            flops[atom] += 2 * product.factor * float(n)
    names = dict(draft.module.named_parameters())
    for name, axes in draft.graph_walk.parameters.items():
        if name in names:
            for atom, n in lost.entries([axis.slots for axis in axes]).items():
                n_parameters[atom] += n
    return {
        name: replace(g, flops=flops[g.atoms[0]], n_parameters=n_parameters[g.atoms[0]])
        for name, g in draft.groups.items()
    }


class _Lost:
    """How many coordinates of each axis go with the first channel of each group."""

    def __init__(self, draft: ChannelPlan) -> None:
        self.draft = draft
        self.is_first = np.zeros(draft.graph_walk.walk.slots.size, dtype=bool)
        self.is_first[[group.atoms[0] for group in draft.groups.values()]] = True
        self._known: dict[int, dict[int, int]] = {
            id(axis.slots): {} for axes in draft.graph_walk.parameters.values() for axis in axes
        }
        for group in draft.groups.values():  # whose places are known already
            for place in group.places:
                axis = draft.graph_walk.parameters[place.name][place.axis]
                self._known[id(axis.slots)][group.atoms[0]] = place.per_channel

    def of_axis(self, slots: IntArray) -> dict[int, int]:
        """Return the number of lost coordinates for each atom that removes some."""
        if id(slots) not in self._known:
            layout = self.draft.layout(slots)
            here = np.flatnonzero(self.is_first[layout.atoms])
            found: dict[int, int] = defaultdict(int)
            for atom, owner in zip(layout.atoms[here], layout.owners[here], strict=True):
                found[int(atom)] += int(layout.counts[owner])
            self._known[id(slots)] = found
        return self._known[id(slots)]

    def entries(self, axes: Sequence[IntArray]) -> dict[int, int]:
        """Return how many entries of a tensor with these axes go with each atom in it."""
        lost = [self.of_axis(slots) for slots in axes]
        n_entries = math.prod(len(slots) for slots in axes)

        def left(atom: int) -> int:
            return math.prod(len(s) - of.get(atom, 0) for s, of in zip(axes, lost, strict=True))

        return {atom: n_entries - left(atom) for atom in {atom for of in lost for atom in of}}
