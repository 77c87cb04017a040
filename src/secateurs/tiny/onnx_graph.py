"""The network as an ONNX graph in float64, in which all numbers are integers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from secateurs.core.atomic_write import write_atomically
from secateurs.core.extras import package
from secateurs.core.output_files import check_output
from secateurs.core.parameters import Shown, bad_value
from secateurs.tiny.arithmetic import IntegerArithmetic
from secateurs.tiny.integer_layer import EXACT

OPSET, IR_VERSION = 17, 8


def write_onnx(network: IntegerArithmetic, path: str | Path) -> None:
    """Write a graph from "x" [n, n_features] to "scores" [n, k] and "output" [n, k].

    All are float64.  The scores are the integers of the program in C, and "output" is what they
    stand for: the outputs of the network before the units of the target.

    Raises
    ------
    MissingExtraError
        The extra is not installed: ``pip install secateurs[onnx]``.
    ValueError
        The path cannot be written, or a sum can pass 2^53, beyond which float64 is not exact.
    """
    check_output(path, "onnx")
    worst = max(network.worst_sums_)
    if worst >= EXACT:
        got = Shown(f"sums up to {worst:.3g}")
        raise bad_value("model", got, "sums below 2^53", "use fewer bits or weights")
    package("onnx", "onnx", "ONNX export")
    write_atomically(path, _model(network).SerializeToString())


def _model(network: IntegerArithmetic) -> Any:
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415 (an extra)

    nodes, constants, name = [], [], "x"
    last = len(network.layers) - 1
    for i, layer in enumerate(network.layers):
        dense = layer.dense().astype(np.float64)
        dense[:, -1] *= 2.0**layer.shift
        weights = {f"W{i}": np.ascontiguousarray(dense[:, :-1].T), f"b{i}": dense[:, -1].copy()}
        constants += [numpy_helper.from_array(value, key) for key, value in weights.items()]
        out = "scores" if i == last else f"z{i}"
        nodes.append(helper.make_node("Gemm", [name, f"W{i}", f"b{i}"], [out]))
        if i < last:
            nodes.append(helper.make_node("Relu", [out], [f"h{i}"]))
            name = f"h{i}"
    constants.append(numpy_helper.from_array(np.array(network.score_unit_), "unit"))
    nodes.append(helper.make_node("Mul", ["scores", "unit"], ["output"]))
    kind = TensorProto.DOUBLE
    n_in, n_out = network.inputs.n_features, network.layers[-1].n_out
    graph = helper.make_graph(
        *(nodes, "secateurs"),
        [helper.make_tensor_value_info("x", kind, ["n", n_in])],
        [helper.make_tensor_value_info(name, kind, ["n", n_out]) for name in ("scores", "output")],
        constants,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
