"""Batch, group and layer normalisation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor

from secateurs.nn.axes import Axes, Axis, fixed
from secateurs.nn.rules.call import Call, Rule, short_name

OVER = "a normalisation averages over it"


def batch_norm(call: Call) -> list[Axes]:
    """Rule of a batch normalisation: each channel by itself."""
    x = call.axes(0)
    channels = x[1]
    given = [call.optional(i) for i in range(1, 5)]
    for axes in given:
        if axes is not None:
            call.walk.slots.unite_axes(channels.slots, axes[0].slots)
    weight, bias = given[0], given[1]
    uses_batch = given[2] is None
    if weight is not None:
        zero = weight[0].zero and (bias is None or bias[0].zero)
    else:
        zero = uses_batch and channels.zero
    out = [replace(axis, zero=False) for axis in x]
    out[1] = replace(channels, zero=zero)
    if uses_batch:
        call.walk.fix([x[0], *x[2:]], OVER)
    return [out, *(fixed(t.shape) for t in call.outputs[1:])]


def group_norm(call: Call) -> list[Axes]:
    """Rule of a group normalisation: a whole group is kept or removed."""
    walk, x = call.walk, call.axes(0)
    weight, bias = call.optional(1), call.optional(2)
    n_groups = int(call.args[6])
    channels = x[1]
    per = len(channels) // n_groups
    if per > 1 or n_groups == 1:
        first = np.arange(len(channels)) // per * per
        walk.slots.unite_axes(channels.slots[first], channels.slots)
    if n_groups == 1:
        walk.fix([channels], OVER)
    for axes in (weight, bias):
        if axes is not None:
            walk.slots.unite_axes(channels.slots, axes[0].slots)
    if weight is not None:
        zero = weight[0].zero and (bias is None or bias[0].zero)
    else:
        zero = channels.zero
    walk.fix(x[2:], OVER)
    out = [replace(x[0], zero=False), Axis(channels.slots, zero), *x[2:]]
    return [out, *(fixed(t.shape) for t in call.outputs[1:])]


def layer_norm(call: Call) -> list[Axes]:
    """Rule of a layer or RMS normalisation: the axes that it averages over are fixed."""
    x = call.axes(0)
    n_last = len(call.args[1])
    call.walk.fix(x[len(x) - n_last :], OVER)
    # (input, shape, weight, bias, eps) or (input, shape, weight, eps)
    operands = [a for a in call.args[2:4] if isinstance(a, Tensor)]
    for operand in operands:
        call.walk.fix(call.walk.axes(operand), OVER)
    has_bias = "rms" not in short_name(call.operation) and isinstance(call.argument(3), Tensor)
    out = [replace(axis, zero=axis.zero and not has_bias) for axis in x]
    return [out, *(fixed(t.shape) for t in call.outputs[1:])]


BATCH = (
    "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training",
    "_batch_norm_no_update", "_batch_norm_with_update", "cudnn_batch_norm",
)  # fmt: skip
RULES: dict[str, Rule] = {
    **dict.fromkeys(BATCH, batch_norm),
    "native_group_norm": group_norm,
    **dict.fromkeys(("native_layer_norm", "_fused_rms_norm"), layer_norm),
}
