"""How much each channel matters: norms, Taylor expansion, reconstruction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from secateurs.core.certificate import Check
from secateurs.core.parameters import Shown, bad_value, check_choice, check_integer
from secateurs.core.short_repr import short_repr
from secateurs.nn.buffers import restored_buffers
from secateurs.nn.channels import ChannelPlan
from secateurs.nn.evaluation import batch_loss, called, differentiated
from secateurs.nn.group_lasso_scores import group_lasso_scores
from secateurs.nn.grouping import ChannelGroup
from secateurs.nn.reconstruction import reconstruction_scores
from secateurs.nn.rows import batches
from secateurs.nn.slots import IntArray

HOW = ("reconstruction", "norm", "taylor", "group_lasso")
FloatArray = NDArray[np.float64]
Loss = Callable[[Any, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Scores:
    """A number for every channel; those with the smallest numbers go first.

    Parameters
    ----------
    how : str
        The name of the score, as in `Plan.score`.
    values : dict of str to float64 array
        For each group.  Values of different groups can be compared.
    data : object, optional
        The rows that were given, which also repair the cut; norms do not need any.
    checks : callable, optional
        Makes the checks of a choice from the scores of the channels that it removes, if there are
        any.
    """

    __repr__ = short_repr

    how: str
    values: dict[str, FloatArray]
    data: Any = None
    checks: Callable[[FloatArray], tuple[Check, ...]] | None = None

    def checks_of(self, kept: Mapping[str, IntArray]) -> tuple[Check, ...]:
        """Make the checks of a choice of channels.

        Parameters
        ----------
        kept : dict of str to int64 array
            For each group the numbers of the channels that stay; all groups are named.

        Returns
        -------
        tuple of Check
            The checks for the certificate; empty unless the score is "group_lasso".
        """
        if self.checks is None:
            return ()
        removed = [np.delete(self.values[name], index) for name, index in kept.items()]
        return self.checks(np.concatenate(removed) if removed else np.zeros(0))


def score(
    plan: ChannelPlan,
    how: str,
    data: Any,
    loss: Loss | None,
    n_rows: int,
    source: nn.Module | None,
    n_steps: int,
    random_state: int | np.random.RandomState | None,
) -> Scores:
    """Score the channels of a plan; see `Plan.score`."""
    module = plan.module if source is None else source
    check_integer("n_rows", n_rows)
    if loss is not None and not callable(loss):
        raise bad_value("loss", loss, "a function of (output, target)")
    with restored_buffers(module):
        scores = _score(plan, how, data, loss, n_rows, module, n_steps, random_state)
    for name, values in scores.values.items():
        if np.isnan(values).any():
            got = Shown(f"weights or gradients that are NaN in the group {name!r}")
            raise bad_value("module", got, "a module whose weights are numbers")
    return scores


def _score(
    plan: ChannelPlan,
    how: str,
    data: Any,
    loss: Loss | None,
    n_rows: int,
    module: nn.Module,
    n_steps: int,
    random_state: int | np.random.RandomState | None,
) -> Scores:
    check_choice("how", how, HOW)
    if how == "norm":
        return Scores(how, norm_scores(plan, module), data)
    if data is None:
        raise bad_value("data", None, f"calibration rows for the score {how!r}")
    if how == "group_lasso":
        if loss is None:
            raise bad_value("loss", None, "a loss for the score 'group_lasso'")
        values, checks = group_lasso_scores(plan, module, data, loss, n_steps, random_state)
        return Scores(how, values, data, checks)
    if how == "taylor":
        if loss is None:
            raise bad_value("loss", None, "a loss for the score 'taylor'")
        return Scores(how, taylor_scores(plan, module, data, loss, n_rows), data)
    values = reconstruction_scores(plan, module, data, n_rows)
    # a group that no layer reads directly is ranked by its norms, on the same scale
    for name, norms in norm_scores(plan, module).items():
        if name not in values:
            order = np.argsort(norms, kind="stable")
            shares = np.cumsum(norms[order] ** 2)
            values[name] = np.empty_like(norms)
            values[name][order] = shares / max(shares[-1], np.finfo(float).tiny)
    return Scores(how, {name: values[name] for name in plan.groups}, data)


def norm_scores(plan: ChannelPlan, module: nn.Module) -> dict[str, FloatArray]:
    """Norm of the weights that go with each channel, over the mean of its group.

    What writes a channel and what reads it are multiplied, because a scale can move from one to
    the other without changing the function.
    """
    parameters = dict(module.named_parameters(remove_duplicate=False))
    readers = set(plan.graph_walk.readers)
    found = {}
    for name, group in plan.groups.items():
        halves = np.zeros((2, group.size))
        for place in group.places:
            parameter = parameters.get(place.name)
            if parameter is not None:
                square = parameter.detach().abs().double().square().cpu()
                half = int((place.name, place.axis) in readers)
                halves[half] += _by_channel(plan, group, place, square)
        sides = [half for half in halves if half.any()]
        norms = np.sqrt(np.prod(sides, axis=0)) if sides else np.zeros(group.size)
        found[name] = norms / max(float(norms.mean()), np.finfo(float).tiny)
    return found


def _by_channel(plan: ChannelPlan, group: ChannelGroup, place: Any, entries: Tensor) -> FloatArray:
    """Sum the entries of a parameter that go with each channel."""
    others = tuple(i for i in range(entries.ndim) if i != place.axis)
    sums = (entries.sum(others) if others else entries).numpy()
    channel = plan.channel_of(group, plan.graph_walk.parameters[place.name][place.axis].slots)
    mine = channel >= 0
    found: FloatArray = np.bincount(channel[mine], sums[mine], group.size).astype(np.float64)
    return found


class _Functional(nn.Module):
    """A module that computes with other parameters, and with copies of its buffers."""

    def __init__(self, module: nn.Module, parameters: dict[str, Tensor]) -> None:
        super().__init__()
        state = parameters | {name: b.detach().clone() for name, b in module.named_buffers()}
        if isinstance(module, nn.DataParallel):  # which cannot be called with another state
            module = module.module
            state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
        self._call: Callable[..., Any] = lambda *call: functional_call(module, state, *call)
        self.train(module.training)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module."""
        return self._call(args, kwargs)


