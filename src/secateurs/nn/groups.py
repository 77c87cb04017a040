"""Which neurons of a torch module may be removed, and which weights belong to each.

The graph is traced by torch.fx and walked once.  Every value on the way either carries the
neurons of one layer, or does not.  A layer's neurons start at a Linear or Conv, pass through
operations that treat each one by itself, and end where the next Linear or Conv reads them:

    Linear | Conv -> [BatchNorm] -> ReLU ... -> [pooling] -> [flatten] -> Linear | Conv    (1)

Whatever mixes neurons on the way (sums, attention, layer norms) is refused by name.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import fx, nn

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
#: f(c z) = c f(z) for c > 0: the scale can move through them.
HOMOGENEOUS = (nn.ReLU, nn.LeakyReLU, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
ELEMENTWISE = (
    nn.GELU,
    nn.SiLU,
    nn.Tanh,
    nn.Sigmoid,
    nn.ELU,
    nn.SELU,
    nn.CELU,
    nn.Softplus,
    nn.Mish,
    nn.Hardtanh,
    nn.ReLU6,
    nn.Hardswish,
)
POOLS = (
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
)
# the same as functions and as methods of a tensor
HOMOGENEOUS_CALLS = {torch.relu, F.relu, F.leaky_relu, F.dropout, "relu"}
ELEMENTWISE_CALLS = {
    torch.tanh,
    torch.sigmoid,
    F.gelu,
    F.silu,
    F.elu,
    F.softplus,
    F.tanh,
    F.sigmoid,
    "tanh",
    "sigmoid",
}
POOL_CALLS = {
    F.max_pool1d,
    F.max_pool2d,
    F.max_pool3d,
    F.avg_pool2d,
    F.adaptive_avg_pool1d,
    F.adaptive_avg_pool2d,
    F.adaptive_avg_pool3d,
}
FLATTEN_CALLS = {torch.flatten, "flatten"}
FROM_ONE: tuple[Any, ...] = (((1,), {}), ((), {"start_dim": 1}))
SHAPE_CALLS = {"size", "dim", getattr}
SUMS = {operator.add, operator.iadd, torch.add, "add", "add_"}


@dataclass(frozen=True)
class NeuronLayer:
    """A hidden layer, whose neurons (channels of a convolution) can be removed one by one.

    Attributes
    ----------
    name : str
        The Linear or Conv that computes them, as in ``module.get_submodule``.
    width : int
    norms : tuple of str
        Batch normalisations on the way, in order.
    readers : tuple of str
        The Linear or Conv modules that read them.
    scalable : bool
        What lies between the last of name and norms, and the readers, is positively
        homogeneous: weights in times c and weights out over c leave the function unchanged.
    """

    name: str
    width: int
    norms: tuple[str, ...]
    readers: tuple[str, ...]
    scalable: bool


@dataclass(frozen=True)
class _Signal:
    """What a value of the graph carries."""

    layer: str | None = None  # it carries the neurons of this layer, one by one ...
    norms: tuple[str, ...] = ()
    scalable: bool = True
    flat: bool = False
    mixed: frozenset[str] = frozenset()  # ... or it mixes the neurons of these
    reason: str = ""

    @property
    def layers(self) -> frozenset[str]:
        return self.mixed if self.layer is None else frozenset([self.layer])


def find_layers(module: nn.Module) -> list[NeuronLayer]:
    """Hidden layers of a module, in the order in which they are computed.

    Parameters
    ----------
    module : nn.Module
        With one input.  Only its structure is read.

    Returns
    -------
    list of NeuronLayer
        Not empty.  The layers that compute the output are not among them.

    Raises
    ------
    ValueError
        The module cannot be traced, or mixes neurons where one of them cannot be removed by
        itself: the message names the node and says why.

    Notes
    -----
    Accepted between two layers: see the tables at the top of this file.  ``forward`` must not
    contain widths (``x.view(-1, 512)``): it is kept as it is, only the layers get smaller.
    """
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
                raise _refusal(node, child, "this module is called twice and shares its weights")
            called.add(str(node.target))
        if node.op == "output":
            returned = {name: node for signal in sources for name in signal.layers}
            continue
        if isinstance(child, (nn.Linear, *CONVS)):
            _read(node, child, sources[0], modules, reads)
            signals[node] = _Signal(str(node.target))
        elif all(not signal.layers for signal in sources):
            signals[node] = _Signal()  # inputs of the network, whatever is done to them
        else:
            signals[node] = _step(node, child, sources, modules)
    for name in reads.keys() & returned.keys():
        raise ValueError(
            f"node {returned[name].name!r}: the neurons of {name!r} are returned as well as read "
            f"by {reads[name][0][0]!r}; expected hidden layers that only other layers read"
        )
    if not reads:
        raise ValueError(
            "the module has no hidden layer: expected a Linear or Conv whose output, through an "
            "activation, goes into another one"
        )
    return [_layer(name, of_layer, modules) for name, of_layer in reads.items()]


def _trace(module: nn.Module) -> fx.Graph:
    try:
        return fx.symbolic_trace(module).graph
    except Exception as error:  # whatever the module's own forward raises on proxies
        raise ValueError(
            f"torch.fx cannot trace {type(module).__name__}: {error}; expected a forward without "
            "branches on values, or pass the part of the network that has none"
        ) from error


def _refuse_shared(module: nn.Module) -> None:
    names: dict[int, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        first = names.setdefault(id(parameter), name)
        if first != name:
            raise ValueError(
                f"parameters {first!r} and {name!r} are the same tensor (shared weights): one "
                "cannot be made smaller without the other; expected separate parameters"
            )


def _read(
    node: fx.Node,
    child: nn.Module,
    signal: _Signal,
    modules: dict[str, nn.Module],
    reads: dict[str, list[tuple[str, _Signal]]],
) -> None:
    """Note that a Linear or Conv reads the neurons of a layer."""
    if "weight" not in child._parameters:
        raise _refusal(node, child, "its weight is computed from others (a parametrization?)")
    if isinstance(child, CONVS) and child.groups != 1:
        raise _refusal(node, child, f"convolutions with groups={child.groups} tie channels")
    if signal.mixed:
        raise ValueError(signal.reason)
    if signal.layer is None:
        return
    width = _width(modules[signal.layer])
    n_in = int(child.in_features if isinstance(child, nn.Linear) else child.in_channels)  # type: ignore[arg-type]
    from_conv = isinstance(modules[signal.layer], CONVS)
    if isinstance(child, nn.Linear) and from_conv and signal.flat:
        fits = n_in % width == 0
    else:
        fits = n_in == width and isinstance(child, nn.Linear) == (signal.flat or not from_conv)
    if not fits:
        raise _refusal(
            node,
            child,
            f"it reads {n_in} values, which are not the {width} neurons of {signal.layer!r} in "
            "an order that is understood",
        )
    reads.setdefault(signal.layer, []).append((str(node.target), signal))


def _step(
    node: fx.Node,
    child: nn.Module | None,
    sources: list[_Signal],
    modules: dict[str, nn.Module],
) -> _Signal:
    """What a node that is no layer makes of the neurons it gets."""
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
    why = "it may mix neurons"
    if call in SUMS:
        why = "it adds values (a residual connection?), so neurons cannot go one by one"
    elif child is not None and isinstance(child, (nn.BatchNorm1d, nn.PReLU)):
        why = "its entries are not one for each neuron"
    layers = frozenset().union(*(source.layers for source in sources))
    names = ", ".join(repr(name) for name in sorted(layers))
    refusal = _refusal(node, child, f"{why} of {names}")
    if child is not None and next(child.parameters(), None) is not None:
        raise refusal
    if any(source.op == "get_attr" for source in node.all_input_nodes):
        raise _refusal(node, child, f"it applies parameters outside a module to {names}")
    return _Signal(mixed=layers, reason=str(refusal))  # no harm if only the output follows


def _one_by_one(
    node: fx.Node,
    child: nn.Module | None,
    call: Any,
    signal: _Signal,
    modules: dict[str, nn.Module],
) -> _Signal | None:
    """The signal after an operation on each neuron by itself; None if it is none."""
    assert signal.layer is not None
    from_conv = isinstance(modules[signal.layer], CONVS)
    if isinstance(child, HOMOGENEOUS) or call in HOMOGENEOUS_CALLS:
        return signal
    if isinstance(child, nn.PReLU) and child.num_parameters == 1:
        return signal
    if isinstance(child, ELEMENTWISE) or call in ELEMENTWISE_CALLS:
        return replace(signal, scalable=False)
    if isinstance(child, NORMS) and child.num_features == _width(modules[signal.layer]):
        # what is before a normalisation has no scale of its own
        return replace(signal, norms=(*signal.norms, str(node.target)), scalable=bool(child.affine))
    if from_conv and not signal.flat and (isinstance(child, POOLS) or call in POOL_CALLS):
        return signal
    if isinstance(child, nn.Flatten):
        whole = (child.start_dim, child.end_dim) == (1, -1)
        return replace(signal, flat=True) if whole else None
    if call in FLATTEN_CALLS and (node.args[1:], node.kwargs) in FROM_ONE:
        return replace(signal, flat=True)
    return None


def _is_view_as_rows(node: fx.Node, call: Any) -> bool:
    """``x.view(x.size(0), -1)`` or the same with reshape."""
    if call not in ("view", "reshape", torch.reshape) or len(node.args) != 3:
        return False
    return isinstance(node.args[1], fx.Node) and bool(node.args[2] == -1)


def _layer(
    name: str, of_layer: list[tuple[str, _Signal]], modules: dict[str, nn.Module]
) -> NeuronLayer:
    first_reader, first = of_layer[0]
    for reader, signal in of_layer[1:]:
        if signal.norms != first.norms:
            raise ValueError(
                f"the neurons of {name!r} reach {first_reader!r} and {reader!r} through "
                "different batch normalisations; expected the same for all that read them"
            )
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


def _refusal(node: fx.Node, child: nn.Module | None, why: str) -> ValueError:
    target: str | Callable[..., Any] = node.target
    what = type(child).__name__ if child is not None else getattr(target, "__name__", str(target))
    return ValueError(
        f"node {node.name!r} ({what}): {why}; expected Linear or Conv layers in a chain, with "
        "batch normalisation, element-wise activations, pooling, flatten or dropout between them"
    )
