"""The plain baseline: prune once by L2 norms, then fine-tune."""

from __future__ import annotations

import numpy as np
from torch import nn

from secateurs.core.parameters import check_integer, check_real
from secateurs.nn.data import Data, Loss
from secateurs.nn.fine_tune import fine_tune
from secateurs.nn.pruned_module import PrunedModule
from secateurs.nn.pruning_run import checked_widths, pruning_run
from secateurs.nn.training_steps import PruneCallback


def l2_prune_neurons(
    module: nn.Module,
    loss: Loss,
    data: Data,
    keep: int | dict[str, int],
    *,
    tolerance: float = 1e-3,
    validation: float | Data = 0.1,
    fine_tune_steps: int = 6000,
    batch_size: int = 128,
    learning_rate: float = 5e-3,
    balanced: bool = True,
    random_state: int | np.random.RandomState | None = None,
    progress: PruneCallback | None = None,
) -> PrunedModule:
    """Keep the neurons with the largest L2 norms, then fine-tune: the plain baseline.

    Parameters
    ----------
    module, loss, data, keep, tolerance, validation, fine_tune_steps, batch_size, \
learning_rate, random_state, progress
        As for `prune_neurons`; `keep` is required.
    balanced : bool
        Whether to balance the weights in and out of every neuron before their norms are
        compared; this leaves the function unchanged.

    Returns
    -------
    PrunedModule
        Ctrl-C ends the fine-tuning early, with the status "interrupted".

    Raises
    ------
    ValueError, TypeError, FloatingPointError, RuntimeError
        As for `prune_neurons`.
    """
    check_real("tolerance", tolerance, least=0)
    check_integer("fine_tune_steps", fine_tune_steps, 0)
    with pruning_run(
        module, loss, data, validation=validation, batch_size=batch_size,
        learning_rate=learning_rate, random_state=random_state, progress=progress,
    ) as run:  # fmt: skip
        network = run.original.network.copy()
        network.prune_to(checked_widths(keep, network.layers), balanced=balanced)
        best = fine_tune(run, network, fine_tune_steps)
        return run.result(best, tolerance * run.gain(run.original), training=module.training)
