"""The walk over an exported graph: every operation runs once, and its rule notes the axes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from secateurs.core.program import Program, whole_attention
from secateurs.core.torch_parts import TorchDispatchMode, decomposition_table, tree_map
from secateurs.nn.axes import Axes, Fixed, Walk, fixed, tensors_in
from secateurs.nn.buffers import restored_buffers
from secateurs.nn.rules import apply_rule, find_rule
from secateurs.nn.rules.call import short_name
from secateurs.nn.slots import FIXED, IntArray, distinct
from secateurs.nn.stand_ins import stand_in

WHOLE = ("linear", "scaled_dot_product_attention", "chunk", "repeat_interleave", "pad", "meshgrid")


class _Rules(TorchDispatchMode):
    """Apply the rule of every elementary operation that runs inside the block."""

    def __init__(self, walk: Walk, *, quick: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.walk = walk
        self.quick = quick
        self.inside: set[Any] = set()  # operations that run part by part now

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if find_rule(func) is None and func not in self.inside and tensors_in((args, kwargs)):
            self.inside.add(func)
            with self:
                result = decomposition_table.get(func, func.decompose)(*args, **(kwargs or {}))
            self.inside.discard(func)
            if result is not NotImplemented:
                return result
        result = stand_in(func, args) if self.quick else None
        if result is None:
            result = func(*args, **(kwargs or {}))
        apply_rule(self.walk, func, args, kwargs or {}, result)
        return result


class GraphWalk(fx.Interpreter):
    """Run a program on its example inputs, and note the axes of every value.

    With `quick`, large products are not computed; see `secateurs.nn.stand_ins`.

    Attributes
    ----------
    walk : Walk
    by_node : dict
        The axes of the value of each node, nested like the value.
    parameters : dict of str to Axes
    fixed_parts : list of Fixed
    """

    def __init__(self, program: Program, *, quick: bool = False) -> None:
        super().__init__(program.graph_module)
        self.program = program
        self.quick = quick
        self.walk = Walk(on_fix=self._on_fix)
        self.by_node: dict[fx.Node, Any] = {}
        self.parameters: dict[str, Axes] = {}
        self.fixed_parts: list[Fixed] = []
        self._names = iter(program.names)
        self._alive: dict[tuple[str, int], int] = {}
        # the slots of the axes in _alive one after another, and where each begins
        self._watched: IntArray = np.zeros(0, dtype=np.int64)
        self._starts: IntArray = np.zeros(0, dtype=np.int64)
        self.outputs: Any = None

    def walk_through(self) -> None:
        """Run the program once."""
        with torch.no_grad(), whole_attention(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the export has raised them already
            # the fused recurrent layers of oneDNN have no rule; the plain ones are made of products
            plain = torch.backends.mkldnn.flags(enabled=False)
            with plain, restored_buffers(self.program.module):
                self.outputs = self.run(*self.program.arguments)
        self._fix_unread()

    def _fix_unread(self) -> None:
        """Fix what nothing sums over: other inputs can need it, such as more positions."""
        slots, none = self.walk.slots, np.zeros(0, dtype=np.int64)

        def atoms(axes: list[IntArray]) -> IntArray:
            return distinct(slots.atoms_of(distinct(slots.find(np.concatenate([none, *axes]))))[1])

        own = atoms([axis.slots for axes in self.parameters.values() for axis in axes])
        unread = own[~np.isin(own, atoms(self.walk.summed))]
        self.walk.node, self.walk.module = "output", ""
        if slots.fix(unread):
            self._on_fix("nothing reads it in eval mode on the example inputs")

    @property
    def readers(self) -> list[tuple[str, int]]:
        """Weights that read channels, and the axis by which they do, in order of computation."""
        axes = {
            id(axis.slots): (name, d)
            for name, of_name in self.parameters.items()
            for d, axis in enumerate(of_name)
        }
        return [axes[key] for key in self.walk.readings if key in axes]

    def run_node(self, n: fx.Node) -> Any:
        """Run a node, and keep the axes of its value."""
        self.walk.node = n.name
        stack = n.meta.get("nn_module_stack") or {}
        self.walk.module = next((path for path, _ in reversed(list(stack.values()))), "")
        value = super().run_node(n)
        if n.op == "output":
            for tensor in tensors_in(value):
                self.walk.fix(self.walk.axes(tensor), "it is an output")
        elif n.op == "placeholder":
            self._read_placeholder(value)
        self.by_node[n] = tree_map(self._axes_or_none, value)
        return value

    def _axes_or_none(self, leaf: Any) -> Any:
        return tuple(self.walk.axes(leaf)) if isinstance(leaf, Tensor) else None

    def _read_placeholder(self, value: Any) -> None:
        name = next(self._names)
        if not isinstance(value, Tensor) or name is None:
            return
        known = self.walk.axes(value) if self.walk.knows(value) else None
        if known is None:
            known = self._new_axes(value, name)
            self.walk.assign(value, known)
        self.parameters[name] = known
        for d, axis in enumerate(known):
            if len(axis) > 1 and axis.slots.any():
                self._alive[name, d] = len(axis)
                self._starts = self._starts[:0]

    def _new_axes(self, value: Tensor, name: str) -> Axes:
        """Free axes for a tensor of numbers or a mask; indices never shrink."""
        if not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool):
            return fixed(value.shape)
        signature = self.program.exported.graph_signature
        trained = name in signature.parameters
        return self.walk.free(value.shape, zero=trained or not bool(value.any()))

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation: whole if it has a rule as a whole, else part by part."""
        if not isinstance(target, torch._ops.OpOverload):
            with _Rules(self.walk, quick=self.quick):
                return super().call_function(target, args, kwargs)
        if short_name(target) in WHOLE:
            result = stand_in(target, args) if self.quick else None
            if result is None:
                result = super().call_function(target, args, kwargs)
            apply_rule(self.walk, target, args, kwargs, result)
            return result
        if target is torch.ops.aten.view.default:  # strides can differ from those of the export
            target = torch.ops.aten.reshape.default
        with _Rules(self.walk, quick=self.quick):
            return super().call_function(target, args, kwargs)

    def _on_fix(self, reason: str) -> None:
        """Note which parameters lost coordinates by this."""
        if len(self._alive) != len(self._starts):
            lengths = [len(self.parameters[name][d]) for name, d in self._alive]
            self._starts = np.cumsum([0, *lengths])[:-1] if lengths else np.zeros(0, dtype=np.int64)
            self._watched = np.concatenate(
                [self.parameters[name][d].slots for name, d in self._alive] or [self._watched[:0]]
            )
        if not self._alive:
            return
        self._watched = self.walk.slots.find(self._watched)
        counts = np.add.reduceat((self._watched != FIXED).astype(np.int64), self._starts)
        for (name, d), left in zip(list(self._alive), counts.tolist(), strict=True):
            alive = self._alive[name, d]
            if left == alive:
                continue
            if reason:
                node, module = self.walk.node, self.walk.module
                self.fixed_parts.append(Fixed(name, d, alive - left, node, module, reason))
            if left:
                self._alive[name, d] = left
            else:
                del self._alive[name, d]
