"""A chain of layers, read from the nodes of an exported graph one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, fx

from secateurs.core.parameters import Shown, bad_value
from secateurs.core.program import Program
from secateurs.tickets.layers import Fold, Layer

SUPPORTED = (
    "a chain of Linear, Conv2d (groups=1, numbers of padding zeros), BatchNorm in eval mode behind "
    "one of them, ReLU, Flatten, MaxPool2d, AvgPool2d and AdaptiveAvgPool2d(1)"
)
SAME = ("contiguous", "clone", "alias", "detach", "lift_fresh_copy", "dropout", "feature_dropout")
MOVES = ("t", "numpy_T", "permute", "transpose", "view", "reshape", "squeeze", "unsqueeze", *SAME)
Values = NDArray[np.float64]
Readers = Mapping[str, tuple[int | None, Callable[["Chain", fx.Node], None]]]


class Chain:
    """The layers that were read so far, and the node whose value the next one has to read."""

    def __init__(self, program: Program, readers: Readers, *, signed: bool) -> None:
        self.layers: list[Layer] = []
        self.weights: list[Values | None] = []
        self.biases: list[Values | None] = []
        self.folds: list[Fold | None] = []
        self.signed = signed
        self.readers = readers
        self.current: fx.Node | None = None
        self.tensors: dict[fx.Node, Tensor] = {}
        places = [n for n in program.exported.graph.nodes if n.op == "placeholder"]
        for node, name, value in zip(places, program.names, program.arguments, strict=True):
            if name is None:
                self.current = node
            elif isinstance(value, Tensor):
                self.tensors[node] = value
        assert self.current is not None
        self.rows = self.current.meta["val"].shape[0]
        if isinstance(self.rows, int):
            got = Shown("a forward that depends on the number of rows")
            raise bad_value("module", got, "one that computes every row by itself")

    def add(self, node: fx.Node) -> None:
        """Read one node of the graph."""
        if node.op == "output":
            if list(node.all_input_nodes) != [self.current]:
                got = f"outputs {node.all_input_nodes}"
                raise TypeError(f"module: got {got}; expected one, of the last layer")
            return
        if node.op != "call_function" or not isinstance(node.meta.get("val"), Tensor):
            return  # a tensor of the state, or a size
        name = short_name(node)
        read = [n for n in node.all_input_nodes if isinstance(n.meta.get("val"), Tensor)]
        if read and all(n in self.tensors for n in read):
            if node.target._schema.is_mutable:  # type: ignore[union-attr]
                got = Shown("a tensor of the module that changes at every call, in training mode")
                raise bad_value(where_is(node), got, "eval mode", "call module.eval()")
            if name not in MOVES:
                self.refuse(node, "a weight that is computed from others")
            args = [self.tensors.get(a, a) if isinstance(a, fx.Node) else a for a in node.args]
            self.tensors[node] = node.target(*args, **node.kwargs)  # type: ignore[operator]
            return
        others = [n for n in read if n is not self.current]
        if self.current not in read or any(n not in self.tensors for n in others):
            self.refuse(node, "a value that is not that of the layer before")
        if name not in self.readers:
            self.refuse(node, f"the operation {name}")
        n_axes, reader = self.readers[name]
        found = self.current.meta["val"].ndim
        if n_axes is not None and found != n_axes:
            self.refuse(node, f"{name} of a tensor of {found} axes (put Flatten before Linear)")
        reader(self, node)
        self.current = node

    def refuse(self, node: fx.Node, got: str) -> NoReturn:
        """Raise the error of an operation without a bound."""
        raise TypeError(
            f"{where_is(node)}: got {got}, which has no error bound; expected {SUPPORTED}"
        )

    def expect(self, condition: bool, node: fx.Node, got: str) -> None:
        """Refuse a node unless a condition holds."""
        if not condition:
            self.refuse(node, got)

    def constant(self, value: Any, node: fx.Node) -> Values | None:
        """Return a tensor of weights in float64; None for None."""
        if value is None:
            return None
        self.expect(value in self.tensors, node, "a weight that is computed")
        array: Values = self.tensors[value].detach().cpu().double().numpy()
        return array

    def put(self, layer: Layer, weight: Values | None = None, bias: Values | None = None) -> None:
        """Append a layer."""
        self.layers.append(layer)
        self.weights.append(weight)
        self.biases.append(bias)
        self.folds.append(None)
        if weight is not None:
            self.signed = True
        elif layer.kind == "relu":
            self.signed = False

    def linear(self, node: fx.Node, weight: Any, bias: Any) -> None:
        """Append x W^T + b; `weight` [n_out, n_in] and `bias` are arrays or None."""
        self.expect(weight.ndim == 2, node, f"weights of shape {list(weight.shape)}")
        n_out, n_in = weight.shape
        if bias is not None and bias.shape != (n_out,):
            raise bad_value(
                where_is(node), Shown(f"a bias of shape {list(bias.shape)}"), f"[{n_out}]"
            )
        layer = Layer(
            kind="linear", n_in=n_in, n_out=n_out, bias=bias is not None, signed=self.signed
        )
        self.put(layer, weight, bias)


def short_name(node: fx.Node) -> str:
    """Return the name of an operation without its library, its overload and its trailing _."""
    schema = getattr(node.target, "_schema", None)
    name = str(node.target) if schema is None else str(schema.name).rpartition("::")[2]
    return name.rstrip("_")


def where_is(node: fx.Node) -> str:
    """Return the submodule that computes a node, by name and class."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "module")
    kind = kind if isinstance(kind, str) else kind.__name__
    return f"{path or 'module'} ({kind.rpartition('.')[2]})"


def argument(node: fx.Node, name: str, default: Any = None) -> Any:
    """Return an argument by its name in the schema of the operation."""
    if name in node.kwargs:
        return node.kwargs[name]
    names = [a.name for a in node.target._schema.arguments]  # type: ignore[union-attr]
    place = names.index(name)
    return node.args[place] if place < len(node.args) else default


def pair(value: Any) -> tuple[int, int]:
    """Return the numbers for height and width."""
    values = [value] if isinstance(value, int) else list(value)
    return (values[0], values[-1])
