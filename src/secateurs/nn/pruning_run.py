"""The start of a pruning in one call: the module is planned for any number of rows."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
from torch import nn

from secateurs.nn.data import Data, Loss
from secateurs.nn.planning import make_plan
from secateurs.nn.run_state import PruningRun, run_of
from secateurs.nn.training_steps import PruneCallback


def pruning_run(
    module: nn.Module,
    loss: Loss,
    data: Data,
    *,
    validation: float | Data,
    batch_size: int,
    learning_rate: float,
    random_state: int | np.random.RandomState | None,
    progress: PruneCallback | None,
) -> AbstractContextManager[PruningRun]:
    """Check the arguments, plan the module, and seed all random draws inside the block."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"module: got {type(module).__name__}; expected an nn.Module")
    return run_of(
        lambda example: make_plan(module, example, any_rows=True), module, loss, data,
        validation=validation, batch_size=batch_size, learning_rate=learning_rate,
        random_state=random_state, progress=progress,
    )  # fmt: skip
