"""Networks inside random ones: their bound is compared with the worst inputs that are found."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from benchmarks.coverage.judging import Case, attempt, judge, never
from benchmarks.coverage.scenario import Generator, Scenario, seed_of
from secateurs import tickets
from secateurs.core import Check

ASCENTS, STEPS = 64, 60  # starts and steps of the search for a bad input
ROUNDING = 1e-9  # relative, for sums that are computed here in another order


@dataclass(frozen=True)
class TicketTruth:
    """A ticket, the module it stands for, and the inputs that are allowed."""

    ticket: Any
    module: nn.Module
    eps: float
    radius: float
    shape: tuple[int, ...]
    nonnegative: bool
    seed: int

    def worst(self, returned: nn.Module) -> float:
        """The largest distance of the outputs, over inputs that were looked for by ascent.

        The returned module runs in its own precision, the target in float64.
        """
        exact = copy.deepcopy(self.module).double().eval()
        torch.manual_seed(self.seed)
        x = torch.randn(ASCENTS, *self.shape).double()
        worst = 0.0
        for step in range(STEPS):
            x = self._allowed(x).requires_grad_()
            distance = (returned(x.float()).double() - exact(x.float().double())).flatten(1)
            size = distance.norm(dim=1)
            worst = max(worst, float(size.nan_to_num(nan=torch.inf).max()))
            (slope,) = torch.autograd.grad(size.sum(), x)
            steps = slope / slope.flatten(1).norm(dim=1).clamp(min=1e-300).view(-1, *self._ones)
            x = (x + self.radius * 0.9**step * steps).detach()
        return worst

    @property
    def _ones(self) -> tuple[int, ...]:
        return (1,) * len(self.shape)

    def _allowed(self, x: Tensor) -> Tensor:
        """Put inputs on the sphere of the radius, in float32 inside it."""
        x = x.abs() if self.nonnegative else x
        norms = x.flatten(1).norm(dim=1).clamp(min=1e-300).view(-1, *self._ones)
        return (x / norms * self.radius * (1 - 1e-6)).detach()


@judge("ticket", "weights")
def weights(check: Check, truth: TicketTruth) -> bool:
    """Every sum of masked weights is compared with the weight of the module."""
    largest = 0.0
    layers = [m for m in truth.module.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    numbers = [k for k, layer in enumerate(truth.ticket.layers) if layer.blocks()]
    for number, layer in zip(numbers, layers, strict=True):
        W = layer.weight.detach().double()
        for name, found in truth.ticket.approximation(number).items():
            if name == "bias":
                assert layer.bias is not None
                goal = layer.bias.detach().double().numpy()[:, None]
            else:
                goal = truth.ticket.layers[number].rows((W if name == "plus" else -W).numpy())
            scale = max(float(np.abs(goal).max()), 1e-30)
            largest = max(largest, float(np.abs(found - goal).max()) / scale)
    return largest <= truth.eps * (1 + ROUNDING) and largest <= check.measured * (1 + ROUNDING)


@judge("ticket", "outputs")
def outputs(check: Check, truth: TicketTruth) -> bool:
    """No input was found with outputs further apart, for both modules of the ticket."""
    own = re.search(r"effective_module by at most ([-+.e\d]+\d)", check.statement)
    effective = truth.worst(tickets.effective_module(truth.ticket))
    masked = truth.worst(tickets.masked_module(truth.ticket))
    return masked <= check.measured and effective <= (float(own[1]) if own else check.measured)


never("ticket", "predictions")


def _dense(rng: Generator, bias: bool, scale: float = 1.0) -> nn.Module:
    widths = [int(k) for k in rng.integers(2, 12, int(rng.integers(2, 5)))]
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b, bias=bias), nn.ReLU()]
    module = nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(scale)
    return module


def _convolution(rng: Generator) -> nn.Module:
    channels = int(rng.integers(1, 4))
    pool = [nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Identity()][int(rng.integers(2))]
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=int(rng.integers(2)), bias=bool(rng.integers(2))),
        nn.ReLU(), pool, nn.Conv2d(4, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(3, 2),
    )  # fmt: skip


def _doubled(*values: Any) -> Any:
    return 2 * values[-1] if isinstance(values[-1], Tensor) else (2 * values[-1][0],)


def _own_forward(module: nn.Module) -> None:
    first = module[0]
    first.forward = MethodType(lambda self, x: 2 * nn.Linear.forward(self, x), first)


CHANGES: dict[str, Callable[[nn.Module], Any]] = {
    "forward hook": lambda m: m[0].register_forward_hook(_doubled),
    "forward pre-hook": lambda m: m[-1].register_forward_pre_hook(_doubled),
    "hook of the whole": lambda m: m.register_forward_hook(_doubled),
    "weight norm": lambda m: parametrizations.weight_norm(m[0]),
    "spectral norm": lambda m: parametrizations.spectral_norm(m[0]),
    "own forward": _own_forward,
}


def find_ticket(
    rng: Generator,
    build: Callable[..., nn.Module] = _dense,
    change: str = "",
    eps: tuple[float, float] = (1e-4, 1e-1),
    *,
    bias: bool = False,
    scale: float = 1.0,
    nonnegative: bool = False,
) -> list[Case]:
    """Find a network inside a random one; `change` alters what the module does."""
    seed = seed_of(rng)
    torch.manual_seed(seed)
    convolution = build is _convolution
    module = (build(rng) if convolution else build(rng, bias, scale)).eval()
    first = module[0]
    shape = (first.in_channels, 8, 8) if convolution else (first.in_features,)
    if change:
        CHANGES[change](module)
    allowed = float(np.exp(rng.uniform(*np.log(eps))))
    radius = float(10 ** rng.uniform(-1, 2))
    found = attempt(
        lambda: tickets.prune_network(
            module, allowed, random_state=seed, nonnegative_inputs=nonnegative, radius=radius,
            input_shape=shape if convolution else None, n_threads=1,
        )
    )  # fmt: skip
    if found is None:
        return [Case("tickets.prune_network", "ticket", ())]
    report = tickets.verify_ticket(
        found.value, module, radius=radius, input_shape=shape if convolution else None
    )
    checks = tickets.network_certificate(report, allowed).checks
    truth = TicketTruth(found.value, module, allowed, radius, shape, nonnegative, seed)
    return [Case("tickets.prune_network", "ticket", checks, truth)]


NETWORKS: dict[str, dict[str, Any]] = {
    "usual": {},
    "biases": {"bias": True},
    "small eps": {"eps": (1e-9, 1e-5), "bias": True},
    "non-negative inputs": {"nonnegative": True, "bias": True},
    "small weights": {"scale": 1e-8, "eps": (1e-7, 1e-3)},
    "large weights": {"scale": 1e12, "eps": (1e-7, 1e-3)},
    "convolutions": {"build": _convolution},
    **{name: {"change": name, "bias": True} for name in CHANGES},
}
SCENARIOS = [
    Scenario(f"ticket, {name}", find_ticket, options) for name, options in NETWORKS.items()
]
