"""The plain baseline: keep the neurons with the largest L2 norms, at once, and fine-tune."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
from torch import nn

from secateurs.core.parameters import check_real
from secateurs.nn.data import Data, Loss
from secateurs.nn.fine_tune import PruneCallback
from secateurs.nn.group_lasso import prune_to
from secateurs.nn.run import PrunedModule, begin, report, targets, tuned


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
        As for `prune_neurons`; `keep` is needed.
    balanced : bool
        Compare norms after balancing the weights in and out of every neuron, which leaves
        the function unchanged.

    Returns
    -------
    PrunedModule
        A keyboard interrupt ends the fine-tuning early, with the status "interrupted".

    Raises
    ------
    ValueError, TypeError, FloatingPointError, RuntimeError
        As for `prune_neurons`.
    """
    check_real("tolerance", tolerance, least=0)
    with ExitStack() as stack:
        run = begin(
            stack, module, loss, data, validation, batch_size, learning_rate,
            fine_tune_steps, random_state, progress,
        )  # fmt: skip
        network = run.original.network.copy()
        prune_to(network, targets(keep, network.layers), balanced)
        result = tuned(run, network, fine_tune_steps)
        allowed = tolerance * max(run.null_loss - run.original.loss, 0.0)
        return report(run, result, allowed, module.training)
