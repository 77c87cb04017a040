"""Steps of Adam on a module, and the progress of a run of `prune`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from secateurs.core.driver import Iterations
from secateurs.core.losses import check_finite
from secateurs.core.parameters import Shown, bad_value
from secateurs.core.program import Inputs
from secateurs.core.solution import Progress
from secateurs.nn.data import Batch, Loss
from secateurs.nn.evaluation import batch_loss, called, differentiated


@dataclass(frozen=True)
class PruneProgress(Progress):
    """State of a running `prune`; step and n_steps are those of the phase.

    Attributes
    ----------
    phase : str
        "group lasso", "choosing a width" or "fine-tuning".
    widths : dict of str to int
        Channels left in each group.
    """

    phase: str
    widths: dict[str, int]


PruneCallback = Callable[[PruneProgress], None]


def adam(module: nn.Module, learning_rate: float) -> Adam:
    """Make Adam for the parameters that require gradients."""
    trained = [p for p in module.parameters() if p.requires_grad]
    if not trained:
        got = Shown("parameters that are all frozen")
        do = "set requires_grad, or fine_tune_steps=0"
        raise bad_value("module", got, "at least one that can be trained", do)
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in trained)
    return Adam(trained, lr=learning_rate, fused=fused)


def train_and_look(
    loop: Iterations,
    module: Callable[[], nn.Module],
    optimizer: Optimizer,
    loss: Loss,
    batches: Iterator[Batch],
    *,
    n_looks: int,
    learning_rate: Callable[[int], float],
    add_penalty: Callable[[int], None] = lambda _: None,
) -> Iterator[float]:
    """Train for the steps of a loop; yield the mean loss since the last look, `n_looks` times.

    `module` returns the module that is trained now; it may get smaller between two looks.
    `learning_rate` and `add_penalty`, which adds to the gradients, are called with the step,
    counted from 0.  FloatingPointError if the loss becomes infinite or NaN.
    """
    every = max(1, loop.n_steps // n_looks)
    total: Tensor | float = 0.0
    since = 0
    for step in loop:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step - 1)
        X, y = next(batches)
        optimizer.zero_grad()
        value = batch_loss(loss, called(module(), Inputs.of(X)), y)
        with differentiated():
            value.backward()  # type: ignore[no-untyped-call]
        add_penalty(step - 1)
        optimizer.step()
        total, since = total + value.detach(), since + 1
        if step % every == 0 or step == loop.n_steps:
            mean = check_finite(float(total) / since, step)
            total, since = 0.0, 0
            yield mean
