"""The channels of a torch module that can be removed, and what each of them costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import nn

from secateurs.core.description import Description, Table
from secateurs.core.parameters import bad_value
from secateurs.core.program import Program
from secateurs.data.suggest import nearest
from secateurs.nn.axes import Fixed
from secateurs.nn.grouping import ChannelGroup
from secateurs.nn.slots import IntArray
from secateurs.nn.walk import GraphWalk

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Layout:
    """An axis by its distinct slots; `slots` is kept, so that its id stays its own.

    `atoms` [k] each remove the distinct slot `owners` [k]; `inverse` [n] is the distinct slot of
    each coordinate, and `counts` says how many coordinates have each.
    """

    slots: IntArray
    owners: IntArray
    atoms: IntArray
    inverse: IntArray
    counts: IntArray


@dataclass(frozen=True, eq=False)
class ChannelPlan:
    """What can be removed from a module.

    Parameters
    ----------
    groups : dict of str to ChannelGroup
        The channels that can be removed, by the names of their groups.
    fixed : tuple of Fixed
        What cannot be removed, with the node and the reason.
    n_parameters : int
        Numbers in all parameters of the module.
    flops : float
        Floating-point operations of all products and convolutions on the example inputs.
    unknown : dict of str to int
        Operations without a rule, and how often they were met; what they read is fixed.
    program, graph_walk : Program, GraphWalk
        The exported graph with a copy of the module, and the axes of every value of the graph.
    was_training : bool
        Whether the given module was in training mode; smaller modules get the same mode.
    any_rows : bool
        Whether its graphs accept other numbers of rows than the example.
    names : dict of int to str
        The names of the parameters of the given module by their ``id``, for its optimiser.
    """

    groups: dict[str, ChannelGroup]
    fixed: tuple[Fixed, ...]
    n_parameters: int
    flops: float
    unknown: dict[str, int]
    program: Program = field(repr=False)
    graph_walk: GraphWalk = field(repr=False)
    was_training: bool = False
    any_rows: bool = False
    names: dict[int, str] = field(default_factory=dict, repr=False)

    @property
    def module(self) -> nn.Module:
        """The copy of the module that was planned, in eval mode."""
        return self.program.module

    @cached_property
    def widths(self) -> dict[str, int]:
        """Number of channels of each group."""
        return {name: group.size for name, group in self.groups.items()}

    def group(self, name: str) -> ChannelGroup:
        """Return a group by name.

        Parameters
        ----------
        name : str
            One of the keys of `groups`.

        Returns
        -------
        ChannelGroup
            The group; ValueError with the nearest name if there is none.
        """
        if name not in self.groups:
            known = ", ".join(list(self.groups)[:8])
            raise bad_value(
                "group", name, f"one of the {len(self.groups)} groups {known}",
                nearest(name, self.groups).strip(" ;,") if self.groups else "",
            )  # fmt: skip
        return self.groups[name]

    def for_any_rows(self) -> ChannelPlan:
        """Return a plan whose graphs accept any number of rows.

        Returns
        -------
        ChannelPlan
            This plan, or a new one of the same module.
        """
        return self

    def gone(self, kept: Mapping[str, IntArray]) -> frozenset[int]:
        """Return the atoms of all channels that are not kept.

        Parameters
        ----------
        kept : dict of str to int64 array
            Channels that stay, by group; groups that are not named stay whole.

        Returns
        -------
        frozenset of int
            Slots from `ChannelGroup.atoms`.
        """
        lost: set[int] = set()
        for name, index in kept.items():
            atoms = self.group(name).atoms
            stays = set(np.asarray(index).tolist())
            lost.update(atom for i, atom in enumerate(atoms) if i not in stays)
        return frozenset(lost)

    def keep_mask(self, slots: IntArray, gone: frozenset[int]) -> BoolArray:
        """Return which coordinates of an axis stay.

        Parameters
        ----------
        slots : int64 array, shape [n]
            The slot of each coordinate of the axis.
        gone : frozenset of int
            Atoms that are removed, from `gone`.

        Returns
        -------
        array of bool, shape [n]
            True for the coordinates that stay.
        """
        layout = self.layout(slots)
        lost = layout.owners[self._flags(gone)[layout.atoms]]
        if not len(lost):
            return np.ones(len(slots), dtype=bool)
        stays = np.ones(int(layout.inverse.max()) + 1, dtype=bool)
        stays[lost] = False
        return stays[layout.inverse]

    def n_left(self, slots: IntArray, gone: frozenset[int]) -> int:
        """Count the coordinates of an axis that stay.

        Parameters
        ----------
        slots, gone : int64 array and frozenset of int
            As for `keep_mask`.

        Returns
        -------
        int
            The new length of the axis.
        """
        if not gone:
            return len(slots)
        layout = self.layout(slots)
        if not self._flags(gone)[layout.atoms].any():
            return len(slots)
        return int(self.keep_mask(slots, gone).sum())

    def _flags(self, gone: frozenset[int]) -> BoolArray:
        """Return for each slot whether it is an atom that is gone; the last answer is kept."""
        last: tuple[frozenset[int], BoolArray] | None = self.__dict__.get("_last_flags")
        if last is None or last[0] is not gone:
            flags = np.zeros(self.graph_walk.walk.slots.size, dtype=bool)
            flags[list(gone)] = True
            last = self.__dict__["_last_flags"] = (gone, flags)
        return last[1]

    def layout(self, slots: IntArray) -> Layout:
        """Return which atoms remove the coordinates of an axis; the answer is kept.

        Parameters
        ----------
        slots : int64 array, shape [n]
            The slot of each coordinate of the axis.

        Returns
        -------
        Layout
            The distinct slots of the axis with their atoms.
        """
        known: dict[int, Layout] = self.__dict__.setdefault("_layouts", {})
        if id(slots) not in known:
            all_slots = self.graph_walk.walk.slots
            distinct, inverse, counts = np.unique(
                all_slots.find(slots), return_inverse=True, return_counts=True
            )
            known[id(slots)] = Layout(slots, *all_slots.atoms_of(distinct), inverse, counts)
        return known[id(slots)]

    def channel_of(self, group: ChannelGroup, slots: IntArray) -> IntArray:
        """Return the channel of each coordinate of an axis.

        Parameters
        ----------
        group : ChannelGroup
            A group of this plan.
        slots : int64 array, shape [n]
            The slot of each coordinate of the axis.

        Returns
        -------
        int64 array, shape [n]
            Numbers of channels, one for each coordinate of the axis; -1 where it is of none.
        """
        layout = self.layout(slots)
        number = np.full(self.graph_walk.walk.slots.size, -1, dtype=np.int64)
        number[list(group.atoms)] = np.arange(group.size)
        mine = number[layout.atoms]
        found = np.full(len(layout.counts), -1, dtype=np.int64)
        found[layout.owners[mine >= 0]] = mine[mine >= 0]
        return found[layout.inverse]

    def cost(self, kept: Mapping[str, IntArray]) -> tuple[float, int]:
        """Compute the size of the module after a cut.

        Parameters
        ----------
        kept : dict of str to int64 array
            Channels that stay, by group; groups that are not named stay whole.

        Returns
        -------
        flops : float
            Floating-point operations on the example inputs.
        n_parameters : int
            Numbers in the parameters that are left.
        """
        gone = self.gone(kept)

        def n(slots: IntArray) -> int:
            return self.n_left(slots, gone)

        flops = sum(
            2 * product.factor * float(np.prod([float(n(axis)) for axis in product.axes]))
            for product in self.graph_walk.walk.products
        )
        parameters = dict(self.module.named_parameters())
        count = 0
        for name, parameter in parameters.items():
            axes = self.graph_walk.parameters.get(name)
            count += (
                parameter.numel()
                if axes is None
                else int(np.prod([n(axis.slots) for axis in axes], dtype=np.int64))
            )
        return flops, count

    def __str__(self) -> str:
        lines = [self.describe().headline, ""]
        if self.groups:
            wide = max(len(name) for name in self.groups)
            lines += [
                f"  {g.name:{wide}}  {g.size:6,} channels  {g.n_parameters:9,} parameters and "
                f"{g.flops:.3g} FLOPs each{'  (inside heads)' if g.inside_heads else ''}"
                for g in self.groups.values()
            ]
        if self.fixed:
            lines += ["", "What cannot be removed:"]
            lines += [f"  {reason}: {names}" for reason, names in self._reasons().items()]
        return "\n".join(lines)

    def _reasons(self) -> dict[str, str]:
        by_reason: dict[str, list[str]] = defaultdict(list)
        for part in self.fixed:
            where = f" in {part.module}" if part.module else ""
            key = f"{part.reason} (node {part.node}{where})"
            by_reason[key].append(f"{part.name} axis {part.axis}")
        return {
            reason: ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
            for reason, names in by_reason.items()
        }

    def describe(self) -> Description:
        """Describe the plan, for a terminal or a program.

        Returns
        -------
        Description
            The headline, the facts, a table of the groups and one of what cannot be removed.
        """
        n_channels = sum(group.size for group in self.groups.values())
        return Description(
            f"{len(self.groups)} groups with {n_channels:,} channels can be made smaller; the "
            f"module has {self.n_parameters:,} parameters and takes {self.flops:.3g} FLOPs on "
            "the example inputs.",
            {
                "groups": {
                    g.name: {"size": g.size, "parameters": g.n_parameters, "flops": g.flops}
                    for g in self.groups.values()
                },
                "fixed": [vars(part) for part in self.fixed],
                "parameters": self.n_parameters,
                "flops": self.flops,
                "unknown": self.unknown,
            },
            (
                Table(
                    ("group", "channels", "parameters each", "FLOPs each"),
                    [
                        (g.name, f"{g.size:,}", f"{g.n_parameters:,}", f"{g.flops:.3g}")
                        for g in self.groups.values()
                    ],
                    numeric=frozenset({"channels", "parameters each", "FLOPs each"}),
                ),
                Table(
                    ("fixed", "because"),
                    [(names, reason) for reason, names in self._reasons().items()],
                ),
            ),
        )
