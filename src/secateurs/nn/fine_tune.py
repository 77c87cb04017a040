"""Train a module on its loss alone, and keep the state that was best on the validation rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from secateurs.core.losses import check_finite
from secateurs.core.schedules import learning_rate_at
from secateurs.core.solution import Progress
from secateurs.nn.data import Batch, Loss, Rows
from secateurs.nn.network import Judged, Network, judge

LOOKS = 10  # evaluations on the validation rows during a run


@dataclass(frozen=True)
class PruneProgress(Progress):
    """State of a running `prune_neurons`; step and n_steps are those of the phase.

    Attributes
    ----------
    phase : str
        "group lasso", "choosing a width" or "fine-tuning".
    widths : dict of str to int
        Neurons left in each hidden layer.
    """

    phase: str
    widths: dict[str, int]


PruneCallback = Callable[[PruneProgress], None]


def adam(module: nn.Module, learning_rate: float) -> Adam:
    """Adam over the parameters that are trained."""
    trained = [p for p in module.parameters() if p.requires_grad]
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in trained)
    return Adam(trained, lr=learning_rate, fused=fused)


def gradient_step(module: nn.Module, loss: Loss, batch: Batch, optimizer: Optimizer) -> Tensor:
    """Mean loss of a batch, detached; its gradient goes to ``.grad``."""
    optimizer.zero_grad()
    value = loss(module(batch[0]), batch[1])
    if value.ndim != 0:
        raise ValueError(
            f"the loss returned a tensor of shape {tuple(value.shape)}; expected the mean over "
            "the batch, one number"
        )
    value.backward()  # type: ignore[no-untyped-call]
    return value.detach()


def fine_tune(
    network: Network,
    loss: Loss,
    rows: Rows,
    batches: Iterator[Batch],
    *,
    n_steps: int,
    learning_rate: float,
    phase: str = "fine-tuning",
    progress: PruneCallback | None = None,
) -> Iterator[Judged]:
    """Train a copy of a network, yielding the best state so far after each look at it.

    Parameters
    ----------
    network : Network
        Not changed.
    loss : callable (output, target) -> Tensor, 0-d
    rows : Rows
    batches : iterator of (X, y)
    n_steps : int
    learning_rate : float
        Of Adam, at the top of a warm-up and cosine.
    phase : str
    progress : callable, optional

    Yields
    ------
    Judged
        First the network as it is, then at each of ten looks the best so far.

    Raises
    ------
    FloatingPointError
        The loss became infinite or NaN.
    """
    best = judge(network, loss, rows)
    yield best
    work = network.copy()
    work.module.train()
    optimizer = adam(work.module, learning_rate)
    every = max(1, n_steps // LOOKS)
    total: Tensor | float = 0.0
    since = 0
    for step in range(n_steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * learning_rate_at(step, n_steps)
        value = gradient_step(work.module, loss, next(batches), optimizer)
        optimizer.step()
        total, since = total + value, since + 1
        if (step + 1) % every and step + 1 != n_steps:
            continue
        mean = check_finite(float(total) / since, step + 1)
        total, since = 0.0, 0
        now = judge(work, loss, rows)
        if now.loss < best.loss:
            best = Judged(work.copy(), now.chunks, now.shares)
        if progress is not None:
            progress(PruneProgress(step + 1, n_steps, mean, work.n_parameters, phase, work.widths))
        yield best
