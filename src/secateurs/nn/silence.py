"""The module with channels silenced: the reference that every smaller module must equal."""

from __future__ import annotations

import copy

import torch
from torch import nn

from secateurs.nn.channels import ChannelPlan


@torch.no_grad()
def silence(plan: ChannelPlan, gone: frozenset[int], module: nn.Module) -> nn.Module:
    """Copy a module, and set every weight that goes with the removed channels to zero.

    Parameters
    ----------
    plan : ChannelPlan
    gone : frozenset of int
        The atoms of the removed channels.
    module : nn.Module
        The planned module, or one with the same tensors by name.
    """
    silent = copy.deepcopy(module)
    parameters = dict(silent.named_parameters(remove_duplicate=False))
    for name, axes in plan.graph_walk.parameters.items():
        if name not in parameters:
            continue
        for d, axis in enumerate(axes):
            stays = torch.from_numpy(plan.keep_mask(axis.slots, gone))
            if not bool(stays.all()):
                index = (~stays).nonzero()[:, 0].to(parameters[name].device)
                parameters[name].index_fill_(d, index, 0)
    return silent
