"""The picture of a plan: a bar for each group of channels and for what cannot be removed."""

from __future__ import annotations

from matplotlib.figure import Figure

from secateurs.core.figures import OTHERS, OURS, SOFT
from secateurs.nn.channels import ChannelPlan
from secateurs.nn.cut import Cut
from secateurs.nn.pruned_module import PrunedModule

ROW, LABELS = 0.27, 9  # inches of a bar, and the size of its labels
MOST_BARS = 60  # groups and fixed axes that are drawn


def plan_figure(plan: ChannelPlan, cut: Cut | PrunedModule | None = None) -> Figure:
    """Draw a plan.

    Parameters
    ----------
    plan : ChannelPlan
        The plan; its first 60 groups and fixed axes are drawn.
    cut : Cut or PrunedModule, optional
        Shows which part of each group is kept; a `PrunedModule` has its plan in ``plan``.

    Returns
    -------
    matplotlib.figure.Figure
        Green: channels that are kept.  Light: channels that go, or can go.  Grey: axes that
        cannot get shorter, with the reason.
    """
    bars = [
        (name, group.size, group.size if cut is None else len(cut.kept[name]), "")
        for name, group in plan.groups.items()
    ]
    seen = {part.name.rpartition(".")[0] + f" axis {part.axis}": part for part in plan.fixed}
    fixed = [(name, part.size, 0, part.reason) for name, part in seen.items() if part.size > 1]
    drawn = (bars + fixed)[:MOST_BARS]
    figure = Figure(figsize=(8, 1 + ROW * max(len(drawn), 4)), layout="constrained")
    axes = figure.add_subplot()
    for place, (_, size, kept, reason) in enumerate(drawn):
        if reason:
            axes.barh(place, size, color=OTHERS)
            axes.text(size, place, f" {reason}", va="center", fontsize=LABELS, parse_math=False)
        else:
            axes.barh(place, size, color=SOFT)
            if cut is not None:
                axes.barh(place, kept, color=OURS)
    axes.set_yticks(
        range(len(drawn)), [name for name, *_ in drawn], fontsize=LABELS, parse_math=False
    )
    axes.invert_yaxis()
    axes.set_xlabel("channels")
    axes.set_title("kept (green), removable (light), fixed (grey)", fontsize=10)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure
