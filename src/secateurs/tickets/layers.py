"""The stacks of layers that a ticket can replace, and whether their sizes fit together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

Kind = Literal["linear", "conv2d", "relu", "flatten", "max_pool2d", "avg_pool2d", "global_average"]
Size = Annotated[int, Field(ge=0, lt=2**31)]
Step = Annotated[int, Field(ge=1, lt=2**15)]
WEIGHTED = ("linear", "conv2d")
M = TypeVar("M", nn.Linear, nn.Conv2d)


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
class Fold:
    """What a batch normalisation computes besides the layer into which it was folded.

    Attributes
    ----------
    bias_sizes : float64 array [n_out]
        The sum of the sizes of the terms of the folded bias, which may cancel in it.
    largest_weight : float
        The largest l2 norm of the weights of an output, before or after its factor.
    largest_bias : float
        The largest |bias| + |mean| before the factor.
    largest_factor : float
    """

    bias_sizes: NDArray[np.float64]
    largest_weight: float
    largest_bias: float
    largest_factor: float


@dataclass(frozen=True)
class Target:
    """The stack that a ticket approximates; weights are float64 in torch's layout, or None.

    `dtype` is the one in which the module is evaluated.  `folds` are of the layers into which a
    batch normalisation was folded.
    """

    layers: tuple[Layer, ...]
    weights: tuple[NDArray[np.float64] | None, ...]
    biases: tuple[NDArray[np.float64] | None, ...]
    dtype: torch.dtype
    folds: tuple[Fold | None, ...]


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


def _pair(value: tuple[int, ...]) -> tuple[int, int]:
    return (value[0], value[1])


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
