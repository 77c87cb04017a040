"""The exported graph with smaller tensors: the form of a pruned module that always exists."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from secateurs.core.parameters import Shown, bad_value
from secateurs.nn.axes import Axis
from secateurs.nn.channels import BoolArray, ChannelPlan
from secateurs.nn.pruned_graph import PrunedGraph, inputs_of
from secateurs.nn.rules.call import short_name

aten = torch.ops.aten
SHAPED = {
    "view": 1, "_unsafe_view": 1, "reshape": 1, "expand": 1, "full": 0, "zeros": 0, "ones": 0,
    "empty": 0, "rand": 0, "randn": 0, "new_zeros": 1, "new_full": 1, "new_ones": 1,
    "new_empty": 1,
}  # fmt: skip
# the place of `groups` among the arguments of a convolution
GROUPS = {
    "conv1d": 6, "conv2d": 6, "conv3d": 6, "conv_transpose1d": 6, "conv_transpose2d": 6,
    "conv_transpose3d": 6, "convolution": 8,
}  # fmt: skip


def find_tensor(module: nn.Module, name: str) -> Tensor | None:
    """Return a tensor by the name that it has in the planned module, also from a pruned graph."""
    for root in (module, getattr(module, "state", None)):
        try:
            found = operator.attrgetter(name)(root)
        except AttributeError:
            continue
        if isinstance(found, Tensor):
            return found
    return None


def state_of(plan: ChannelPlan, module: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that the graph reads, by name, with their values in a module."""
    found: dict[str, Tensor] = {}
    for name, value in zip(plan.program.names, plan.program.arguments, strict=True):
        if name is None:
            continue
        tensor = find_tensor(module, name)
        if tensor is not None:
            found[name] = tensor
        else:  # a constant of the graph
            if not isinstance(value, Tensor):
                got = Shown(f"a {type(value).__name__} as the state {name!r}")
                raise bad_value("module", got, "tensors only")
            found[name] = value
    return found


def cut_tensors(
    plan: ChannelPlan,
    gone: frozenset[int],
    module: nn.Module,
    before: frozenset[int] = frozenset(),
) -> dict[str, Tensor]:
    """Cut every parameter and buffer that the graph reads; tensors that were tied stay tied.

    `before` are the atoms that the module has lost already.
    """
    made: dict[int, Tensor] = {}
    found: dict[str, Tensor] = {}
    for name, old in state_of(plan, module).items():
        if id(old) not in made:
            new = cut_tensor(plan, name, old.detach(), gone, before)
            is_trained = isinstance(old, nn.Parameter)
            made[id(old)] = nn.Parameter(new, old.requires_grad) if is_trained else new
        found[name] = made[id(old)]
    return found


def cut_tensor(
    plan: ChannelPlan,
    name: str,
    tensor: Tensor,
    gone: frozenset[int],
    before: frozenset[int] = frozenset(),
) -> Tensor:
    """Cut a tensor that has the axes of a parameter; a copy in any case.

    `before` are the atoms that it has lost already.
    """
    for d, axis in enumerate(plan.graph_walk.parameters[name]):
        stays = plan.keep_mask(axis.slots, gone)
        if before:
            stays = stays[plan.keep_mask(axis.slots, before)]
        if not stays.all():
            index = torch.from_numpy(stays.nonzero()[0]).to(tensor.device)
            tensor = tensor.index_select(d, index)
    return tensor.clone()


def convolution_groups(plan: ChannelPlan, gone: frozenset[int]) -> dict[str, int]:
    """Return the number of groups that each convolution has left, by the name of its weight."""
    nodes = [n for n in plan.program.exported.graph.nodes if n.op == "placeholder"]
    names = dict(zip(nodes, plan.program.names, strict=True))
    found: dict[str, int] = {}
    for node in plan.program.exported.graph.nodes:
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        if short_name(node.target) in GROUPS:
            name = names.get(node.args[1])
            left = _Rewriting(plan, gone, node, node).groups_left()
            if name is not None and left is not None:
                found[name] = left
    return found


