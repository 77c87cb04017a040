"""The stacks of layers that a ticket can replace, read from torch modules and checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from secateurs.core.forward_hooks import check_forward
from secateurs.core.parameters import Shown, bad_value

Kind = Literal["linear", "conv2d", "relu", "flatten", "max_pool2d", "avg_pool2d", "global_average"]
Size = Annotated[int, Field(ge=0, lt=2**31)]
Step = Annotated[int, Field(ge=1, lt=2**15)]
WEIGHTED = ("linear", "conv2d")
M = TypeVar("M", nn.Linear, nn.Conv2d)
SUPPORTED = "Linear, Conv2d, ReLU, Flatten, MaxPool2d, AvgPool2d and AdaptiveAvgPool2d(1)"


class Layer(BaseModel):
    """One layer of a stack; fields that its kind does not need keep their defaults.

    Attributes
    ----------
    kind : str
    n_in, n_out : int
        Numbers of inputs and outputs, or of channels.
    kernel, stride, padding, dilation : pairs of int
    bias : bool
    signed : bool
        The input can be negative, so relu(-x) needs its own weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Kind
    n_in: Size = 0
    n_out: Size = 0
    kernel: tuple[Step, Step] = (1, 1)
    stride: tuple[Step, Step] = (1, 1)
    padding: tuple[Size, Size] = (0, 0)
    dilation: tuple[Step, Step] = (1, 1)
    bias: bool = False
    signed: bool = False

    @property
    def taps(self) -> int:
        """Number of weights between an input and an output."""
        return self.kernel[0] * self.kernel[1]

    @property
    def shape_text(self) -> str:
        """Sizes of the weights, for a table."""
        kernel = self.kernel if self.kind == "conv2d" else ()
        return " x ".join(map(str, (self.n_out, self.n_in, *kernel))) + " + bias" * self.bias

    def blocks(self) -> dict[str, tuple[int, int]]:
        """Return the shapes (rows, inputs) of the matrices "plus", "minus" and "bias".

        A row is an output and a tap.  The bias is the weight of a constant input of one.
        """
        if self.kind not in WEIGHTED:
            return {}
        sides = ("plus", "minus") if self.signed else ("plus",)
        shapes = dict.fromkeys(sides, (self.n_out * self.taps, self.n_in))
        return {**shapes, "bias": (self.n_out, 1)} if self.bias else shapes

    def rows(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a weight of torch's layout as the matrix of `blocks`."""
        if self.kind == "conv2d":
            weight = weight.transpose(0, 2, 3, 1)
        return np.ascontiguousarray(weight).reshape(-1, self.n_in)

    def torch_layout(self, rows: NDArray[np.floating]) -> NDArray[np.floating]:
        """Invert `rows`; the number of inputs may differ."""
        if self.kind == "linear":
            return rows
        return rows.reshape(self.n_out, *self.kernel, -1).transpose(0, 3, 1, 2)


@dataclass(frozen=True)
class Target:
    """The stack that a ticket approximates; weights are float64 in torch's layout, or None.

    `dtype` is the one in which the module is evaluated.
    """

    layers: tuple[Layer, ...]
    weights: tuple[NDArray[np.float64] | None, ...]
    biases: tuple[NDArray[np.float64] | None, ...]
    dtype: torch.dtype


def read_module(module: nn.Module, nonnegative_inputs: bool) -> Target:
    """Read the layers and weights of a torch module.

    Parameters
    ----------
    module : nn.Module
        A layer, or a (nested) `nn.Sequential` of layers; dropout and identity are left out.
    nonnegative_inputs : bool
        Whether the inputs of the first layer are >= 0; behind a relu they always are.

    Raises
    ------
    TypeError
        The error bound does not hold for a layer; the message gives its name and place.
    ValueError
        A weight is not finite or not a plain tensor of one of the two dtypes, the layers do not fit
        together, or something besides the layers decides what the module returns: forward hooks,
        a replaced or compiled forward, parametrisations, or dropout in training mode.
    """
    _refuse_computed_weights(module)
    check_forward(module)
    layers: list[Layer] = []
    weights: list[NDArray[np.float64] | None] = []
    biases: list[NDArray[np.float64] | None] = []
    dtypes: dict[torch.dtype, str] = {}
    signed = not nonnegative_inputs
    for name, child in _children(module, ""):
        if _leaves_inputs_alone(child, name):
            continue
        layer = _layer(child, name, signed)
        layers.append(layer)
        for parameters, key in ((weights, "weight"), (biases, "bias")):
            parameter = getattr(child, key, None)
            if parameter is not None:
                _check_tensor(parameter, layer, name, key)
                dtypes.setdefault(parameter.dtype, f"{name}.{key}")
            parameters.append(_array(parameter, name))
        if layer.kind == "relu" or layer.kind in WEIGHTED:
            signed = layer.kind != "relu"
    problem = stack_problem(layers)
    if problem:
        raise ValueError(f"module: {problem}")
    if len(dtypes) > 1:
        got = Shown(" and ".join(f"{dtype} in {name}" for dtype, name in dtypes.items()))
        raise bad_value("module", got, "one dtype for all weights", "call module.float()")
    return Target(tuple(layers), tuple(weights), tuple(biases), next(iter(dtypes)))


def stack_problem(layers: Sequence[Layer]) -> str | None:
    """Return what is wrong with the sizes or signs of a stack, or None."""
    if not any(layer.kind in WEIGHTED for layer in layers):
        return "no layer has weights"
    shape: tuple[str, int] | None = None  # of the output of the layers before
    nonnegative = None
    for number, layer in enumerate(layers):
        where = f"layer {number} ({layer.kind})"
        if layer.kind in WEIGHTED:
            if layer.n_in < 1 or layer.n_out < 1:
                return f"{where} has no inputs or no outputs"
            if layer.kind == "linear" and layer.kernel != (1, 1):
                return f"{where} has a kernel"
            if nonnegative is not None and layer.signed == nonnegative:
                return f"{where} has a sign flag that its input does not have"
            wanted = "maps" if layer.kind == "conv2d" else "rows"
            if shape is not None and shape[0] == "flat":
                if wanted == "maps" or layer.n_in % shape[1]:
                    return f"{where} does not fit the {shape[1]} flattened maps before it"
            elif shape is not None and shape != (wanted, layer.n_in):
                hint = "; put Flatten before it" if wanted == "rows" else ""
                return f"{where} has {layer.n_in} inputs, but gets {shape[1]} {shape[0]}{hint}"
            shape, nonnegative = (wanted, layer.n_out), False
        elif layer.kind == "relu":
            nonnegative = True
        elif layer.kind == "flatten":
            shape = ("flat", shape[1]) if shape is not None and shape[0] == "maps" else shape
        elif shape is not None and shape[0] != "maps":
            return f"{where} needs maps, but gets {shape[0]}"
        elif any(2 * p > k for p, k in zip(layer.padding, layer.kernel, strict=True)):
            return f"{where} has more padding than half its kernel"
    return None


def _children(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules in the order of their calls; one that is called twice comes twice."""
    if type(module) is nn.Sequential:
        for key, child in module._modules.items():
            full = f"{name}.{key}" if name else key
            if child is None:
                raise bad_value(full, None, "a module")
            yield from _children(child, full)
    else:
        yield name or "module", module


def _refuse_computed_weights(module: nn.Module) -> None:
    """Refuse weights that are computed at every call, or do not exist yet."""
    for name, child in module.named_modules():
        where = f"{name or 'module'} ({type(child).__name__})"
        if getattr(child, "has_uninitialized_params", bool)():
            got, do = "a lazy module without weights", "call the module once on an input"
            raise bad_value(where, Shown(got), "weights", do)
        if "parametrizations" in child._modules:
            got = "a weight that is computed from others (a parametrization)"
            do = "call torch.nn.utils.parametrize.remove_parametrizations"
            raise bad_value(where, Shown(got), "weights that are parameters", do)


def _leaves_inputs_alone(module: nn.Module, name: str) -> bool:
    """Whether a module is the identity in eval mode; refuse it in a mode in which it is not."""
    if type(module) not in (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d):
        return False
    p = getattr(module, "p", 0.0)
    if module.training and p > 0:
        got = Shown(f"p={p:g} in training mode, whose outputs are random")
        raise bad_value(f"{name} ({type(module).__name__})", got, "eval mode", "call module.eval()")
    return True


def _check_tensor(tensor: Tensor, layer: Layer, name: str, key: str) -> None:
    """Refuse a weight or bias that torch does not use as a plain array of the layer's shape."""
    kind = type(tensor)
    if kind not in (nn.Parameter, Tensor) or tensor.layout != torch.strided or tensor.is_meta:
        got = f"a {kind.__name__} with layout {tensor.layout} on {tensor.device}"
        raise bad_value(f"{name}.{key}", Shown(got), "a plain dense tensor with values")
    if tensor.dtype not in (torch.float32, torch.float64):
        got, expected = str(tensor.dtype), "torch.float32 or torch.float64"
        raise bad_value(f"{name}.{key}", Shown(got), expected, "call module.float()")
    kernel = layer.kernel if layer.kind == "conv2d" else ()
    shape = (layer.n_out, layer.n_in, *kernel) if key == "weight" else (layer.n_out,)
    if tuple(tensor.shape) != shape:
        expected = f"{list(shape)}, the sizes that the layer states"
        raise bad_value(f"{name}.{key}", Shown(f"shape {list(tensor.shape)}"), expected)


def _layer(module: nn.Module, name: str, signed: bool) -> Layer:
    """Return the layer of a module, by exact type: a subclass may compute something else."""
    where = f"{name} ({type(module).__name__})"
    if type(module) is nn.Linear:
        return Layer(
            kind="linear",
            n_in=module.in_features,
            n_out=module.out_features,
            bias=module.bias is not None,
            signed=signed,
        )
    if type(module) is nn.Conv2d:
        if module.groups != 1 or module.padding_mode != "zeros" or isinstance(module.padding, str):
            got = f"groups={module.groups}, padding={module.padding!r}, {module.padding_mode!r}"
            raise TypeError(f"{where}: got {got}; expected groups=1 and numbers of padding zeros")
        return Layer(
            kind="conv2d",
            n_in=module.in_channels,
            n_out=module.out_channels,
            kernel=_pair(module.kernel_size),
            stride=_pair(module.stride),
            padding=_pair(module.padding),
            dilation=_pair(module.dilation),
            bias=module.bias is not None,
            signed=signed,
        )
    if type(module) is nn.ReLU:
        return Layer(kind="relu")
    if type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
        return Layer(kind="flatten")
    if type(module) is nn.AdaptiveAvgPool2d and module.output_size in (1, (1, 1)):
        return Layer(kind="global_average")
    plain_max = (
        type(module) is nn.MaxPool2d
        and _pair(module.dilation) == (1, 1)
        and not (module.ceil_mode or module.return_indices)
    )
    plain_average = (
        type(module) is nn.AvgPool2d
        and not module.ceil_mode
        and module.divisor_override is None
        and (module.count_include_pad or _pair(module.padding) == (0, 0))
    )
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d) and (plain_max or plain_average):
        return Layer(
            kind="max_pool2d" if plain_max else "avg_pool2d",
            kernel=_pair(module.kernel_size),
            stride=_pair(module.stride),
            padding=_pair(module.padding),
        )
    hint = "; fold it into the layer before" if "BatchNorm" in type(module).__name__ else ""
    raise TypeError(
        f"{where}: got a layer or settings with no error bound; expected {SUPPORTED}, in "
        f"nn.Sequential{hint}"
    )


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _array(parameter: Tensor | None, name: str) -> NDArray[np.float64] | None:
    if parameter is None:
        return None
    array: NDArray[np.float64] = parameter.detach().cpu().double().numpy()
    if not np.isfinite(array).all():
        raise bad_value(f"layer {name}", Shown("nan or inf"), "finite weights")
    return array


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a linear layer with these weights, which are not copied."""
    n_out, n_in = weight.shape
    return _with_weights(nn.Linear(n_in, n_out, bias is not None, device="meta"), weight, bias)


def convolution(
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> nn.Conv2d:
    """Return a convolution with these weights, which are not copied."""
    n_out, n_in, *kernel = weight.shape
    module = nn.Conv2d(
        n_in,
        n_out,
        _pair(tuple(kernel)),
        stride,
        padding,
        dilation,
        bias=bias is not None,
        device="meta",
    )
    return _with_weights(module, weight, bias)


def _with_weights(module: M, weight: Tensor, bias: Tensor | None) -> M:
    module.weight = nn.Parameter(weight)
    if bias is not None:
        module.bias = nn.Parameter(bias)
    return module
