"""Fewer and fewer neurons by a smooth group penalty that grows.

    L(theta) + lambda sum_l sum_j ||g_lj||^2 / (m_l sqrt(||g_lj||^2 + beta_l))            (1)

    balance the neurons;  m_l <- largest norm of layer l
    every step:      Adam on (1); lambda grows by the same factor every step             (2)
    every T steps:   sqrt(beta_l) <- 0.05 of the largest norm of layer l                  (3)
                     remove the neurons with ||g|| < sqrt(beta) / 2, moments and all      (4)
                     keep a copy, greedily pruned at 2 sqrt(beta), if it is smaller       (5)
    until every layer is at its target, or the training loss is halfway to a constant's

With balanced halves ||g|| is proportional to the square root of a neuron's share of the
function, so (1) is concave in the shares: of two neurons with the same direction one takes all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor
from torch.optim import Optimizer

from secateurs.core.losses import check_finite
from secateurs.core.schedules import WARM_UP
from secateurs.nn.data import Batch, Loss
from secateurs.nn.fine_tune import PruneCallback, PruneProgress, adam, gradient_step
from secateurs.nn.network import Network, top_neurons
from secateurs.nn.penalty import add_penalty_gradient, balance, squared_norms

ROOT_BETA = 0.05  # sqrt(beta) over the largest norm
VANISHED, PRUNED = 0.5, 2.0  # norms over sqrt(beta) below which a neuron goes, (4) and (5)
LOOKS = 200  # removals along the path
WEAKEST, STRONGEST = 3e-5, 0.3  # lambda over the loss of a constant, at the ends of the path
HOPELESS = 0.5  # training loss over that of a constant
FINE, COARSE = 20, 0.8  # keep every width up to FINE neurons, above it in steps of a fifth


@dataclass(frozen=True)
class PathRecord:
    """What a plot of the path needs, one entry for each removal."""

    step: int
    strength: float
    loss: float
    n_neurons: int


def group_lasso_path(
    network: Network,
    loss: Loss,
    batches: Iterator[Batch],
    *,
    targets: dict[str, int],
    null_loss: float,
    n_steps: int,
    learning_rate: float,
    progress: PruneCallback | None = None,
) -> Iterator[tuple[Network, PathRecord]]:
    """Train a network under a growing penalty and remove what vanishes.

    Parameters
    ----------
    network : Network
        Trained; changed in place.
    loss : callable (output, target) -> Tensor, 0-d
    batches : iterator of (X, y)
    targets : dict of str to int
        Neurons at which a layer is left alone, at least 1 for each layer.
    null_loss : float
        Loss of a constant answer: the unit of lambda.
    n_steps : int
        Length of the path.
    learning_rate : float
        Of Adam.
    progress : callable, optional

    Yields
    ------
    network : Network
        After each removal, the one being trained: copy it if it is to be kept.
    record : PathRecord

    Raises
    ------
    FloatingPointError
        The loss became infinite or NaN.

    Notes
    -----
    A step costs a step of Adam on the layers as they are then, and three passes over the
    weights for the penalty.
    Source: penalty and greedy pruning of Rajaraman et al. (2023), who prove them for matrix
    sensing and quadratic activations; for other networks there is no theorem.
    """
    module = network.module
    balance(module, network.layers)
    module.train()
    optimizer = adam(module, learning_rate)
    unit = {name: max(float(q.max()), 1e-30) ** 0.5 for name, q in _squares(network).items()}
    every = max(1, n_steps // LOOKS)
    beta = _betas(network)
    total: Tensor | float = 0.0
    since = 0
    for step in range(n_steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min(1.0, (step + 1) / WARM_UP)
        value = gradient_step(module, loss, next(batches), optimizer)
        strength = null_loss * WEAKEST * (STRONGEST / WEAKEST) ** (step / n_steps)  # (2)
        for layer in network.layers:
            if layer.width > targets[layer.name]:
                add_penalty_gradient(module, layer, strength / unit[layer.name], beta[layer.name])
        optimizer.step()
        total, since = total + value, since + 1
        if (step + 1) % every and step + 1 != n_steps:
            continue
        mean = check_finite(float(total) / since, step + 1)
        total, since = 0.0, 0
        beta = _betas(network)  # (3)
        prune_below(network, VANISHED, targets, optimizer)  # (4)
        if progress is not None:
            progress(
                PruneProgress(
                    step + 1, n_steps, mean, network.n_parameters, "group lasso", network.widths
                )
            )
        yield network, PathRecord(step + 1, strength, mean, network.n_neurons)
        done = all(layer.width <= targets[layer.name] for layer in network.layers)
        if done or mean > HOPELESS * null_loss:
            return


def prune_below(
    network: Network, ratio: float, targets: dict[str, int], optimizer: Optimizer | None = None
) -> None:
    """Remove neurons with a norm below ``ratio * sqrt(beta)``, never more than the targets allow.

    Parameters
    ----------
    network : Network
        Changed in place.
    ratio : float
    targets : dict of str to int
    optimizer : Optimizer, optional
    """
    norms = {name: q.sqrt() for name, q in _squares(network).items()}
    keep = {}
    for name, of_layer in norms.items():
        alive = int((of_layer > ratio * ROOT_BETA * of_layer.max()).sum())
        if alive < len(of_layer):
            keep[name] = top_neurons(of_layer, min(len(of_layer), max(alive, targets[name])))
    network.keep_only(keep, norms, optimizer)
    network.stayed = {name: float(q.min()) ** 0.5 for name, q in _squares(network).items()}


def prune_to(network: Network, targets: dict[str, int], balanced: bool = True) -> None:
    """Keep the neurons with the largest norms, in place: greedy pruning."""
    if balanced:
        balance(network.module, network.layers)
    norms = {name: q.sqrt() for name, q in _squares(network).items()}
    keep = {n: top_neurons(norms[n], min(k, len(norms[n]))) for n, k in targets.items()}
    network.keep_only(keep, norms)
    network.stayed = {name: float(q.min()) ** 0.5 for name, q in _squares(network).items()}


def is_worth_keeping(n_neurons: int, last: int) -> bool:
    """Whether a network of the path is enough smaller than the last copy, (5)."""
    return n_neurons < last and (n_neurons <= FINE or n_neurons <= COARSE * last)


def _squares(network: Network) -> dict[str, Tensor]:
    return {layer.name: squared_norms(network.module, layer) for layer in network.layers}


def _betas(network: Network) -> dict[str, float]:
    return {
        name: max(ROOT_BETA**2 * float(q.max()), 1e-30) for name, q in _squares(network).items()
    }
