"""Torch modules whose neurons were removed: their losses are measured again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from benchmarks.coverage.judging import Case, attempt, judge, never
from benchmarks.coverage.scenario import Generator, Scenario, seed_of
from secateurs.core import Check
from secateurs.nn import prune_neurons

ROUNDING = 1e-4  # of a loss in float32, relative


@dataclass(frozen=True)
class ModuleTruth:
    """A module before and after, and its validation rows."""

    before: nn.Module
    result: Any
    loss: Any
    X: Tensor
    y: Tensor

    def measured(self, module: nn.Module) -> float:
        """Loss on the validation rows."""
        module.eval()
        with torch.no_grad():
            return float(self.loss(module(self.X), self.y))


@judge("module", "equality")
def neurons_are_gone(check: Check, truth: ModuleTruth) -> bool:
    """The layers have as many neurons as were kept, and the difference is at most what is allowed.

    The states of training at the removals are gone, so that they cannot be compared again.
    """
    layers = dict(truth.result.module.named_modules())
    sizes = {name: len(layers[name].weight) for name in truth.result.widths}
    return sizes == truth.result.widths and check.measured <= check.threshold


@judge("module", "norm gap")
def gap(check: Check, truth: ModuleTruth) -> bool:
    """Neurons were removed, and the ratio is as large as a gap."""
    removed = sum(len(layer.weight) for layer in _hidden(truth.before)) > sum(
        truth.result.widths.values()
    )
    return removed and check.measured >= check.threshold


@judge("module", "validation loss")
def loss_on_validation_rows(check: Check, truth: ModuleTruth) -> bool:
    """Both losses are measured again."""
    before, after = truth.measured(truth.before), truth.measured(truth.result.module)
    slack = ROUNDING * (abs(before) + abs(after))
    same = abs(truth.result.loss_before - before) <= slack
    return (
        same
        and abs(truth.result.loss_after - after) <= slack
        and after - before <= check.threshold + slack
    )


@judge("module", "path length")
def few_were_forced(check: Check, truth: ModuleTruth) -> bool:
    """As many neurons are gone as the sentence says, and few of them had not vanished."""
    forced, removed = map(int, re.findall(r"\d+", check.statement)[:2])
    before = sum(len(layer.weight) for layer in _hidden(truth.before))
    gone = before - sum(truth.result.widths.values())
    return removed == gone and forced <= check.threshold * max(removed, 1)


never("module", "stationarity")


def _hidden(module: nn.Module) -> list[nn.Linear]:
    return [layer for layer in module if isinstance(layer, nn.Linear)][:-1]


def prune_module(
    rng: Generator, keep: Any = "auto", *, classes: bool = False, norm: bool = False
) -> list[Case]:
    """Train a small module for a moment, and remove neurons."""
    seed = seed_of(rng)
    torch.manual_seed(seed)
    X = torch.randn(300, 5)
    signal = torch.relu(X @ torch.randn(5, 3)) @ torch.randn(3, 1)
    y = (signal[:, 0] > signal.median()).long() if classes else signal + 0.1 * torch.randn(300, 1)
    loss = cross_entropy if classes else mse_loss
    middle = [nn.BatchNorm1d(12)] if norm else []
    module = nn.Sequential(nn.Linear(5, 12), *middle, nn.ReLU(), nn.Linear(12, 2 if classes else 1))
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        loss(module(X), y).backward()
        optimizer.step()
    module.eval()
    data, validation = (X[:200], y[:200]), (X[200:], y[200:])
    found = attempt(
        lambda: prune_neurons(
            module, loss, data, keep, validation=validation, n_steps=200, fine_tune_steps=50,
            random_state=np.random.RandomState(seed),
        )
    )  # fmt: skip
    if found is None:
        return [Case("nn.prune_neurons", "module", ())]
    truth = ModuleTruth(module, found, loss, *validation)
    return [Case("nn.prune_neurons", "module", found.certificate.checks, truth)]


MODULES: dict[str, dict[str, Any]] = {
    "width chosen": {},
    "width given": {"keep": 4},
    "classes": {"classes": True},
    "batch norm": {"norm": True},
}
SCENARIOS = [
    Scenario(f"module, {name}", prune_module, options, small=1) for name, options in MODULES.items()
]
