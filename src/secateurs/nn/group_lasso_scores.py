"""The path of the group lasso as a score: channels that vanish late matter most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from secateurs.core.certificate import Check
from secateurs.core.parameters import Shown, bad_value, check_integer
from secateurs.nn.certificate import length_check
from secateurs.nn.channels import ChannelPlan
from secateurs.nn.data import Loss
from secateurs.nn.group_lasso import group_lasso_path
from secateurs.nn.group_lasso_pruning import shrinking_copy
from secateurs.nn.run_state import run_of

VALIDATION, BATCH_SIZE, LEARNING_RATE = 0.1, 128, 5e-3
FloatArray = NDArray[np.float64]


def group_lasso_scores(
    plan: ChannelPlan,
    module: nn.Module,
    data: Any,
    loss: Loss,
    n_steps: int,
    random_state: int | np.random.RandomState | None,
) -> tuple[dict[str, FloatArray], Callable[[FloatArray], tuple[Check, ...]]]:
    """Train a copy under the growing penalty, and note when each channel vanishes.

    Parameters
    ----------
    plan : ChannelPlan
    module : nn.Module
        The planned module, or one with the same tensors by name; not modified.
    data : (X, y)
        A tenth of the rows is held out: the path ends when nothing is learned any more.
    loss : callable (output, target) -> Tensor
    n_steps : int
        Batches of the path.
    random_state : int, RandomState or None

    Returns
    -------
    dict of str to float64 array, and a function
        For each group and channel the share of the path after which it vanished; 1 and its norm
        over the largest of its group if it never did.  The function makes the checks of a choice
        from the scores of the removed channels.

    Notes
    -----
    Cost: `n_steps` steps of Adam on layers that shrink.
    Source: the penalty and the path of Rajaraman et al. (2023); see `group_lasso_path`.
    """
    check_integer("n_steps", n_steps)
    if not isinstance(data, tuple | list):
        got = Shown(f"a {type(data).__name__}")
        raise bad_value("data", got, "(X, y) for the score 'group_lasso'")
    rows: Any = data
    wide = plan.for_any_rows()
    ours = replace(wide, program=replace(wide.program, module=module))
    values = {name: np.full(group.size, np.inf) for name, group in plan.groups.items()}
    with run_of(
        lambda _: ours, module, loss, rows, validation=VALIDATION, batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE, random_state=random_state, progress=None,
    ) as run:  # fmt: skip
        network = shrinking_copy(run)

        def note(done: float) -> None:
            for name, index in network.kept.items():
                gone = np.isinf(values[name])
                gone[index] = False
                values[name][gone] = done

        group_lasso_path(
            run, network, dict.fromkeys(values, 1), n_steps, keep_copies=False, on_removal=note
        )
        if run.status == "interrupted":
            raise KeyboardInterrupt
        for name, squares in network.squared_norms().items():
            norms = np.sqrt(squares.cpu().double().numpy())
            values[name][network.kept[name]] = 1 + norms / max(norms.max(), np.finfo(float).tiny)
        agreement = network.agreement

    def checks(removed: FloatArray) -> tuple[Check, ...]:
        return (length_check(int((removed > 1).sum()), len(removed), agreement),)

    return values, checks
