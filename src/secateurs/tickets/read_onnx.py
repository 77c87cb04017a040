"""Read the weights of an ONNX file back into torch layers, and check that they compute the same.

A file is untrusted: it is data, nothing in it is run.  A graph must be one chain of layers that
`READ` names; anything else is refused by the name of its node.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

READ = (
    "Gemm, MatMul and Add, Conv, Relu, Flatten, Reshape to rows, MaxPool, AveragePool, "
    "GlobalAveragePool"
)
MAX_INPUT = 1 << 26  # numbers of one input
AGREEMENT = 1e-4  # largest relative difference allowed between the file and the layers

Array = NDArray[Any]


def read_onnx(path: str | Path) -> tuple[nn.Sequential, tuple[int, ...]]:
    """Layers of an ONNX file, and the shape of one input.

    Parameters
    ----------
    path : str or Path
        Weights beside it (``model.onnx.data``, as torch writes them) are read too.

    Returns
    -------
    module : nn.Sequential
        Linear, Conv2d, ReLU, Flatten and pooling, in float32.  On one random input it gives what
        the reference evaluator of the onnx package does.
    input_shape : tuple of int
        Without the batch: (d,) or (channels, height, width).

    Raises
    ------
    ModuleNotFoundError
        The extra is not installed: ``pip install secateurs[onnx]``.
    ValueError
        The file is damaged, or a node is none of `READ`, or has settings a layer has not.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "reading ONNX files needs an extra: pip install secateurs[onnx]"
        ) from error
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if not Path(path).is_file():
        raise FileNotFoundError(f"no ONNX file at {path}")
    try:
        # onnx refuses weights outside the directory of the file
        model = onnx.load(str(path), format="protobuf")
        onnx.checker.check_model(model)
        chain = _Chain(model.graph, onnx)
        for node in model.graph.node:
            chain.add(node)
    except (DecodeError, onnx.checker.ValidationError, OSError) as error:
        raise ValueError(f"{path}: not a readable ONNX file ({error})") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if [one.name for one in model.graph.output] != [chain.current]:
        raise ValueError(f"{path}: expected one output, that of the last layer, {chain.current!r}")
    module = nn.Sequential(*chain.layers).eval()
    _check(module, model, chain, Path(path))
    return module, chain.shape


@dataclass
class _Chain:
    """Layers so far; the name of what the last one returns."""

    graph: Any
    onnx: Any
    layers: list[nn.Module] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    current: str = ""
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        to_array = self.onnx.numpy_helper.to_array
        self.constants = {one.name: to_array(one) for one in self.graph.initializer}
        inputs = [one for one in self.graph.input if one.name not in self.constants]
        if len(inputs) != 1:
            raise ValueError(f"expected one input, got {[one.name for one in inputs]}")
        self.current = inputs[0].name
        dims = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]
        self.shape = tuple(dims[1:])
        if len(dims) not in (2, 4) or min(self.shape) < 1 or math.prod(self.shape) > MAX_INPUT:
            raise ValueError(
                f"input {self.current!r} has sizes {dims} (0: not fixed); expected [n, d] or [n, "
                "channels, height, width], all but n fixed"
            )

    def add(self, node: Any) -> None:
        """The layer of one node."""
        settings = {a.name: self.onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Constant" and "value" in settings:
            self.constants[node.output[0]] = self.onnx.numpy_helper.to_array(settings["value"])
            return
        where = f"node {node.name or node.output[0]!r} ({node.op_type})"
        if node.op_type not in _READERS or node.domain not in ("", "ai.onnx"):
            hint = ""
            if node.op_type in ("Softmax", "LogSoftmax", "Sigmoid", "Tanh"):
                hint = "; export the model without it, up to the last linear layer"
            elif node.op_type == "BatchNormalization":
                hint = "; fold it into the layer before (torch does, exporting in eval mode)"
            raise ValueError(f"{where} is not read: a ticket is made of {READ}{hint}")
        others = [name for name in node.input[1:] if name]
        if node.input[0] != self.current and node.op_type == "Add" and len(others) == 1:
            others, first = [node.input[0]], others[0]  # bias + x
        else:
            first = node.input[0]
        missing = [name for name in others if name not in self.constants]
        if first != self.current or missing:
            raise ValueError(
                f"{where} reads {', '.join(map(repr, node.input))}; expected {self.current!r}, "
                "what the layer before returns, and constants: only a chain of layers is read"
            )
        try:
            _READERS[node.op_type](self, settings, [self.constants[name] for name in others])
        except _SettingError as error:
            raise ValueError(f"{where}: {error}") from None
        self.current = node.output[0]

    def gemm(self, settings: dict[str, Any], constants: list[Array]) -> None:
        _expect(not settings.get("transA"), "a transposed input")
        W = constants[0] if settings.get("transB") else constants[0].T
        bias = constants[1] * settings.get("beta", 1.0) if len(constants) > 1 else None
        self._linear(W * settings.get("alpha", 1.0), bias)

    def matmul(self, _: dict[str, Any], constants: list[Array]) -> None:
        _expect(constants[0].ndim == 2, f"weights of shape {constants[0].shape}")
        self._linear(constants[0].T, None)

    def bias(self, _: dict[str, Any], constants: list[Array]) -> None:
        last = self.layers[-1] if self.layers else None
        _expect(isinstance(last, nn.Linear) and last.bias is None, "an Add not behind a MatMul")
        assert isinstance(last, nn.Linear)
        self.layers.pop()
        self._linear(last.weight.detach().numpy(), constants[0])

    def _linear(self, W: Array, bias: Array | None) -> None:
        layer = nn.Linear(W.shape[1], W.shape[0], bias is not None, device="meta")
        layer.weight = _parameter(W)
        if bias is not None:
            _expect(bias.size in (1, len(W)), f"a bias of shape {bias.shape}")
            layer.bias = _parameter(np.broadcast_to(bias.ravel(), len(W)))
        self.layers.append(layer)

    def conv(self, settings: dict[str, Any], constants: list[Array]) -> None:
        W = constants[0]
        _expect(W.ndim == 4, f"weights of shape {W.shape}; maps have height and width")
        _expect(settings.get("group", 1) == 1, "groups")
        stride, padding, dilation = _window(settings)
        layer = nn.Conv2d(
            W.shape[1],
            W.shape[0],
            (W.shape[2], W.shape[3]),
            stride,
            padding,
            dilation,
            bias=len(constants) > 1,
            device="meta",
        )
        layer.weight = _parameter(W)
        if len(constants) > 1:
            layer.bias = _parameter(constants[1])
        self.layers.append(layer)

    def pool(self, settings: dict[str, Any], _: list[Array], *, largest: bool) -> None:
        stride, padding, dilation = _window(settings)
        _expect(dilation == (1, 1) and not settings.get("ceil_mode"), "dilation or ceil_mode")
        kernel = tuple(settings["kernel_shape"])
        if largest:
            self.layers.append(nn.MaxPool2d(kernel, stride, padding))
            return
        counted = bool(settings.get("count_include_pad"))
        self.layers.append(nn.AvgPool2d(kernel, stride, padding, count_include_pad=counted))

    def flatten(self, settings: dict[str, Any], _: list[Array]) -> None:
        _expect(settings.get("axis", 1) == 1, "an axis that is not 1")
        self.layers.append(nn.Flatten())

    def reshape(self, _: dict[str, Any], constants: list[Array]) -> None:
        # that rows of the batch are not mixed is seen when the outputs are compared
        _expect(constants[0].shape == (2,), f"a shape {constants[0].tolist()}, which is not rows")
        self.layers.append(nn.Flatten())


def _parameter(array: Array) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.array(array, np.float32)))


