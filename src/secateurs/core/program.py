"""Export of a torch module to a graph, with its parameters and buffers by name."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize, prune

from secateurs.core.forward_hooks import check_forward
from secateurs.core.parameters import Shown, bad_value
from secateurs.core.torch_parts import tree_flatten, tree_unflatten

FOLDED_HOOKS = {
    "WeightNorm": nn.utils.remove_weight_norm,
    "SpectralNorm": nn.utils.remove_spectral_norm,
}


@dataclass(frozen=True)
class Inputs:
    """The arguments of one call of a module."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @classmethod
    def of(cls, example: Any) -> Inputs:
        """Read a tensor, a tuple of positional arguments or a dict of keyword arguments."""
        if isinstance(example, Inputs):
            return example
        if isinstance(example, Tensor):
            return cls((example,), {})
        if isinstance(example, Mapping):
            return cls((), dict(example))
        if isinstance(example, tuple | list) and not all(isinstance(n, int) for n in example):
            return cls(tuple(example), {})
        numbers = isinstance(example, tuple | list)
        got = Shown(f"{example!r}" if numbers else f"a {type(example).__name__}")
        expected = "a tensor, a tuple of positional or a dict of keyword arguments"
        do = "for a shape, pass torch.zeros of it with two rows or more" if numbers else ""
        raise bad_value("example_inputs", got, expected, do)

    def leaves(self) -> tuple[list[Any], Any]:
        """Return all values inside the arguments, and how to put them together."""
        return tree_flatten((self.args, self.kwargs))

    def tensors(self) -> list[Tensor]:
        """Return all tensors inside the arguments, in order."""
        return [leaf for leaf in self.leaves()[0] if isinstance(leaf, Tensor)]

    def replaced(self, tensors: list[Tensor]) -> Inputs:
        """Put other tensors in the place of these, in order."""
        leaves, spec = self.leaves()
        source = iter(tensors)
        args, kwargs = tree_unflatten(
            [next(source) if isinstance(leaf, Tensor) else leaf for leaf in leaves], spec
        )
        return Inputs(args, kwargs)

    def call(self, module: nn.Module) -> Any:
        """Call the module."""
        return module(*self.args, **self.kwargs)

    @property
    def n_rows(self) -> int:
        """Length of the first axis of the first tensor that has axes."""
        return next((len(tensor) for tensor in self.tensors() if tensor.ndim), 1)

    def rows(self, n: int) -> Inputs:
        """Return the arguments with n rows: a row of every tensor is taken again if needed."""
        have = self.n_rows

        def resized(tensor: Tensor) -> Tensor:
            if tensor.ndim == 0 or len(tensor) != have:
                return tensor
            return tensor.index_select(0, torch.arange(n, device=tensor.device) % have)

        return self.replaced([resized(tensor) for tensor in self.tensors()])


@dataclass(frozen=True)
class Program:
    """A module, and the graph of its forward on example inputs.

    Attributes
    ----------
    module : nn.Module
        A copy in eval mode, with parametrisations folded into plain weights.
    inputs : Inputs
    graph_module : fx.GraphModule
        ATen operations; the placeholders are the tensors of the state and then the inputs.
    arguments : list
        The value of every placeholder.
    names : list of str or None
        The name of the parameter or buffer of every placeholder; None for an input.
    """

    module: nn.Module
    inputs: Inputs
    exported: torch.export.ExportedProgram
    arguments: list[Any]
    names: list[str | None]

    @property
    def graph_module(self) -> fx.GraphModule:
        """The exported graph."""
        found: fx.GraphModule = self.exported.graph_module
        return found


