"""Dense training with optional masks: what the dense baselines have in common.

Features first like the sparse trainer, biases as the last column of each weight matrix.
Memory is 16 bytes for every weight of the dense network, which is the point of comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from secateurs.core.losses import check_finite, output_gradient
from secateurs.core.schedules import learning_rate_at
from secateurs.core.solution import History, Progress, ProgressCallback, Solution
from secateurs.sparse.network import SparseNetwork, from_dense
from secateurs.training.adam import BETA1, BETA2, EPSILON
from secateurs.training.training_data import TrainingData, batches


@dataclass
class DenseState:
    """Weights [n_out, n_in + 1] of a dense network, their masks and Adam's moments."""

    weights: list[Tensor]
    masks: list[Tensor] = field(init=False)
    m: list[Tensor] = field(init=False)
    v: list[Tensor] = field(init=False)
    n_steps: int = 0

    def __post_init__(self) -> None:
        self.masks = [torch.ones_like(W) for W in self.weights]
        self.restart()

    def restart(self) -> None:
        """Forget Adam's moments."""
        self.m = [torch.zeros_like(W) for W in self.weights]
        self.v = [torch.zeros_like(W) for W in self.weights]
        self.n_steps = 0

    @property
    def n_nonzero(self) -> int:
        """Weights whose mask is open."""
        return int(sum(mask.sum().item() for mask in self.masks))

    def set_masks(self, keep: Tensor) -> None:
        """Open exactly the weights of a flat boolean mask, zero the others and their moments."""
        cuts = [W.numel() for W in self.weights]
        for i, part in enumerate(torch.split(keep, cuts)):
            self.masks[i] = part.view_as(self.weights[i]).to(self.weights[i].dtype)
            for tensor in (self.weights[i], self.m[i], self.v[i]):
                tensor.mul_(self.masks[i])

    def flat_masks(self) -> Tensor:
        """All masks as one flat boolean tensor."""
        return torch.cat([mask.flatten() > 0 for mask in self.masks])

    def magnitude(self) -> Tensor:
        """Global magnitude of every weight, flat."""
        return torch.cat([W.abs().flatten() for W in self.weights])

    def fisher_saliency(self) -> Tensor:
        """w^2 times the second moment of the gradient, flat."""
        pairs = zip(self.weights, self.v, strict=True)
        return torch.cat([(W.square() * v).flatten() for W, v in pairs])

    def to_network(self) -> SparseNetwork:
        """Canonical sparse form; masked weights are left out."""
        masked = [W * mask for W, mask in zip(self.weights, self.masks, strict=True)]
        return from_dense([W[:, :-1] for W in masked], [W[:, -1] for W in masked])


def random_dense(
    data: TrainingData, hidden: tuple[int, ...], generator: torch.Generator
) -> DenseState:
    """He initialisation, biases 0.

    The first layer's fan-in counts inputs by their variance, so that hidden units start at
    unit scale whatever the inputs are scaled to.
    """
    if data.group.size > 1:
        raise ValueError("the dense trainers do not share a fit; use prune_regrow, or one process")
    widths = (data.d, *hidden, data.n_outputs)
    energy = float(data.input_variance().sum())
    weights = []
    for layer in range(len(widths) - 1):
        n_in, n_out = widths[layer], widths[layer + 1]
        W = torch.randn(n_out, n_in + 1, generator=generator)
        W *= (2.0 / (energy if layer == 0 and energy > 0 else n_in)) ** 0.5
        W[:, -1] = 0.0
        weights.append(W.to(data.device))
    return DenseState(weights)


def dense_forward(weights: list[Tensor], H: Tensor) -> list[Tensor]:
    """Activations of every boundary; hidden ones end with a row of ones."""
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
    """Gradient of every weight matrix from the derivative `D` at the outputs."""
    gradients: list[Tensor] = []
    for layer in range(len(weights) - 1, -1, -1):
        gradients.insert(0, D @ H[layer].t())
        if layer:
            D = weights[layer][:, :-1].t() @ D
            D = torch.ops.aten.threshold_backward(D, H[layer][:-1], 0.0)
    return gradients


