"""Read the weights of an ONNX file into torch layers, and check that they compute the same.

A file is untrusted: it is data, and nothing in it is run.  A graph must be one chain of layers that
`READ` names.  Any other node is refused by its name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from secateurs.core.extras import package
from secateurs.core.input_files import check_input
from secateurs.core.parameters import Shown, bad_value
from secateurs.tickets.layers import convolution, linear

READ = (
    "Gemm, MatMul and Add, Conv, Relu, Flatten, Reshape to rows, MaxPool, AveragePool, "
    "GlobalAveragePool"
)
MAX_INPUT = 1 << 26  # numbers of one input
AGREEMENT = 1e-4  # largest relative difference allowed between the file and the layers
HINTS = dict.fromkeys(
    ("Softmax", "LogSoftmax", "Sigmoid", "Tanh"),
    "export the model without it, up to the last linear layer",
)
HINTS["BatchNormalization"] = "fold it into the layer before (torch does so in eval mode)"

Array = NDArray[Any]


def read_onnx(path: str | Path) -> tuple[nn.Sequential, tuple[int, ...]]:
    """Read the layers of an ONNX file and the shape of one input.

    Parameters
    ----------
    path : str or Path
        Weights beside it (``model.onnx.data``, as torch writes them) are read too.

    Returns
    -------
    module : nn.Sequential
        Linear, Conv2d, ReLU, Flatten and pooling, in float32.  On one random input its output was
        compared with that of the reference evaluator of the onnx package.
    input_shape : tuple of int
        Without the batch: (d,) or (channels, height, width).

    Raises
    ------
    MissingExtraError
        The extra is not installed: ``pip install secateurs[onnx]``.
    ValueError
        The file is damaged, a node is not one of `READ`, or it has settings that no layer has.
    """
    onnx = package("onnx", "onnx", "ONNX")
    DecodeError = package("google.protobuf.message", "onnx", "ONNX").DecodeError
    if not Path(path).is_file():
        raise FileNotFoundError(f"no ONNX file at {path}")
    check_input(path)
    try:
        # onnx refuses weights outside the directory of the file
        model = onnx.load(str(path), format="protobuf")
        onnx.checker.check_model(model)
        chain = _Chain(model.graph, onnx)
        for node in model.graph.node:
            chain.add(node)
        outputs = [one.name for one in model.graph.output]
        if outputs != [chain.current]:
            last = f"one, of the last layer, {chain.current!r}"
            raise bad_value("outputs of the graph", outputs, last)
        module = nn.Sequential(*chain.layers).eval()
        _check(module, model, chain)
    except (DecodeError, onnx.checker.ValidationError, OSError, LookupError, TypeError) as error:
        # the library says in many lines or in one word what is wrong
        cause = " ".join(str(error).split())
        raise ValueError(f"{path}: not a readable ONNX file ({cause})") from error
    except ValueError as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from error
    return module, chain.shape


class _Chain:
    """The layers so far, and the name of the output of the last one."""

    def __init__(self, graph: Any, onnx: Any) -> None:
        self.onnx = onnx
        self.layers: list[nn.Module] = []
        self.constants = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
        inputs = [one for one in graph.input if one.name not in self.constants]
        if len(inputs) != 1:
            raise bad_value("inputs of the graph", [one.name for one in inputs], "one")
        self.input = self.current = inputs[0].name
        dims = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]
        self.batch, self.shape = (dims[0] if dims else 0), tuple(dims[1:])
        n_numbers = max(self.batch, 1) * math.prod(self.shape)
        if len(dims) not in (2, 4) or min(self.shape) < 1 or n_numbers > MAX_INPUT:
            raise bad_value(
                f"input {self.current!r}",
                Shown(f"sizes {dims} (0: not fixed)"),
                "[n, d] or [n, channels, height, width], all but n fixed",
            )

    def add(self, node: Any) -> None:
        """Add the layer of one node."""
        settings = {a.name: self.onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Constant" and "value" in settings:
            self.constants[node.output[0]] = self.onnx.numpy_helper.to_array(settings["value"])
            return
        where = f"node {node.name or node.output[0]!r} ({node.op_type})"
        if node.op_type not in _READERS or node.domain not in ("", "ai.onnx"):
            raise bad_value(where, node.op_type, READ, HINTS.get(node.op_type, ""))
        first, *others = node.input[0], *(name for name in node.input[1:] if name)
        if first != self.current and node.op_type == "Add" and len(others) == 1:
            first, others = others[0], [first]  # bias + x
        if first != self.current or not self.constants.keys() >= set(others):
            raise bad_value(
                where,
                Shown(f"inputs {', '.join(map(repr, node.input))}"),
                f"{self.current!r}, the output of the layer before, and constants: only a chain of "
                "layers is read",
            )
        try:
            _READERS[node.op_type](self, settings, [self.constants[name] for name in others])
        except _SettingError as error:
            raise bad_value(where, Shown(error), f"settings of a layer of {READ}") from None
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
        if bias is not None:
            _expect(bias.size in (1, len(W)), f"a bias of shape {bias.shape}")
            bias = np.broadcast_to(bias.ravel(), len(W))
        self.layers.append(linear(_tensor(W), None if bias is None else _tensor(bias)))

    def conv(self, settings: dict[str, Any], constants: list[Array]) -> None:
        W, *bias = constants
        _expect(W.ndim == 4, f"weights of shape {W.shape}; maps have height and width")
        _expect(settings.get("group", 1) == 1, "groups")
        window = _window(settings)
        self.layers.append(convolution(_tensor(W), _tensor(bias[0]) if bias else None, *window))

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
        # the comparison of the outputs notices when rows of the batch are mixed
        _expect(constants[0].shape == (2,), f"a shape {constants[0].tolist()}, which is not rows")
        self.layers.append(nn.Flatten())


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))


class _SettingError(ValueError):
    """A node has a setting that no layer has."""


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise _SettingError(what)


def _window(settings: dict[str, Any]) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Return stride, padding and dilation of two dimensions."""
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


def _check(module: nn.Module, model: Any, chain: _Chain) -> None:
    """Compare the layers with the file on one random batch."""
    from onnx.reference import ReferenceEvaluator  # noqa: PLC0415 - an optional dependency

    shape = (chain.batch or 2, *chain.shape)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    try:
        outputs: Any = ReferenceEvaluator(model).run(None, {chain.input: x})
        expected = np.asarray(outputs[0])
        with torch.no_grad():
            got = module(torch.from_numpy(x)).numpy()
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ValueError(f"the layers do not fit together ({error})") from error
    # both are sums in float32, in another order
    if got.shape != expected.shape or not np.allclose(
        got, expected, rtol=0, atol=AGREEMENT * max(float(np.abs(expected).max()), 1e-6)
    ):
        raise bad_value(
            "graph", Shown("outputs that the layers do not compute"), f"a chain of {READ}"
        )
