"""Products of matrices, convolutions, and attention: they sum over axes of two operands."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from torch import Tensor

from secateurs.nn.axes import Axes, Axis, Walk, fixed
from secateurs.nn.rules.call import Call, Rule, short_name
from secateurs.nn.slots import IntArray


def linear(call: Call) -> list[Axes]:
    """Rule of x W^T + b."""
    x, weight, bias = call.axes(0), call.axes(1), call.optional(2, "bias")
    if len(weight) != 2:
        raise ValueError
    call.walk.contract(x[-1], weight[1])
    call.walk.readings[id(weight[1].slots)] = None
    call.walk.count(_rows(x[:-1]), weight[0], weight[1])
    return [_with_bias(call.walk, [*x[:-1], weight[0]], bias)]


def matrix_product(call: Call) -> list[Axes]:
    """Rule of mm, bmm, mv, dot, addmm and baddbmm."""
    adds = short_name(call.operation) in ("addmm", "baddbmm", "addmv")
    first, second = (1, 2) if adds else (0, 1)
    x, w = call.axes(first), call.axes(second)
    inner = w[-2] if len(w) > 1 else w[-1]
    call.walk.contract(x[-1], inner)
    batch = [call.walk.unite(a, b) for a, b in zip(x[:-2], w[:-2], strict=True)]
    out = [*batch, *x[-2:-1], *(w[-1:] if len(w) > 1 else [])]
    call.walk.count(1.0, *out, inner)
    return [_with_bias(call.walk, out, call.optional(0) if adds else None)]


def _rows(axes: Axes) -> float:
    return float(math.prod(len(axis) for axis in axes))


def _with_bias(walk: Walk, out: Axes, bias: Axes | None) -> Axes:
    """Unite with a bias that is added; silenced coordinates are zero only if it is zero there."""
    if bias is None:
        return out
    both = walk.broadcast([out, bias], tuple(len(axis) for axis in out))
    lead = len(out) - len(bias)
    zeros = [
        axis.zero and i >= lead and bias[i - lead].zero and len(bias[i - lead]) == len(axis)
        for i, axis in enumerate(out)
    ]
    return [replace(axis, zero=zero) for axis, zero in zip(both, zeros, strict=True)]


def convolution(call: Call) -> list[Axes]:
    """Rule of a convolution or transposed convolution, with any number of groups.

    With groups, a channel is a pair (group, place inside a group) on both sides.
    """
    walk = call.walk
    x, weight, bias = call.axes(0), call.axes(1), call.optional(2)
    transposed, n_groups = bool(call.args[6]), int(call.args[8])
    space = call.outputs[0].shape[2:]
    if len(call.outputs[0].shape) != len(weight):
        raise ValueError  # a call without an axis of rows
    walk.fix(x[2:], "a convolution moves along it")
    walk.fix(weight[2:], "")  # kernels have no channels
    inner, outer = (weight[0], weight[1]) if transposed else (weight[1], weight[0])
    if n_groups == 1:
        walk.contract(x[1], inner)
        walk.readings[id(inner.slots)] = None
        out = outer
    else:
        walk.summed.append(inner.slots)
        if not (x[1].zero or inner.zero):
            walk.fix([x[1]], "a convolution sums over it, and its silenced terms are not zero")
        n_out = call.outputs[0].shape[1]
        out = _grouped(walk, x[1], weight, n_groups, n_out, transposed=transposed)
    if bias is not None:
        walk.slots.unite_axes(out.slots, bias[0].slots)
        out = replace(out, zero=out.zero and bias[0].zero)
    kernel = math.prod(len(axis) for axis in weight[2:])
    positions = math.prod(call.args[0].shape[2:] if transposed else space)
    rows = len(x[0]) * positions * kernel
    # with groups, each channel of the outer axis reads the inner axis once
    walk.count(float(rows), x[1] if transposed else out, weight[1])
    return [[replace(x[0], zero=x[0].zero and bias is None), out, *fixed(space)]]


def _grouped(
    walk: Walk, channels: Axis, weight: Axes, n_groups: int, n_out: int, *, transposed: bool
) -> Axis:
    slots = walk.slots
    groups = slots.new(n_groups)
    per_in, per_out = len(channels) // n_groups, n_out // n_groups
    inside, outside = slots.new(per_in), slots.new(per_out)
    out = slots.new(n_out)
    _pairs(walk, channels.slots, groups, inside)
    _pairs(walk, out, groups, outside)
    first, second, rest = (
        (channels.slots, outside, per_out) if transposed else (out, inside, per_in)
    )
    slots.unite_axes(weight[0].slots, first)
    if rest > 1:
        slots.unite_axes(weight[1].slots, second)
    return Axis(out, weight[1].zero or len(weight[1]) == 1 if transposed else weight[0].zero)


def _pairs(walk: Walk, axis: IntArray, groups: IntArray, inside: IntArray) -> None:
    """Let coordinate i of a flat axis be removed with its group or its place in all groups."""
    n = len(inside)
    for i, slot in enumerate(axis.tolist()):
        parts = [int(groups[i // n])] + ([int(inside[i % n])] if n > 1 else [])
        walk.slots.define(slot, parts)


def attention(call: Call) -> list[Axes]:
    """Rule of scaled_dot_product_attention; several heads of q may share one of k and v."""
    walk = call.walk
    q, k, v = call.axes(0), call.axes(1), call.axes(2)
    mask = call.argument(3, "attn_mask")
    walk.contract(q[-1], k[-1])
    walk.fix([q[-2], k[-2], v[-2]], "attention runs along it")
    lead = list(q[:-2])
    for other in (k, v):
        for i in range(1, len(lead) + 1):
            lead[-i] = _shared(walk, lead[-i], other[-2 - i])
    if isinstance(mask, Tensor):
        axes = walk.axes(mask)
        walk.fix(axes[-2:], "attention runs along it")
        for axis, own in zip(reversed(axes[:-2]), reversed(lead), strict=False):
            _shared(walk, own, axis)
    heads = [replace(axis, zero=v[i].zero) for i, axis in enumerate(lead)]
    walk.count(1.0, *lead, q[-2], k[-2], q[-1])
    walk.count(1.0, *lead, q[-2], k[-2], v[-1])
    return [[*heads, replace(q[-2], zero=False), v[-1]]]


def _shared(walk: Walk, axis: Axis, other: Axis) -> Axis:
    """Unite an axis with a shorter one, of which each coordinate serves several."""
    if len(other) == 1:
        walk.fix([other], "it is broadcast")
        return axis
    repeated = np.repeat(other.slots, len(axis) // len(other))
    walk.slots.unite_axes(axis.slots, repeated)
    return axis


def trilinear(call: Call) -> list[Axes]:
    """Rule of nn.Bilinear: a product of three tensors, each with new axes, summed over some."""
    walk, (x, weight, y) = call.walk, (call.axes(i) for i in range(3))
    summed = {int(d) for d in call.args[6]}
    # (rows, features of x) and (outputs, features of x, features of y) and (rows, features of y)
    if call.args[3:6] != ([1, 3], [0], [1, 2]) or summed != {2, 3}:
        raise ValueError
    walk.contract(x[1], weight[1])
    walk.contract(y[1], weight[2])
    walk.count(float(len(x[0])), *weight)
    return [[replace(x[0], zero=False), weight[0]]]


RULES: dict[str, Rule] = {
    "_trilinear": trilinear,
    "linear": linear,
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "addmm", "baddbmm", "addmv"), matrix_product),
    "convolution": convolution,
    "scaled_dot_product_attention": attention,
}
