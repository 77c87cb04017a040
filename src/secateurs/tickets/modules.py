"""Torch modules of a ticket: the masked random network, and its effective layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that users of torch know

from secateurs.tickets.layers import WEIGHTED, Layer, Target, convolution, linear
from secateurs.tickets.ticket import Ticket, hidden_units, output_weights


class MaskedRandom(nn.Module):
    """V relu(U x), both masked, where every hidden unit reads one input.

    Units that no output uses, and the masked weights of U, are left out.  Those of V are zeros.

    Attributes
    ----------
    source : Tensor of int64, shape [h]
        The input that a hidden unit reads.
    u : Tensor, shape [h]
        Its weight, the only one that the mask of U keeps.
    v : Tensor, shape [n_out, h] or [n_out, h, kernel]
    u_one, v_one : Tensors, shapes [c] and [n_out, c]
        The same for the units of the constant input of one; c = 0 without a bias.
    """

    source: Tensor
    u: Tensor
    v: Tensor
    u_one: Tensor
    v_one: Tensor

    def __init__(self, ticket: Ticket, number: int) -> None:
        super().__init__()
        self.layer = ticket.layers[number]
        parts = [_units(ticket, number, name) for name in self.layer.blocks() if name != "bias"]
        source, u, v = (np.concatenate([part[k] for part in parts], -1) for k in range(3))
        if not len(source):  # a convolution of torch needs at least one channel
            source, u, v = np.zeros(1, np.int64), np.zeros(1, np.float32), v.sum(1, keepdims=True)
        u_one, v_one = np.zeros(0, np.float32), np.zeros((self.layer.n_out, 0), np.float32)
        if self.layer.bias:
            _, u_one, v_one = _units(ticket, number, "bias")
        v = self.layer.torch_layout(v)
        for name, array in (("source", source), ("u", u), ("v", v), ("u_one", u_one)):
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(array)))
        self.register_buffer("v_one", torch.from_numpy(v_one))

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, n_in] or [n, n_in, height, width]."""
        shape = (-1, 1, 1) if self.layer.kind == "conv2d" else (-1,)
        hidden = torch.relu(x.index_select(1, self.source) * self.u.view(shape))
        return _apply(self.layer, hidden, self.v, self.v_one @ torch.relu(self.u_one))


class TwoSided(nn.Module):
    """plus @ relu(x) + minus @ relu(-x) + bias, for a layer whose input has both signs.

    It is also weight @ x + (plus + minus) / 2 @ |x| + bias, and the second term is small, because
    both `plus` and `-minus` are near the weight of the target.
    """

    plus: Tensor
    minus: Tensor
    bias: Tensor

    def __init__(self, layer: Layer, plus: Tensor, minus: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("plus", plus)
        self.register_buffer("minus", minus)
        self.register_buffer("bias", bias)

    @property
    def weight(self) -> Tensor:
        """The linear part, (plus - minus) / 2, in the layout of the target's weight."""
        return (self.plus - self.minus) / 2

    def extra_repr(self) -> str:
        """Return the sizes, as other modules show them."""
        return f"{self.layer.kind}, {self.layer.shape_text}"

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, n_in] or [n, n_in, height, width]."""
        both = torch.cat([torch.relu(x), torch.relu(-x)], 1)
        return _apply(self.layer, both, torch.cat([self.plus, self.minus], 1), self.bias)


def masked_module(ticket: Ticket) -> nn.Sequential:
    """Build the masked random network, with a `MaskedRandom` for each layer with weights.

    It takes about 20 times the memory and the time of the target.

    Parameters
    ----------
    ticket : Ticket
        The seed and the masks of the network.

    Returns
    -------
    nn.Sequential
        The network in float32, in eval mode.  Its weights are buffers, so they are not trained.
    """
    return _stack(ticket, MaskedRandom)


def effective_module(ticket: Ticket) -> nn.Sequential:
    """Build the function of `masked_module` in layers of the target's size.

    For a ticket made for inputs >= 0 the function is the same for such inputs only, because the
    masked network takes a negative entry for 0.

    Parameters
    ----------
    ticket : Ticket
        The seed and the masks of the network.

    Returns
    -------
    nn.Sequential
        The network in float32, in eval mode.  A layer whose input can be negative is a module with
        weights for relu(x) and for relu(-x); the other layers are those of torch.
    """
    return _stack(ticket, _effective)


def target_module(target: Target) -> nn.Sequential:
    """Return the layers of a target in float64, batch normalisations folded."""
    modules: list[nn.Module] = []
    for layer, W, b in zip(target.layers, target.weights, target.biases, strict=True):
        if W is None:
            modules.append(_plain(layer))
            continue
        weight, bias = torch.from_numpy(W), None if b is None else torch.from_numpy(b)
        if layer.kind == "linear":
            modules.append(linear(weight, bias))
        else:
            modules.append(convolution(weight, bias, layer.stride, layer.padding, layer.dilation))
    return nn.Sequential(*modules).eval()


def _stack(ticket: Ticket, weighted: Callable[[Ticket, int], nn.Module]) -> nn.Sequential:
    modules = [
        weighted(ticket, number) if layer.kind in WEIGHTED else _plain(layer)
        for number, layer in enumerate(ticket.layers)
    ]
    return nn.Sequential(*modules).eval()


def _units(
    ticket: Ticket, number: int, name: str
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Return source, weight and masked output weights [rows, units] of a block's used units."""
    used = ticket.used(number, name)
    u, _ = hidden_units(ticket, number, name, used.shape[1])
    source, place = np.nonzero(used)
    return source, u[source, place], output_weights(ticket, number, name)[:, used]


def _effective(ticket: Ticket, number: int) -> nn.Module:
    layer = ticket.layers[number]
    found = {
        name: torch.from_numpy(
            np.ascontiguousarray(rows if name == "bias" else layer.torch_layout(rows), np.float32)
        )
        for name, rows in ticket.approximation(number).items()
    }
    bias = found["bias"][:, 0].clone() if layer.bias else None
    if layer.signed:
        none = torch.zeros(layer.n_out)
        return TwoSided(layer, found["plus"], found["minus"], none if bias is None else bias)
    if layer.kind == "linear":
        return linear(found["plus"], bias)
    return convolution(found["plus"], bias, layer.stride, layer.padding, layer.dilation)


def _apply(layer: Layer, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if layer.kind == "linear":
        return F.linear(x, weight, bias)
    return F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation)


def _plain(layer: Layer) -> nn.Module:
    if layer.kind == "relu":
        return nn.ReLU()
    if layer.kind == "flatten":
        return nn.Flatten()
    if layer.kind == "global_average":
        return nn.AdaptiveAvgPool2d(1)
    pool = nn.MaxPool2d if layer.kind == "max_pool2d" else nn.AvgPool2d
    return pool(layer.kernel, layer.stride, layer.padding)
