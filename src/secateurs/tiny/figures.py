"""Figure of accuracy against bytes."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from secateurs.core.figures import OTHERS, OURS, SOFT
from secateurs.tiny.peers import BITNET, BITNET_WEIGHTS, EMLEARN, MNIST_PEERS


def bytes_figure(points: list[dict[str, Any]], metric: str, is_mnist: bool) -> Figure:
    """Draw the score of networks against their bytes of flash.

    Parameters
    ----------
    points : list of dict
        "flash" and "score" of each network, and "label" of those that are named.
    metric : str
    is_mnist : bool
        Also draw the networks of `secateurs.tiny.peers`; the legend says who measured them.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    ordered = sorted(points, key=lambda point: float(point["flash"]))
    axis.plot(
        [point["flash"] for point in ordered],
        [point["score"] for point in ordered],
        "o",
        color=OURS,
        label="secateurs",
    )
    for point in ordered:
        if point.get("label"):
            place = (point["flash"], point["score"])
            axis.annotate(
                *(str(point["label"]), place, (5, 4)), textcoords="offset points", color=OURS
            )
    if is_mnist:
        _draw_peers(axis)
    axis.set_xscale("log")
    axis.set_xlabel("bytes of flash with all code")
    axis.set_ylabel(metric)
    axis.grid(color=SOFT)
    axis.legend(loc="upper left" if is_mnist else "lower right", fontsize=7)
    return figure


def _draw_peers(axis: Any) -> None:
    """Draw other projects, with a scale that keeps accuracies near 1 apart."""
    for marker, series in zip("xd+", (BITNET, BITNET_WEIGHTS, EMLEARN), strict=True):
        peers = [peer for peer in MNIST_PEERS if peer.series == series]
        places = [peer.flash for peer in peers], [peer.accuracy for peer in peers]
        axis.plot(*places, marker, color=OTHERS, label=series)
    axis.set_yscale("logit")
    ticks = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
    axis.set_yticks(ticks, labels=[str(tick) for tick in ticks])
    axis.set_yticks([], minor=True)
