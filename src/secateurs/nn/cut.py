"""A choice of channels to keep, and the smaller modules that it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

from secateurs.core.certificate import Certificate, Check
from secateurs.core.parameters import Shown, bad_value, check_choice
from secateurs.core.short_repr import short_repr
from secateurs.nn.attention_scale import fold_scale
from secateurs.nn.certificate import equality_check
from secateurs.nn.channels import ChannelPlan
from secateurs.nn.optimizer_state import carry_optimizer
from secateurs.nn.pruned_module import PrunedModule
from secateurs.nn.reconstruction import ROWS, repaired
from secateurs.nn.shrink_graph import cut_tensor, cut_tensors, shrunk_graph
from secateurs.nn.shrink_module import Change, change_sets, smaller
from secateurs.nn.silence import embed
from secateurs.nn.slots import IntArray
from secateurs.nn.verify import (
    Agreement,
    NotEqualError,
    rounding_tolerance,
    verify,
    verify_each_group,
)

FORMS = ("auto", "class", "graph")


@dataclass(frozen=True, eq=False)
class Cut:
    """Which channels of a plan are kept.

    Parameters
    ----------
    plan : ChannelPlan
        The plan of the wide module.
    kept : dict of str to int64 array
        For every group the channels that stay, increasing.
    source : nn.Module
        The wide module, whose weights may have been repaired; it is not modified.
    checks : tuple of Check
        What the scores say of the choice.
    """

    __repr__ = short_repr

    plan: ChannelPlan
    kept: dict[str, IntArray]
    source: nn.Module = field(repr=False)
    checks: tuple[Check, ...] = ()

    @property
    def widths(self) -> dict[str, int]:
        """Channels left in each group."""
        return {name: len(index) for name, index in self.kept.items()}

    @property
    def flops(self) -> float:
        """FLOPs on the example inputs after the cut."""
        return self.plan.cost(self.kept)[0]

    @property
    def n_parameters(self) -> int:
        """Numbers in the module after the cut."""
        return self.plan.cost(self.kept)[1]

    def __str__(self) -> str:
        flops, n_parameters = self.plan.cost(self.kept)
        lines = [
            f"{n_parameters:,} of {self.plan.n_parameters:,} parameters and "
            f"{flops / max(self.plan.flops, 1):.1%} of the FLOPs are left."
        ]
        lines += [
            f"  {name}: {len(index)} of {self.plan.groups[name].size}"
            for name, index in self.kept.items()
        ]
        return "\n".join(lines)

    def embedded(self, small: nn.Module) -> nn.Module:
        """Put the weights of a smaller module into the wide one, with zeros elsewhere.

        Parameters
        ----------
        small : nn.Module
            A module that `apply` of this cut made; it may have been trained since.

        Returns
        -------
        nn.Module
            A copy of the planned module, whose tensors have the dtypes of the smaller one.
        """
        return embed(self.plan, self.plan.gone(self.kept), small)

    def repair(self, data: Any, n_rows: int = ROWS) -> Cut:
        """Fit the layers that read removed channels again, by least squares.

        Parameters
        ----------
        data : X, (X, y) or DataLoader
            Calibration rows.
        n_rows : int
            Rows that are used.

        Returns
        -------
        Cut
            The same channels, with weights that compute what the wide module computed as well
            as is possible from them.

        Notes
        -----
        Cost: for each reader of removed channels two forward passes over the rows, and the
        solution of a system of its features.  Memory: Gram matrices of at most 2049^2 numbers.
        """
        return replace(self, source=repaired(self.plan, self.kept, self.source, data, n_rows))

    def apply(
        self,
        optimizer: Optimizer | None = None,
        form: str = "auto",
        *,
        data: Sequence[Any] = (),
        each_group: bool = True,
    ) -> PrunedModule:
        """Make the smaller module, and verify that it is the silenced one.

        Parameters
        ----------
        optimizer : Optimizer, optional
            It trains the module that was given to `plan`.  Its parameters are replaced by those
            of the smaller module, and its state (moments, momentum) is cut with them.
            Schedulers keep working, because they hold the optimiser.  Make copies that average
            weights (EMA) again from the smaller module.
        form : {"auto", "class", "graph"}
            "class" is the module's own class with smaller tensors; "graph" is the exported graph,
            in eval mode.  "auto" takes the class if it is right, else the graph.
        data : sequence of inputs
            Further inputs on which both are compared, each like `example_inputs`.
        each_group : bool
            Whether every group is also verified alone.

        Returns
        -------
        PrunedModule
            The smaller module, with the equality as the first check of its certificate.

        Raises
        ------
        NotEqualError
            No form computes the function of the silenced module to 1e-10 of its largest output.

        Notes
        -----
        Cost: copies of the module in float64, and about ten forward passes, and two for each
        group.
        """
        check_choice("form", form, FORMS)
        if optimizer is not None and not isinstance(optimizer, Optimizer):
            raise bad_value("optimizer", optimizer, "an optimiser of torch")
        if isinstance(data, Tensor | Mapping):
            got = Shown(f"a {type(data).__name__}")
            raise bad_value("data", got, "a list of inputs, each like example_inputs")
        module, used, changes, agreement = self._verified(form, data)
        if each_group:
            error, n_groups = verify_each_group(self.plan, self.source, self.kept)
            agreement = replace(agreement, error=max(error, agreement.error), n_groups=n_groups)
        module.train(self.plan.was_training)
        if optimizer is not None:
            gone = self.plan.gone(self.kept)
            carry_optimizer(
                optimizer,
                self.plan.names,
                module,
                lambda name, tensor: cut_tensor(self.plan, name, tensor, gone),
            )
        flops, n_parameters = self.plan.cost(self.kept)
        return PrunedModule(
            module=module,
            kept=self.kept,
            form=used,
            certificate=Certificate((equality_check(**vars(agreement), form=used), *self.checks)),
            flops=(self.plan.flops, flops),
            n_parameters=(self.plan.n_parameters, n_parameters),
            changes=tuple(changes),
            plan=self.plan,
        )

    def _verified(
        self, form: str, data: Sequence[Any]
    ) -> tuple[nn.Module, str, list[Change], Agreement]:
        gone = self.plan.gone(self.kept)
        tensors = cut_tensors(self.plan, gone, self.source)
        reason = ""
        if form != "graph":
            folded = fold_scale(self.plan, gone, tensors)
            for changes in change_sets(self.plan, gone):
                module = smaller(self.source, folded, changes)
                try:
                    agreement = self._agreement(module, tensors, folded, changes, data)
                except NotEqualError as error:
                    reason = str(error)
                else:
                    return module, "class", changes, agreement
        if form == "class":
            raise NotEqualError(
                f"form='class': {reason}; use form='graph', or keep the groups inside heads whole"
            )
        wide = self.plan.for_any_rows()
        lost = wide.gone(self.kept)
        graph = shrunk_graph(wide, lost, cut_tensors(wide, lost, self.source))
        agreement = verify(self.plan, self.source, self.kept, graph, data)
        return graph, "graph", [], agreement

    def _agreement(
        self,
        module: nn.Module,
        tensors: dict[str, Tensor],
        folded: dict[str, Tensor],
        changes: list[Change],
        data: Sequence[Any],
    ) -> Agreement:
        """Verify the class; weights that were multiplied by a factor are verified unrounded."""
        plan, scaled = self.plan, [n for n, t in folded.items() if t is not tensors[n]]
        if not scaled:
            return verify(plan, self.source, self.kept, module, data)
        wide = dict(tensors)
        for name in scaled:
            wide[name] = nn.Parameter(tensors[name].detach().double(), requires_grad=False)
        exact = smaller(self.source, fold_scale(plan, plan.gone(self.kept), wide), changes)
        agreement = verify(plan, self.source, self.kept, exact, data)
        least = rounding_tolerance(folded[scaled[0]].dtype)
        rounded = verify(plan, self.source, self.kept, module, data, least)
        return replace(agreement, rounding=rounded.error)


def keep(plan: ChannelPlan, kept: Mapping[str, Any], source: nn.Module | None = None) -> Cut:
    """Choose channels by hand.

    Parameters
    ----------
    plan : ChannelPlan
    kept : dict of str to sequence of int
        For each group the numbers of the channels that stay; other groups stay whole.
    source : nn.Module, optional
        A copy of the planned module with other weights.

    Raises
    ------
    ValueError
        A group is unknown, or its channels are not distinct numbers in range, at least one.
    """
    chosen = {name: np.arange(group.size) for name, group in plan.groups.items()}
    for name, index in kept.items():
        size = plan.group(name).size
        channels = np.unique(np.asarray(index, dtype=np.int64).reshape(-1))
        if not len(channels) or channels[0] < 0 or channels[-1] >= size:
            got = Shown(f"channels {np.asarray(index).tolist()}")
            raise bad_value(f"kept[{name!r}]", got, f"at least one number from 0 to {size - 1}")
        chosen[name] = channels
    return Cut(plan, chosen, plan.module if source is None else source)
