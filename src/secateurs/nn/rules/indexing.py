"""Operations that select by numbers which are computed: tables, gather and scatter."""

from __future__ import annotations

from dataclasses import replace

import torch

from secateurs.nn.axes import Axes, fixed
from secateurs.nn.rules.call import Call, Rule, short_name

PICKED = "its coordinates are picked by number"


def embedding(call: Call) -> list[Axes]:
    """Rule of a table of vectors: its columns can be removed, its rows cannot."""
    table, index = call.axes(0), call.axes(1)
    call.walk.fix([table[0]], PICKED)
    call.walk.fix(index, PICKED)
    return [[*fixed(call.args[1].shape), table[1]]]


def embedding_bag(call: Call) -> list[Axes]:
    """Rule of a sum or mean over the rows of a table."""
    table = call.axes(0)
    call.walk.fix([table[0]], PICKED)
    if call.argument(4, "mode", 0) not in (0, 1):
        raise ValueError
    first = call.outputs[0]
    return [[*fixed(first.shape[:1]), table[1]], *(fixed(t.shape) for t in call.outputs[1:])]


def gather(call: Call) -> list[Axes]:
    """Rule of index_select and gather; axes that keep their whole length stay free."""
    walk, x = call.walk, call.axes(0)
    d = call.args[1] % len(x)
    walk.fix([x[d]], PICKED)
    index = call.args[2]
    shape = call.outputs[0].shape
    if short_name(call.operation) == "gather":
        walk.fix([axis for axis, n in zip(x, shape, strict=True) if len(axis) != n], PICKED)
        # an index cannot be made smaller where it was computed without the channel
        for axis, other in zip(x, walk.axes(index), strict=True):
            if len(axis) == len(other):
                walk.slots.unite_axes(axis.slots, other.slots)
    else:
        walk.fix(walk.axes(index), PICKED)
    return [
        [
            axis if i != d and len(axis) == n else fixed([n])[0]
            for i, (axis, n) in enumerate(zip(x, shape, strict=True))
        ]
    ]


def scatter(call: Call) -> list[Axes]:
    """Rule of index_add, index_copy and scatter along one axis."""
    walk, x = call.walk, call.axes(0)
    d = call.args[1] % len(x)
    walk.fix([x[d]], PICKED)
    source = call.optional(3)
    index = call.axes(2)
    out = [replace(axis, zero=False) for axis in x]
    if len(index) == len(x) and len(x) > 1:  # scatter: an index for every entry
        for i in range(len(x)):
            if i != d and len(index[i]) == len(x[i]):
                walk.slots.unite_axes(x[i].slots, index[i].slots)
            else:
                walk.fix([x[i], index[i]], PICKED)
    else:
        walk.fix(index, PICKED)
    if source is None:
        return [out]
    walk.fix([source[d]], PICKED)
    for i in range(len(x)):
        if i == d:
            continue
        if len(source[i]) != len(x[i]):
            raise ValueError
        walk.slots.unite_axes(x[i].slots, source[i].slots)
        out[i] = replace(x[i], zero=x[i].zero and source[i].zero)
    return [out]


def index_put(call: Call) -> list[Axes]:
    """Rule of x[..., index, ...] = value with one index."""
    walk, x = call.walk, call.axes(0)
    places = [i for i, index in enumerate(call.args[1]) if index is not None]
    index = call.args[1][places[0]]
    if len(places) != 1 or index.ndim != 1 or index.dtype.is_floating_point:
        raise ValueError
    if len(call.args[2].shape) != len(x):
        raise ValueError
    d, source = places[0], call.axes(2)
    walk.fix([x[d], source[d]], PICKED)
    walk.fix(walk.axes(index), PICKED)
    out = list(x)
    for i in range(len(x)):
        if i != d:
            if len(source[i]) != len(x[i]):
                raise ValueError
            walk.slots.unite_axes(x[i].slots, source[i].slots)
            out[i] = replace(x[i], zero=x[i].zero and source[i].zero)
    return [out]


def take(call: Call) -> list[Axes]:
    """Rule of x[:, index] with tensors as indices: the axes that are indexed are fixed."""
    walk, x = call.walk, call.axes(0)
    indices = call.args[1]
    places = [i for i, index in enumerate(indices) if index is not None]
    if any(indices[i].dtype.is_floating_point for i in places):
        raise ValueError
    picked: list[int] = []
    at = 0
    for index in indices:
        n = index.ndim if index is not None and index.dtype == torch.bool else 1
        picked += range(at, at + n) if index is not None else []
        at += n
    walk.fix([x[i] for i in picked], PICKED)
    for p in places:
        walk.fix(walk.axes(indices[p]), PICKED)
    rest = [axis for i, axis in enumerate(x) if i not in picked]
    shape = call.outputs[0].shape
    n_new = len(shape) - len(rest)
    together = picked == list(range(picked[0], picked[-1] + 1)) if picked else True
    lead = picked[0] if together and picked else 0
    out = [*rest[:lead], *fixed(shape[lead : lead + n_new]), *rest[lead:]]
    return [out]


RULES: dict[str, Rule] = {
    "embedding": embedding,
    "_embedding_bag": embedding_bag,
    "_embedding_bag_forward_only": embedding_bag,
    "index_select": gather,
    "gather": gather,
    **dict.fromkeys(
        ("index_add", "scatter_add", "scatter", "scatter_reduce", "index_copy"), scatter
    ),
    **dict.fromkeys(("index_put", "_index_put_impl"), index_put),
    "index": take,
}
