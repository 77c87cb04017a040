"""What each operation does with the axes of its operands: one table for all operations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from secateurs.nn.axes import Axes, Walk, fixed, tensors_in
from secateurs.nn.rules import contractions, indexing, moves, normalisations, pointwise, reductions
from secateurs.nn.rules.call import Call, Rule, short_name

RULES: dict[str, Rule] = {
    **contractions.RULES,
    **normalisations.RULES,
    **reductions.RULES,
    **indexing.RULES,
    **moves.RULES,
    **pointwise.RULES,
}


def find_rule(operation: Any) -> Rule | None:
    """Return the rule of an operation; None if there is none."""
    name = short_name(operation)
    if name in RULES:
        return RULES[name]
    if name == "meshgrid":
        return whole
    if name.startswith(reductions.SPATIAL):
        return reductions.spatial
    if torch.Tag.pointwise in getattr(operation, "tags", ()):
        return pointwise.pointwise
    return None


def apply_rule(walk: Walk, operation: Any, args: Any, kwargs: Any, result: Any) -> None:
    """Note the axes of the result of an operation."""
    outputs = tensors_in(result)
    if not outputs:
        return
    call = Call(walk, operation, tuple(args), dict(kwargs), result)
    rule = find_rule(operation)
    operands = tensors_in((args, kwargs))
    if rule is None:
        if not operands:
            axes: list[Axes] = [fixed(tensor.shape) for tensor in outputs]
        else:
            axes = refused(call, operands, outputs)
    else:
        try:
            axes = rule(call)
        except (IndexError, KeyError, ValueError, TypeError, RuntimeError):
            axes = refused(call, operands, outputs)  # a form of the call that the rule lacks
    if [len(a) for a in axes] != [t.ndim for t in outputs] or any(
        [len(axis) for axis in a] != list(t.shape) for a, t in zip(axes, outputs, strict=True)
    ):
        axes = refused(call, operands, outputs)
    in_place = getattr(operation, "_schema", None) is not None and operation._schema.is_mutable
    walk.settle()
    before = walk.axes(operands[0]) if in_place and len(operands) == 1 else []
    for tensor, of_tensor in zip(outputs, axes, strict=True):
        walk.assign(tensor, of_tensor)
        # an operation of one tensor that keeps zeros along an axis keeps all zeros
        keeps = any(old.zero and new.zero for old, new in zip(before, of_tensor, strict=False))
        if in_place and not keeps and not all(axis.zero for axis in of_tensor):
            walk.forget_zeros(tensor)


def whole(call: Call) -> list[Axes]:
    """Fix all axes of an operation whose results have the sizes of several operands."""
    operands = tensors_in((call.args, call.kwargs))
    return refused(call, operands, call.outputs)


def refused(call: Call, operands: list[Tensor], outputs: list[Tensor]) -> list[Axes]:
    """Fix all axes of an operation that is not understood."""
    name = short_name(call.operation)
    call.walk.unknown[name] = call.walk.unknown.get(name, 0) + 1
    for tensor in operands:
        call.walk.fix(call.walk.axes(tensor), f"the operation {name} has no rule")
    return [fixed(tensor.shape) for tensor in outputs]