def shrunk_graph(
    plan: ChannelPlan, gone: frozenset[int], tensors: dict[str, Tensor]
) -> PrunedGraph:
    """Rewrite the graph for smaller tensors, from `cut_tensors`.

    Sizes in the arguments of operations follow the slots of their results.
    """
    old_graph = plan.program.exported.graph
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    result = graph.graph_copy(old_graph, copies)
    graph.output(result)
    for old, new in copies.items():
        if old.op == "call_function" and isinstance(old.target, torch._ops.OpOverload):
            _Rewriting(plan, gone, old, new).rewrite()
    graph.lint()
    module = fx.GraphModule(plan.program.graph_module, graph)
    program = plan.program
    return PrunedGraph(
        module, program.names, tensors, program.exported.call_spec.out_spec, inputs_of(program)
    )


class _Rewriting:
    """One node, before and after."""

    def __init__(self, plan: ChannelPlan, gone: frozenset[int], old: fx.Node, new: fx.Node) -> None:
        self.plan, self.gone, self.old, self.new = plan, gone, old, new
        self.name = short_name(old.target)
        self.out: Any = plan.graph_walk.by_node[old]
        self.args: list[Any] = list(new.args)

    def size(self, axis: Axis) -> int:
        """Length of an axis after the cut."""
        return int(self.plan.keep_mask(axis.slots, self.gone).sum())

    def operand(self, i: int) -> tuple[Axis, ...]:
        """Return the axes of an operand before the cut."""
        node = self.old.args[i]
        axes = self.plan.graph_walk.by_node[node] if isinstance(node, fx.Node) else ()
        return tuple(axes)

    def stays(self, d: int) -> BoolArray:
        """Return which coordinates of an axis of the first operand stay."""
        return self.plan.keep_mask(self.operand(0)[d].slots, self.gone)

    def argument(self, i: int, name: str, default: Any) -> Any:
        """Return an argument of the new node."""
        return self.args[i] if i < len(self.args) else self.new.kwargs.get(name, default)

    def rewrite(self) -> None:
        """Change the arguments of the node where they are sizes."""
        if self.name in SHAPED:
            self._shape(SHAPED[self.name])
        elif self.name in GROUPS:
            self._groups(GROUPS[self.name])
        elif self.name in REWRITES:
            REWRITES[self.name](self)
        self.new.args = tuple(self.args)

    def _shape(self, place: int) -> None:
        sizes = list(self.args[place])
        for i, axis in enumerate(self.out):
            left = self.size(axis)
            if left == len(axis) or sizes[i] == -1:
                continue
            if isinstance(sizes[i], int):
                sizes[i] = left
            elif -1 not in [size for size in sizes if isinstance(size, int)]:
                sizes[i] = -1  # a multiple of the number of rows
        self.args[place] = sizes
        if self.name == "view":
            self.new.target = aten.reshape.default

    def groups_left(self) -> int | None:
        """Return the number of groups of a convolution; None if it has no groups."""
        if self.argument(GROUPS[self.name], "groups", 1) == 1:
            return None
        x, weight = self.operand(0), self.operand(1)
        is_transposed = "transpose" in self.name or (self.name == "convolution" and self.args[6])
        channels = self.out[1] if is_transposed else x[1]
        return self.size(channels) // self.size(weight[1])

    def _groups(self, place: int) -> None:
        left = self.groups_left()
        if left is None:
            return
        if place < len(self.args):
            self.args[place] = left
        else:
            self.new.kwargs = {**self.new.kwargs, "groups": left}

    def group_norm(self) -> None:
        """Keep the number of channels in each group."""
        channels = self.operand(0)[1]
        per_group = len(channels) // self.args[1]
        self.args[1] = self.size(channels) // per_group

    def slice(self) -> None:
        """Move the ends of a slice to what is left."""
        d = self.argument(1, "dim", 0)
        stays = self.stays(d)
        if stays.all():
            return
        n = len(stays)
        start, end, step = (self.argument(i, "", v) for i, v in ((2, 0), (3, n), (4, 1)))
        if not all(isinstance(i, int | None) for i in (start, end, step)):
            return  # its ends are computed
        chosen = np.arange(n)[start:end:step]
        places = (np.cumsum(stays) - 1)[chosen[stays[chosen]]]
        steps = np.diff(places)
        x, graph = self.args[0], self.new.graph
        if len(set(steps.tolist())) < 2:
            first, last = (places[0], places[-1]) if len(places) else (0, -1)
            by = int(steps[0]) if len(steps) else 1
            self.args = [x, d, int(first), int(last) + 1, by]
            return
        with graph.inserting_before(self.new):
            pieces = [
                graph.call_function(aten.slice.Tensor, (x, d, int(i), int(i) + 1)) for i in places
            ]
        self.new.target = aten.cat.default
        self.args = [pieces, d]

    def narrow(self) -> None:
        """Write it as a slice."""
        x, d, start, length = self.args
        if isinstance(start, int) and isinstance(length, int):
            start %= len(self.operand(0)[d])
            self.new.target, self.args = aten.slice.Tensor, [x, d, start, start + length]
            self.slice()

    def hsplit(self) -> None:
        """Write it as a split with sizes."""
        self.args = [*self.args[:2], min(1, len(self.operand(0)) - 1)]
        self.split()
        if self.new.target is not aten.split_with_sizes.default:
            self.args = self.args[:2]

    def like_another(self) -> None:
        """Give the sizes of a reshaping, because the other tensor may keep its own."""
        shape = self.old.meta["val"].shape
        sizes = [
            self.size(a) if isinstance(n, int) else -1 for a, n in zip(self.out, shape, strict=True)
        ]
        if sizes.count(-1) < 2:
            self.new.target, self.args = aten.reshape.default, [self.args[0], sizes]

    def roll(self) -> None:
        """Roll by the number of coordinates that are left among those that go around."""
        shifts, dims = self.args[1], self.argument(2, "dims", [])
        left = list(shifts)
        for i, (shift, d) in enumerate(zip(shifts, dims, strict=False)):
            stays = self.stays(d)
            if not stays.all():
                left[i] = int(stays[len(stays) - shift % len(stays) :].sum())
        self.args[1] = left

    def channel_shuffle(self) -> None:
        """Count the groups that are left."""
        groups = self.stays(1).reshape(self.args[1], -1)
        self.args[1] = int(groups.any(1).sum())

    def select(self) -> None:
        """Count the coordinates that are left before the selected one."""
        stays = self.stays(self.args[1])
        self.args[2] = int(stays[: self.args[2] % len(stays)].sum())

    def split(self) -> None:
        """Give every piece its own size."""
        d = self.argument(2, "dim", 0)
        if all(self.size(axes[d]) == len(axes[d]) for axes in self.out):
            return
        self.new.target = aten.split_with_sizes.default
        self.new.kwargs = {}
        self.args = [self.args[0], [self.size(axes[d]) for axes in self.out], d]

    def unflatten(self) -> None:
        """Give the new axes their sizes."""
        d = self.args[1] % len(self.operand(0))
        sizes = list(self.args[2])
        for i in range(len(sizes)):
            if self.size(self.out[d + i]) != len(self.out[d + i]):
                sizes[i] = self.size(self.out[d + i])
        self.args[2] = sizes

    def repeat(self) -> None:
        """Change how often something is repeated, where the copies are fewer."""
        x = self.operand(0)
        lead = len(self.out) - len(x)
        times = list(self.args[1])
        for i, axis in enumerate(self.out):
            before = len(x[i - lead]) if i >= lead else 1
            if self.size(axis) != len(axis) and before == 1:
                times[i] = self.size(axis)
        self.args[1] = times

    def attention(self) -> None:
        """Keep the scale, which follows from the width of a head unless it is given."""
        if self.argument(6, "scale", None) is None:
            self.new.kwargs = {**self.new.kwargs, "scale": len(self.operand(0)[-1]) ** -0.5}


REWRITES: dict[str, Callable[[_Rewriting], None]] = {
    "group_norm": _Rewriting.group_norm,
    "slice": _Rewriting.slice,
    "select": _Rewriting.select,
    **dict.fromkeys(
        ("split", "split_with_sizes", "chunk", "unsafe_split", "tensor_split"), _Rewriting.split
    ),
    "unflatten": _Rewriting.unflatten,
    "repeat": _Rewriting.repeat,
    "roll": _Rewriting.roll,
    "narrow": _Rewriting.narrow,
    "hsplit": _Rewriting.hsplit,
    "view_as": _Rewriting.like_another,
    "reshape_as": _Rewriting.like_another,
    "channel_shuffle": _Rewriting.channel_shuffle,
    "native_channel_shuffle": _Rewriting.channel_shuffle,
    "scaled_dot_product_attention": _Rewriting.attention,
}
