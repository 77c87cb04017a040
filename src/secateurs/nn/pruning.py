"""Pruning of a trained module in one call: plan, score, choose, repair, fine-tune, certify."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import nn

from secateurs.core.parameters import Shown, bad_value, check_choice, check_integer, check_real
from secateurs.nn.cut import Cut
from secateurs.nn.data import Data, Loss, checked_rows
from secateurs.nn.fine_tune import fine_tune
from secateurs.nn.group_lasso_pruning import checked_keep, group_lasso_pruning, shrinking_copy
from secateurs.nn.planning import Plan
from secateurs.nn.pruned_module import PrunedModule
from secateurs.nn.pruning_run import pruning_run
from secateurs.nn.reconstruction import ROWS
from secateurs.nn.run_state import PruningRun, record_in_six_digits
from secateurs.nn.scores import HOW
from secateurs.nn.shrink_module import change_sets
from secateurs.nn.shrinking_module import ScoredModule, ShrinkingModule
from secateurs.nn.training_steps import PruneCallback

LEVELS = 10  # sizes that are compared for max_loss_increase
Keep = int | dict[str, int] | Literal["auto"]


@dataclass(frozen=True)
class Size:
    """How small the module gets; exactly one is given."""

    flops: float | None
    params: float | None
    latency: float | None
    widths: dict[str, int] | None
    max_loss_increase: float | None

    def checked(self) -> Size:
        """Return this, or raise ValueError unless one is given."""
        given = [name for name, value in vars(self).items() if value is not None]
        if len(given) != 1:
            got = Shown(" and ".join(given) if given else "none of them")
            expected = "exactly one of flops, params, latency, widths and max_loss_increase"
            raise bad_value("size", got, expected)
        for name in ("flops", "params", "latency"):
            share = getattr(self, name)
            if share is not None:
                check_real(name, share, above=0, most=1)
        return self


def prune(
    module: nn.Module,
    loss: Loss,
    data: Data,
    *,
    flops: float | None = None,
    params: float | None = None,
    latency: float | None = None,
    widths: dict[str, int] | None = None,
    max_loss_increase: float | None = None,
    score: str = "reconstruction",
    repair: bool = True,
    round_to: int = 1,
    per_layer: bool = False,
    inside_heads: bool = False,
    n_rounds: int = 1,
    validation: float | Data = 0.1,
    certify: Data | None = None,
    fine_tune_steps: int = 2000,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    random_state: int | np.random.RandomState | None = None,
    progress: PruneCallback | None = None,
) -> PrunedModule:
    """Make a trained module smaller: plan, score, choose, repair, fine-tune and certify.

    Parameters
    ----------
    module : nn.Module
        Any module with one input that torch.export can read.  It is never modified.
    loss : callable (output, target) -> Tensor, 0-d
        Mean over the batch, such as ``torch.nn.functional.cross_entropy``.
    data : (X, y) tensors or arrays of n rows each, or DataLoader
        Rows to calibrate and to train on.
    flops, params, latency : float in (0, 1]
        The share of the FLOPs, parameters or measured seconds that may be left.
    widths : dict of str to int
        Channels to keep, by group.
    max_loss_increase : float
        The smallest module is searched whose validation loss, after repair and before
        fine-tuning, is at most this much higher.
    score : {"reconstruction", "norm", "taylor", "group_lasso"}
        See `Plan.score`.
    repair : bool
        Whether layers that read removed channels are fitted again by least squares.
    round_to : int
        Widths are rounded up to multiples of it; 8 suits most processors.
    per_layer : bool
        The same share of every group, instead of one threshold for all.
    inside_heads : bool
        Whether positions inside heads may go; the class of the module is then kept less often.
    n_rounds : int
        The size is reached in so many rounds, with fine-tuning after each.
    validation : float, (X, y) or DataLoader
        Rows to choose the state of training on, or the share of `data` to use for them.
    certify : (X, y), optional
        Rows on which nothing was trained or chosen.  They bound the increase on new rows.
    fine_tune_steps : int
        Steps of Adam in each round.
    batch_size : int
        For (X, y).
    learning_rate : float
        The highest one during fine-tuning.
    random_state : int, RandomState or None
        Seed of the validation rows, the batches and dropout.
    progress : callable, optional
        Called with a `PruneProgress`.

    Returns
    -------
    PrunedModule
        Ctrl-C ends the fine-tuning early, with the status "interrupted".

    Raises
    ------
    ValueError, TypeError
        The module cannot be read, nothing of it can go, or an argument cannot be used.
    NotEqualError
        The smaller module is not the silenced one; nothing is returned then.
    FloatingPointError
        The loss became infinite or NaN.

    Notes
    -----
    Cost: one torch.export; the score and the repair see 2000 calibration rows; then
    ``n_rounds * fine_tune_steps`` steps of Adam on the smaller module.
    """
    size = Size(flops, params, latency, widths, max_loss_increase).checked()
    check_choice("score", score, HOW)
    check_integer("fine_tune_steps", fine_tune_steps, 0)
    check_integer("round_to", round_to)
    check_integer("n_rounds", n_rounds)
    if n_rounds > 1 and (widths is not None or max_loss_increase is not None or latency):
        raise bad_value("n_rounds", n_rounds, "1, or flops= or params=")
    checked = None if certify is None else checked_rows(certify, "certify")
    with pruning_run(
        module, loss, data, validation=validation, batch_size=batch_size,
        learning_rate=learning_rate, random_state=random_state, progress=progress,
    ) as run:  # fmt: skip
        options = {"round_to": round_to, "per_layer": per_layer, "inside_heads": inside_heads}
        plan = _plan_of(run)
        source = plan.module
        for number in range(1, n_rounds + 1):
            rows = run.data.calibration(None if score == "group_lasso" else ROWS)
            scores = plan.score(score, rows, loss, source=source, random_state=random_state)
            chosen = _chosen(run, scores, size, number / n_rounds, options, repair, source)
            best = fine_tune(run, _working(run, chosen), fine_tune_steps)
            if number < n_rounds:
                source = chosen.embedded(best.network.module)
        if max_loss_increase is not None and run.status == "budget":
            run.status = "converged"
        return run.result(best, max_loss_increase, certify=checked, further=chosen.checks)


def _plan_of(run: PruningRun) -> Plan:
    assert isinstance(run.plan, Plan)
    return run.plan


def _chosen(
    run: PruningRun, scores: Any, size: Size, progress: float, options: dict[str, Any],
    repair: bool, source: nn.Module,
) -> Cut:  # fmt: skip
    """Choose channels and repair; with several rounds, sizes fall by the same factor in each."""
    plan = _plan_of(run)

    def cut(**given: Any) -> Cut:
        found = plan.choose(scores, **given, **options, repair=False, source=source)
        return found.repair(run.data.calibration(ROWS)) if repair else found

    if size.max_loss_increase is None:
        given = {k: v for k, v in vars(size).items() if v is not None}
        if size.widths is None:
            given = {k: v**progress for k, v in given.items()}
        return cut(**given)
    limit = run.original.loss + check_real("max_loss_increase", size.max_loss_increase, least=0)
    best = cut(flops=1.0)
    low, high = 0.0, 1.0
    for _ in range(LEVELS):
        middle = (low + high) / 2
        tried = plan.choose(scores, level=middle, **options, repair=False, source=source)
        tried = tried.repair(run.data.calibration(ROWS)) if repair else tried
        scored = run.score(_working(run, tried))
        record_in_six_digits(
            run.widths_tried, n_neurons=sum(tried.widths.values()), loss=scored.loss
        )
        if scored.loss <= limit:
            best, low = tried, middle
        else:
            high = middle
    return best


def _working(run: PruningRun, chosen: Cut) -> ShrinkingModule:
    """Make the verified smaller module, ready to be trained."""
    small = chosen.apply(each_group=False)
    gone = run.plan.gone(chosen.kept)
    choice = None
    if small.form == "class":
        sets = enumerate(change_sets(run.plan, gone))
        choice = next(i for i, changes in sets if changes == list(small.changes))
    probe = run.original.network.probe
    return ShrinkingModule(run.plan, small.module, chosen.kept, choice, frozenset(), probe)


def prune_neurons(
    module: nn.Module,
    loss: Loss,
    data: Data,
    keep: Keep = "auto",
    *,
    max_loss_increase: float | None = None,
    tolerance: float = 1e-3,
    validation: float | Data = 0.1,
    certify: Data | None = None,
    n_steps: int = 6000,
    fine_tune_steps: int | None = None,
    batch_size: int = 128,
    learning_rate: float = 5e-3,
    random_state: int | np.random.RandomState | None = None,
    progress: PruneCallback | None = None,
) -> PrunedModule:
    """Remove channels of a trained network by a group lasso, then fine-tune.

    It is the slow way, for long budgets; `prune` is faster.

    Parameters
    ----------
    module : nn.Module
        As for `prune`; it is never modified.
    loss : callable (output, target) -> Tensor, 0-d
        Mean over the batch.
    data : (X, y) tensors or arrays of n rows each, or DataLoader
        Rows to train on.
    keep : "auto", int or dict of str to int
        Number of channels to keep.  "auto" chooses it on the validation rows.  An int is for a
        module with one group.  A dict gives numbers for groups by their names; other groups keep
        their widths.
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
    certify : (X, y), optional
        Rows on which nothing was trained or chosen, as for `prune`.
    n_steps : int
        Length of the path under the penalty, in batches.  The certificate says whether it was
        too short.
    fine_tune_steps : int, optional
        Steps of the last fine-tuning; `n_steps` by default.
    batch_size : int
        For (X, y).
    learning_rate : float
        Learning rate of Adam on the path, and the highest one during fine-tuning.
    random_state : int, RandomState or None
        Seed of the validation rows, the batches and dropout.
    progress : callable, optional
        Called with a `PruneProgress`.

    Returns
    -------
    PrunedModule
        Ctrl-C ends the run early, with the status "interrupted".  The result is the best so far,
        and has the given number of channels if there is one.

    Raises
    ------
    ValueError, TypeError
        The module cannot be read, or an argument cannot be used.
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
    checked = None if certify is None else checked_rows(certify, "certify")
    with pruning_run(
        module, loss, data, validation=validation, batch_size=batch_size,
        learning_rate=learning_rate, random_state=random_state, progress=progress,
    ) as run:  # fmt: skip
        best, allowed, checks = group_lasso_pruning(
            run, keep, n_steps, fine_tune_steps, max_loss_increase, tolerance
        )
        return run.result(best, allowed, certify=checked, further=checks)


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
    """Keep the channels with the largest L2 norms, then fine-tune: the plain baseline.

    Parameters
    ----------
    module : nn.Module
        As for `prune`; it is never modified.
    loss : callable (output, target) -> Tensor, 0-d
        Mean over the batch.
    data : (X, y) tensors or arrays of n rows each, or DataLoader
        Rows to train on.
    keep : int or dict of str to int
        Number of channels to keep, as for `prune_neurons`.
    tolerance : float
        Loss increase that the certificate allows, as a share of the difference between the loss
        of `module` and that of a constant answer.
    validation : float, (X, y) or DataLoader
        Rows to choose the state of training on, or the share of `data` to use for them.
    fine_tune_steps : int
        Steps of Adam on the smaller module.
    batch_size : int
        For (X, y).
    learning_rate : float
        The highest one during fine-tuning.
    balanced : bool
        Whether to balance the weights in and out of every channel before their norms are
        compared; this leaves the function unchanged.
    random_state : int, RandomState or None
        Seed of the validation rows, the batches and dropout.
    progress : callable, optional
        Called with a `PruneProgress`.

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
        network = shrinking_copy(run)
        network.prune_to(checked_keep(keep, run.plan), balanced=balanced)
        best: ScoredModule = fine_tune(run, network, fine_tune_steps)
        return run.result(best, tolerance * run.gain(run.original))
