"""The weights of a neuron as one group: its norm, its scale, and the smooth group penalty.

    g_j = (weights in, bias, weights out)                                              (1)
    R(g) = sum_j ||g_j||^2 / sqrt(||g_j||^2 + beta)                                    (2)

With a batch normalisation the weights in have no scale, and its own gain and shift take their
place in (1).  R is smooth.  It makes norms well below sqrt(beta) decay, and acts on norms well
above it like a group lasso.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from secateurs.nn.groups import CONVS, NeuronLayer


def weights_in(module: nn.Module, layer: NeuronLayer) -> list[nn.Parameter]:
    """Parameters with one row for each neuron of a layer, which set the scale of the neuron."""
    source = module.get_submodule(layer.norms[-1] if layer.norms else layer.name)
    return [p for name in ("weight", "bias") if (p := source._parameters.get(name)) is not None]


def weights_out(module: nn.Module, layer: NeuronLayer) -> list[Tensor]:
    """Views [width, fan-out, ...] of the weights that read the neurons of a layer."""
    views = []
    for name in layer.readers:
        reader = module.get_submodule(name)
        weight = reader._parameters["weight"]
        assert weight is not None
        views.append(by_neuron(weight, layer.width, isinstance(reader, CONVS)))
    return views


def by_neuron(weight: Tensor, width: int, conv: bool) -> Tensor:
    """View the weight [n_out, n_in, ...] of a reader with one row for each neuron that it reads.

    In a Linear after a flatten, each channel has n_in / width successive columns.
    """
    if conv:
        return weight.transpose(0, 1)
    return weight.view(len(weight), width, -1).transpose(0, 1)


@torch.no_grad()
def squared_norms(module: nn.Module, layer: NeuronLayer) -> Tensor:
    """Compute ``||g_j||^2``, shape [width], in one pass over the weights of the layer."""
    inside, outside = _halves(module, layer)
    return inside + outside


@torch.no_grad()
def add_penalty_gradient(
    module: nn.Module, layer: NeuronLayer, strength: float, beta: float
) -> None:
    """Add the gradient of ``strength * R`` to the ``.grad`` of the layer's weights.

    Parameters
    ----------
    module : nn.Module
        After a backward pass.
    layer : NeuronLayer
    strength : float
        lambda.
    beta : float
        In (2), in units of squared norms.

    Notes
    -----
    dR/dg_j = (q + 2 beta) / (q + beta)^{3/2} g_j with q = ||g_j||^2.  Written out, it costs two
    passes over the weights and needs no autograd graph.
    """
    q = squared_norms(module, layer)
    pull = strength * (q + 2 * beta) / (q + beta) ** 1.5
    for weight in weights_in(module, layer):
        if weight.grad is not None:
            weight.grad.addcmul_(weight, _column(pull, weight))
    for name in layer.readers:
        reader = module.get_submodule(name)
        read = reader._parameters["weight"]
        if read is not None and read.grad is not None:
            conv = isinstance(reader, CONVS)
            rows = by_neuron(read.grad, layer.width, conv)
            rows.addcmul_(by_neuron(read, layer.width, conv), _column(pull, rows))


@torch.no_grad()
def balance(module: nn.Module, layers: list[NeuronLayer]) -> None:
    """Give the weights in and out of every neuron the same norm; the function stays the same.

    The weights in are multiplied by c_j = (||out_j|| / ||in_j||)^{1/2} and the weights out are
    divided by it.  This minimises R over all scales.  It also makes norms comparable: the same
    function may have large weights in and small weights out, or the reverse.  Layers that are
    not `scalable`, and neurons with a half that is zero, are not changed.
    """
    for layer in layers:
        if not layer.scalable:
            continue
        inside, outside = _halves(module, layer)
        ratio = (outside / inside) ** 0.25
        ratio = torch.where(torch.isfinite(ratio) & (ratio > 0), ratio, torch.ones_like(ratio))
        for weight in weights_in(module, layer):
            weight.mul_(_column(ratio, weight))
        for rows in weights_out(module, layer):
            rows.div_(_column(ratio, rows))


def _halves(module: nn.Module, layer: NeuronLayer) -> tuple[Tensor, Tensor]:
    """Squared norms of the weights in and out, shape [width] each."""
    outs = weights_out(module, layer)
    outside = torch.stack([_row_sums(rows) for rows in outs]).sum(0)
    inside = torch.zeros_like(outside)
    for weight in weights_in(module, layer):
        inside = inside + _row_sums(weight)
    return inside, outside


def _row_sums(rows: Tensor) -> Tensor:
    square = rows.detach().square()
    return square if square.ndim == 1 else square.sum(tuple(range(1, square.ndim)))


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.ndim - 1))