def train_dense(
    state: DenseState,
    data: TrainingData,
    generator: torch.Generator,
    *,
    n_steps: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    history: History,
    progress: ProgressCallback | None = None,
    every: int = 50,
    at_exchange: Callable[[int], None] | None = None,
) -> None:
    """Adam with warm-up and cosine on the open weights, in place.

    Parameters
    ----------
    state : DenseState
    data : TrainingData
    generator : torch.Generator
    n_steps, batch_size : int
    learning_rate, weight_decay : float
    history : History
        Appended to every `every` steps.
    progress : callable, optional
    every : int
    at_exchange : callable, optional
        Called with the number of steps done every `every` steps; may change the masks.
    """
    stream = batches(data.n, batch_size, generator)
    units = torch.arange(data.d, device=data.device)
    masked = any(bool((mask == 0).any()) for mask in state.masks)
    losses, since = torch.zeros((), device=data.device), 0
    done = int(history["step"][-1]) if history["step"] else 0
    for step in range(n_steps):
        rows = next(stream)
        H = dense_forward(state.weights, data.noisy_inputs(rows, units, generator))
        loss, D = output_gradient(H[-1], data.targets(rows))
        gradients = dense_gradients(state.weights, H, D)
        rate = learning_rate * learning_rate_at(step, n_steps)
        if weight_decay > 0:
            for W in state.weights:
                W.mul_(1 - rate * weight_decay)
        _adam(state, gradients, masked, rate)
        losses += loss
        since += 1
        t = step + 1
        if t % every and t != n_steps:
            continue
        mean_loss = check_finite(losses.item() / since, t)
        if at_exchange is not None:
            at_exchange(t)
            masked = True
        history.record(step=done + t, loss=mean_loss, n_nonzero=state.n_nonzero)
        losses.zero_()
        since = 0
        if progress is not None:
            progress(Progress(t, n_steps, mean_loss, state.n_nonzero))


def _adam(state: DenseState, gradients: list[Tensor], masked: bool, rate: float) -> None:
    state.n_steps += 1
    correction = np.sqrt(1 - BETA2**state.n_steps) / (1 - BETA1**state.n_steps)
    for W, mask, m, v, g in zip(
        state.weights, state.masks, state.m, state.v, gradients, strict=True
    ):
        if masked:
            g.mul_(mask)
        m.lerp_(g, 1 - BETA1)
        v.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
        W.addcdiv_(m, v.sqrt().add_(EPSILON), value=-rate * correction)


def dense_solution(
    state: DenseState, data: TrainingData, history: History, batch_size: int
) -> Solution[SparseNetwork]:
    """What a dense trainer returns, with the memory it took beyond the data."""
    weights = sum(W.numel() for W in state.weights)
    live = sum(W.shape[1] for W in state.weights) + data.n_outputs
    masks = 4 * weights if state.n_nonzero < weights else 0
    # weights, gradients, two moments, and a temporary of the largest layer in the update
    arrays = 16 * weights + 4 * max(W.numel() for W in state.weights) + masks
    activations = 4 * min(batch_size, data.n) * (2 * live + data.d)
    columns = {name: list(column) for name, column in history.items()}
    measured = {
        "n_steps": int(columns["step"][-1]),
        "peak_support": weights,
        "peak_bytes": arrays + activations,
    }
    return Solution(state.to_network(), "budget", columns, measured)


def dense(
    data: TrainingData,
    hidden: tuple[int, ...],
    n_nonzero: int | None = None,  # noqa: ARG001 - the dense network has no budget
    *,
    n_steps: int,
    batch_size: int,
    learning_rate: float = 1e-2,
    weight_decay: float = 0.0,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> Solution[SparseNetwork]:
    """Train the dense network, ignoring the budget: the accuracy to be measured against.

    Returns
    -------
    Solution of SparseNetwork
        With every weight present; cost 6 * batch * (number of weights) flops a step.
    """
    generator = torch.Generator().manual_seed(random_state)
    state = random_dense(data, hidden, generator)
    history = History("step", "loss", "n_nonzero")
    train_dense(
        state,
        data,
        generator,
        n_steps=n_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        history=history,
        progress=progress,
    )
    return dense_solution(state, data, history, batch_size)
