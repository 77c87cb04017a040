"""Operations that only move entries: reshape, transpose, cat, split, slice, repeat, padding, ...

They need no rule each.  The operation is run on the coordinates of its operands instead of their
values.  Where the coordinates land says what each axis of the result carries:

    a coordinate that varies along one axis of the result:   that axis carries it       (a map)
    along several:  a flat axis was split, and its coordinate is a pair                 (a split)
    two coordinates along one axis of the result:  it is removed with either            (a merge)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.core.torch_parts import tree_map
from secateurs.nn.axes import Axes, Axis, Walk, fixed, is_free
from secateurs.nn.rules.call import Call, Rule, short_name
from secateurs.nn.slots import FIXED, IntArray

MOVES = (
    "view", "_unsafe_view", "reshape", "_reshape_alias", "permute", "transpose", "t", "unsqueeze",
    "squeeze", "expand", "cat", "stack", "split", "split_with_sizes", "unbind", "slice", "select",
    "flip", "roll", "repeat", "pixel_shuffle", "pixel_unshuffle", "constant_pad_nd", "unfold",
    "chunk", "narrow", "im2col", "movedim", "unsafe_split", "repeat_interleave", "rot90",
)  # fmt: skip
PADS = ("reflection_pad", "replication_pad")  # with copies of other entries
AS_RESHAPE = ("view", "_unsafe_view", "_reshape_alias")
MOST = 1 << 24  # coordinates are counted in float32, which is exact up to here
FloatArray = NDArray[np.float32]


def move(call: Call) -> list[Axes]:
    """Note where the operation moves the coordinates of its operands."""
    walk, name = call.walk, short_name(call.operation)
    if name == "roll" and not call.argument(2, "dims"):
        raise ValueError  # over the end of an axis to the next place of another
    if name == "repeat_interleave" and not isinstance(call.args[1], int):
        raise ValueError  # another number for each coordinate
    operands = _operands(call)
    sources = [walk.axes(tensor) for tensor in operands]
    outputs = [_Output(walk, tuple(t.shape)) for t in call.outputs]
    if name in ("expand", "repeat"):
        outputs[0].free_copies(sources[0])
    pads_with_zeros = not call.argument(2, "value", 0) if name == "constant_pad_nd" else True
    for number, axes in enumerate(sources):
        for d, axis in enumerate(axes):
            # a fixed axis says nothing, unless its places are those of another operand
            free = is_free(walk, axis)
            if (len(operands) > 1 or free) and 0 < len(axis) < MOST:
                distinct = walk.slots.find(axis.slots)
                labels = np.arange(len(distinct))
                if free:
                    distinct, labels = np.unique(distinct, return_inverse=True)
                moved = _run(call, number, d, labels)
                found = Axis(distinct, axis.zero)
                for output, coordinates in zip(outputs, moved, strict=True):
                    output.carry(found, coordinates, number)
    return [output.axes(pads_with_zeros=pads_with_zeros) for output in outputs]


def _operands(call: Call) -> list[Tensor]:
    first = call.args[0]
    return list(first) if isinstance(first, tuple | list) else [first]


def _run(call: Call, number: int, d: int, labels: IntArray) -> list[Tensor]:
    """Run the operation on labels, from 1, of axis d of an operand; the others have 0."""
    name = short_name(call.operation)
    place = iter(range(len(_operands(call))))

    def numbered(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        here = next(place, -1)
        if here == -1:
            return leaf  # an index or the like
        if here != number:
            return torch.zeros(()).expand(leaf.shape)
        shape = [1] * leaf.ndim
        shape[d] = len(labels)
        return torch.from_numpy(labels + 1.0).to(torch.float32).view(shape).expand(leaf.shape)

    operation = call.operation
    args = list(tree_map(numbered, call.args))
    kwargs = {key: value for key, value in call.kwargs.items() if key != "memory_format"}
    if name in AS_RESHAPE:
        operation, args = torch.ops.aten.reshape.default, args[:2]
    if name == "constant_pad_nd":
        args, kwargs = args[:2], {}
    moved = operation(*args, **kwargs)
    return list(moved) if isinstance(moved, tuple | list) else [moved]


class _Output:
    """The axes of one result, while the coordinates of the operands are carried to it."""

    def __init__(self, walk: Walk, shape: tuple[int, ...]) -> None:
        self.walk = walk
        self.slots = [np.full(n, -1, dtype=np.int64) for n in shape]
        self.zero = [True] * len(shape)
        self.carried = [False] * len(shape)
        self.source = [np.full(n, -1, dtype=np.int64) for n in shape]

    def axes(self, *, pads_with_zeros: bool) -> Axes:
        """Coordinates that carry nothing are fixed."""
        return [
            Axis(np.maximum(slots, 0), zero and carried and pads_with_zeros)
            for slots, zero, carried in zip(self.slots, self.zero, self.carried, strict=True)
        ]

    def free_copies(self, source: Axes) -> None:
        """Free the axes along which one coordinate is copied."""
        lead = len(self.slots) - len(source)
        for i, slots in enumerate(self.slots):
            if len(slots) > 1 and (i < lead or len(source[i - lead]) == 1):
                self.slots[i] = self.walk.slots.new(len(slots))
                self.walk.slots.inside.update(self.slots[i].tolist())

    def carry(self, axis: Axis, moved: Tensor, source: int) -> None:
        """Give each axis the slots of the coordinates that vary along it."""
        small = moved
        for b in range(moved.ndim):
            if moved.stride(b) == 0 and moved.shape[b] > 1:
                small = small.narrow(b, 0, 1)
        coordinates: FloatArray = small.numpy()
        here = coordinates > 0
        if not here.any():
            return
        varying = [b for b in range(small.ndim) if _varies(coordinates, here, b)]
        if not varying:
            self.walk.fix(
                [Axis(axis.slots[np.unique(coordinates[here]).astype(np.int64) - 1])],
                "one of its coordinates is selected",
            )
            return
        # along the other axes a coordinate is the same, or not there
        others = tuple(b for b in range(small.ndim) if b not in varying)
        at = coordinates.max(axis=others) if others else coordinates
        places = np.nonzero(at)
        found = axis.slots[at[places].astype(np.int64) - 1]
        if len(varying) == 1:
            self._put(varying[0], places[0], found, axis, source)
        else:
            self._split(axis, found, dict(zip(varying, places, strict=True)), source)

    def _split(self, axis: Axis, found: IntArray, places: dict[int, IntArray], source: int) -> None:
        """Let slots be removed with either of their places along several axes."""
        slots = self.walk.slots
        fresh = {b: slots.new(len(self.slots[b])) for b in places}
        slots.define_many(found, np.stack([fresh[b][at] for b, at in places.items()], 1))
        slots.inside.update(fresh[max(places)].tolist())
        for b in places:
            self._put(b, np.arange(len(fresh[b])), fresh[b], axis, source)

    def _put(
        self, b: int, places: NDArray[np.int64], found: NDArray[np.int64], axis: Axis, source: int
    ) -> None:
        """Let the places of an axis carry slots; what is there already is united or merged."""
        slots, own = self.walk.slots, self.slots[b]
        roots = slots.find(found)
        if roots.any():
            self.zero[b] = self.zero[b] and axis.zero
            self.carried[b] = True
        empty = own[places] < 0
        own[places[empty]] = roots[empty]
        self.source[b][places[empty]] = source
        if empty.all():
            return
        places, roots = places[~empty], roots[~empty]
        same = self.source[b][places] == source
        for i, slot in zip(places[~same].tolist(), roots[~same].tolist(), strict=True):
            slots.unite(int(own[i]), slot)  # the same place in two operands of a cat
        places, roots = places[same], roots[same]
        here = slots.find(own[places])
        own[places] = np.where(here == FIXED, roots, own[places])
        both = (here != FIXED) & (roots != FIXED) & (here != roots)
        if both.any():
            own[places[both]] = slots.merged(own[places[both]], roots[both])


def _varies(coordinates: FloatArray, here: NDArray[np.bool_], b: int) -> bool:
    """Whether the coordinate changes along this axis of the result."""
    if coordinates.shape[b] == 1:
        return False
    high = coordinates.max(axis=b)
    low = np.where(here, coordinates, np.float32(MOST)).min(axis=b)
    return bool(((high != low) & (high > 0)).any())


def diagonal(call: Call) -> list[Axes]:
    """Rule of a diagonal: the same coordinates of both axes go together."""
    walk, x = call.walk, call.axes(0)
    offset, first, second = (
        call.argument(i + 1, name, default)
        for i, (name, default) in enumerate((("offset", 0), ("dim1", 0), ("dim2", 1)))
    )
    a, b = x[first], x[second]
    if offset or len(a) != len(b):
        raise ValueError
    return [[axis for axis in x if axis is not a and axis is not b] + [walk.unite(a, b)]]


def pad(call: Call) -> list[Axes]:
    """Rule of a padding: with a number it moves entries, with copies the padded axes are fixed."""
    name = short_name(call.operation)
    if name == "pad" and call.argument(2, "mode", "constant") == "constant":
        value = call.argument(3, "value", 0)
        constant = torch.ops.aten.constant_pad_nd.default
        args = (*call.args[:2], 0 if value is None else value)
        return move(Call(call.walk, constant, args, {}, call.result))
    x, n = call.axes(0), len(call.args[1]) // 2
    call.walk.fix(x[-n:], "a padding copies entries along it")
    return [[*x[:-n], *fixed(call.outputs[0].shape[-n:])]]


def as_complex(call: Call) -> list[Axes]:
    """Rule of view_as_complex and view_as_real: the axis of the two parts comes or goes."""
    x = call.axes(0)
    if short_name(call.operation) == "view_as_real":
        return [[*x, *fixed([2])]]
    call.walk.fix(x[-1:], "it holds real and imaginary parts")
    return [x[:-1]]


RULES: dict[str, Rule] = {
    **dict.fromkeys(MOVES, move),
    **dict.fromkeys([f"{name}{n}d" for name in PADS for n in (1, 2, 3)], pad),
    "pad": pad,
    "diagonal": diagonal,
    **dict.fromkeys(("view_as_complex", "view_as_real"), as_complex),
}
