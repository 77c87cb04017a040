"""Figure of claims: what was measured, what is expected, and the tolerance."""

from __future__ import annotations

import math
from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from secateurs.core.figures import OTHERS, OURS, SOFT
from secateurs.experiments.claims.claim import Claim

FAILED = "#a33b2e"
ROW = 0.62  # inches for each claim


def claims_figure(claims: Iterable[tuple[Claim, float]]) -> Figure:
    """Draw a row for each claim, with an axis of its own, because their units differ.

    Parameters
    ----------
    claims : pairs of a Claim and the number that was measured
        A number that is not finite is drawn as not measured.

    Returns
    -------
    Figure
        Grey: within the tolerance.  Line: the expected number.  Dot: the measured number, green
        where the claim holds and red where it fails.
    """
    pairs = list(claims)
    figure = Figure(figsize=(7.4, 0.7 + ROW * max(len(pairs), 1)), layout="constrained")
    axes = figure.subplots(max(len(pairs), 1), 1, squeeze=False)[:, 0]
    for axis, (claim, measured) in zip(axes, pairs, strict=False):
        _draw_claim(axis, claim, measured)
    if not pairs:
        axes[0].set_axis_off()
    figure.suptitle("grey: within the tolerance; line: expected; dot: measured", fontsize=9)
    return figure


def _draw_claim(axis: Axes, claim: Claim, measured: float) -> None:
    known = [claim.expected, *(v for v in (claim.low, claim.high, measured) if math.isfinite(v))]
    room = 0.15 * (max(known) - min(known)) or 0.1 * abs(claim.expected) or 1.0
    left, right = min(known) - room, max(known) + room
    axis.axvspan(max(claim.low, left), min(claim.high, right), color=SOFT)
    axis.axvline(claim.expected, color=OTHERS, linewidth=1.5)
    if math.isfinite(measured):
        colour = OURS if claim.holds(measured) else FAILED
        axis.plot(measured, 0, "o", color=colour, markersize=8)
        text = f"{measured:.4g}"
    else:
        text = "not measured"
    axis.annotate(text, (1.01, 0.5), xycoords="axes fraction", va="center", fontsize=8)
    axis.set_xlim(left, right)
    axis.set_ylim(-1, 1)
    axis.set_yticks([0], [claim.name], fontsize=8)
    axis.tick_params(axis="x", labelsize=7)
    axis.spines[["top", "right", "left"]].set_visible(False)
