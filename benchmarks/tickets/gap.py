"""The laws of width against accuracy, and the picture of the gap between weights and neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from secateurs.core.figures import OTHERS, OURS, SOFT
from secateurs.core.parameters import Shown, bad_value
from secateurs.tickets.neuron.certificate import required_width
from secateurs.tickets.neuron.scaling import NeuronPoint

NEURONS = "#b5651d"
RESAMPLES = 1000  # of the bootstraps

Array = NDArray[np.float64]
Needed = Mapping[int, NDArray[np.int64]]


@dataclass(frozen=True)
class WidthLaw:
    """Width ~ factor * (1 / error)^slope.

    Attributes
    ----------
    slope, factor : float
        Least squares of log width on log (1 / median error).
    low, high : float
        95 % interval of the slope, by a bootstrap over the networks of each width.
    """

    slope: float
    factor: float
    low: float
    high: float


@dataclass(frozen=True)
class BitLaw:
    """Width ~ per_bit * log2(1 / error) + at_one.

    Attributes
    ----------
    per_bit, at_one : float
        Least squares on the median over the networks.
    standard_error : float
        Standard error of `per_bit`, by a bootstrap over the networks.
    """

    per_bit: float
    at_one: float
    standard_error: float


def width_law(points: Sequence[NeuronPoint]) -> WidthLaw:
    """Fit a power law to the median errors at every width.

    The networks of different widths are drawn independently, so the bootstrap draws from each
    width by itself, and the widths may have different numbers of networks.

    Raises
    ------
    ValueError
        The points have several d, one width, or a network twice.
    """
    widths = sorted({p.n_neurons for p in points})
    table = {(p.n_neurons, p.seed): p.error for p in points}
    if len({p.d for p in points}) != 1 or len(widths) < 2 or len(table) != len(points):
        raise bad_value("points", Shown("others"), "one d, two widths or more, no point twice")
    E = [np.array([p.error for p in points if p.n_neurons == n]) for n in widths]
    N = np.array(widths)
    rng = np.random.default_rng(0)
    medians = [
        np.median(errors[rng.integers(len(errors), size=(RESAMPLES, len(errors)))], axis=1)
        for errors in E
    ]
    drawn = [_fit(N, row)[0] for row in np.array(medians).T]
    low, high = np.quantile(drawn, [0.025, 0.975])
    slope, log_factor = _fit(N, np.array([np.median(errors) for errors in E]))
    return WidthLaw(slope, float(np.exp(log_factor)), float(low), float(high))


def _fit(widths: NDArray[np.int64], medians: Array) -> tuple[float, float]:
    slope, start = np.polyfit(np.log(1 / medians), np.log(widths), 1)
    return float(slope), float(start)


def bit_law(bits: Sequence[int], needed: NDArray[np.int64]) -> BitLaw:
    """Fit a line to the neurons needed, shape [networks, bits], for an error of 2^-bits."""
    rng = np.random.default_rng(0)
    drawn = needed[rng.integers(len(needed), size=(RESAMPLES, len(needed)))]
    each = np.polyfit(bits, np.median(drawn, axis=1).T, 1)[0]
    per_bit, at_one = np.polyfit(bits, np.median(needed, axis=0), 1)
    return BitLaw(float(per_bit), float(at_one), float(each.std()))


def gap_figure(points: Sequence[NeuronPoint], bits: Sequence[int], needed: Needed) -> Figure:
    """Draw width against 1 / eps, by neurons and by weights, and the widths proven necessary.

    Parameters
    ----------
    points : sequence of NeuronPoint
        From `secateurs.tickets.neuron.scaling.neuron_point`; a panel for each d.
    bits : sequence of int
    needed : dict of int to array, shape [networks, bits]
        For each d, from `fewest_neurons` at eps = 2^-bits.
    """
    dimensions = sorted({p.d for p in points})
    figure = Figure(figsize=(4.2 * len(dimensions), 4.4), layout="constrained")
    axes = figure.subplots(1, len(dimensions), sharey=True, squeeze=False)[0]
    for axis, d in zip(axes, dimensions, strict=True):
        _draw_neurons(axis, [p for p in points if p.d == d])
        _draw_weights(axis, bits, needed[d])
        _draw_proven(axis, d, bits)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_ylim(1, 1e6)  # room for the legend
        axis.set_xlabel("1 / eps")
        axis.set_title(f"d = {d}")
        axis.grid(color=SOFT)
        axis.legend(fontsize=7, loc="upper left")
    axes[0].set_ylabel("neurons of the random network")
    return figure


def _draw_neurons(axis: Axes, points: list[NeuronPoint]) -> None:
    """Draw the median errors, their fit with its band, and the medians of the bounds."""
    widths = sorted({p.n_neurons for p in points})
    groups = [[p for p in points if p.n_neurons == n] for n in widths]
    error = np.array([np.median([p.error for p in group]) for group in groups])
    bound = np.array([np.median([p.lower_bound for p in group]) for group in groups])
    law = width_law(points)
    x = np.geomspace((1 / error).min(), (1 / error).max(), 50)
    middle = np.exp(np.log(1 / error).mean())
    centre = law.factor * middle**law.slope
    axis.fill_between(
        x,
        centre * (x / middle) ** law.low,
        centre * (x / middle) ** law.high,
        color=NEURONS,
        alpha=0.2,
        linewidth=0,
    )
    axis.plot(x, law.factor * x**law.slope, color=NEURONS)
    label = f"neurons, found: slope {law.slope:.2f} [{law.low:.2f}, {law.high:.2f}]"
    axis.plot(1 / error, widths, "o", color=NEURONS, label=label)
    axis.plot(
        1 / np.maximum(bound, 1e-9),
        widths,
        "<",
        color=NEURONS,
        markerfacecolor="none",
        label="neurons, no subset of these reaches farther",
    )


def _draw_weights(axis: Axes, bits: Sequence[int], needed: NDArray[np.int64]) -> None:
    law = bit_law(bits, needed)
    x = np.linspace(min(bits), max(bits), 50)
    band = 2 * law.standard_error * np.abs(x - np.mean(bits))
    line = law.per_bit * x + law.at_one
    axis.fill_between(2**x, line - band, line + band, color=OURS, alpha=0.2, linewidth=0)
    axis.plot(2**x, line, color=OURS)
    axis.plot(
        2.0 ** np.array(bits),
        np.median(needed, axis=0),
        "s",
        color=OURS,
        label=f"weights, needed: {law.per_bit:.1f} log2(1/eps) + {law.at_one:.0f}",
    )


def _draw_proven(axis: Axes, d: int, bits: Sequence[int]) -> None:
    """Draw the widths below which success has probability below 1/2, for any solver."""
    x = np.geomspace(2.5, 2.0 ** max(bits), 40)
    neurons = [required_width(d, 1 / v, 0.5, "neurons").necessary for v in x]
    weights = [required_width(d, 1 / v, 0.5, "weights").necessary for v in x]
    axis.plot(x, neurons, color=NEURONS, linestyle="--", label="neurons, proven necessary")
    axis.fill_between(x, 1, neurons, color=OTHERS, alpha=0.15, linewidth=0)
    axis.plot(
        x, weights, color=OURS, linestyle="--", label="weights, proven necessary (uniform target)"
    )
