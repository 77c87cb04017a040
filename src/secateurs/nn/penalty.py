"""A channel as a group of weights: its norm, its scale, and the smooth group penalty.

    g_j = (weights in, bias, weights out)                                              (1)
    R(g) = sum_j ||g_j||^2 / sqrt(||g_j||^2 + beta)                                    (2)

With a batch normalisation the weights in have no scale, and its own gain and shift take their
place in (1).  R is smooth.  It makes norms well below sqrt(beta) decay, and acts on norms well
above it like a group lasso.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from secateurs.core.program import Inputs
from secateurs.nn.channels import ChannelPlan
from secateurs.nn.evaluation import evaluation_mode
from secateurs.nn.grouping import ChannelGroup, Place
from secateurs.nn.shrink_graph import find_tensor

NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d)
SAME = 1e-8  # of the largest output: the function is the same after a change of scale


@dataclass(frozen=True, eq=False)
class Slice:
    """Entries of a parameter that go with channels.

    Attributes
    ----------
    name : str
    axis : int
    channel : int64 Tensor [length of the axis]
        The channel of each coordinate, in the order of the channels that are left; -1 for none.
    is_reader : bool
        Whether the entries read the channels; otherwise they write them.
    """

    name: str
    axis: int
    channel: Tensor
    is_reader: bool


@dataclass(frozen=True, eq=False)
class ChannelWeights:
    """The weights of a group of channels in a module.

    Attributes
    ----------
    name : str
    width : int
        Channels that are left.
    slices : tuple of Slice
    scalable : bool
        The operations between are positively homogeneous: weights in times c and weights out
        over c leave the function unchanged.
    """

    name: str
    width: int
    slices: tuple[Slice, ...]
    scalable: bool


def weights_of(
    plan: ChannelPlan, group: ChannelGroup, kept: Tensor, gone: frozenset[int], *, scalable: bool
) -> ChannelWeights:
    """Find the weights of a group in a module that has lost some channels.

    Parameters
    ----------
    plan : ChannelPlan
    group : ChannelGroup
    kept : Tensor int64
        Its channels that are left.
    gone : frozenset of int
        All atoms that the module has lost.
    scalable : bool
    """
    parameters = dict(plan.module.named_parameters(remove_duplicate=False))
    readers = set(plan.graph_walk.readers)
    places = [place for place in group.places if place.name in parameters]
    writers = [place for place in places if (place.name, place.axis) not in readers]
    norms = [place for place in writers if _is_norm(plan.module, place)]
    position = torch.full((group.size,), -1)
    position[kept] = torch.arange(len(kept))
    slices = []
    for place in places:
        is_reader = (place.name, place.axis) in readers
        if not is_reader and norms and place not in norms:
            continue
        axis = plan.graph_walk.parameters[place.name][place.axis]
        channel = torch.from_numpy(
            plan.channel_of(group, plan.graph_walk.parameters[place.name][place.axis].slots)
        )
        left = channel[torch.from_numpy(plan.keep_mask(axis.slots, gone))]
        now = torch.where(left >= 0, position[left.clamp(min=0)], -1)
        slices.append(Slice(place.name, place.axis, now, is_reader))
    return ChannelWeights(group.name, len(kept), tuple(slices), scalable)


def _is_norm(module: nn.Module, place: Place) -> bool:
    return isinstance(module.get_submodule(place.name.rpartition(".")[0]), NORMS)


def is_scalable(plan: ChannelPlan, weights: ChannelWeights, inputs: Inputs) -> bool:
    """Try whether a scale can move from the weights in to the weights out of a group."""
    sides = {part.is_reader for part in weights.slices}
    if sides != {True, False}:
        return False
    wide = copy.deepcopy(plan.module).double()
    exact = inputs.replaced([t.double() if t.is_floating_point() else t for t in inputs.tensors()])
    with evaluation_mode(wide):
        try:
            before = exact.call(wide)
            scale = 1 + torch.rand(weights.width, generator=torch.Generator().manual_seed(0))
            _rescale(wide, weights, scale.double())
            after = exact.call(wide)
        except RuntimeError:
            return False
    if not isinstance(before, Tensor) or not isinstance(after, Tensor):
        return False
    return bool((after - before).abs().max() <= SAME * before.abs().max())


@torch.no_grad()
def squared_norms(module: nn.Module, weights: ChannelWeights) -> Tensor:
    """Compute ``||g_j||^2``, shape [width], in one pass over the weights of the group."""
    inside, outside = _halves(module, weights)
    return inside + outside


@torch.no_grad()
def add_penalty_gradient(
    module: nn.Module, weights: ChannelWeights, strength: float, beta: float
) -> None:
    """Add the gradient of ``strength * R`` to the ``.grad`` of the weights of a group.

    Parameters
    ----------
    module : nn.Module
        After a backward pass.
    weights : ChannelWeights
    strength : float
        lambda.
    beta : float
        In (2), in units of squared norms.

    Notes
    -----
    dR/dg_j = (q + 2 beta) / (q + beta)^{3/2} g_j with q = ||g_j||^2.  Written out, it costs two
    passes over the weights and needs no autograd graph.
    """
    q = squared_norms(module, weights)
    pull = strength * (q + 2 * beta) / (q + beta) ** 1.5
    for part in weights.slices:
        weight = parameter(module, part.name)
        if weight.grad is not None:
            weight.grad.addcmul_(weight, _spread(pull, part, weight, outside=0.0))


@torch.no_grad()
def balance(module: nn.Module, groups: list[ChannelWeights]) -> None:
    """Give the weights in and out of every channel the same norm; the function stays the same.

    The weights in are multiplied by c_j = (||out_j|| / ||in_j||)^{1/2} and the weights out are
    divided by it.  This minimises R over all scales.  It also makes norms comparable: the same
    function may have large weights in and small weights out, or the reverse.  Groups that are
    not `scalable`, and channels with a half that is zero, are not changed.
    """
    for weights in groups:
        if weights.scalable:
            inside, outside = _halves(module, weights)
            ratio = (outside / inside) ** 0.25
            usual = torch.isfinite(ratio) & (ratio > 0)
            _rescale(module, weights, torch.where(usual, ratio, torch.ones_like(ratio)))


def parameter(module: nn.Module, name: str) -> Tensor:
    """Return a parameter by name, of a module or of a pruned graph."""
    found = find_tensor(module, name)
    if found is None:
        raise KeyError(name)
    return found


@torch.no_grad()
def _rescale(module: nn.Module, weights: ChannelWeights, scale: Tensor) -> None:
    for part in weights.slices:
        weight = parameter(module, part.name)
        factor = 1 / scale if part.is_reader else scale
        weight.data.mul_(_spread(factor, part, weight, outside=1.0))


def _halves(module: nn.Module, weights: ChannelWeights) -> tuple[Tensor, Tensor]:
    """Squared norms of the weights in and out, shape [width] each."""
    halves: list[Tensor | None] = [None, None]
    for part in weights.slices:
        weight = parameter(module, part.name).detach()
        others = tuple(i for i in range(weight.ndim) if i != part.axis)
        sums = weight.square().sum(others) if others else weight.square()
        channel = part.channel.to(sums.device)
        total = sums.new_zeros(weights.width + 1).index_add_(0, channel % (weights.width + 1), sums)
        half = halves[part.is_reader]
        halves[part.is_reader] = total[:-1] if half is None else half + total[:-1]
    some = next(half for half in halves if half is not None)
    inside, outside = (torch.zeros_like(some) if half is None else half for half in halves)
    return inside, outside


def _spread(values: Tensor, part: Slice, weight: Tensor, *, outside: float) -> Tensor:
    """Give each coordinate of the axis of a weight the value of its channel."""
    channel = part.channel.to(values.device)
    spread = torch.where(channel >= 0, values[channel.clamp(min=0)], outside).to(weight.dtype)
    return spread.view([-1 if i == part.axis else 1 for i in range(weight.ndim)])
