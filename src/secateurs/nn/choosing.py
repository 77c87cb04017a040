"""Choice of the channels that stay, for a number of FLOPs, of parameters, or a latency."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from secateurs.core.parameters import Shown, bad_value, check_integer, check_real
from secateurs.nn.channels import ChannelPlan
from secateurs.nn.scores import Scores
from secateurs.nn.shrink_graph import cut_tensors, shrunk_graph
from secateurs.nn.slots import IntArray

LEAST_SHARE = 0.05  # of the channels of a group that always stay, so that no layer collapses
STEPS = 24  # of a bisection
TIMINGS = 5  # runs of a latency; the fastest counts
Kept = dict[str, IntArray]


@dataclass(frozen=True)
class Rounding:
    """How widths follow from scores.

    Attributes
    ----------
    round_to : int
        The number of channels that stay is rounded up to a multiple of it.
    per_layer : bool
        The same share of every group, instead of one threshold for all.
    inside_heads : bool
        Whether groups inside heads may lose channels.
    """

    round_to: int
    per_layer: bool
    inside_heads: bool


def choose(
    plan: ChannelPlan,
    scores: Scores,
    wanted: Mapping[str, float | None],
    widths: Mapping[str, int] | None,
    rounding: Rounding,
) -> Kept:
    """Choose the channels that stay; see `Plan.choose`.

    `wanted` has "flops", "params", "latency" and "level", of which one is given unless `widths`
    are.
    """
    check_integer("round_to", rounding.round_to)
    if not isinstance(scores, Scores) or set(scores.values) != set(plan.groups):
        got = Shown("scores of other groups" if isinstance(scores, Scores) else repr(scores)[:40])
        raise bad_value("scores", got, "those of the score method of the same plan")
    given = {name: value for name, value in wanted.items() if value is not None}
    if len(given) + (widths is not None) != 1:
        got = Shown(" and ".join([*given, *(["widths"] if widths is not None else [])]) or "none")
        raise bad_value("size", got, f"exactly one of {', '.join(wanted)} and widths")
    if widths is not None:
        return {
            name: largest(scores.values[name], k)
            for name, k in checked_widths(plan, widths).items()
        }
    ((name, value),) = given.items()
    if name == "level":
        return kept_below(plan, scores, check_real(name, value, least=0, most=1), rounding)
    share = check_real(name, value, above=0, most=1)
    if share == 1:
        return kept_below(plan, scores, 0.0, rounding)
    measure = MEASURES[name]
    whole = measure(plan, {})
    found = bisect(
        lambda level: kept_below(plan, scores, level, rounding),
        lambda kept: measure(plan, kept) <= share * whole * (1 + 1e-12),
    )
    if found is None:
        least = measure(plan, kept_below(plan, scores, 1.0, rounding)) / whole
        expected = f"at least {least:.3g}, with {LEAST_SHARE:.0%} of every group left"
        raise bad_value(name, value, expected, "allow inside_heads=True, or give widths")
    return found


def kept_below(plan: ChannelPlan, scores: Scores, level: float, rounding: Rounding) -> Kept:
    """Return the channels that stay when a share of all channels goes, by their scores."""
    names = [n for n, g in plan.groups.items() if rounding.inside_heads or not g.inside_heads]
    everything = np.concatenate([scores.values[n] for n in names]) if names else np.zeros(0)
    ranked = np.sort(everything, kind="stable")
    n_gone = int(level * len(ranked))
    limit = ranked[n_gone - 1] if n_gone else -np.inf
    kept = {name: np.arange(group.size) for name, group in plan.groups.items()}
    for name in names:
        values = scores.values[name]
        size = len(values)
        above = int((values > limit).sum())
        n_kept = size - round(level * size) if rounding.per_layer else above
        kept[name] = largest(values, rounded(n_kept, size, rounding.round_to))
    return kept


def rounded(n_kept: int, size: int, round_to: int) -> int:
    """Round a width up to a multiple, with some channels left in any case."""
    n_kept = max(n_kept, int(np.ceil(LEAST_SHARE * size)), 1)
    return min(size, -(-n_kept // round_to) * round_to)


def largest(values: np.ndarray[Any, Any], k: int) -> IntArray:
    """Return the positions of the k largest values, increasing; of equal ones the first."""
    return np.sort(np.argsort(-values, kind="stable")[:k])


def bisect(kept_at: Callable[[float], Kept], fits: Callable[[Kept], bool]) -> Kept | None:
    """Return the choice at the lowest level that fits; None if not even the highest fits."""
    low, high = 0.0, 1.0
    if fits(kept_at(low)):
        return kept_at(low)
    best = kept_at(high)
    if not fits(best):
        return None
    for _ in range(STEPS):
        middle = (low + high) / 2
        kept = kept_at(middle)
        if fits(kept):
            best, high = kept, middle
        else:
            low = middle
    return best


def checked_widths(plan: ChannelPlan, widths: Mapping[str, int]) -> dict[str, int]:
    """Check the numbers of channels that were asked for, by group."""
    if not isinstance(widths, Mapping) or not widths:
        raise bad_value("widths", widths, f"a dict with some of the groups {list(plan.groups)[:8]}")
    return {
        name: check_integer(f"widths[{name!r}]", k, 1, plan.group(name).size)
        for name, k in widths.items()
    }


def latency(plan: ChannelPlan, kept: Mapping[str, IntArray]) -> float:
    """Measure the seconds of a forward pass on the example inputs, on this machine."""
    gone = plan.gone(kept)
    module = shrunk_graph(plan, gone, cut_tensors(plan, gone, plan.module)).eval()
    times = []
    with torch.no_grad():
        plan.program.inputs.call(module)
        for _ in range(TIMINGS):
            start = time.perf_counter()
            plan.program.inputs.call(module)
            times.append(time.perf_counter() - start)
    return min(times)


MEASURES: dict[str, Callable[[ChannelPlan, Mapping[str, IntArray]], float]] = {
    "flops": lambda plan, kept: plan.cost(kept)[0],
    "params": lambda plan, kept: float(plan.cost(kept)[1]),
    "latency": latency,
}
