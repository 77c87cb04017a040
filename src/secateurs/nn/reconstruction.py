"""Reconstruction: what a layer computed is computed again from the channels that are left.

A layer computes Y = X W + b.  Without some columns of X, least squares gives the best W and b on
calibration rows (a ridge keeps them finite).  The error that remains is the score of a channel,
and the new weights are the repair.  For the score, channels go one by one, each time the one
whose removal costs least after the best repair:

    cost of column j:    |W_j|^2 / (G^-1)_jj,  G = X^T X                                     (1)
    after it is gone:    W <- W - G^-1_j W_j / (G^-1)_jj,  G^-1 loses row and column j        (2)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from secateurs.core.parameters import Shown, bad_value
from secateurs.nn.buffers import restored_buffers
from secateurs.nn.channels import ChannelPlan
from secateurs.nn.grouping import ChannelGroup
from secateurs.nn.reading import Moments, Unit, capture, features, find_readers, unit_of
from secateurs.nn.rows import batches
from secateurs.nn.shrink_graph import find_tensor
from secateurs.nn.silence import silence
from secateurs.nn.slots import IntArray

RIDGE = 1e-4  # of the mean of the diagonal of the Gram matrix
ROWS = 2000  # calibration rows
FloatArray = NDArray[np.float64]


@torch.no_grad()
def reconstruction_scores(
    plan: ChannelPlan, module: nn.Module, data: Any, n_rows: int
) -> dict[str, FloatArray]:
    """Score the channels of every group by the error that their removal leaves after repair.

    Parameters
    ----------
    plan : ChannelPlan
    module : nn.Module
        The planned module, or one with the same tensors by name.
    data : X, (X, y) or DataLoader
        Calibration rows.
    n_rows : int
        Rows that are used.

    Returns
    -------
    dict of str to float64 array
        For each group the share of the variance of its readers' outputs that is lost when the
        channel and all cheaper ones of its group are removed; infinite for the last one.  A
        group without readers is missing.

    Notes
    -----
    Cost: a forward pass over the calibration rows and, for each reader of n features and m
    outputs, n steps of n (n + m) operations.  Memory: n^2 float64 numbers for each reader.
    Source: (1) and (2) are those of Hassibi & Stork (1993), for all outputs at once.
    """
    units = [unit_of(plan, reader) for reader in find_readers(plan)]
    moments = _moments(module, module, units, data, n_rows)
    found = {}
    for name, group in plan.groups.items():
        problems = []
        for unit in units:
            if unit.reader.name not in moments:
                continue
            blocks = _blocks(plan, unit, group)
            if blocks is not None:
                problems.append(_problem(module, unit, moments[unit.reader.name], blocks))
        if problems:
            found[name] = _eliminate(problems, group.size)
    return found


@torch.no_grad()
def repaired(
    plan: ChannelPlan,
    kept: Mapping[str, IntArray],
    source: nn.Module,
    data: Any,
    n_rows: int = ROWS,
) -> nn.Module:
    """Return the wide module silenced, with the readers of removed channels fitted again.

    Layer by layer in the order of computation: the inputs are those of the module that is
    already silenced and repaired up to here, the targets those of the module before.

    Parameters
    ----------
    plan : ChannelPlan
    kept : dict of str to int64 array
    source : nn.Module
        The wide module; not modified.
    data : X, (X, y) or DataLoader
    n_rows : int

    Notes
    -----
    Cost: for each reader of removed channels two forward passes over the rows, and the solution
    of a system of its features.  Memory: a copy of the module and two Gram matrices.
    """
    gone = plan.gone(kept)
    work = silence(plan, gone, source)
    original = copy.deepcopy(source)
    for reader in find_readers(plan):
        stays = plan.keep_mask(reader.slots, gone)
        if stays.all():
            continue
        unit = unit_of(plan, reader)
        moments = _moments(work, original, [unit], data, n_rows)
        if reader.name in moments:
            layer = work.get_submodule(reader.name)
            mean = None if reader.mean is None else find_tensor(work, reader.mean)
            _refit(layer, original.get_submodule(reader.name), unit, moments[reader.name], stays,
                   mean)  # fmt: skip
    return silence(plan, gone, work)


def _moments(
    module: nn.Module, original: nn.Module, units: Sequence[Unit], data: Any, n_rows: int
) -> dict[str, Moments]:
    """Sum X^T X and X^T T over the rows: X from a module, T from the original."""
    found: dict[str, Moments] = {}
    names = list(dict.fromkeys(unit.reader.name for unit in units))
    for inputs, _ in batches(data, module, most=n_rows):
        with restored_buffers(module), restored_buffers(original):
            ours = capture(module, names, inputs)
            theirs = ours if original is module else capture(original, names, inputs)
        for unit in units:
            name = unit.reader.name
            layer = module.get_submodule(name)
            for x, x0 in zip(ours[name], theirs[name], strict=True):
                X = features(unit, layer, x)
                target = X if original is module else features(unit, layer, x0)
                found.setdefault(name, Moments.empty(X)).add(X, target)
    for name, moments in found.items():
        if not (moments.gram.isfinite().all() and moments.cross.isfinite().all()):
            got = Shown(f"rows on which the layer {name!r} reads NaN or infinite numbers")
            raise bad_value("data", got, "rows with finite activations")
    return found


def _blocks(plan: ChannelPlan, unit: Unit, group: ChannelGroup) -> list[IntArray] | None:
    """Return the features of each channel of a group; None if the reader reads none of them."""
    channel = plan.channel_of(group, unit.reader.slots)[unit.table[:, 0]]
    if not (channel >= 0).any():
        return None
    taps = unit.n_taps
    places = np.arange(len(channel) * taps).reshape(len(channel), taps)
    return [places[channel == i].reshape(-1) for i in range(group.size)]


@dataclass(eq=False)
class _Problem:
    """The least squares of one reader while channels are eliminated."""

    inverse: Tensor  # of the Gram matrix of centred features, with a ridge
    weight: Tensor  # [features, outputs]
    energy: float
    blocks: list[Tensor]

    def costs(self, alive: Sequence[int]) -> Tensor:
        """Share of the energy that is lost with each channel, (1)."""
        sizes = {len(self.blocks[i]) for i in alive}
        if sizes == {1}:
            at = torch.cat([self.blocks[i] for i in alive])
            lost = self.weight[at].square().sum(1) / self.inverse[at, at]
        elif len(sizes) == 1:
            at = torch.stack([self.blocks[i] for i in alive])
            inner = self.inverse[at[:, :, None], at[:, None, :]]
            W = self.weight[at]
            lost = (W * torch.linalg.solve(inner, W)).sum((1, 2))
        else:
            lost = torch.stack([self._cost(self.blocks[i]) for i in alive])
        share: Tensor = lost.clamp(min=0) / self.energy
        return share

    def _cost(self, at: Tensor) -> Tensor:
        if not len(at):
            return self.weight.new_zeros(())
        W = self.weight[at]
        lost: Tensor = (W * torch.linalg.solve(self.inverse[at][:, at], W)).sum()
        return lost

    def remove(self, channel: int) -> None:
        """Repair the weights without a channel, (2)."""
        at = self.blocks[channel]
        if not len(at):
            return
        columns = self.inverse[:, at]
        gain = torch.linalg.solve(self.inverse[at][:, at], columns.T).T
        self.weight -= gain @ self.weight[at]
        self.inverse -= gain @ columns.T
        self.weight[at] = 0


def _problem(module: nn.Module, unit: Unit, moments: Moments, blocks: list[IntArray]) -> _Problem:
    gram = moments.centred()
    diagonal = gram.diagonal()
    ridge = RIDGE * float(diagonal.mean()) + torch.finfo(gram.dtype).tiny
    weight = _matrix(module.get_submodule(unit.reader.name), unit, _gains(module, unit))
    energy = max(float((weight * (gram @ weight)).sum()), torch.finfo(gram.dtype).tiny)
    inverse = torch.linalg.inv(gram + ridge * torch.eye(len(gram), dtype=gram.dtype))
    return _Problem(inverse, weight, energy, [torch.from_numpy(b) for b in blocks])


def _eliminate(problems: list[_Problem], size: int) -> FloatArray:
    """Remove the cheapest channel again and again; return what is lost by then."""
    scores = np.full(size, np.inf)
    alive, lost = list(range(size)), 0.0
    while len(alive) > 1:
        costs = torch.stack([problem.costs(alive) for problem in problems]).sum(0)
        place = int(costs.argmin())
        lost += float(costs[place])
        channel = alive.pop(place)
        scores[channel] = lost
        for problem in problems:
            problem.remove(channel)
    return scores


def _gains(module: nn.Module, unit: Unit) -> Tensor | None:
    """Return the factors by which a batch normalisation multiplies the outputs of a reader."""
    if unit.reader.mean is None:
        return None
    norm: Any = module.get_submodule(unit.reader.mean.rpartition(".")[0])
    gains: Tensor = (norm.running_var.double() + norm.eps).rsqrt()
    return gains if norm.weight is None else norm.weight.double() * gains


def _matrix(layer: nn.Module, unit: Unit, gains: Tensor | None = None) -> Tensor:
    """Return the weight of a reader as float64 [features, outputs], its outputs times gains."""
    weight = layer.weight.detach().double()  # type: ignore[operator]
    if unit.reader.axis:
        weight = weight.transpose(0, 1)  # [inputs, outputs, taps]
    if gains is not None:
        weight = weight * gains.view(1, -1, *[1] * (weight.ndim - 2))
    if unit.patches:
        return weight.permute(0, 2, 3, 1).flatten(0, 2).contiguous()
    table = torch.from_numpy(unit.table)
    return weight[table].flatten(1).contiguous()


def _write(layer: nn.Module, unit: Unit, matrix: Tensor) -> None:
    """Write a matrix [features, outputs] back to the weight of a reader."""
    parameter: Tensor = layer.weight  # type: ignore[assignment]
    wide = parameter.data.transpose(0, 1) if unit.reader.axis else parameter.data
    if unit.patches:
        n, m, *kernel = wide.shape
        wide.copy_(matrix.view(n, *kernel, m).permute(0, 3, 1, 2))
        return
    table = torch.from_numpy(unit.table)
    wide[table] = matrix.view(*table.shape, *wide.shape[1:]).to(wide.dtype)


def _refit(
    layer: nn.Module,
    before: nn.Module,
    unit: Unit,
    moments: Moments,
    stays: NDArray[np.bool_],
    mean: Tensor | None,
) -> None:
    """Fit the weights and the bias of a reader to what it computed before.

    Without a bias, the running mean of the batch normalisation behind it takes its place.
    """
    kept = np.repeat(stays[unit.table[:, 0]], unit.n_taps)
    bias: Tensor | None = layer.bias  # type: ignore[assignment]
    constant = (bias is not None or mean is not None) and unit.has_constant
    rows = torch.from_numpy(np.flatnonzero(np.append(kept, constant)))
    gram = moments.gram[rows][:, rows]
    ridge = RIDGE * float(gram.diagonal().mean()) + torch.finfo(gram.dtype).tiny
    n = int(kept.sum())
    penalty = torch.zeros(len(rows), dtype=gram.dtype)
    penalty[:n] = ridge
    # shrink towards the weights as they are, not towards zero
    target = moments.cross[rows]
    identity = torch.zeros_like(target)
    identity[torch.arange(n), rows[:n]] = ridge
    mix = torch.linalg.solve(gram + torch.diag(penalty), target + identity)
    old = _matrix(before, unit)
    new = torch.zeros_like(old)
    new[rows[:n]] = mix[:n] @ old
    _write(layer, unit, new)
    if constant and bias is not None:
        bias += (mix[n] @ old).to(bias.dtype)
    elif constant and mean is not None:
        mean -= (mix[n] @ old).to(mean.dtype)
