"""The working copy of a module: its layers, the neurons left, and what was verified."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from secateurs.core.interrupt import uninterrupted
from secateurs.nn.evaluation import outputs
from secateurs.nn.groups import NeuronLayer
from secateurs.nn.penalty import balance, squared_norms
from secateurs.nn.remove import check_removal, remove_neurons, silence


@dataclass
class ShrinkingModule:
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
    largest_removed : dict of str to float
        For each layer that lost neurons, the largest norm in its last removal.
    smallest_kept : dict of str to float
        For each layer, the smallest norm after greedy pruning.
    """

    module: nn.Module
    layers: list[NeuronLayer]
    kept: dict[str, Tensor]
    probe: Tensor
    agreement: float = 0.0
    largest_removed: dict[str, float] = field(default_factory=dict)
    smallest_kept: dict[str, float] = field(default_factory=dict)

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

    def squared_norms(self) -> dict[str, Tensor]:
        """Squared norms of the neurons of each hidden layer."""
        return {layer.name: squared_norms(self.module, layer) for layer in self.layers}

    def copy(self) -> ShrinkingModule:
        """Return a copy that shares no state with this one."""
        module = copy.deepcopy(self.module)
        module.zero_grad(set_to_none=True)
        return replace(
            self,
            module=module,
            kept=dict(self.kept),
            largest_removed=dict(self.largest_removed),
            smallest_kept=dict(self.smallest_kept),
        )

    def prune_below(
        self, share: float, targets: dict[str, int], optimizer: Optimizer | None = None
    ) -> None:
        """Remove neurons with a norm below this share of the largest norm in their layer.

        `targets` are the numbers of neurons that are kept in any case.  The state of `optimizer`
        is cut with the neurons.
        """
        norms = self._norms()
        keep = {
            name: _largest(
                of_layer, max(int((of_layer > share * of_layer.max()).sum()), targets[name])
            )
            for name, of_layer in norms.items()
        }
        self._keep_only(keep, norms, optimizer)

    def prune_to(self, targets: dict[str, int], *, balanced: bool = True) -> None:
        """Keep these numbers of neurons, those with the largest norms: greedy pruning."""
        if balanced:
            balance(self.module, self.layers)
        norms = self._norms()
        self._keep_only({name: _largest(norms[name], k) for name, k in targets.items()}, norms)

    def _norms(self) -> dict[str, Tensor]:
        return {name: q.sqrt() for name, q in self.squared_norms().items()}

    def _keep_only(
        self, keep: dict[str, Tensor], norms: dict[str, Tensor], optimizer: Optimizer | None = None
    ) -> None:
        """Remove all other neurons of the layers in `keep`, and verify that only these went.

        `keep` has increasing positions in the present layers.  RuntimeError if the outputs with
        the others silenced and with them removed differ.
        """
        keep = {
            layer.name: keep[layer.name].cpu()
            for layer in self.layers
            if layer.name in keep and len(keep[layer.name]) < layer.width
        }
        if keep:
            with uninterrupted():
                silence(self.module, self.layers, keep)
                before = outputs(self.module, self.probe)
                self.layers = remove_neurons(self.module, self.layers, keep, optimizer)
                error = check_removal(before, outputs(self.module, self.probe))
                self.agreement = max(self.agreement, error)
                for name, index in keep.items():
                    gone = torch.ones(len(norms[name]), dtype=torch.bool)
                    gone[index] = False
                    self.largest_removed[name] = float(norms[name].cpu()[gone].max())
                    self.kept[name] = self.kept[name][index]
        self.smallest_kept = {
            name: float(q.min()) ** 0.5 for name, q in self.squared_norms().items()
        }


def _largest(norms: Tensor, k: int) -> Tensor:
    """Positions of the k largest norms, increasing; of equal norms the first are taken."""
    order = torch.argsort(norms, descending=True, stable=True)
    return order[:k].sort().values


@dataclass(frozen=True)
class ScoredModule:
    """A module and its losses on the chunks of the validation rows.

    Attributes
    ----------
    network : ShrinkingModule
    chunks, shares : Tensor, shape [chunks]
        Loss of each chunk, and its share of the rows.
    """

    network: ShrinkingModule
    chunks: Tensor
    shares: Tensor

    @property
    def loss(self) -> float:
        """Mean validation loss."""
        return float((self.chunks * self.shares).sum())

    def excess(self, other: ScoredModule) -> tuple[float, float]:
        """Loss above another's on the same rows, and the standard error of that difference."""
        difference = self.chunks - other.chunks
        mean = float((difference * self.shares).sum())
        if len(difference) < 2:
            return mean, 0.0  # one chunk has no standard error
        return mean, float((self.shares.square() * (difference - mean).square()).sum().sqrt())
