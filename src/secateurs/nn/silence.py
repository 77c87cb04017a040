"""The module with channels silenced: the reference that every smaller module must equal."""

from __future__ import annotations

import copy

import torch
from torch import nn

from secateurs.nn.attention_scale import row_factors, scaled_rows
from secateurs.nn.channels import ChannelPlan
from secateurs.nn.pruned_graph import PrunedGraph
from secateurs.nn.shrink_graph import state_of


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


@torch.no_grad()
def embed(plan: ChannelPlan, gone: frozenset[int], small: nn.Module) -> nn.Module:
    """Return the wide module with the weights of a smaller one, and zeros elsewhere.

    Its tensors have the dtypes of the smaller one.
    """
    wide = copy.deepcopy(plan.module)
    inner = state_of(plan, small)
    if not isinstance(small, PrunedGraph):  # which gives the scale of attention by itself
        for name, factor in row_factors(plan, gone).items():
            inner[name] = scaled_rows(inner[name], 1 / factor)
    for name, tensor in state_of(plan, wide).items():
        masks = [
            torch.from_numpy(plan.keep_mask(axis.slots, gone))
            for axis in plan.graph_walk.parameters[name]
        ]
        if tensor.ndim == 0:
            tensor.data = inner[name].detach().clone()
            continue
        full = tensor.detach().to(
            inner[name].dtype, copy=True, memory_format=torch.contiguous_format
        )
        if isinstance(tensor, nn.Parameter):
            full.zero_()
        index = torch.meshgrid(*(mask.nonzero()[:, 0] for mask in masks), indexing="ij")
        full[tuple(i.to(tensor.device) for i in index)] = inner[name].detach()
        tensor.data = full
    return wide
