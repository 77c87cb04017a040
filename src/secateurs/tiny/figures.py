"""Figures of accuracy against bytes, and against the bits of a weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from secateurs.core.figures import OTHERS, OURS, SOFT
from secateurs.tiny.integer_network import IntegerNetwork
from secateurs.tiny.peers import BITNET, BITNET_WEIGHTS, EMLEARN, MNIST_PEERS


def bytes_figure(points: list[dict[str, Any]], metric: str, is_mnist: bool) -> Figure:
    """Draw the score of networks against their bytes of flash.

    Parameters
    ----------
    points : list of dict
        "flash" and "score" of each network, and "label" of those that are named.
    metric : str
        The name of the score.
    is_mnist : bool
        Also draw the networks of `secateurs.tiny.peers`; the legend says who measured them.

    Returns
    -------
    Figure
        Not shown and not saved; `secateurs.core.save_figure` writes it to a file.
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
    axis.legend(loc="lower left" if is_mnist else "lower right", fontsize=6)
    return figure


def bits_figure(
    series: Mapping[str, Sequence[tuple[IntegerNetwork, float]]],
    metric: str = "accuracy",
    reference: float | None = None,
) -> Figure:
    """Draw the score of one network with several numbers of bits, against its bytes of flash.

    Parameters
    ----------
    series : dict
        For each way of rounding, by its name: the integer networks with their scores.  The first
        one is emphasised.
    metric : str
        The name of the score.
    reference : float, optional
        The score of the network in floating point.

    Returns
    -------
    Figure
        Not shown and not saved; `secateurs.core.save_figure` writes it to a file.
    """
    figure = Figure(figsize=(6.6, 4), layout="constrained")
    axis = figure.subplots()
    for place, (name, networks) in enumerate(series.items()):
        points = sorted((net.flash_bytes_, score, net.bits_) for net, score in networks)
        flash, scores, bits = zip(*points, strict=True)
        style = {"color": OURS, "linewidth": 2.5} if place == 0 else {"color": OTHERS}
        axis.plot(flash, scores, "o-" if place == 0 else "s--", label=name, **style)
        for x, score, n in zip(flash, scores, bits, strict=True):
            above: dict[str, Any] = {"xytext": (0, 7), "ha": "center", "color": style["color"]}
            axis.annotate(str(n), (x, score), textcoords="offset points", **above)
    if reference is not None:
        label = "the network in floating point"
        axis.axhline(reference, color="black", linestyle=":", label=label)
    axis.margins(x=0.1, y=0.12)
    axis.set_xlabel("flash with all code on a Cortex-M0, bytes (numbers: bits of a weight)")
    axis.set_ylabel(metric)
    axis.grid(color=SOFT)
    axis.legend(fontsize=8)
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
