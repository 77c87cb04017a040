"""Figure of accuracy against bytes."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from secateurs.core.figures import OTHERS, OURS, SOFT
from secateurs.tiny.peers import MNIST_PEERS, Peer


def bytes_figure(points: list[dict[str, Any]], metric: str, is_mnist: bool) -> Figure:
    """Draw the score of networks against their bytes of flash.

    Parameters
    ----------
    points : list of dict
        "flash" and "score" of each network, and "label" of those that are named.
    metric : str
    is_mnist : bool
        Also draw the networks of `secateurs.tiny.peers`, with figures from their own reports.

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
            axis.annotate(str(point["label"]), (point["flash"], point["score"]), color=OURS)
    if is_mnist:
        for peer in MNIST_PEERS:
            _draw_peer(axis, peer)
    axis.set_xscale("log")
    axis.set_xlabel("bytes of flash with all code")
    axis.set_ylabel(metric)
    axis.grid(color=SOFT)
    axis.legend(loc="lower right")
    return figure


def _draw_peer(axis: Any, peer: Peer) -> None:
    axis.plot([peer.flash], [peer.accuracy], "x", color=OTHERS)
    axis.annotate(f"{peer.name} (their figure)", (peer.flash, peer.accuracy), color=OTHERS)