def taylor_scores(
    plan: ChannelPlan, module: nn.Module, data: Any, loss: Loss, n_rows: int
) -> dict[str, FloatArray]:
    """Mean square change of the loss, to first order, when a channel is silenced.

    The change is sum g w over the weights that write the channel, for each batch.
    Source: Molchanov et al. (2019), "Importance estimation for neural network pruning".
    """
    parameters = dict(module.named_parameters(remove_duplicate=False))
    readers = set(plan.graph_walk.readers)
    found = {name: np.zeros(group.size) for name, group in plan.groups.items()}
    # frozen parameters count as well
    leaves = {
        name: p.detach().requires_grad_()
        for name, p in module.named_parameters()
        if p.is_floating_point() or p.is_complex()
    }
    for inputs, y in batches(data, module, most=n_rows, size=32):
        if y is None:
            got = Shown("rows without targets")
            raise bad_value("data", got, "(X, y) for the score 'taylor'")
        with torch.enable_grad():
            value = batch_loss(loss, called(_Functional(module, leaves), inputs), y)
        with differentiated():
            gradients = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
        products = {
            id(parameters[name]): (g.conj() * leaf).detach().real.double().cpu()
            for (name, leaf), g in zip(leaves.items(), gradients, strict=True)
            if g is not None
        }
        change = {n: products[id(p)] for n, p in parameters.items() if id(p) in products}
        for name, group in plan.groups.items():
            writers = [
                p for p in group.places
                if p.name in change and (p.name, p.axis) not in readers
            ]  # fmt: skip
            found[name] += (
                sum(
                    (_by_channel(plan, group, p, change[p.name]) for p in writers),
                    start=np.zeros(group.size),
                )
                ** 2
            )
    return found
