"""What each operation of an exported graph adds to a chain of layers."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import fx

from secateurs.core.parameters import Shown, bad_value
from secateurs.tickets.chain import SAME, Chain, Readers, argument, pair, short_name, where_is
from secateurs.tickets.layers import Fold, Layer


def _linear(chain: Chain, node: fx.Node) -> None:
    weight, bias = node.args[1], argument(node, "bias")
    chain.expect(node.args[0] is chain.current, node, "a product with another value")
    chain.linear(node, chain.constant(weight, node), chain.constant(bias, node))


def _product(chain: Chain, node: fx.Node) -> None:
    chain.expect(node.args[0] is chain.current, node, "a product with another value")
    weight = chain.constant(node.args[1], node)
    assert weight is not None
    chain.linear(node, weight.T, None)


def _product_with_bias(chain: Chain, node: fx.Node) -> None:
    bias, x, weight = node.args[:3]
    chain.expect(x is chain.current and not node.kwargs, node, "a product with other factors")
    found = chain.constant(weight, node)
    assert found is not None
    chain.linear(node, found.T, chain.constant(bias, node))


def _plus(chain: Chain, node: fx.Node) -> None:
    """Take a sum behind a product without a bias for its bias."""
    others = [a for a in node.args if a is not chain.current]
    last = chain.layers[-1] if chain.layers else None
    chain.expect(
        last is not None and last.kind == "linear" and not last.bias and chain.folds[-1] is None
        and len(others) == 1 and isinstance(others[0], fx.Node) and not node.kwargs,
        node, "a sum that is not the bias of the layer before",
    )  # fmt: skip
    assert last is not None
    bias = chain.constant(others[0], node)
    chain.expect(bias is not None and bias.shape == (last.n_out,), node, "a sum of other sizes")
    chain.layers[-1] = last.model_copy(update={"bias": True})
    chain.biases[-1] = bias


def _convolution(chain: Chain, node: fx.Node) -> None:
    chain.expect(node.args[0] is chain.current, node, "a convolution by another value")
    weight = chain.constant(node.args[1], node)
    bias = chain.constant(argument(node, "bias"), node)
    assert weight is not None
    groups, padding = argument(node, "groups", 1), argument(node, "padding", 0)
    chain.expect(not isinstance(padding, str), node, f"padding={padding!r}")
    chain.expect(groups == 1, node, f"groups={groups}")
    chain.expect(weight.ndim == 4, node, f"weights of shape {list(weight.shape)}")
    layer = Layer(
        kind="conv2d", n_in=weight.shape[1], n_out=weight.shape[0],
        kernel=pair(weight.shape[2:]), stride=pair(argument(node, "stride", 1)),
        padding=pair(padding), dilation=pair(argument(node, "dilation", 1)),
        bias=bias is not None, signed=chain.signed,
    )  # fmt: skip
    chain.put(layer, weight, bias)


def _batch_norm(chain: Chain, node: fx.Node) -> None:
    """Fold a batch normalisation into the layer with weights before it."""
    training = argument(node, "training")
    if training:
        got = Shown("a batch normalisation in training mode, which depends on the other rows")
        raise bad_value(where_is(node), got, "eval mode", "call module.eval()")
    last = chain.layers[-1] if chain.layers else None
    if last is None or chain.weights[-1] is None or chain.folds[-1] is not None:
        chain.expect(False, node, "a batch normalisation that is not behind a layer with weights")
    assert last is not None
    weight, bias = chain.weights[-1], chain.biases[-1]
    assert weight is not None
    names = ("weight", "bias", "running_mean", "running_var")
    gain, shift, mean, variance = (chain.constant(argument(node, name), node) for name in names)
    assert mean is not None
    assert variance is not None
    alpha = (np.ones(last.n_out) if gain is None else gain) / np.sqrt(
        variance + float(argument(node, "eps"))
    )
    if not np.isfinite(alpha).all():
        raise bad_value(f"layer {where_is(node)}", Shown("nan or inf"), "finite factors")
    beta = np.zeros(last.n_out) if shift is None else shift
    before = np.zeros(last.n_out) if bias is None else bias
    shape = (-1, *(1,) * (weight.ndim - 1))
    folded = weight * alpha.reshape(shape)
    lost = (folded == 0) & (weight != 0) & (alpha.reshape(shape) != 0)
    chain.expect(not lost.any(), node, "factors so small that weights vanish")
    chain.layers[-1] = last.model_copy(update={"bias": True})
    chain.weights[-1] = folded
    chain.biases[-1] = alpha * (before - mean) + beta
    rows = np.linalg.norm(weight.reshape(last.n_out, -1), axis=1)
    chain.folds[-1] = Fold(
        bias_sizes=np.abs(alpha) * (np.abs(before) + np.abs(mean)) + np.abs(beta),
        largest_weight=float((rows * np.maximum(1, np.abs(alpha))).max()),
        largest_bias=float((np.abs(before) + np.abs(mean)).max()),
        largest_factor=float(np.abs(alpha).max()),
    )


def _relu(chain: Chain, node: fx.Node) -> None:
    del node
    chain.put(Layer(kind="relu"))


def _same(chain: Chain, node: fx.Node) -> None:
    del chain
    if "dropout" not in short_name(node):
        return
    p = argument(node, "p")
    if argument(node, "train") and p > 0:
        got = Shown(f"p={p:g} in training mode, whose outputs are random")
        raise bad_value(where_is(node), got, "eval mode", "call module.eval()")


def _rows(chain: Chain, node: fx.Node) -> None:
    """Accept a change of shape that makes a row of every input."""
    assert chain.current is not None
    before, after = chain.current.meta["val"].shape, node.meta["val"].shape
    fits = len(after) == 2 and len(before) in (2, 4) and after[0] == before[0] == chain.rows
    chain.expect(bool(fits), node, f"a change of shape to {[str(n) for n in after]}")
    chain.put(Layer(kind="flatten"))


def _max_pool(chain: Chain, node: fx.Node) -> None:
    plain = pair(argument(node, "dilation", 1)) == (1, 1) and not argument(node, "ceil_mode")
    chain.expect(plain, node, "dilation or ceil_mode")
    _pool(chain, node, "max_pool2d")


def _average_pool(chain: Chain, node: fx.Node) -> None:
    counted = argument(node, "count_include_pad", True)
    plain = (
        not argument(node, "ceil_mode", False)
        and argument(node, "divisor_override") is None
        and (counted or pair(argument(node, "padding", 0)) == (0, 0))
    )
    chain.expect(plain, node, "ceil_mode, another divisor, or a padding that is not counted")
    _pool(chain, node, "avg_pool2d")


def _pool(chain: Chain, node: fx.Node, kind: Any) -> None:
    kernel = pair(argument(node, "kernel_size"))
    stride = argument(node, "stride")
    padding = pair(argument(node, "padding", 0))
    chain.put(
        Layer(kind=kind, kernel=kernel, stride=pair(stride) if stride else kernel, padding=padding)
    )


def _global_average(chain: Chain, node: fx.Node) -> None:
    size = argument(node, "output_size")
    chain.expect(pair(size) == (1, 1), node, f"an average of size {size}")
    chain.put(Layer(kind="global_average"))


def _mean(chain: Chain, node: fx.Node) -> None:
    assert chain.current is not None
    n_axes = chain.current.meta["val"].ndim
    dims = {d % n_axes for d in argument(node, "dim") or range(n_axes)}
    plain = n_axes == 4 and dims == {2, 3} and argument(node, "dtype") is None
    chain.expect(plain, node, "a mean that is not over a whole map")
    chain.put(Layer(kind="global_average"))
    if not argument(node, "keepdim", False):
        chain.put(Layer(kind="flatten"))


# the number of axes of what an operation reads, if only one is possible, and its reader
READERS: Readers = {
    "linear": (2, _linear),
    "matmul": (2, _product),
    "mm": (2, _product),
    "addmm": (2, _product_with_bias),
    "add": (2, _plus),
    "conv2d": (4, _convolution),
    "batch_norm": (None, _batch_norm),
    "relu": (None, _relu),
    **dict.fromkeys(SAME, (None, _same)),
    **dict.fromkeys(("flatten", "view", "reshape", "_unsafe_view"), (None, _rows)),
    "max_pool2d": (4, _max_pool),
    "avg_pool2d": (4, _average_pool),
    "adaptive_avg_pool2d": (4, _global_average),
    "mean": (4, _mean),
}
