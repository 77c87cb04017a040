"""The working copy of a module: its groups, the channels left, and what was verified."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from secateurs.core.interrupt import uninterrupted
from secateurs.core.program import Inputs
from secateurs.nn.attention_scale import fold_scale
from secateurs.nn.channels import ChannelPlan
from secateurs.nn.evaluation import outputs
from secateurs.nn.optimizer_state import carry_optimizer
from secateurs.nn.penalty import ChannelWeights, balance, squared_norms, weights_of
from secateurs.nn.shrink_graph import cut_tensor, cut_tensors, find_tensor, shrunk_graph
from secateurs.nn.shrink_module import Change, change_sets, smaller
from secateurs.nn.slots import IntArray
from secateurs.nn.verify import rounding_tolerance

SMALLEST_SCALE = 1e-6  # outputs below this are compared absolutely


@dataclass
class ShrinkingModule:
    """A copy of the user's module, which is trained and gets smaller.

    Attributes
    ----------
    plan : ChannelPlan
    module : nn.Module
    kept : dict of str to int64 array
        For each group the channels left, as numbered in the user's module.
    choice : int or None
        Which of `change_sets` makes the class of the module right; None for the form of a graph.
    scalable : frozenset of str
        Groups whose scale can move between weights in and weights out.
    probe : Inputs
        Inputs on which every removal is verified.
    agreement : float
        Largest relative difference found by these verifications.
    largest_removed : dict of str to float
        For each group that lost channels, the largest norm in its last removal.
    smallest_kept : dict of str to float
        For each group, the smallest norm after greedy pruning.
    """

    plan: ChannelPlan
    module: nn.Module
    kept: dict[str, IntArray]
    choice: int | None
    scalable: frozenset[str]
    probe: Inputs
    agreement: float = 0.0
    largest_removed: dict[str, float] = field(default_factory=dict)
    smallest_kept: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._weights: list[ChannelWeights] | None = None

    @property
    def widths(self) -> dict[str, int]:
        """Channels of each group."""
        return {name: len(index) for name, index in self.kept.items()}

    @property
    def form(self) -> str:
        """The form of the module: "class" or "graph"."""
        return "graph" if self.choice is None else "class"

    @property
    def changes(self) -> list[Change]:
        """The attributes that followed the widths."""
        if self.choice is None:
            return []
        return list(islice(change_sets(self.plan, self.gone), self.choice + 1))[-1]

    @property
    def n_neurons(self) -> int:
        """Channels of all groups."""
        return sum(self.widths.values())

    @property
    def n_parameters(self) -> int:
        """Numbers in the module."""
        return sum(p.numel() for p in self.module.parameters())

    @property
    def gone(self) -> frozenset[int]:
        """The atoms that are removed."""
        return self.plan.gone(self.kept)

    @property
    def weights(self) -> list[ChannelWeights]:
        """The weights of every group in the module as it is now."""
        if self._weights is None:
            gone = self.gone
            self._weights = [
                weights_of(
                    self.plan, group, torch.from_numpy(self.kept[name]), gone,
                    scalable=name in self.scalable,
                )
                for name, group in self.plan.groups.items()
            ]  # fmt: skip
        return self._weights

    def squared_norms(self) -> dict[str, Tensor]:
        """Squared norms of the channels of each group."""
        return {w.name: squared_norms(self.module, w) for w in self.weights}

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
        """Remove channels with a norm below this share of the largest norm in their group.

        `targets` are the numbers of channels that are kept in any case.  The state of
        `optimizer` is cut with the channels.
        """
        norms = self._norms()
        keep = {
            name: _largest(
                of_group, max(int((of_group > share * of_group.max()).sum()), targets[name])
            )
            for name, of_group in norms.items()
        }
        self._keep_only(keep, norms, optimizer)

    def prune_to(self, targets: dict[str, int], *, balanced: bool = True) -> None:
        """Keep these numbers of channels, those with the largest norms: greedy pruning."""
        if balanced:
            balance(self.module, self.weights)
        norms = self._norms()
        self._keep_only({name: _largest(norms[name], k) for name, k in targets.items()}, norms)

    def _norms(self) -> dict[str, Tensor]:
        return {name: q.sqrt() for name, q in self.squared_norms().items()}

    def _keep_only(
        self, keep: dict[str, Tensor], norms: dict[str, Tensor], optimizer: Optimizer | None = None
    ) -> None:
        """Remove all other channels of the groups in `keep`, and verify that only these went.

        `keep` has increasing positions among the present channels.
        """
        keep = {
            name: index.cpu() for name, index in keep.items() if len(index) < len(self.kept[name])
        }
        if keep:
            with uninterrupted():
                kept = self.kept | {n: self.kept[n][index.numpy()] for n, index in keep.items()}
                before = self._shrink(kept, optimizer)
                error = check_removal(before, outputs(self.module, self.probe))
                self.agreement = max(self.agreement, error)
                for name, index in keep.items():
                    lost = np.ones(len(norms[name]), dtype=bool)
                    lost[index.numpy()] = False
                    self.largest_removed[name] = float(norms[name].cpu().numpy()[lost].max())
        self.smallest_kept = {
            name: float(q.min()) ** 0.5 for name, q in self.squared_norms().items()
        }

    def _shrink(self, kept: dict[str, IntArray], optimizer: Optimizer | None) -> Tensor:
        """Replace the module by a smaller one; return the outputs with the others silenced."""
        plan, before, gone = self.plan, self.gone, self.plan.gone(kept)
        silenced = copy.deepcopy(self.module)
        with torch.no_grad():
            for name, axes in plan.graph_walk.parameters.items():
                tensor = find_tensor(silenced, name)
                for d, axis in enumerate(axes if isinstance(tensor, nn.Parameter) else ()):
                    stays = plan.keep_mask(axis.slots, gone)[plan.keep_mask(axis.slots, before)]
                    lost = torch.from_numpy(np.flatnonzero(~stays))
                    tensor.index_fill_(d, lost.to(tensor.device), 0)  # type: ignore[union-attr]
        reference = outputs(silenced, self.probe)
        old = self.module
        tensors = cut_tensors(plan, gone, old, before)
        if self.choice is None:
            new: nn.Module = shrunk_graph(plan, gone, tensors)
        else:
            sets = list(islice(change_sets(plan, gone), self.choice + 1))
            new = smaller(plan.module, fold_scale(plan, gone, tensors, before), sets[-1])
        new.train(old.training)
        if optimizer is not None:
            names = {id(find_tensor(old, name)): name for name in plan.graph_walk.parameters}
            carry_optimizer(
                optimizer, names, new,
                lambda name, tensor: cut_tensor(plan, name, tensor, gone, before),
            )  # fmt: skip
        self.module, self.kept, self._weights = new, kept, None
        return reference


def check_removal(before: Tensor, after: Tensor) -> float:
    """Return the relative difference of outputs with channels silenced and with them removed.

    Raises
    ------
    RuntimeError
        The difference is larger than rounding explains.
    """
    size = float(before.abs().max()) if before.numel() else 0.0
    error = float((after - before).abs().max()) if before.numel() else 0.0
    scale = max(size, SMALLEST_SCALE)
    tolerance = rounding_tolerance(before.dtype)
    if not error <= tolerance * scale:
        raise RuntimeError(
            f"forward: got outputs that change by {error:.3g} when silent channels are removed; "
            f"expected at most {tolerance:g} of the largest output, {size:.3g}; write a forward "
            "that does not depend on the widths of the layers"
        )
    return error / scale


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
