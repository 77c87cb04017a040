"""Remove neurons physically: smaller tensors in the module and in its optimiser's state."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from secateurs.nn.groups import CONVS, NeuronLayer
from secateurs.nn.penalty import weights_in, weights_out

#: Largest difference of outputs, over the largest output, that rounding explains.
AGREEMENT = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}


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
        For each layer to be made smaller the neurons that stay, increasing, at least one.
    optimizer : Optimizer, optional
        One that trains `module`.  Its parameters are replaced, and every entry of its state
        that has a parameter's shape (moments, momentum) is cut like the parameter.

    Returns
    -------
    list of NeuronLayer
        The layers after removal.

    Notes
    -----
    Costs a copy of the weights that stay.
    """
    after = []
    for layer in layers:
        index = keep.get(layer.name)
        if index is None or len(index) == layer.width:
            after.append(layer)
            continue
        if len(index) == 0:
            raise ValueError(f"layer {layer.name!r}: at least one neuron must stay, got none")
        for name in (layer.name, *layer.norms):
            _cut_rows(module.get_submodule(name), index, optimizer)
        for name in layer.readers:
            _cut_columns(module.get_submodule(name), index, layer.width, optimizer)
        after.append(replace(layer, width=len(index)))
    return after


@torch.no_grad()
def silence(module: nn.Module, layers: list[NeuronLayer], keep: dict[str, Tensor]) -> None:
    """Set the groups of all other neurons to zero, in place."""
    for layer in layers:
        if layer.name not in keep:
            continue
        others = torch.ones(layer.width, dtype=torch.bool)
        others[keep[layer.name].cpu()] = False
        for rows in (*weights_in(module, layer), *weights_out(module, layer)):
            rows[others.to(rows.device)] = 0


def check_removal(before: Tensor, after: Tensor) -> float:
    """Relative difference between outputs with neurons silenced and with them removed.

    Raises
    ------
    RuntimeError
        It is larger than rounding explains (`AGREEMENT`): the graph was misread, for example
        because ``forward`` depends on the width of a layer.
    """
    size = float(before.abs().max()) if before.numel() else 0.0
    error = float((after - before).abs().max()) if before.numel() else 0.0
    tolerance = AGREEMENT.get(before.dtype, AGREEMENT[torch.float32])
    if not error <= tolerance * max(size, 1e-6):
        raise RuntimeError(
            f"removing silent neurons changed the outputs by {error:.3g} (outputs up to "
            f"{size:.3g}; at most {tolerance:g} of that is rounding): the module's forward does "
            "something else with its neurons than its graph says"
        )
    return error / max(size, 1e-6)


def _cut_rows(module: nn.Module, index: Tensor, optimizer: Optimizer | None) -> None:
    """A Linear, Conv or BatchNorm with fewer outputs."""
    for name, parameter in list(module._parameters.items()):
        if parameter is not None:
            at = index.to(parameter.device)
            _replace(module, name, optimizer, lambda t, at=at: t.index_select(0, at))
    for name, buffer in list(module._buffers.items()):
        if buffer is not None and buffer.ndim == 1:
            module._buffers[name] = buffer.index_select(0, index.to(buffer.device))
    for attribute in ("out_features", "out_channels", "num_features"):
        if hasattr(module, attribute):
            setattr(module, attribute, len(index))


def _cut_columns(module: nn.Module, index: Tensor, width: int, optimizer: Optimizer | None) -> None:
    """A Linear or Conv that reads fewer neurons."""
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


def _replace(module: nn.Module, name: str, optimizer: Optimizer | None, cut: object) -> None:
    """Put the cut parameter in the place of the old one, everywhere."""
    assert callable(cut)
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