class _SettingError(ValueError):
    """A setting of a node that no layer has."""


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise _SettingError(f"has {what}; a ticket is made of {READ}")


def _window(settings: dict[str, Any]) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Stride, padding and dilation of two dimensions."""
    stride, dilation = settings.get("strides", [1, 1]), settings.get("dilations", [1, 1])
    pads = settings.get("pads", [0, 0, 0, 0])
    _expect(settings.get("auto_pad", b"NOTSET") == b"NOTSET", "automatic padding")
    _expect(len(stride) == len(dilation) == 2 and len(pads) == 4, "other than two dimensions")
    _expect(pads[:2] == pads[2:], "more padding on one side than on the other")
    return (stride[0], stride[1]), (pads[0], pads[1]), (dilation[0], dilation[1])


_READERS: dict[str, Callable[[_Chain, dict[str, Any], list[Array]], None]] = {
    "Gemm": _Chain.gemm,
    "MatMul": _Chain.matmul,
    "Add": _Chain.bias,
    "Conv": _Chain.conv,
    "Relu": lambda chain, _, __: chain.layers.append(nn.ReLU()),
    "Identity": lambda *_: None,
    "Dropout": lambda *_: None,
    "Flatten": _Chain.flatten,
    "Reshape": _Chain.reshape,
    "MaxPool": lambda *a: _Chain.pool(*a, largest=True),
    "AveragePool": lambda *a: _Chain.pool(*a, largest=False),
    "GlobalAveragePool": lambda chain, _, __: chain.layers.append(nn.AdaptiveAvgPool2d(1)),
}


def _check(module: nn.Module, model: Any, chain: _Chain, path: Path) -> None:
    """Compare the layers with the file on one random batch."""
    from onnx.reference import ReferenceEvaluator

    given = next(one for one in model.graph.input if one.name not in chain.constants)
    n = given.type.tensor_type.shape.dim[0].dim_value or 2
    x = np.random.default_rng(0).standard_normal((n, *chain.shape)).astype(np.float32)
    try:
        outputs: Any = ReferenceEvaluator(model).run(None, {given.name: x})
        expected = np.asarray(outputs[0])
        with torch.no_grad():
            got = module(torch.from_numpy(x)).numpy()
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{path}: its layers do not fit together ({error})") from error
    # both are sums in float32, in another order
    if got.shape != expected.shape or not np.allclose(
        got, expected, rtol=0, atol=AGREEMENT * max(float(np.abs(expected).max()), 1e-6)
    ):
        raise ValueError(
            f"{path}: the layers that were read do not compute what the file says; "
            f"expected a chain of {READ}"
        )
