"""Train a dense network whose weights can be masked: the loop of all dense baselines.

Activations are features first as in `prune_regrow`, and the last column of each weight matrix
holds the biases.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Required, TypedDict

import numpy as np
import torch
from torch import Tensor

from secateurs.core.driver import Iterations
from secateurs.core.losses import check_finite, output_derivative, output_loss
from secateurs.core.parameters import Shown, bad_value
from secateurs.core.schedules import learning_rate_at
from secateurs.core.solution import History, ProgressCallback, Solution
from secateurs.sparse.network import SparseNetwork, from_dense
from secateurs.sparse.topk import smallest_mask
from secateurs.training.adam import BETA1, BETA2, EPSILON
from secateurs.training.memory import dense_peak_bytes
from secateurs.training.training_data import TrainingData

EVERY = 50  # steps between two records, and between two changes of the masks


class TrainerSettings(TypedDict, total=False):
    """Keyword arguments that all trainers accept; `prune_regrow` describes them."""

    n_steps: Required[int]
    batch_size: Required[int]
    learning_rate: float
    weight_decay: float
    random_state: int
    progress: ProgressCallback | None


class DenseTraining:
    """A dense network in training by Adam, with a mask for each weight.

    The weights start from the initialisation of He et al. (2015), and the biases from 0.  The
    first layer counts its inputs by their variance, so that hidden units start at unit scale.

    Parameters
    ----------
    data : TrainingData
        Its group must have one process.
    hidden, n_steps, batch_size, learning_rate, weight_decay, random_state, progress
        As for `prune_regrow`.

    Attributes
    ----------
    weights, masks : list of Tensor, shapes [n_out, n_in + 1]
    generator : torch.Generator
        Draws the weights, the batches and the input noise.

    Notes
    -----
    A step costs 6 * batch * weights flops.  Memory is 16 bytes for each weight, 4 more for masks,
    and the activations.
    """

    def __init__(
        self,
        data: TrainingData,
        hidden: tuple[int, ...],
        *,
        n_steps: int,
        batch_size: int,
        learning_rate: float = 1e-2,
        weight_decay: float = 0.0,
        random_state: int = 0,
        progress: ProgressCallback | None = None,
    ) -> None:
        if data.group.size > 1:
            raise bad_value(
                "group",
                Shown(f"{data.group.size} processes"),
                "one process, because dense trainers do not support multi-process fits",
                "use prune_regrow",
            )
        self.data, self.n_steps, self.batch_size = data, n_steps, batch_size
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.generator = torch.Generator().manual_seed(random_state)
        self.weights = _he_weights(data, hidden, self.generator)
        self.masks = [torch.ones_like(W) for W in self.weights]
        self._masked = False
        self.history = History("step", "loss", "n_nonzero")
        self._progress = progress
        self.restart()

    @property
    def n_nonzero(self) -> int:
        """Number of weights that are not masked."""
        return int(sum(mask.sum().item() for mask in self.masks))

    @property
    def n_weights(self) -> int:
        """Number of all weights, masked or not."""
        return sum(W.numel() for W in self.weights)

    def magnitude(self) -> Tensor:
        """Return the absolute value of every weight, flat."""
        return torch.cat([W.abs().flatten() for W in self.weights])

    def fisher_saliency(self) -> Tensor:
        """Return w^2 times the second moment of the gradient, flat."""
        pairs = zip(self.weights, self._v, strict=True)
        return torch.cat([(W.square() * v).flatten() for W, v in pairs])

    def keep_largest(self, score: Tensor, count: int) -> None:
        """Mask all weights but the `count` with the largest score; masked ones stay masked."""
        score[torch.cat([mask.flatten() == 0 for mask in self.masks])] = -1.0
        self.keep(~smallest_mask(score, score.numel() - count))

    def keep(self, chosen: Tensor) -> None:
        """Keep the weights of a flat boolean mask, and set the others to zero."""
        self._masked = not bool(chosen.all())
        parts = torch.split(chosen, [W.numel() for W in self.weights])
        for i, part in enumerate(parts):
            self.masks[i] = part.view_as(self.weights[i]).to(self.weights[i].dtype)
            for tensor in (self.weights[i], self._m[i], self._v[i]):
                tensor.mul_(self.masks[i])

    def restart(self) -> None:
        """Forget the moments of Adam."""
        self._m = [torch.zeros_like(W) for W in self.weights]
        self._v = [torch.zeros_like(W) for W in self.weights]
        self._n_updates = 0

    def gradients(
        self, inputs: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the mean loss of a batch, 0-d, and the gradient of every weight matrix."""
        H = dense_forward(self.weights, inputs)
        loss = output_loss(H[-1], targets, weights=weights)
        D = output_derivative(H[-1], targets, weights).div_(H[-1].shape[1])
        return loss, dense_gradients(self.weights, H, D)

    def train(self, n_steps: int) -> None:
        """Train with the masks as they are."""
        for _ in self.steps(n_steps):
            pass

    def steps(self, n_steps: int) -> Iterator[int]:
        """Train, and pause every 50 steps, where the caller may change the masks.

        Yields
        ------
        int
            Steps since the call.
        """
        data = self.data
        done = int(self.history["step"][-1]) if self.history["step"] else 0
        stream = data.batches(self.batch_size, self.generator)
        units = torch.arange(data.d, device=data.device)
        losses, since = torch.zeros((), device=data.device), 0
        run = Iterations(n_steps, self._progress)
        for t in run:
            rows = next(stream)
            inputs = data.noisy_inputs(rows, units, self.generator)
            loss, gradients = self.gradients(inputs, data.targets(rows), data.weights(rows))
            self._adam(gradients, self.learning_rate * learning_rate_at(t - 1, n_steps))
            losses += loss
            since += 1
            if t % EVERY and t != n_steps:
                continue
            mean_loss = check_finite(losses.item() / since, t)
            yield t
            self.history.record(step=done + t, loss=mean_loss, n_nonzero=self.n_nonzero)
            losses, since = torch.zeros_like(losses), 0
            run.report(mean_loss, self.n_nonzero)

    def _adam(self, gradients: list[Tensor], rate: float) -> None:
        self._n_updates += 1
        correction = np.sqrt(1 - BETA2**self._n_updates) / (1 - BETA1**self._n_updates)
        for W, mask, m, v, g in zip(
            self.weights, self.masks, self._m, self._v, gradients, strict=True
        ):
            if self.weight_decay > 0:
                W.mul_(1 - rate * self.weight_decay)
            if self._masked:
                g.mul_(mask)
            m.lerp_(g, 1 - BETA1)
            v.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
            W.addcdiv_(m, v.sqrt().add_(EPSILON), value=-rate * correction)

    def solution(self) -> Solution[SparseNetwork]:
        """Return the network without its masked weights, and the history so far."""
        masked = [W * mask for W, mask in zip(self.weights, self.masks, strict=True)]
        history = {name: list(column) for name, column in self.history.items()}
        peak_bytes = dense_peak_bytes(
            self.weights,
            masked=self._masked,
            batch_size=min(self.batch_size, self.data.n),
        )
        measured = {
            "n_steps": int(history["step"][-1]),
            "peak_support": self.n_weights,
            "peak_bytes": peak_bytes,
        }
        return Solution(from_dense(masked), "budget", history, measured)


