"""Removal of neurons: smaller tensors in the module and in the state of its optimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from secateurs.core.parameters import bad_value
from secateurs.nn.groups import CONVS, NeuronLayer
from secateurs.nn.penalty import weights_in, weights_out

# largest difference of outputs, over the largest output, that rounding explains
_ROUNDING = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
SMALLEST_SCALE = 1e-6  # outputs below this are compared absolutely


@torch.no_grad()
def remove_neurons(
    module: nn.Module,
    layers: list[NeuronLayer],
    keep: dict[str, Tensor],
    optimizer: Optimizer | None = None,
) -> list[NeuronLayer]:
    """Make layers smaller, in place.

    Parameters
    ----------
    module : nn.Module
    layers : list of NeuronLayer
        As found in `module`.
    keep : dict of str to Tensor int64
        The neurons that stay in each layer to be made smaller, increasing, at least one.
    optimizer : Optimizer, optional
        Trains `module`.  Its parameters are replaced, and every entry of its state that has the
        shape of a parameter (moments, momentum) is cut like the parameter.

    Returns
    -------
    list of NeuronLayer
        The layers after the removal.

    Raises
    ------
    ValueError
        No neuron of a layer would stay.

    Notes
    -----
    Cost: a copy of the weights that stay.
    """
    after = []
    for layer in layers:
        index = keep.get(layer.name)
        if index is None or len(index) == layer.width:
            after.append(layer)
            continue
        if len(index) == 0:
            raise bad_value(f"keep[{layer.name!r}]", [], "at least one neuron")
        for name in (layer.name, *layer.norms):
            _cut_rows(module.get_submodule(name), index, optimizer)
        for name in layer.readers:
            _cut_columns(module.get_submodule(name), index, layer.width, optimizer)
        after.append(replace(layer, width=len(index)))
    return after


@torch.no_grad()
def silence(module: nn.Module, layers: list[NeuronLayer], keep: dict[str, Tensor]) -> None:
    """Set all weights of the other neurons to zero, in place."""
    for layer in layers:
        if layer.name not in keep:
            continue
        others = torch.ones(layer.width, dtype=torch.bool)
        others[keep[layer.name].cpu()] = False
        for rows in (*weights_in(module, layer), *weights_out(module, layer)):
            rows[others.to(rows.device)] = 0


def check_removal(before: Tensor, after: Tensor) -> float:
    """Return the relative difference of outputs with neurons silenced and with them removed.

    Raises
    ------
    RuntimeError
        The difference is larger than rounding explains.  The graph was then misread, for example
        because ``forward`` depends on the width of a layer.
    """
    size = float(before.abs().max()) if before.numel() else 0.0
    error = float((after - before).abs().max()) if before.numel() else 0.0
    scale = max(size, SMALLEST_SCALE)
    tolerance = rounding_tolerance(before.dtype)
    if not error <= tolerance * scale:
        raise RuntimeError(
            f"forward: got outputs that change by {error:.3g} when silent neurons are removed; "
            f"expected at most {tolerance:g} of the largest output, {size:.3g}; write a forward "
            "that does not depend on the widths of the layers"
        )
    return error / scale


def rounding_tolerance(dtype: torch.dtype) -> float:
    """Return the largest relative difference of outputs that rounding explains."""
    return _ROUNDING.get(dtype, _ROUNDING[torch.float32])


def _cut_rows(module: nn.Module, index: Tensor, optimizer: Optimizer | None) -> None:
    """Cut the outputs of a Linear, Conv or BatchNorm."""
    for name, parameter in list(module._parameters.items()):
        if parameter is not None:
            _replace(module, name, optimizer, lambda t: t.index_select(0, index.to(t.device)))
    for name, buffer in list(module._buffers.items()):
        if buffer is not None and buffer.ndim == 1:
            module._buffers[name] = buffer.index_select(0, index.to(buffer.device))
    for attribute in ("out_features", "out_channels", "num_features"):
        if hasattr(module, attribute):
            setattr(module, attribute, len(index))


def _cut_columns(module: nn.Module, index: Tensor, width: int, optimizer: Optimizer | None) -> None:
    """Cut the inputs of a Linear or Conv."""
    weight = module._parameters["weight"]
    assert weight is not None
    repeat = 1 if isinstance(module, CONVS) else weight.shape[1] // width
    columns = index.to(weight.device)
    if repeat > 1:
        every = torch.arange(repeat, device=weight.device)
        columns = (columns[:, None] * repeat + every).flatten()
    _replace(module, "weight", optimizer, lambda t: t.index_select(1, columns))
    attribute = "in_channels" if isinstance(module, CONVS) else "in_features"
    setattr(module, attribute, len(columns))


def _replace(
    module: nn.Module, name: str, optimizer: Optimizer | None, cut: Callable[[Tensor], Tensor]
) -> None:
    """Replace a parameter by the cut one, in the module and in the optimiser."""
    old = module._parameters[name]
    assert old is not None
    new = nn.Parameter(cut(old.detach()), requires_grad=old.requires_grad)
    module._parameters[name] = new
    if optimizer is None:
        return
    for group in optimizer.param_groups:
        group["params"] = [new if p is old else p for p in group["params"]]
    if old in optimizer.state:
        state = optimizer.state.pop(old)
        optimizer.state[new] = {
            key: cut(value) if isinstance(value, Tensor) and value.shape == old.shape else value
            for key, value in state.items()
        }
