"""Pruning of a trained torch module to fewer neurons, by a group lasso."""

from __future__ import annotations

from typing import Literal

import numpy as np
from torch import nn

from secateurs.core.parameters import Shown, bad_value, check_integer, check_real
from secateurs.nn.data import Data, Loss
from secateurs.nn.fine_tune import fine_tune
from secateurs.nn.group_lasso import group_lasso_path
from secateurs.nn.pruned_module import PrunedModule
from secateurs.nn.pruning_run import PruningRun, checked_widths, pruning_run, record_in_six_digits
from secateurs.nn.shrinking_module import ScoredModule, ShrinkingModule
from secateurs.nn.training_steps import PruneCallback

SHORT = 4  # a width is compared after this fraction of the fine-tuning steps

Keep = int | dict[str, int] | Literal["auto"]


def prune_neurons(
    module: nn.Module,
    loss: Loss,
    data: Data,
    keep: Keep = "auto",
    *,
    max_loss_increase: float | None = None,
    tolerance: float = 1e-3,
    validation: float | Data = 0.1,
    n_steps: int = 6000,
    fine_tune_steps: int | None = None,
    batch_size: int = 128,
    learning_rate: float = 5e-3,
    random_state: int | np.random.RandomState | None = None,
    progress: PruneCallback | None = None,
) -> PrunedModule:
    """Remove neurons of a trained network by a group lasso, then fine-tune.

    Parameters
    ----------
    module : nn.Module
        A trained module: Linear and Conv layers in a chain, with batch normalisation,
        element-wise activations, pooling, flatten and dropout between them, on any device and
        in any floating dtype.  It is never modified.
    loss : callable (output, target) -> Tensor, 0-d
        Mean over the batch, such as ``torch.nn.functional.cross_entropy``.
    data : (X, y) tensors or arrays of n rows each, or DataLoader
        Rows to train on.
    keep : "auto", int or dict of str to int
        Number of neurons to keep.  "auto" chooses it on the validation rows.  An int is for a
        module with one hidden layer.  A dict gives numbers for layers by their names in the
        module; other layers keep their widths.
    max_loss_increase : float, optional
        Only with "auto".  If given, the smallest width is chosen whose validation loss is at
        most this much above that of `module`; otherwise, the smallest width whose loss is within
        a standard error, or within `tolerance`, of the lowest.
    tolerance : float
        Share of the difference between the loss of the best network and that of a constant
        answer.
    validation : float, (X, y) or DataLoader
        Validation rows to choose on, or the share of `data` to use for them.  A DataLoader as
        `data` requires other data here.  Give rows on which `module` was not trained, because
        it looks better than it is on rows that it has seen.  If only a share is given, some of
        these rows may have been seen; `module` itself is then not compared.
    n_steps : int
        Length of the path under the penalty, in batches.
    fine_tune_steps : int, optional
        Steps of the last fine-tuning; `n_steps` by default.
    batch_size : int
        For (X, y).
    learning_rate : float
        Learning rate of Adam on the path, and the highest one during fine-tuning.
    random_state : int, RandomState or None
        Seed of the validation rows, the batches and dropout.  Global random states do not
        change.  A DataLoader with its own generator does not use this seed.
    progress : callable, optional
        Called with a `PruneProgress`.

    Returns
    -------
    PrunedModule
        Ctrl-C ends the run early, with the status "interrupted".  The result is the best so far,
        and has the given number of neurons if there is one.

    Raises
    ------
    ValueError, TypeError
        The graph is not understood (the message names the node), or an argument cannot be used.
    FloatingPointError
        The loss became infinite or NaN.
    RuntimeError
        A removal changed the outputs by more than rounding.

    Notes
    -----
    Cost: n_steps steps of Adam on layers that shrink, then up to about 30 short fine-tunings
    ("auto") and a full one.  Memory: with "auto", a copy of the module for each of these widths.
    Source: Rajaraman et al. (2023) for the penalty and the greedy pruning; their theorem is for
    quadratic activations.  The path, the choice of the width and the treatment of other networks
    are derived here, without a theorem.
    """
    if max_loss_increase is not None:
        if keep != "auto":
            got = Shown(f"{max_loss_increase!r} together with keep={keep!r}")
            raise bad_value("max_loss_increase", got, "only one of the two")
        check_real("max_loss_increase", max_loss_increase, least=0)
    check_real("tolerance", tolerance, least=0)
    check_integer("n_steps", n_steps)
    if fine_tune_steps is None:
        fine_tune_steps = n_steps
    check_integer("fine_tune_steps", fine_tune_steps, 0)
    with pruning_run(
        module, loss, data, validation=validation, batch_size=batch_size,
        learning_rate=learning_rate, random_state=random_state, progress=progress,
    ) as run:  # fmt: skip
        network = run.original.network.copy()
        if keep == "auto":
            widths = {layer.name: 1 for layer in network.layers}
            copies = group_lasso_path(run, network, widths, n_steps, keep_copies=True)
            best, allowed = _choose(run, copies, fine_tune_steps, max_loss_increase, tolerance)
        else:
            widths = checked_widths(keep, network.layers)
            targets = network.widths | widths
            group_lasso_path(run, network, targets, n_steps, keep_copies=False)
            network.prune_to(widths)
            best = fine_tune(run, network, 0 if run.status == "interrupted" else fine_tune_steps)
            allowed = tolerance * run.gain(run.original)
        return run.result(best, allowed, training=module.training)


def _choose(
    run: PruningRun,
    copies: list[ShrinkingModule],
    fine_tune_steps: int,
    max_loss_increase: float | None,
    tolerance: float,
) -> tuple[ScoredModule, float]:
    """Return the smallest width that is good enough, fine-tuned, and its allowed loss increase."""
    tried = [(run.original, run.original.network)]
    for copy in copies:
        steps = 0 if run.status == "interrupted" else fine_tune_steps // SHORT
        scored = fine_tune(run, copy, steps, "choosing a width")
        tried.append((scored, copy))
        record_in_six_digits(run.widths_tried, n_neurons=copy.n_neurons, loss=scored.loss)
    # the module may have been trained on split-off rows, and then its loss there proves nothing
    fair = run.data.validation_given or max_loss_increase is not None or not copies
    compared = tried if fair else tried[1:]
    lowest = min((scored for scored, _ in compared), key=lambda scored: scored.loss)

    def is_good(scored: ScoredModule) -> bool:
        if max_loss_increase is not None:
            return scored.loss <= run.original.loss + max_loss_increase
        excess, error = scored.excess(lowest)
        return excess <= max(error, tolerance * run.gain(lowest))

    good = [pair for pair in compared if is_good(pair[0])]
    chosen, start = min(good, key=lambda pair: pair[1].n_neurons)
    if run.status != "interrupted":
        if start is not run.original.network:
            final = fine_tune(run, start, fine_tune_steps)
            chosen = min(final, chosen, key=lambda scored: scored.loss)
        if run.status == "budget":
            run.status = "converged"
    if max_loss_increase is not None:
        return chosen, max_loss_increase
    _, error = chosen.excess(run.original)
    return chosen, max(error, tolerance * run.gain(run.original))
