"""Plan of a torch module: find its channels, score them, choose which to keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from secateurs.core.parameters import Shown, bad_value
from secateurs.core.program import Inputs, read_program
from secateurs.core.short_repr import short_repr
from secateurs.nn.channels import ChannelPlan
from secateurs.nn.choosing import Rounding, choose
from secateurs.nn.cut import Cut, keep
from secateurs.nn.evaluation import line
from secateurs.nn.grouping import find_groups
from secateurs.nn.prices import priced_groups
from secateurs.nn.reconstruction import ROWS
from secateurs.nn.scores import Loss, Scores, score
from secateurs.nn.walk import GraphWalk


class Plan(ChannelPlan):
    """What can be removed from a module, and how it is chosen.

    Parameters
    ----------
    groups : dict of str to ChannelGroup
        The channels that can be removed.
    fixed : tuple of Fixed
        What cannot be removed, with the node and the reason.
    n_parameters, flops : int, float
        The whole module's; FLOPs of all products and convolutions on the example inputs.
    unknown : dict of str to int
        Operations without a rule, and how often they were met; what they read is fixed.
    program : Program
        The exported graph, and a copy of the module.
    graph_walk : GraphWalk
        The axes of every value of the graph.
    was_training : bool
        Whether the given module was in training mode; smaller modules get the same mode.
    any_rows : bool
        Whether its graphs accept other numbers of rows than the example.
    names : dict of int to str
        The names of the parameters of the given module by their ``id``, for its optimiser.
    """

    __repr__ = short_repr

    def for_any_rows(self) -> Plan:
        """Return this plan, made again so that its graphs accept any number of rows."""
        if self.any_rows:
            return self
        again = make_plan(self.module, self.program.inputs, any_rows=True)
        return replace(again, was_training=self.was_training, names=self.names)

    def keep(self, kept: Mapping[str, Any]) -> Cut:
        """Choose channels by hand.

        Parameters
        ----------
        kept : dict of str to sequence of int
            For each group the numbers of the channels that stay; other groups stay whole.

        Returns
        -------
        Cut
            The given channels, with the weights of the planned module.

        Raises
        ------
        ValueError
            A group is unknown, or its channels are not numbers in range, at least one.
        """
        return keep(self, kept)

    def score(
        self,
        how: str = "reconstruction",
        data: Any = None,
        loss: Loss | None = None,
        *,
        n_rows: int = ROWS,
        source: nn.Module | None = None,
        n_steps: int = 6000,
        random_state: int | np.random.RandomState | None = None,
    ) -> Scores:
        """Score the channels.

        Parameters
        ----------
        how : {"reconstruction", "norm", "taylor", "group_lasso"}
            "reconstruction": the share of the variance of the outputs of the layers that read a
            channel, which is lost without it after the best repair.  "norm": the norm of its
            weights.  "taylor": the square of the first-order change of the loss without it.
            "group_lasso": how long it survives training under a group penalty that grows; the
            certificate of a choice says whether `n_steps` was too short for it.
        data : X, (X, y) or DataLoader
            Calibration rows; "taylor" needs y, and "group_lasso" needs (X, y) to train on.
        loss : callable (output, target) -> Tensor
            For "taylor" and "group_lasso".
        n_rows : int
            Rows that are used.
        source : nn.Module, optional
            A copy of the planned module with other weights.
        n_steps : int
            For "group_lasso": the batches of its path.
        random_state : int, RandomState or None
            For "group_lasso": seed of the batches.

        Returns
        -------
        Scores
            A number for each channel of each group; the smallest go first.
        """
        return score(self, how, data, loss, n_rows, source, n_steps, random_state)

    def choose(
        self,
        scores: Scores,
        *,
        flops: float | None = None,
        params: float | None = None,
        latency: float | None = None,
        widths: Mapping[str, int] | None = None,
        level: float | None = None,
        round_to: int = 1,
        per_layer: bool = False,
        inside_heads: bool = False,
        repair: bool = True,
        source: nn.Module | None = None,
    ) -> Cut:
        """Choose the channels that stay.

        Parameters
        ----------
        scores : Scores
            Numbers for all channels, from `score`.
        flops, params, latency : float in (0, 1]
            The share of the FLOPs, parameters, or seconds of a forward pass that may be left;
            exactly one of these, `widths` and `level` is given.  Seconds are measured here, on
            this machine and on the example inputs.
        widths : dict of str to int
            Channels to keep, by group; other groups stay whole.
        level : float in [0, 1]
            The share of all channels that goes.
        round_to : int
            Widths are rounded up to multiples of it.
        per_layer : bool
            The same share of every group, instead of one threshold for all.
        inside_heads : bool
            Whether positions inside heads may go.
        repair : bool
            Whether to repair the weights on the rows of the scores.
        source : nn.Module, optional
            A copy of the planned module with other weights.

        Returns
        -------
        Cut
            At least 5 % of the channels of every group stay.

        Raises
        ------
        ValueError
            No choice is small enough, or an argument cannot be used.
        """
        wanted = {"flops": flops, "params": params, "latency": latency, "level": level}
        kept = choose(
            self, scores, wanted, widths,
            Rounding(round_to=round_to, per_layer=per_layer, inside_heads=inside_heads),
        )  # fmt: skip
        cut = keep(self, kept, source)
        cut = replace(cut, checks=scores.checks_of(cut.kept))
        return cut.repair(scores.data) if repair and scores.data is not None else cut


def plan(module: nn.Module, example_inputs: Any) -> Plan:
    """Find the channels of a module that can be removed.

    Parameters
    ----------
    module : nn.Module
        Any module that torch.export can read.  It is never modified.  The plan shares its
        weights: scores and cuts see them as they are when they are made.  Give a submodule, and
        inputs of that submodule, to plan a part of a network.
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
    return make_plan(module, example_inputs, any_rows=False)


def make_plan(module: nn.Module, example_inputs: Any, *, any_rows: bool) -> Plan:
    """Plan a module; with `any_rows` its graphs accept other numbers of rows."""
    if any_rows:  # one row would be taken for a constant
        inputs = Inputs.of(example_inputs)
        example_inputs = inputs.rows(max(2, inputs.n_rows))
    program = read_program(module, example_inputs, any_rows=any_rows)
    graph_walk = GraphWalk(program, quick=True)
    try:
        graph_walk.walk_through()
    except RuntimeError:  # an operation that does not accept the values of stand-ins
        graph_walk = GraphWalk(program)
        try:
            graph_walk.walk_through()
        except RuntimeError as error:
            got = Shown(f"inputs on which the module fails ({line(error)})")
            raise bad_value("example_inputs", got, "inputs that the module accepts") from error
    draft = Plan(
        groups={group.name: group for group in find_groups(graph_walk)},
        fixed=tuple(graph_walk.fixed_parts),
        n_parameters=0,
        flops=0.0,
        unknown=dict(graph_walk.walk.unknown),
        program=program,
        graph_walk=graph_walk,
        was_training=module.training,
        any_rows=any_rows,
        names={id(p): name for name, p in module.named_parameters()},
    )
    flops, n_parameters = draft.cost({})
    return replace(draft, groups=priced_groups(draft), n_parameters=n_parameters, flops=flops)
