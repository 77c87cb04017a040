"""Operations that compute every entry from the entries at the same place."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from secateurs.core.torch_parts import tree_leaves, tree_map
from secateurs.nn.axes import Axes, fixed, tensors_in
from secateurs.nn.rules.call import Call, Rule

COPIES = (
    "_to_copy", "to", "clone", "contiguous", "detach", "alias", "lift_fresh_copy", "lift_fresh",
    "dropout", "feature_dropout", "alpha_dropout", "native_dropout", "type_as", "_conj", "cast",
)  # fmt: skip
LIKE = ("zeros_like", "ones_like", "full_like", "empty_like")
CREATED = (
    "full", "zeros", "ones", "empty", "new_zeros", "new_full", "new_ones", "new_empty",
)  # fmt: skip
RANDOM = ("rand", "randn", "rand_like", "randn_like", "bernoulli", "normal", "exponential")
SAMPLES = 48  # entries on which it is tried whether a silenced coordinate stays zero


def pointwise(call: Call) -> list[Axes]:
    """Unite the operands axis by axis, and try what the operation makes of zeros."""
    walk = call.walk
    operands = [t for t in tree_leaves((call.args, call.kwargs))
                if isinstance(t, Tensor)]  # fmt: skip
    outputs = call.outputs
    shape = tuple(outputs[0].shape)
    out = walk.broadcast([walk.axes(t) for t in operands], shape)
    patterns = defaultdict(list)
    for place in range(len(shape)):
        silent = tuple(_is_silent(walk.axes(t), place - len(shape)) for t in operands)
        patterns[silent].append(place)
    for silent, places in patterns.items():
        zero, finite = _tried(call, operands, silent)
        for place in places:
            out[place] = replace(out[place], zero=zero)
            if not finite:
                walk.fix([out[place]], "a silenced channel gives NaN there")
    return [out if t.ndim == len(shape) else walk.axes(t) for t in outputs]


def _is_silent(axes: Axes, place: int) -> bool:
    """Whether an operand is zero at a silenced coordinate of this axis, counted from the last."""
    return -place <= len(axes) and axes[place].zero


def _tried(call: Call, operands: list[Tensor], silent: tuple[bool, ...]) -> tuple[bool, bool]:
    """Whether the results are zero, and whether they are numbers, if these operands are zero."""
    if not any(silent):
        return False, True
    samples = {
        id(t): torch.zeros(SAMPLES, dtype=t.dtype, device=t.device) if is_silent else _sample(t)
        for t, is_silent in zip(operands, silent, strict=True)
    }

    def sampled(leaf: Any) -> Any:
        return samples[id(leaf)].clone() if isinstance(leaf, Tensor) else leaf

    kwargs = {name: v for name, v in call.kwargs.items() if name != "memory_format"}
    args, kwargs = tree_map(sampled, (call.args, kwargs))
    result = call.operation(*args, **kwargs)
    first = result[0] if isinstance(result, tuple | list) else result
    if not (first.is_floating_point() or first.is_complex()):
        return False, True
    return not bool(first.any()), not bool(first.isnan().any())


def _sample(tensor: Tensor) -> Tensor:
    """Entries of a tensor, with some of both signs or both truth values."""
    flat = tensor.detach().reshape(-1)
    if flat.numel() == 0:
        return torch.ones(SAMPLES, dtype=tensor.dtype, device=tensor.device)
    at = torch.arange(SAMPLES, device=tensor.device) * max(1, flat.numel() // SAMPLES)
    found = flat[at % flat.numel()].clone()
    if tensor.dtype == torch.bool:
        found[:2] = torch.tensor([True, False], device=tensor.device)
    elif tensor.is_floating_point():
        found[:3] = torch.tensor([1.0, -1.0, 2.5], dtype=tensor.dtype, device=tensor.device)
    return found


def copied(call: Call) -> list[Axes]:
    """Keep the axes of the operand."""
    return [call.axes(0) for _ in call.outputs]


def copied_into(call: Call) -> list[Axes]:
    """Unite the target of a copy with its source; what is copied decides what is zero."""
    target, source = call.axes(0), call.axes(1)
    out = call.walk.broadcast([target, source], tuple(call.outputs[0].shape))
    zeros = [False] * (len(out) - len(source)) + [axis.zero for axis in source]
    return [[replace(axis, zero=zero) for axis, zero in zip(out, zeros, strict=True)]]


def created(call: Call) -> list[Axes]:
    """Make free axes for a tensor of constants, whose size may follow."""
    return [call.walk.free(t.shape, zero=not bool(t.any())) for t in call.outputs]


def created_like(call: Call) -> list[Axes]:
    """Keep the axes of the operand, with other values."""
    is_zero = not bool(call.outputs[0].any())
    return [[replace(axis, zero=is_zero) for axis in call.axes(0)]]


def drawn(call: Call) -> list[Axes]:
    """Fix what random numbers are drawn for: a smaller tensor would get other numbers."""
    for tensor in tensors_in((call.args, call.kwargs)):
        call.walk.fix(call.walk.axes(tensor), "random numbers are drawn along it")
    return [fixed(tensor.shape) for tensor in call.outputs]


RULES: dict[str, Rule] = {
    **dict.fromkeys(COPIES, copied),
    **dict.fromkeys(RANDOM, drawn),
    **dict.fromkeys(LIKE, created_like),
    **dict.fromkeys(CREATED, created),
    "copy": copied_into,
    "fill": created_like,
    "zero": created_like,
    **dict.fromkeys(
        (
            "__and__",
            "__or__",
            "where",
            "_prelu_kernel",
            "masked_fill",
            "lerp",
            "addcmul",
            "addcdiv",
            "polar",
            "complex",
        ),
        pointwise,
    ),
}
