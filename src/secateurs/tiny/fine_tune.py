"""Quantisation-aware fine-tuning of the weights on a fixed support.

    w -> c(w / step) * step                       codes c in +-1, +-3, ..., +-(2^b - 1)      (1)
    gradient: that of (1) with c(u) read as u within the range, constant beyond it          (2)
    every step: Adam on the weights and on the logarithm of the step of each layer          (3)
    absent weights are multiplied by 0 in the forward pass, so they stay absent             (4)

Sources: the straight-through estimator (2) is Bengio, Leonard & Courville (2013), arXiv
1308.3432; learnt steps (3) are Esser et al. (2020), arXiv 1902.08153; the codes without a zero
are derived: a weight whose value may be zero would pay for its position without doing anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateurs.core.driver import Iterations
from secateurs.core.losses import check_finite
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.core.threads import threads_for
from secateurs.tiny.integer_layer import BIAS_BITS, IntArray, IntegerLayer

FloatArray = NDArray[np.float64]

LEAST_STEPS = 1500  # small tables get more than the epochs that were asked for
RATE_OF_STEPS = 0.5  # the learning rate of the step sizes, relative to that of the weights
UNKNOWN_WORST = 1 << 62  # sums are then computed in integers
MOST_CODE = 1e-3  # distance to the end of the range within which a code is the last one


@dataclass(frozen=True, eq=False)
class Rows:
    """Training rows of the fine-tuning.

    Attributes
    ----------
    features : integer array [n, d]
    unit : float
        One unit of a feature, in units of the scaled inputs.
    targets : int64 array [n] of class numbers, or float32 [n, k] of scaled targets
    noise : float
        Standard deviation of the noise on the scaled inputs.
    teacher : float array [n, k], optional
        Outputs of a larger network on the same rows.  Half of the loss is then the distance to
        these outputs.
    redraw : callable, optional
        Gets the numbers of some rows and a source of random numbers, and returns features for
        them that replace those in `features`: images that are distorted anew in each step.
    """

    features: NDArray[np.integer]
    unit: float
    targets: NDArray[np.generic]
    noise: float = 0.0
    teacher: FloatArray | None = None
    redraw: Callable[[Tensor, torch.Generator], Tensor] | None = None


def fine_tune(
    layers: Sequence[FloatArray],
    rows: Rows,
    bits: int,
    *,
    epochs: int = 12,
    learning_rate: float = 2e-3,
    batch_size: int = 256,
    least_steps: int = LEAST_STEPS,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> Solution[list[IntegerLayer]]:
    """Quantise a network and train its values further; the support does not change.

    Parameters
    ----------
    layers : sequence of float64 arrays [n_out, n_in + 1]
        Weights for the scaled inputs, from `secateurs.tiny.float_network`; 0 is an absent weight.
    rows : Rows
    bits : int
        Bits of a weight, 2 to 8.
    epochs : int
        0 quantises without training.
    learning_rate : float
        At the start; it falls to 0 along half a cosine.
    batch_size : int
    least_steps : int
        Steps to make if the epochs are fewer.
    random_state : int
    progress : callable, optional

    Returns
    -------
    Solution
        Its value is a list of `IntegerLayer`.  After Ctrl-C these are the weights so far.

    Notes
    -----
    A step costs O(batch * entries of the dense layers).
    """
    network = _Quantised(layers, bits, rows.unit)
    n = len(rows.features)
    batch = min(batch_size, n)
    n_steps = max(epochs * (n // batch), least_steps) if epochs else 0
    groups = [
        {"params": network.weights, "base": learning_rate},
        {"params": network.log_steps, "base": learning_rate * RATE_OF_STEPS},
    ]
    optimizer = torch.optim.Adam(groups, lr=learning_rate)
    source = torch.Generator().manual_seed(random_state)
    features, targets = torch.from_numpy(rows.features), torch.from_numpy(rows.targets)
    wanted = None if rows.teacher is None else torch.from_numpy(rows.teacher.astype(np.float32))
    order = torch.empty(0, dtype=torch.int64)
    entries = sum(layer.size for layer in layers)
    with threads_for(entries * batch), Iterations(n_steps, progress) as run:
        for step in run:
            if len(order) < batch:
                order = torch.randperm(n, generator=source)
            picked, order = order[:batch], order[batch:]
            x = features[picked] if rows.redraw is None else rows.redraw(picked, source)
            z = x.to(torch.float32) * rows.unit
            if rows.noise:
                z += rows.noise * torch.randn(z.shape, generator=source)
            for group in optimizer.param_groups:
                group["lr"] = group["base"] * 0.5 * (1 + math.cos(math.pi * step / n_steps))
            outputs = network.outputs(z)
            loss = _loss(outputs, targets[picked])
            if wanted is not None:
                loss = 0.5 * loss + 0.5 * _distance(outputs, wanted[picked], targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if step % 50 == 0 or step == n_steps:
                value = check_finite(float(loss.detach()), step)
                run.record(loss=value, n_nonzero=network.n_nonzero)
    return run.solution(network.integer_layers())


def _loss(outputs: Tensor, targets: Tensor) -> Tensor:
    if targets.ndim == 1:
        return torch.nn.functional.cross_entropy(outputs, targets)
    return 0.5 * (outputs - targets).square().sum(1).mean()


def _distance(outputs: Tensor, wanted: Tensor, targets: Tensor) -> Tensor:
    """Return the distance to a teacher: cross-entropy of its probabilities, or squares."""
    if targets.ndim == 1:
        return torch.nn.functional.cross_entropy(outputs, torch.softmax(wanted, 1))
    return 0.5 * (outputs - wanted).square().sum(1).mean()


def integer_loss(layers: Sequence[IntegerLayer], rows: Rows) -> float:
    """Return the mean loss of integer layers on rows, as the fine-tuning measures it."""
    sums = rows.features.astype(np.int64)
    for i, layer in enumerate(layers):
        sums = layer.sums(np.maximum(sums, 0) if i else sums, UNKNOWN_WORST)
    outputs = sums * math.prod(layer.step for layer in layers)
    return float(_loss(torch.from_numpy(outputs), torch.from_numpy(rows.targets)))


class _Quantised:
    """Weights, masks and step sizes; computes with the weights that the codes stand for."""

    def __init__(self, layers: Sequence[FloatArray], bits: int, unit: float) -> None:
        self.bits, self.unit = bits, unit
        self.weights = [torch.tensor(w, dtype=torch.float32).requires_grad_() for w in layers]
        self.masks = [torch.tensor(w != 0, dtype=torch.float32) for w in layers]
        steps = [best_step(w[:, :-1], bits) for w in layers]
        self.log_steps = [torch.tensor(math.log(step)).requires_grad_() for step in steps]
        self.n_nonzero = sum(int((w != 0).sum()) for w in layers)

    def outputs(self, z: Tensor) -> Tensor:
        """Return the outputs for scaled inputs [n, d]."""
        scale = self.unit  # what one unit of the integer inputs of the layer stands for
        last = len(self.weights) - 1
        for i, (weight, mask, log_step) in enumerate(
            zip(self.weights, self.masks, self.log_steps, strict=True)
        ):
            step = torch.exp(log_step)
            w = _quantised(weight[:, :-1], step, self.bits) * mask[:, :-1]
            shift = bias_shift(weight.detach()[:, -1].numpy(), float(step.detach()) * scale)
            constant = step * (scale * 2.0**shift)
            b = _quantised(weight[:, -1], constant, BIAS_BITS) * mask[:, -1]
            z = torch.nn.functional.linear(z, w, b)
            if i < last:
                z = torch.relu(z)
            scale *= float(step.detach())
        return z

    def integer_layers(self) -> list[IntegerLayer]:
        """Return the codes, with the steps in units of the integer inputs of each layer."""
        found, scale = [], self.unit
        for i, (weight, mask, log_step) in enumerate(
            zip(self.weights, self.masks, self.log_steps, strict=True)
        ):
            values = weight.detach().numpy().astype(np.float64)
            step = math.exp(float(log_step.detach()))
            shift = bias_shift(weight.detach()[:, -1].numpy(), step * scale)
            dense = np.empty(values.shape, dtype=np.int64)
            dense[:, :-1] = codes(values[:, :-1], step, self.bits)
            dense[:, -1] = codes(values[:, -1], step * scale * 2.0**shift, BIAS_BITS)
            dense *= mask.numpy().astype(np.int64)
            real = step * (self.unit if i == 0 else 1.0)
            found.append(IntegerLayer.from_codes(dense, self.bits, shift, real))
            scale *= step
        return found


def codes(values: FloatArray, step: float, bits: int) -> IntArray:
    """Return the nearest odd code of each value, from ``1 - 2^bits`` to ``2^bits - 1``."""
    half = 1 << (bits - 1)
    nearest = np.floor(np.clip(values / (2 * step), -half, half - MOST_CODE))
    return (2 * nearest + 1).astype(np.int64)


def _quantised(weight: Tensor, step: Tensor, bits: int) -> Tensor:
    """Return ``code * step``, with the gradient of (2)."""
    half = 1 << (bits - 1)
    u = weight / (2 * step)
    inside = torch.clamp(u, -half + 0.5, half - 0.5)
    code = torch.floor(torch.clamp(u.detach(), -half, half - MOST_CODE)) + 0.5
    return (inside + (code - inside).detach()) * (2 * step)


def bias_shift(biases: NDArray[np.floating], unit: float) -> int:
    """Return the s for which codes of `BIAS_BITS` bits times ``2^s * unit`` hold all biases."""
    most = float(np.abs(biases).max()) if len(biases) else 0.0
    if most == 0 or unit == 0:
        return 0
    return max(0, math.ceil(math.log2(most / (unit * ((1 << BIAS_BITS) - 1)))))


def best_step(weights: FloatArray, bits: int) -> float:
    """Return the step with the smallest squared error of the weights, among 60."""
    present = weights[weights != 0]
    if not len(present):
        return 1.0
    largest = float(np.abs(present).max()) / (1 << bits)
    tried = largest * np.linspace(0.05, 1.2, 60)
    errors = [np.square(codes(present, step, bits) * step - present).sum() for step in tried]
    return float(tried[int(np.argmin(errors))])