def _he_weights(
    data: TrainingData, hidden: tuple[int, ...], generator: torch.Generator
) -> list[Tensor]:
    energy = float(data.input_variance().sum())
    weights = []
    for layer, (n_in, n_out) in enumerate(pairwise((data.d, *hidden, data.n_outputs))):
        W = torch.randn(n_out, n_in + 1, generator=generator)
        W *= (2.0 / (energy if layer == 0 and energy > 0 else n_in)) ** 0.5
        W[:, -1] = 0.0
        weights.append(W.to(data.device))
    return weights


def dense_forward(weights: list[Tensor], H: Tensor) -> list[Tensor]:
    """Return the inputs, the hidden activations (the last row is ones) and the outputs."""
    activations = [H]
    for W in weights[:-1]:
        Z = torch.empty(W.shape[0] + 1, H.shape[1], dtype=H.dtype, device=H.device)
        torch.mm(W, H, out=Z[:-1])
        Z.relu_()
        Z[-1] = 1.0
        activations.append(Z)
        H = Z
    activations.append(weights[-1] @ H)
    return activations


def dense_gradients(weights: list[Tensor], H: list[Tensor], D: Tensor) -> list[Tensor]:
    """Return the gradient of every weight matrix from the derivative `D` at the outputs."""
    gradients: list[Tensor] = []
    for layer in range(len(weights) - 1, -1, -1):
        gradients.insert(0, D @ H[layer].t())
        if layer:
            D = weights[layer][:, :-1].t() @ D
            D = torch.ops.aten.threshold_backward(D, H[layer][:-1], 0.0)
    return gradients
