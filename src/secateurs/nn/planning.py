"""Plan of a torch module: find its channels, score them, choose which to keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from secateurs.nn.channels import ChannelPlan, find_groups, priced
from secateurs.nn.cut import Cut, keep
from secateurs.nn.program import read_program
from secateurs.nn.walk import GraphWalk


class Plan(ChannelPlan):
    """What can be removed from a module, and how it is chosen.

    Attributes
    ----------
    groups : dict of str to ChannelGroup
        The channels that can be removed.
    fixed : tuple of Fixed
        What cannot be removed, with the node and the reason.
    n_parameters, flops : int, float
        The whole module's; FLOPs of all products and convolutions on the example inputs.
    unknown : dict of str to int
        Operations without a rule, and how often they were met; what they read is fixed.
    """

    def keep(self, kept: Mapping[str, Any]) -> Cut:
        """Choose channels by hand.

        Parameters
        ----------
        kept : dict of str to sequence of int
            For each group the numbers of the channels that stay; other groups stay whole.

        Returns
        -------
        Cut

        Raises
        ------
        ValueError
            A group is unknown, or its channels are not numbers in range, at least one.
        """
        return keep(self, kept)


def plan(module: nn.Module, example_inputs: Any) -> Plan:
    """Find the channels of a module that can be removed.

    Parameters
    ----------
    module : nn.Module
        Any module that torch.export can read.  It is copied and never modified.  Give a
        submodule, and inputs of that submodule, to plan a part of a network.
    example_inputs : Tensor, tuple or dict
        Positional arguments, or keyword arguments by name, of one call.  A few rows are enough;
        give at least two, so that the number of rows is not taken for a constant.

    Returns
    -------
    Plan
        Parts that cannot be pruned do not forbid the rest; ``plan.fixed`` lists them.

    Raises
    ------
    TypeError, ValueError
        The module cannot be exported: a branch on values, forward hooks, tensors without values.

    Notes
    -----
    Every coordinate of every axis of every tensor gets a slot.  Each operation either unites
    slots entry by entry, contracts them, fixes them, or moves them; moves are understood by
    running them on coordinates.  Channels that appear at the same places are a group.
    Cost: one torch.export, and a run of the graph on the example inputs, in which each operation
    that moves entries is run once more for each axis that can shrink.
    Source: derived.
    """
    program = read_program(module, example_inputs)
    graph_walk = GraphWalk(program)
    graph_walk.walk_through()
    draft = Plan(
        groups={group.name: group for group in find_groups(graph_walk)},
        fixed=tuple(graph_walk.fixed_parts),
        n_parameters=0,
        flops=0.0,
        unknown=dict(graph_walk.walk.unknown),
        program=program,
        graph_walk=graph_walk,
        was_training=module.training,
        names={id(p): name for name, p in module.named_parameters()},
    )
    flops, n_parameters = draft.cost({})
    groups = {name: priced(draft, g, flops, n_parameters) for name, g in draft.groups.items()}
    return replace(draft, groups=groups, n_parameters=n_parameters, flops=flops)