def read_program(
    module: nn.Module,
    example_inputs: Any,
    *,
    any_rows: bool = False,
    in_eval_mode: bool = True,
) -> Program:
    """Export a copy of a module.

    With `any_rows` the graph accepts other numbers of rows than the example, where the module
    allows it; the export then takes about twice as long.  Without `in_eval_mode` every submodule
    keeps its mode, and the graph shows what is random or depends on the batch in training mode.

    Raises
    ------
    TypeError, ValueError
        It is no module, it has forward hooks, its tensors cannot be computed with, or
        torch.export cannot read its forward; the message says why.

    Notes
    -----
    Cost: one torch.export (non-strict), and a copy of the module.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module: got {type(module).__name__}; expected an nn.Module")
    inputs = Inputs.of(example_inputs)
    if isinstance(module, torch.jit.ScriptModule):
        raise bad_value("module", Shown("a TorchScript module"), "an nn.Module written in Python")
    ours = plain_copy(module, in_eval_mode=in_eval_mode)
    exported = _export(ours, inputs, any_rows=any_rows and inputs.n_rows > 1)
    signature = exported.graph_signature
    names = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    state = {**exported.constants, **exported.state_dict}
    given = iter(inputs.leaves()[0])
    placeholders = [node.name for node in exported.graph.nodes if node.op == "placeholder"]
    return Program(
        ours,
        inputs,
        exported,
        [state[names[name]] if name in names else next(given) for name in placeholders],
        [names.get(name) for name in placeholders],
    )


def plain_copy(module: nn.Module, *, in_eval_mode: bool = True) -> nn.Module:
    """Copy a module, in eval mode; fold weight normalisation and other parametrisations.

    The copy shares the tensors of the module, unless some are folded.
    """
    _check_tensors(module)
    try:
        ours = copy.deepcopy(module, _shared(module))
    except Exception as error:  # a module can hold any object
        raise bad_value(
            "module", Shown(f"a module that cannot be copied ({error})"), "a deepcopy of it"
        ) from error
    if any(vars(child).get("_compiled_call_impl") is not None for child in module.modules()):
        check_forward(module)  # a copy is not compiled any more
    for child in ours.modules():
        for hook in list(child._forward_pre_hooks.values()):
            remove = FOLDED_HOOKS.get(type(hook).__name__)
            if remove is not None:
                remove(child, hook.name)  # type: ignore[attr-defined]
            elif isinstance(hook, prune.BasePruningMethod):
                prune.remove(child, hook._tensor_name)  # type: ignore[no-untyped-call]
        if "parametrizations" in child._modules:
            # a copy shares the class that holds the parametrised tensors as properties, and torch
            # removes them from it
            kind = type(child)
            own = {k: v for k, v in vars(kind).items() if k not in ("__dict__", "__weakref__")}
            child.__class__ = type(kind.__name__, kind.__bases__, own)
            for name in list(child.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(child, name, leave_parametrized=True)
    check_forward(ours)
    return ours.eval() if in_eval_mode else ours


def _shared(module: nn.Module) -> dict[int, Any]:
    """Return the memo of a deepcopy that shares tensors; folding would change them in place.

    Tensors that were computed from parameters, which cannot be copied, get their values.
    """
    computed = {
        id(value): value.detach().clone()
        for child in module.modules()
        for value in (*vars(child).values(), *child._buffers.values())
        if isinstance(value, Tensor) and not value.is_leaf
    }
    for child in module.modules():
        folded = any(
            type(hook).__name__ in FOLDED_HOOKS or isinstance(hook, prune.BasePruningMethod)
            for hook in child._forward_pre_hooks.values()
        )
        if folded or hasattr(child, "parametrizations"):
            return computed
    return {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())} | computed


def _check_tensors(module: nn.Module) -> None:
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if nn.parameter.is_lazy(tensor):
            got, do = "lazy parameters without a shape", "run the module once on a batch"
        elif tensor.is_meta:
            got, do = "tensors on the meta device", "give them values, as by module.to_empty(...)"
        elif tensor.is_quantized or tensor.layout != torch.strided:
            got, do = "quantised or sparse tensors", "prune before the module is quantised"
        elif tensor.is_inference():
            got, do = "tensors of inference_mode", "make the module outside of it"
        else:
            continue
        raise bad_value(f"module.{name}", Shown(got), "dense tensors with values", do)


@contextmanager
def whole_attention() -> Iterator[None]:
    """Keep the layers of nn.TransformerEncoder out of their fused path, which has no graph."""
    was = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was)


def _export(module: nn.Module, inputs: Inputs, *, any_rows: bool) -> torch.export.ExportedProgram:
    """Export; if any number of rows fails, with the number of the example."""
    first: Exception | None = None
    n_rows = inputs.n_rows
    leaves, spec = inputs.leaves()
    args, kwargs = tree_unflatten([_any_rows(leaf, n_rows) for leaf in leaves], spec)
    signature = inspect.signature(module.forward)
    dynamic: Any = dict(signature.bind(*args, **kwargs).arguments)
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            dynamic |= dynamic.pop(name, {})
    for dynamic_shapes in (dynamic, None) if any_rows else (None,):
        try:
            with torch.no_grad(), whole_attention(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return torch.export.export(
                    module, inputs.args, inputs.kwargs, strict=False, dynamic_shapes=dynamic_shapes
                )
        except Exception as error:  # the forward and the tracer can raise any error
            first = first or error
    lines = [line.strip() for line in str(first).splitlines() if line.strip()]
    raise ValueError(
        f"module: got {type(module).__name__}, which torch.export cannot read "
        f"({lines[0][:200] if lines else type(first).__name__}); expected a forward without "
        "branches on values, and inputs that it accepts; plan a submodule that has none"
    ) from first


def _any_rows(leaf: Any, n_rows: int) -> Any:
    if isinstance(leaf, Tensor) and leaf.ndim and len(leaf) == n_rows:
        return {0: torch.export.Dim.AUTO}
    return {} if isinstance(leaf, Tensor) else None
