"""A module that runs an exported graph, on inputs like those of the example."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, fx, nn

from secateurs.core.parameters import Shown, bad_value
from secateurs.core.program import Program
from secateurs.core.torch_parts import tree_flatten, tree_leaves, tree_unflatten

Sizes = tuple[int | None, ...]  # None: any number


class PrunedGraph(nn.Module):
    """A module that runs an exported graph; its state keeps the names of the original.

    Batch normalisation and dropout are in eval mode, as they were exported.

    Parameters
    ----------
    graph_module : fx.GraphModule
    names : list of str or None
        The tensor of the state for each placeholder; None for an input.
    tensors : dict of str to Tensor
    out_spec : TreeSpec
        How the outputs are put together.
    read : callable, optional
        Returns the inputs in the order of the placeholders for (args, kwargs) of a call.
    """

    def __init__(
        self,
        graph_module: fx.GraphModule,
        names: Sequence[str | None],
        tensors: dict[str, Tensor],
        out_spec: Any,
        read: Callable[..., list[Any]] = lambda *call: tree_leaves(call),
    ) -> None:
        super().__init__()
        self.graph_module = graph_module
        self._names = list(names)
        # a closure, because copies of a TreeSpec warn
        self._together: Callable[[Any], Any] = lambda leaves: tree_unflatten(leaves, out_spec)
        self._read = read
        self.state = nn.Module()
        for name, tensor in tensors.items():
            _register(self.state, name, tensor)
        self._state = [None if name is None else operator.attrgetter(name) for name in names]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the graph."""
        given = iter(self._read(args, kwargs))
        placed = [next(given) if get is None else get(self.state) for get in self._state]
        return self._together(self.graph_module(*placed))


def _register(root: nn.Module, name: str, tensor: Tensor) -> None:
    *path, last = name.split(".")
    for part in path:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        child = root._modules[part]
        assert child is not None
        root = child
    if isinstance(tensor, nn.Parameter):
        root.register_parameter(last, tensor)
    else:
        root.register_buffer(last, tensor)


def inputs_of(program: Program) -> Callable[..., list[Any]]:
    """Return a function that reads the arguments of a call in the order of the placeholders.

    A graph holds for the sizes and the values of the example that it has as constants, so other
    ones are a ValueError.
    """
    parameters = inspect.signature(program.module.forward).parameters.values()
    positional = [
        p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    example = _by_name(positional, program.inputs.args, program.inputs.kwargs)
    expected, spec = tree_flatten(example)
    sizes = _sizes(program)

    def leaves(args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
        given = _by_name(positional, args, kwargs)
        for name in set(given) ^ set(example):
            value = given.get(name, example.get(name))
            if name not in defaults or value is not defaults[name]:
                got = Shown(f"{sorted(given)}")
                raise bad_value("arguments", got, f"{sorted(example)}, as when it was planned")
        ordered = {name: given.get(name, example[name]) for name in example}
        found, form = tree_flatten(ordered)
        if form != spec:
            raise bad_value(
                "arguments", Shown("another nesting"), "that of the example that was planned"
            )
        for number, (value, like) in enumerate(zip(found, expected, strict=True)):
            _check(number, value, like, sizes[number])
        return found

    return leaves


def _by_name(positional: list[str], args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by name, further positional ones by number."""
    n = len(positional)
    further = {f"*{number}": value for number, value in enumerate(args[n:])}
    return {**dict(zip(positional, args, strict=False)), **further, **kwargs}


def _sizes(program: Program) -> list[Sizes | None]:
    """Return the sizes of each input that the graph accepts; None for one that is no tensor."""
    placeholders = [n for n in program.exported.graph.nodes if n.op == "placeholder"]
    inputs = [n for n, name in zip(placeholders, program.names, strict=True) if name is None]
    return [
        tuple(n if isinstance(n, int) else None for n in value.shape)
        if isinstance(value := node.meta.get("val"), Tensor)
        else None
        for node in inputs
    ]


def _check(number: int, value: Any, like: Any, sizes: Sizes | None) -> None:
    """Raise ValueError unless a value is what the graph was made for."""
    name = f"input {number}"
    if sizes is None or not isinstance(like, Tensor):
        if isinstance(value, Tensor) or value != like:
            raise bad_value(name, value, f"{like!r}, as when it was planned", "plan it again")
        return
    if not isinstance(value, Tensor):
        raise bad_value(
            name, Shown(f"a {type(value).__name__}"), "a tensor, as when it was planned"
        )
    fits = value.ndim == len(sizes) and all(
        size is None or n == size for n, size in zip(value.shape, sizes, strict=True)
    )
    if not fits:
        shown = ", ".join("any" if size is None else str(size) for size in sizes)
        got = Shown(f"shape {tuple(value.shape)}")
        raise bad_value(name, got, f"shape ({shown}), as when it was planned", "plan it again")
