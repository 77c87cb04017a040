"""The hidden layers of a torch module, and the weights that belong to each neuron.

torch.fx traces the graph, which is walked once.  Every value in it either carries the neurons
of one layer, or does not.  The neurons of a layer start at a Linear or Conv, pass through
operations that treat each neuron separately, and end where the next Linear or Conv reads them:

    Linear | Conv -> [BatchNorm] -> ReLU ... -> [pooling] -> [flatten] -> Linear | Conv    (1)

An operation that mixes neurons (a sum, attention, a layer norm) is refused; the message names it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import fx, nn

from secateurs.core.forward_hooks import check_forward
from secateurs.core.parameters import Shown, bad_value

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
#: f(c z) = c f(z) for c > 0, so that a scale can move from one side to the other.
HOMOGENEOUS = (nn.ReLU, nn.LeakyReLU, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
ELEMENTWISE = (
    nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.SELU, nn.CELU, nn.Softplus, nn.Mish,
    nn.Hardtanh, nn.ReLU6, nn.Hardswish,
)  # fmt: skip
POOLS = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
)  # fmt: skip
# the same as functions and as methods of a tensor
HOMOGENEOUS_CALLS = {torch.relu, F.relu, F.leaky_relu, F.dropout, "relu"}
ELEMENTWISE_CALLS = {
    torch.tanh, torch.sigmoid, F.gelu, F.silu, F.elu, F.softplus, F.tanh, F.sigmoid,
    "tanh", "sigmoid",
}  # fmt: skip
POOL_CALLS = {
    F.max_pool1d, F.max_pool2d, F.max_pool3d, F.avg_pool2d,
    F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d,
}  # fmt: skip
FLATTEN_CALLS = {torch.flatten, "flatten"}
FLATTEN_ARGUMENTS: tuple[Any, ...] = (((1,), {}), ((), {"start_dim": 1}))  # all but the rows
VIEW_CALLS = {torch.reshape, "view", "reshape"}
SHAPE_CALLS = {"size", "dim", getattr}
SUMS = {operator.add, operator.iadd, torch.add, "add", "add_"}
ACCEPTED = (
    "Linear or Conv layers in a chain, with batch normalisation, element-wise activations, "
    "pooling, flatten or dropout between them"
)


@dataclass(frozen=True)
class NeuronLayer:
    """A hidden layer whose neurons (channels of a convolution) can be removed one by one.

    Attributes
    ----------
    name : str
        The Linear or Conv that computes the neurons, as in ``module.get_submodule``.
    width : int
    norms : tuple of str
        Batch normalisations that the neurons pass, in order.
    readers : tuple of str
        The Linear or Conv modules that read the neurons.
    scalable : bool
        The operations between the last of name and norms, and the readers, are positively
        homogeneous: weights in times c and weights out over c leave the function unchanged.
    """

    name: str
    width: int
    norms: tuple[str, ...]
    readers: tuple[str, ...]
    scalable: bool


@dataclass(frozen=True)
class _Signal:
    """The neurons that a value of the graph carries."""

    layer: str | None = None  # the value carries the neurons of this layer, one by one ...
    norms: tuple[str, ...] = ()
    scalable: bool = True
    flat: bool = False
    mixed: frozenset[str] = frozenset()  # ... or it mixes the neurons of these layers
    refusal: ValueError | None = None  # the error if a layer reads the mixed neurons

    @property
    def layers(self) -> frozenset[str]:
        return self.mixed if self.layer is None else frozenset([self.layer])


def find_layers(module: nn.Module) -> list[NeuronLayer]:
    """Find the hidden layers of a module, in the order in which they are computed.

    Parameters
    ----------
    module : nn.Module
        A module with one input.  Only its structure is read.

    Returns
    -------
    list of NeuronLayer
        At least one.  The layers that compute the output are not included.

    Raises
    ------
    ValueError
        The module cannot be traced, has forward hooks, or mixes neurons so that one of them
        cannot be removed; the message names the node or submodule and the reason.

    Notes
    -----
    The tables at the top of this file list the operations that are accepted between two layers.
    ``forward`` must not contain widths (``x.view(-1, 512)``), because it does not change when
    the layers get smaller.
    """
    check_forward(module)  # the graph does not show hooks
    _refuse_shared(module)
    modules = dict(module.named_modules())
    signals: dict[fx.Node, _Signal] = {}
    reads: dict[str, list[tuple[str, _Signal]]] = {}
    returned: dict[str, fx.Node] = {}
    called: set[str] = set()
    for node in _trace(module).nodes:
        sources = [signals[source] for source in node.all_input_nodes]
        child = modules[str(node.target)] if node.op == "call_module" else None
        if child is not None:
            if node.target in called and next(child.parameters(), None) is not None:
                raise _refusal(node, child, "a module that is called twice and shares its weights")
            called.add(str(node.target))
        if node.op == "output":
            returned = {name: node for signal in sources for name in signal.layers}
            continue
        if isinstance(child, (nn.Linear, *CONVS)):
            if _reads_neurons(node, child, sources[0], modules):
                reads.setdefault(str(sources[0].layer), []).append((str(node.target), sources[0]))
            signals[node] = _Signal(str(node.target))
        elif all(not signal.layers for signal in sources):
            signals[node] = _Signal()  # computed from the inputs of the network only
        else:
            signals[node] = _after(node, child, sources, modules)
    for name in reads.keys() & returned.keys():
        got = Shown(f"neurons of {name!r}, which are also read by {reads[name][0][0]!r}")
        expected = "hidden layers that only other layers read"
        raise bad_value(f"node {returned[name].name!r}", got, expected)
    if not reads:
        expected = "a Linear or Conv whose output, through an activation, goes into another one"
        raise bad_value("module", Shown("no hidden layer"), expected)
    return [_layer(name, of_layer, modules) for name, of_layer in reads.items()]


def _trace(module: nn.Module) -> fx.Graph:
    try:
        return fx.symbolic_trace(module).graph
    except Exception as error:  # the module's own forward can raise any error on proxies
        raise ValueError(
            f"module: got {type(module).__name__}, which torch.fx cannot trace ({error}); expected "
            "a forward without branches on values; pass the part of the network that has none"
        ) from error


def _refuse_shared(module: nn.Module) -> None:
    names: dict[int, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        first = names.setdefault(id(parameter), name)
        if first != name:
            got = Shown(f"the same tensor as {first!r} (shared weights)")
            raise bad_value(f"parameter {name!r}", got, "separate parameters")


def _reads_neurons(
    node: fx.Node, child: nn.Module, signal: _Signal, modules: dict[str, nn.Module]
) -> bool:
    """Whether a Linear or Conv reads the neurons of a layer; refuse what cannot be cut."""
    if "weight" not in child._parameters:
        raise _refusal(node, child, "a weight computed from others (a parametrization?)")
    if isinstance(child, CONVS) and child.groups != 1:
        raise _refusal(node, child, f"groups={child.groups}, which ties channels")
    if signal.refusal is not None:
        raise signal.refusal
    if signal.layer is None:
        return False
    width = _width(modules[signal.layer])
    n_in = int(child.in_features if isinstance(child, nn.Linear) else child.in_channels)  # type: ignore[arg-type]
    from_conv = isinstance(modules[signal.layer], CONVS)
    if isinstance(child, nn.Linear) and from_conv and signal.flat:
        fits = n_in % width == 0
    else:
        fits = n_in == width and isinstance(child, nn.Linear) == (signal.flat or not from_conv)
    if not fits:
        got = f"{n_in} inputs, in no known order of the {width} neurons of {signal.layer!r}"
        raise _refusal(node, child, got)
    return True


def _after(
    node: fx.Node,
    child: nn.Module | None,
    sources: list[_Signal],
    modules: dict[str, nn.Module],
) -> _Signal:
    """Return the signal after a node that is not a layer."""
    call: Any = node.target if child is None else None
    signal = sources[0]
    if call in SHAPE_CALLS and (call != getattr or node.args[1] == "shape"):
        return _Signal()
    if signal.layer is not None and len(sources) == 1:
        after = _one_by_one(node, child, call, signal, modules)
        if after is not None:
            return after
    if signal.layer is not None and _is_view_as_rows(node, call):
        return replace(signal, flat=True)
    got = "an operation that may mix neurons"
    if call in SUMS:
        got = "a sum (a residual connection?) that mixes neurons"
    elif child is not None and isinstance(child, (nn.BatchNorm1d, nn.PReLU)):
        got = "other numbers of entries than neurons"
    layers = frozenset().union(*(source.layers for source in sources))
    names = ", ".join(repr(name) for name in sorted(layers))
    refusal = _refusal(node, child, f"{got} of {names}")
    if child is not None and next(child.parameters(), None) is not None:
        raise refusal
    if any(source.op == "get_attr" for source in node.all_input_nodes):
        raise _refusal(node, child, f"parameters outside a module applied to {names}")
    return _Signal(mixed=layers, refusal=refusal)  # accepted if only the output follows


def _one_by_one(
    node: fx.Node,
    child: nn.Module | None,
    call: Any,
    signal: _Signal,
    modules: dict[str, nn.Module],
) -> _Signal | None:
    """Return the signal after an operation on each neuron separately; None for another one."""
    assert signal.layer is not None
    from_conv = isinstance(modules[signal.layer], CONVS)
    if isinstance(child, HOMOGENEOUS) or call in HOMOGENEOUS_CALLS:
        return signal
    if isinstance(child, nn.PReLU) and child.num_parameters == 1:
        return signal
    if isinstance(child, ELEMENTWISE) or call in ELEMENTWISE_CALLS:
        return replace(signal, scalable=False)
    if isinstance(child, NORMS) and child.num_features == _width(modules[signal.layer]):
        # the weights before a normalisation have no scale of their own
        return replace(signal, norms=(*signal.norms, str(node.target)), scalable=bool(child.affine))
    if from_conv and not signal.flat and (isinstance(child, POOLS) or call in POOL_CALLS):
        return signal
    if isinstance(child, nn.Flatten):
        whole = (child.start_dim, child.end_dim) == (1, -1)
        return replace(signal, flat=True) if whole else None
    if call in FLATTEN_CALLS and (node.args[1:], node.kwargs) in FLATTEN_ARGUMENTS:
        return replace(signal, flat=True)
    return None


def _is_view_as_rows(node: fx.Node, call: Any) -> bool:
    """Whether the node is ``x.view(x.size(0), -1)`` or the same with reshape."""
    if call not in VIEW_CALLS or len(node.args) != 3:
        return False
    return isinstance(node.args[1], fx.Node) and bool(node.args[2] == -1)


def _layer(
    name: str, of_layer: list[tuple[str, _Signal]], modules: dict[str, nn.Module]
) -> NeuronLayer:
    first_reader, first = of_layer[0]
    for reader, signal in of_layer[1:]:
        if signal.norms != first.norms:
            got = Shown(f"different batch normalisations before {first_reader!r} and {reader!r}")
            raise bad_value(f"layer {name!r}", got, "the same before all readers")
    return NeuronLayer(
        name,
        _width(modules[name]),
        first.norms,
        tuple(reader for reader, _ in of_layer),
        all(bool(signal.scalable) for _, signal in of_layer),
    )


def _width(layer: nn.Module) -> int:
    width = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    return int(width)  # type: ignore[arg-type]


def _refusal(node: fx.Node, child: nn.Module | None, got: str) -> ValueError:
    target: str | Callable[..., Any] = node.target
    kind = type(child).__name__ if child is not None else getattr(target, "__name__", str(target))
    return ValueError(f"node {node.name!r} ({kind}): got {got}; expected {ACCEPTED}")
