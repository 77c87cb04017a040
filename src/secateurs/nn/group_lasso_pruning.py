"""Pruning by the path of the group lasso: to given widths, or to the width that is enough."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from secateurs.core.certificate import Check
from secateurs.core.parameters import Shown, bad_value, check_integer
from secateurs.nn.certificate import path_checks
from secateurs.nn.channels import ChannelPlan
from secateurs.nn.cut import keep as keep_channels
from secateurs.nn.fine_tune import fine_tune
from secateurs.nn.group_lasso import group_lasso_path
from secateurs.nn.penalty import is_scalable, weights_of
from secateurs.nn.run_state import PruningRun, record_in_six_digits
from secateurs.nn.shrink_module import change_sets
from secateurs.nn.shrinking_module import ScoredModule, ShrinkingModule

SHORT = 4  # a width is compared after this fraction of the fine-tuning steps


def group_lasso_pruning(
    run: PruningRun,
    keep: Any,
    n_steps: int,
    fine_tune_steps: int,
    max_loss_increase: float | None,
    tolerance: float,
) -> tuple[ScoredModule, float, tuple[Check, ...]]:
    """Prune by the path of the group lasso and fine-tune; see `prune_neurons`.

    Returns the module, its allowed loss increase and the checks of the path.
    """
    network = shrinking_copy(run)
    if keep == "auto":
        widths = dict.fromkeys(network.widths, 1)
        copies = group_lasso_path(run, network, widths, n_steps, keep_copies=True)
        best, allowed = _choose(run, copies, fine_tune_steps, max_loss_increase, tolerance)
        n_forced = 0
    else:
        widths = checked_keep(keep, run.plan)
        targets = network.widths | widths
        group_lasso_path(run, network, targets, n_steps, keep_copies=False)
        n_forced = network.n_neurons - sum(targets.values())
        network.prune_to(widths)
        best = fine_tune(run, network, 0 if run.status == "interrupted" else fine_tune_steps)
        allowed = tolerance * run.gain(run.original)
    found = best.network
    gaps = {
        name: (removed, found.smallest_kept[name])
        for name, removed in found.largest_removed.items()
    }
    n_removed = sum(group.size for group in run.plan.groups.values()) - found.n_neurons
    return best, allowed, path_checks(gaps, n_forced, n_removed, found.agreement)


def shrinking_copy(run: PruningRun) -> ShrinkingModule:
    """Copy the module of a run, ready to lose channels while it is trained.

    ValueError if weights of a group are frozen.
    """
    start = run.original.network
    plan = run.plan
    parameters = dict(plan.module.named_parameters(remove_duplicate=False))
    scalable = set()
    for name, group in plan.groups.items():
        places = [parameters[p.name] for p in group.places if p.name in parameters]
        if not all(parameter.requires_grad for parameter in places):
            got = Shown("frozen weights (requires_grad=False)")
            raise bad_value(f"group {name!r}", got, "weights that can be trained")
        kept = torch.arange(group.size)
        if is_scalable(plan, weights_of(plan, group, kept, frozenset(), scalable=False),
                       start.probe.rows(2)):  # fmt: skip
            scalable.add(name)
    network = start.copy()
    half = keep_channels(plan, {n: range((g.size + 1) // 2) for n, g in plan.groups.items()})
    small = half.apply(each_group=False)
    choice = None
    if small.form == "class":
        sets = enumerate(change_sets(plan, plan.gone(half.kept)))
        choice = next(i for i, changes in sets if changes == list(small.changes))
    return replace(network, choice=choice, scalable=frozenset(scalable))


def checked_keep(keep: Any, plan: ChannelPlan) -> dict[str, int]:
    """Check the given numbers of channels, and return them by group."""
    widths = plan.widths
    if not isinstance(keep, dict):
        if len(widths) > 1:
            expected = f"'auto' or the numbers for some of the {len(widths)} groups, {widths}"
            raise bad_value("keep", keep, expected)
        (name,) = widths
        return {name: check_integer("keep", keep, 1, widths[name], otherwise="'auto'")}
    for name in keep:
        if name not in widths:
            raise bad_value("keep", Shown(f"group {name!r}"), f"names of groups, {widths}")
    if not keep:
        raise bad_value("keep", keep, f"at least one of the groups, {widths}")
    return {name: check_integer(f"keep[{name!r}]", k, 1, widths[name]) for name, k in keep.items()}


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
