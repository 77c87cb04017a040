"""Refuse modules whose tensors, hooks or classes a certificate does not cover."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from secateurs.core.forward_hooks import check_forward
from secateurs.core.parameters import Shown, bad_value


def check_module(module: nn.Module) -> torch.dtype:
    """Check everything of a module but its forward; return the dtype of its weights.

    Raises
    ------
    TypeError, ValueError
        It is no module of Python, its weights are computed at every call, it has forward hooks or
        a replaced forward, or a tensor is not a plain one of the one dtype float32 or float64.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module: got {type(module).__name__}; expected an nn.Module")
    for name, child in module.named_modules():
        _refuse_computed(child, f"{name or 'module'} ({type(child).__name__})")
    check_forward(module)
    dtypes: dict[torch.dtype, str] = {}
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_floating_point() or tensor.is_complex():
            _check_tensor(tensor, name)
            dtypes.setdefault(tensor.dtype, name)
    if len(dtypes) > 1:
        got = Shown(" and ".join(f"{dtype} in {name}" for dtype, name in dtypes.items()))
        raise bad_value("module", got, "one dtype for all weights", "call module.float()")
    if not dtypes:
        got = Shown("a module without weights that are parameters")
        raise bad_value("module", got, "layers with weights in float32 or float64")
    return next(iter(dtypes))


def _refuse_computed(child: nn.Module, where: str) -> None:
    """Refuse weights that are computed at every call, or do not exist yet, and other languages."""
    if getattr(child, "has_uninitialized_params", bool)():
        got, do = "a lazy module without weights", "call the module once on an input"
        raise bad_value(where, Shown(got), "weights", do)
    if "parametrizations" in child._modules:
        got = "a weight that is computed from others (a parametrization)"
        do = "call torch.nn.utils.parametrize.remove_parametrizations"
        raise bad_value(where, Shown(got), "weights that are parameters", do)
    if isinstance(child, torch.jit.ScriptModule):
        raise TypeError(f"{where}: got a TorchScript module; expected one written in Python")


def _check_tensor(tensor: Tensor, name: str) -> None:
    """Refuse a tensor that torch does not use as a plain array of numbers."""
    kind = type(tensor)
    if kind not in (nn.Parameter, Tensor) or tensor.layout != torch.strided or tensor.is_meta:
        got = f"a {kind.__name__} with layout {tensor.layout} on {tensor.device}"
        raise bad_value(name, Shown(got), "a plain dense tensor with values")
    if tensor.dtype not in (torch.float32, torch.float64):
        got, expected = str(tensor.dtype), "torch.float32 or torch.float64"
        raise bad_value(name, Shown(got), expected, "call module.float()")
    if not bool(torch.isfinite(tensor).all()):
        layer = name.rpartition(".")[0] or "module"
        raise bad_value(f"layer {layer}", Shown("nan or inf"), "finite weights")
