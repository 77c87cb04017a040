"""What the walk over a graph knows about every tensor, and what the rules may ask of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from secateurs.core.torch_parts import tree_leaves
from secateurs.nn.slots import FIXED, IntArray, Slots


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of a tensor.

    Attributes
    ----------
    slots : int64 array [n]
        The slot of each coordinate.
    zero : bool
        Where a coordinate is silenced, all entries of the tensor at it are zero.
    """

    slots: IntArray
    zero: bool = False

    def __len__(self) -> int:
        return len(self.slots)


Axes = list[Axis]


def fixed(shape: Iterable[int]) -> Axes:
    """Axes of which nothing can be removed."""
    return [Axis(np.zeros(int(n), dtype=np.int64)) for n in shape]


@dataclass(frozen=True)
class Fixed:
    """Coordinates that cannot be removed.

    Attributes
    ----------
    name : str
        The parameter or buffer, and its axis.
    axis : int
    size : int
        How many coordinates of this axis cannot be removed for this reason.
    node : str
        The node of the graph that forbids it.
    module : str
        The submodule that computes the node.
    reason : str
    """

    name: str
    axis: int
    size: int
    node: str
    module: str
    reason: str


@dataclass(frozen=True, eq=False)
class Product:
    """A product of matrices or a convolution: 2 * factor * the lengths of the axes is its FLOPs."""

    module: str
    factor: float
    axes: tuple[IntArray, ...]


@dataclass(eq=False)
class Walk:
    """The state of a walk over a graph, which every rule may read and change.

    Attributes
    ----------
    slots : Slots
    node, module : str
        What is computed now.
    products : list of Product
    reasons : list
        (node, module, reason) of every event that fixed slots that were free.
    readings : dict of int to None
        The ``id`` of the slots of every axis that a linear layer or a convolution without groups
        sums over, in the order of computation.
    summed : list of int64 array
        The slots of every axis that an operation sums over.
    unknown : dict of str to int
        How often an operation without a rule was met.
    """

    slots: Slots = field(default_factory=Slots)
    node: str = ""
    module: str = ""
    products: list[Product] = field(default_factory=list)
    readings: dict[int, None] = field(default_factory=dict)
    summed: list[IntArray] = field(default_factory=list)
    unknown: dict[str, int] = field(default_factory=dict)
    on_fix: Callable[[str], None] = lambda _: None
    _axes: Any = field(default_factory=WeakTensorKeyDictionary)

    def axes(self, tensor: Tensor) -> Axes:
        """Return the axes of a tensor; those of one that was never seen are fixed."""
        found: Axes | None = self._axes.get(tensor)
        if found is None or len(found) != tensor.ndim:
            return fixed(tensor.shape)
        return found

    def knows(self, tensor: Tensor) -> bool:
        """Whether axes were assigned to this tensor."""
        return tensor in self._axes

    def assign(self, tensor: Tensor, axes: Axes) -> None:
        """Remember the axes of a tensor."""
        self._axes[tensor] = axes

    def forget_zeros(self, tensor: Tensor) -> None:
        """After a change in place, no view of the same memory is known to be zero anywhere."""
        pointer = tensor.untyped_storage().data_ptr()
        for other, axes in list(self._axes.items()):
            if other is not tensor and other.untyped_storage().data_ptr() == pointer:
                self._axes[other] = [replace(axis, zero=False) for axis in axes]

    def fix(self, axes: Iterable[Axis], reason: str) -> None:
        """Let nothing of these axes be removed; an empty reason is not reported."""
        changed = [self.slots.fix(axis.slots) for axis in axes]
        if any(changed):
            self.on_fix(reason)

    def settle(self) -> None:
        """Report what an operation has united with something that cannot be removed."""
        if self.slots.lost:
            self.slots.lost = False
            self.on_fix("it is combined with an input or an axis that cannot be removed")

    def unite(self, first: Axis, second: Axis) -> Axis:
        """Unite two axes of equal length; what is zero in either stays zero in a product."""
        self.slots.unite_axes(first.slots, second.slots)
        return replace(first, zero=first.zero or second.zero)

    def contract(self, first: Axis, second: Axis) -> None:
        """Unite two axes that a product sums over; silenced terms must be zero."""
        self.slots.unite_axes(first.slots, second.slots)
        self.summed.append(first.slots)
        if not (first.zero or second.zero):
            self.fix([first], "a product sums over it, and its silenced terms are not zero")

    def free(self, shape: Iterable[int], *, zero: bool) -> Axes:
        """Axes of a new tensor, which are tied to nothing; a coordinate that is alone is fixed."""
        return [
            Axis(self.slots.new(int(n)), zero)
            if n > 1
            else Axis(np.zeros(int(n), dtype=np.int64), zero)
            for n in shape
        ]

    def count(self, factor: float, *axes: Axis) -> None:
        """Note the cost of a product over these axes."""
        self.products.append(Product(self.module, factor, tuple(axis.slots for axis in axes)))

    def broadcast(self, many: Iterable[Axes], shape: tuple[int, ...]) -> Axes:
        """Unite the axes of tensors that are combined entry by entry."""
        out: list[Axis | None] = [None] * len(shape)
        for axes in many:
            for i, axis in enumerate(reversed(axes)):
                at = len(shape) - 1 - i
                if len(axis) != shape[at]:
                    self.fix([axis], "it is broadcast")
                    continue
                before = out[at]
                if before is None:
                    out[at] = axis
                else:
                    self.slots.unite_axes(before.slots, axis.slots)
        return [
            Axis(np.zeros(n, dtype=np.int64)) if axis is None else axis
            for axis, n in zip(out, shape, strict=True)
        ]


def is_free(walk: Walk, axis: Axis) -> bool:
    """Whether something of the axis can be removed as far as is known."""
    return bool((walk.slots.find(axis.slots) != FIXED).any())


def tensors_in(values: Any) -> list[Tensor]:
    """Return the tensors in nested arguments, in order."""
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
