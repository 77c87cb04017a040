"""Make a trained torch network narrower: how many neurons are enough, and which."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Literal

import numpy as np
from torch import nn

from secateurs.core.parameters import check_integer, check_real
from secateurs.nn.data import Data, Loss
from secateurs.nn.fine_tune import PruneCallback
from secateurs.nn.group_lasso import (
    PRUNED,
    group_lasso_path,
    is_worth_keeping,
    prune_below,
    prune_to,
)
from secateurs.nn.network import Judged, Network
from secateurs.nn.run import (
    PrunedModule,
    Run,
    begin,
    report,
    targets,
    tuned,
)

SHORT = 4  # a width is judged after a quarter of the fine-tuning

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
    """Remove neurons of a trained network by group lasso, then fine-tune.

    Parameters
    ----------
    module : nn.Module
        Trained.  Linear and Conv layers in a chain with batch normalisation, element-wise
        activations, pooling, flatten and dropout between them, on any device and in any
        floating dtype.  It is never modified.
    loss : callable (output, target) -> Tensor, 0-d
        Mean over the batch, such as ``torch.nn.functional.cross_entropy``.
    data : (X, y) tensors or arrays of n rows each, or DataLoader
    keep : "auto", int or dict of str to int
        "auto" chooses the number of neurons on the validation rows.  An int is that of the
        only hidden layer.  With several hidden layers a dict gives the number for each layer
        to be pruned, by its name in the module; layers not named are left as they are.
    max_loss_increase : float, optional
        With "auto": the smallest width whose validation loss exceeds that of `module` by no
        more.  Without it: the smallest width whose loss is within a standard error, or within
        `tolerance`, of the lowest.
    tolerance : float
        Share of what the best network gains over a constant answer.
    validation : float, (X, y) or DataLoader
        Rows to choose on, which `module` should not have been trained on: it looks better there
        than it is, and so do wide networks near it.  A share sets rows of `data` aside; it then
        does not know whether they are new to `module`, and leaves `module` itself out of the
        comparison of widths.  Other data are needed when `data` is a DataLoader.
    n_steps : int
        Length of the path under the penalty, in batches.
    fine_tune_steps : int, optional
        Of the network returned; `n_steps` by default.
    batch_size : int
        For (X, y).
    learning_rate : float
        Of Adam, on the path and at the top of the fine-tuning schedule.
    random_state : int, RandomState or None
        Draws the validation rows, batches and dropout.  Global random states are left alone
        (a DataLoader with a generator of its own goes by that).
    progress : callable, optional
        Called with a `PruneProgress`.

    Returns
    -------
    PrunedModule
        A keyboard interrupt ends the run early: what is there is returned, with exactly the
        neurons asked for if a number was given, and the status is "interrupted".

    Raises
    ------
    ValueError, TypeError
        A graph that is not understood, by the name of the node; unusable data or settings.
    FloatingPointError
        The loss became infinite or NaN.
    RuntimeError
        A removal changed the outputs by more than rounding.

    Notes
    -----
    Costs n_steps steps of Adam on layers that shrink, then up to about 30 short fine-tunings
    ("auto") and one full one.
    Source: Rajaraman et al. (2023) for the penalty and the greedy pruning, of which the
    theorem is for quadratic activations; the path, its choice of width and the treatment of
    other networks are ours.
    """
    if max_loss_increase is not None:
        if keep != "auto":
            raise ValueError(
                f"got keep={keep!r} and max_loss_increase={max_loss_increase!r}; expected one of "
                "them: the width, or what it may cost"
            )
        check_real("max_loss_increase", max_loss_increase, least=0)
    check_real("tolerance", tolerance, least=0)
    check_integer("n_steps", n_steps)
    with ExitStack() as stack:
        run = begin(
            stack, module, loss, data, validation, batch_size, learning_rate,
            n_steps if fine_tune_steps is None else fine_tune_steps, random_state, progress,
        )  # fmt: skip
        network = run.original.network.copy()
        if keep == "auto":
            result, allowed = _choose(run, network, n_steps, max_loss_increase, tolerance)
        else:
            widths = targets(keep, network.layers)
            _walk(run, network, widths, n_steps, None)
            prune_to(network, widths)
            result = tuned(run, network, 0 if run.status == "interrupted" else run.fine_tune_steps)
            allowed = tolerance * max(run.null_loss - run.original.loss, 0.0)
        return report(run, result, allowed, module.training)


def _walk(
    run: Run,
    network: Network,
    widths: dict[str, int],
    n_steps: int,
    stages: list[Network] | None,
) -> None:
    """Follow the path until these widths; note networks worth fine-tuning in `stages`."""
    every = {layer.name: widths.get(layer.name, layer.width) for layer in network.layers}
    if all(layer.width <= every[layer.name] for layer in network.layers):
        return
    path = group_lasso_path(
        network, run.loss, run.batches, targets=every, null_loss=run.null_loss,
        n_steps=n_steps, learning_rate=run.learning_rate, progress=run.progress,
    )  # fmt: skip
    smallest = network.n_neurons
    try:
        for now, record in path:
            for name, value in vars(record).items():
                run.history[name].append(float(f"{value:.6g}"))
            if stages is None:
                continue
            stage = now.copy()
            prune_below(stage, PRUNED, every)
            if is_worth_keeping(stage.n_neurons, smallest):
                smallest = stage.n_neurons
                stages.append(stage)
    except KeyboardInterrupt:
        run.status = "interrupted"


def _choose(
    run: Run,
    network: Network,
    n_steps: int,
    max_loss_increase: float | None,
    tolerance: float,
) -> tuple[Judged, float]:
    """The smallest width that is good enough, fine-tuned, and the increase it was allowed."""
    stages: list[Network] = []
    _walk(run, network, {layer.name: 1 for layer in network.layers}, n_steps, stages)
    tried: list[tuple[Judged, Network]] = [(run.original, run.original.network)]

    def good(judged: Judged) -> bool:
        if max_loss_increase is not None:
            return judged.loss <= run.original.loss + max_loss_increase
        best = min((judged for judged, _ in compared), key=lambda judged: judged.loss)
        excess, error = judged.excess(best)
        return excess <= max(error, tolerance * max(run.null_loss - best.loss, 0.0))

    for stage in stages:
        steps = 0 if run.status == "interrupted" else run.fine_tune_steps // SHORT
        judged = tuned(run, stage, steps, "choosing a width")
        tried.append((judged, stage))
        run.tried["n_neurons"].append(stage.n_neurons)
        run.tried["loss"].append(float(f"{judged.loss:.6g}"))
    # a share of the rows may be rows that the module was trained on: its loss there says nothing
    unseen = run.rows.given or max_loss_increase is not None or not stages
    compared = tried if unseen else tried[1:]
    chosen, stage = min((t for t in compared if good(t[0])), key=lambda t: t[1].n_neurons)
    if run.status != "interrupted":
        if stage is not run.original.network:
            final = tuned(run, stage, run.fine_tune_steps)
            chosen = min(final, chosen, key=lambda judged: judged.loss)
        run.status = "converged" if run.status == "budget" else run.status
    if max_loss_increase is not None:
        return chosen, max_loss_increase
    _, error = chosen.excess(run.original)
    return chosen, max(error, tolerance * max(run.null_loss - run.original.loss, 0.0))
