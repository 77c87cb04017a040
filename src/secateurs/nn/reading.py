"""The layers that read channels, and what they read on calibration rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from secateurs.core.program import Inputs
from secateurs.nn.channels import ChannelPlan
from secateurs.nn.evaluation import called
from secateurs.nn.rules.call import short_name
from secateurs.nn.slots import IntArray

MOST_FEATURES = 2048  # columns of a Gram matrix; above it, channels are regressed on channels
MOST_PATCHES = 1 << 14  # places of one batch of images that are used


@dataclass(frozen=True, eq=False)
class Reader:
    """A linear layer or a convolution without groups that reads channels.

    Attributes
    ----------
    name : str
        Its submodule.
    axis : int
        The axis of its weight that it sums over.
    slots : int64 array
        The slots of that axis.
    mean : str or None
        The running mean of a batch normalisation that alone reads what the layer computes.
    """

    name: str
    axis: int
    slots: IntArray
    mean: str | None = None


def find_readers(plan: ChannelPlan) -> list[Reader]:
    """Return the layers of the module that read channels, in the order of computation."""
    modules = dict(plan.module.named_modules())
    means = _means_after(plan)
    found = []
    for weight, d in plan.graph_walk.readers:
        path, _, last = weight.rpartition(".")
        layer = modules.get(path)
        if last == "weight" and isinstance(layer, nn.Linear | nn.modules.conv._ConvNd):
            slots = plan.graph_walk.parameters[weight][d].slots
            found.append(Reader(path, d, slots, means.get(weight)))
    return found


def _means_after(plan: ChannelPlan) -> dict[str, str]:
    """Return the running mean that is subtracted from the outputs of a layer, by its weight."""
    nodes = [node for node in plan.program.exported.graph.nodes if node.op == "placeholder"]
    names = dict(zip(nodes, plan.program.names, strict=True))
    found: dict[str, str] = {}
    for node in nodes:
        users = list(node.users)
        if names[node] is None or len(users) != 1:
            continue  # an input, or a weight that several layers share
        after = list(users[0].users)
        if len(after) == 1 and short_name(after[0].target) == "batch_norm":
            mean = names.get(after[0].args[3])
            if mean is not None:
                found[names[node]] = mean
    return found


@dataclass(frozen=True, eq=False)
class Unit:
    """How the inputs of a reader become features: columns of a Gram matrix.

    Attributes
    ----------
    reader : Reader
    table : int64 array [channels, positions]
        The coordinates of the axis that are the same channel at several positions.  With one
        position each, features are coordinates.
    patches : bool
        Whether a feature is a coordinate at one tap of the kernel of a convolution.
    n_taps : int
        Features of each coordinate.
    is_convolution : bool
    """

    reader: Reader
    table: IntArray
    patches: bool

    n_taps: int = 1

    @property
    def has_constant(self) -> bool:
        """Whether a constant feature stands for the bias.

        It does not where a convolution is regressed channel by channel, because of the padding.
        """
        return self.patches or (self.n_taps == 1 and not self.is_convolution)

    is_convolution: bool = False


def unit_of(plan: ChannelPlan, reader: Reader) -> Unit:
    """Choose the features of a reader so that its Gram matrix is small enough."""
    layer = plan.module.get_submodule(reader.name)
    n = len(reader.slots)
    single = np.arange(n)[:, None]
    if isinstance(layer, nn.Linear):
        if n <= MOST_FEATURES:
            return Unit(reader, single, patches=False)
        roots = plan.graph_walk.walk.slots.find(reader.slots)
        _, first, counts = np.unique(roots, return_index=True, return_counts=True)
        if len(set(counts.tolist())) == 1 and counts[0] > 1:
            order = np.argsort(roots, kind="stable").reshape(len(counts), -1)
            return Unit(reader, order[np.argsort(first)], patches=False)
        return Unit(reader, single, patches=False)
    taps = int(np.prod(layer.kernel_size))  # type: ignore[arg-type]
    is_plain = isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros"
    patches = is_plain and n * taps <= MOST_FEATURES and not isinstance(layer.padding, str)
    return Unit(reader, single, patches, taps if patches else 1, is_convolution=True)


def features(unit: Unit, layer: nn.Module, x: Tensor) -> Tensor:
    """Return the inputs of a reader as float64 rows of features [rows, features]."""
    if not isinstance(layer, nn.Linear) and x.ndim < layer.weight.ndim:  # type: ignore[operator]
        x = x[None]  # a single image
    if unit.patches:
        assert isinstance(layer, nn.Conv2d)
        padding: Any = layer.padding
        rows = F.unfold(x, layer.kernel_size, layer.dilation, padding, layer.stride)
        flat = rows.transpose(1, 2).flatten(0, 1)
    elif isinstance(layer, nn.Linear):
        flat = x.reshape(-1, x.shape[-1])
        if unit.table.shape[1] > 1:
            table = torch.from_numpy(unit.table).to(x.device)
            flat = flat[:, table].transpose(1, 2).flatten(0, 1)
    else:
        flat = x.transpose(0, 1).flatten(1).T
    step = -(-len(flat) // MOST_PATCHES)
    return flat[::step].double()


def capture(module: nn.Module, names: Iterable[str], inputs: Inputs) -> dict[str, list[Tensor]]:
    """Run a module once; return what some layers read at each of their calls."""
    seen: dict[str, list[Tensor]] = {name: [] for name in names}

    def note(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
            seen[name].append(args[0] if args else kwargs["input"])

        return hook

    handles = [
        module.get_submodule(n).register_forward_pre_hook(note(n), with_kwargs=True) for n in seen
    ]
    try:
        with torch.no_grad():
            called(module, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return seen


@dataclass(eq=False)
class Moments:
    """Sums over calibration rows: X^T X and X^T T, with a constant feature last.

    Attributes
    ----------
    gram : Tensor [features + 1, features + 1] float64
    cross : Tensor [features + 1, targets] float64
    """

    gram: Tensor
    cross: Tensor

    @classmethod
    def empty(cls, X: Tensor) -> Moments:
        """Start the sums for rows like these."""
        n = X.shape[1]
        return cls(X.new_zeros(n + 1, n + 1), X.new_zeros(n + 1, n))

    def centred(self) -> Tensor:
        """Return the Gram matrix of the features less their means."""
        total, n = self.gram[:-1, -1:], self.gram[-1, -1].clamp(min=1)
        return self.gram[:-1, :-1] - total @ total.T / n

    def add(self, X: Tensor, target: Tensor) -> None:
        """Add rows."""
        ones = torch.ones(len(X), 1, dtype=X.dtype, device=X.device)
        X = torch.cat([X, ones], 1)
        self.gram += X.T @ X
        self.cross += X.T @ target
