"""A module on its way to fewer neurons: its layers, which neurons are left, what was verified."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from secateurs.core.interrupt import uninterrupted
from secateurs.nn.data import Batch, Loss, Rows, chunk_losses
from secateurs.nn.groups import NeuronLayer
from secateurs.nn.remove import check_removal, remove_neurons, silence

PROBE_ROWS = 64  # rows on which outputs are compared at every removal


@dataclass
class Network:
    """A copy of the user's module, changed in place.

    Attributes
    ----------
    module : nn.Module
    layers : list of NeuronLayer
    kept : dict of str to Tensor int64
        For each layer the neurons left, as numbered in the user's module.
    probe : Tensor
        Inputs on which every removal is verified.
    agreement : float
        Largest relative difference found by these verifications.
    went : dict of str to float
        For each layer that lost neurons the largest norm of its last removal.
    stayed : dict of str to float
        The smallest norm of each layer after greedy pruning.
    """

    module: nn.Module
    layers: list[NeuronLayer]
    kept: dict[str, Tensor]
    probe: Tensor
    agreement: float = 0.0
    went: dict[str, float] = field(default_factory=dict)
    stayed: dict[str, float] = field(default_factory=dict)

    @property
    def widths(self) -> dict[str, int]:
        """Neurons of each hidden layer."""
        return {layer.name: layer.width for layer in self.layers}

    @property
    def n_neurons(self) -> int:
        """Neurons of all hidden layers."""
        return sum(layer.width for layer in self.layers)

    @property
    def n_parameters(self) -> int:
        """Numbers in the module."""
        return sum(p.numel() for p in self.module.parameters())

    def copy(self) -> Network:
        """A network that training this one does not change."""
        module = copy.deepcopy(self.module)
        module.zero_grad(set_to_none=True)
        return replace(
            self,
            module=module,
            kept=dict(self.kept),
            went=dict(self.went),
            stayed=dict(self.stayed),
        )

    def keep_only(
        self,
        keep: dict[str, Tensor],
        norms: dict[str, Tensor],
        optimizer: Optimizer | None = None,
    ) -> None:
        """Remove all other neurons of the layers in `keep`, and verify that only these went.

        Parameters
        ----------
        keep : dict of str to Tensor int64
            Positions in the present layers, increasing.
        norms : dict of str to Tensor
            Scores by which they were chosen.
        optimizer : Optimizer, optional
            Its state is cut alike.

        Raises
        ------
        RuntimeError
            Outputs with the others silenced and with them removed differ.
        """
        keep = {
            layer.name: keep[layer.name].cpu()
            for layer in self.layers
            if layer.name in keep and len(keep[layer.name]) < layer.width
        }
        if not keep:
            return
        with uninterrupted():
            silence(self.module, self.layers, keep)
            before = outputs(self.module, self.probe)
            self.layers = remove_neurons(self.module, self.layers, keep, optimizer)
            error = check_removal(before, outputs(self.module, self.probe))
            self.agreement = max(self.agreement, error)
            for name, index in keep.items():
                gone = torch.ones(len(norms[name]), dtype=torch.bool)
                gone[index] = False
                self.went[name] = float(norms[name].cpu()[gone].max())
                self.kept[name] = self.kept[name][index]


@torch.no_grad()
def outputs(module: nn.Module, X: Tensor) -> Tensor:
    """What a module answers in eval mode; its mode stays as it is."""
    was_training = module.training
    module.eval()
    try:
        out = module(X)
    finally:
        module.train(was_training)
    if not isinstance(out, Tensor):
        raise TypeError(
            f"the module returns {type(out).__name__}; expected one Tensor (wrap the module)"
        )
    return out


def top_neurons(scores: Tensor, k: int) -> Tensor:
    """Positions of the k largest scores, increasing; ties go to the lowest."""
    order = torch.argsort(scores, descending=True, stable=True)
    return order[:k].sort().values


@dataclass(frozen=True)
class Judged:
    """A network and its losses on the chunks of the validation rows."""

    network: Network
    chunks: Tensor
    shares: Tensor

    @property
    def loss(self) -> float:
        """Mean validation loss."""
        return float((self.chunks * self.shares).sum())

    def excess(self, other: Judged) -> tuple[float, float]:
        """Loss above another's on the same rows, and the standard error of that difference."""
        difference = self.chunks - other.chunks
        mean = float((difference * self.shares).sum())
        m = len(difference)
        if m < 2:
            return mean, 0.0  # one chunk has no standard error
        return mean, float((self.shares.square() * (difference - mean).square()).sum().sqrt())


def judge(network: Network, loss: Loss, rows: Rows) -> Judged:
    """Measure a network on the validation rows."""
    return Judged(network, *chunk_losses(network.module, loss, rows))


def probe_of(rows: Rows) -> Tensor:
    """The first validation inputs."""
    first: Batch | None = next(iter(rows.chunks()), None)
    if first is None:
        raise ValueError("the validation data are empty")
    return first[0][:PROBE_ROWS]
