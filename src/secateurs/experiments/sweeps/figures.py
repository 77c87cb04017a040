"""Figures of a sweep for a paper: transitions, scaling, comparison with peers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import binomtest, norm
from scipy.stats import t as student

from secateurs.core.figures import OTHERS, OURS, SOFT
from secateurs.core.parameters import Shown, bad_value
from secateurs.experiments.sweeps.settings import FigureSettings, Sweep
from secateurs.experiments.sweeps.transition import fit_transition

FloatArray = NDArray[np.float64]

LEVEL = 0.95  # confidence level of every band and interval
COLOURS = ("#3a6ea5", "#b5651d", "#7a5195", "#c2403d", "#4d4d4d", "#6b8e23")  # of peers, in order


@dataclass(frozen=True)
class PowerLaw:
    """y = exp(intercept) x^slope, fitted to logarithms by least squares.

    Attributes
    ----------
    slope, intercept : float
    slope_low, slope_high : float
        Interval at `LEVEL` by Student's t; nan with fewer than three points.
    """

    slope: float
    intercept: float
    slope_low: float
    slope_high: float
    _centre: float
    _error: float
    _spread: float
    _n: int

    def band(self, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the line and its confidence band at x."""
        t = np.log(x)
        line = self.intercept + self.slope * t
        if self._n < 3:
            return np.exp(line), np.full(len(t), np.nan), np.full(len(t), np.nan)
        quantile = float(student.ppf(0.5 + LEVEL / 2, self._n - 2))
        leverage = 1 / self._n + (t - self._centre) ** 2 / self._spread
        width = quantile * self._error * np.sqrt(leverage)
        return np.exp(line), np.exp(line - width), np.exp(line + width)


def fit_power_law(x: FloatArray, y: FloatArray) -> PowerLaw:
    """Fit a straight line to log y against log x.

    Raises
    ------
    ValueError
        A number is not positive, or all x are equal.
    """
    if (x <= 0).any() or (y <= 0).any() or len(np.unique(x)) < 2:
        raise bad_value(
            "x, y", Shown(f"{x.tolist()}, {y.tolist()}"), "positive numbers at two or more x"
        )
    s, t = np.log(x), np.log(y)
    centre, spread, n = float(s.mean()), float(((s - s.mean()) ** 2).sum()), len(s)
    slope = float(((s - centre) * t).sum() / spread)
    intercept = float(t.mean() - slope * centre)
    left = t - intercept - slope * s
    error = float(np.sqrt((left**2).sum() / (n - 2))) if n > 2 else np.nan
    width = math.nan
    if n > 2:
        width = float(student.ppf(0.5 + LEVEL / 2, n - 2)) * error / math.sqrt(spread)
    return PowerLaw(slope, intercept, slope - width, slope + width, centre, error, spread, n)


def draw(sweep: Sweep, frame: pd.DataFrame, wanted: FigureSettings) -> Figure:
    """Draw a figure of the finished cells of a sweep.

    Parameters
    ----------
    sweep : Sweep
    frame : DataFrame
        From `secateurs.experiments.sweeps.sweep.sweep_frame`.
    wanted : FigureSettings
        One of `sweep.figures`.
    """
    return {"heat_map": heat_map, "scaling": scaling, "bars": bars}[wanted.kind](
        sweep, frame, wanted
    )


def heat_map(sweep: Sweep, frame: pd.DataFrame, wanted: FigureSettings) -> Figure:
    """Draw the mean of a metric over two axes, one panel a method; grey without finished cells.

    For a metric of 0 and 1, a line shows where half of the cells succeed, and dotted lines show its
    interval.
    """
    x, y = str(wanted.x), str(wanted.y)
    columns, rows = sweep.axes[x], sweep.axes[y]
    panels = [v.label for v in sweep.variants]
    figure = Figure(figsize=(1.2 + 2.8 * len(panels), 3.2), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    binary = frame[wanted.metric].dropna().isin([0.0, 1.0]).all()
    means = {
        label: frame[frame["label"] == label]
        .pivot_table(index=y, columns=x, values=wanted.metric, aggfunc="mean")
        .reindex(index=rows, columns=columns)
        .to_numpy(dtype=float)
        for label in panels
    }
    low, high = (
        (0.0, 1.0)
        if binary
        else (
            min(float(np.nanmin(m)) for m in means.values() if np.isfinite(m).any()),
            max(float(np.nanmax(m)) for m in means.values() if np.isfinite(m).any()),
        )
    )
    for axis, label in zip(axes, panels, strict=True):
        axis.set_facecolor(SOFT)
        image = axis.imshow(
            means[label], origin="lower", aspect="auto", cmap="viridis", vmin=low, vmax=high
        )
        axis.set_xticks(range(len(columns)), [str(v) for v in columns], fontsize=7)
        axis.set_yticks(range(len(rows)), [str(v) for v in rows], fontsize=7)
        axis.set_xlabel(x)
        axis.set_title(label, fontsize=9)
        if binary and len(columns) > 2 and all(type(v) in (int, float) for v in columns):
            _draw_boundary(axis, frame[frame["label"] == label], wanted, columns, rows)
    axes[0].set_ylabel(y)
    figure.colorbar(image, ax=list(axes), label=wanted.metric)
    return figure


def scaling(sweep: Sweep, frame: pd.DataFrame, wanted: FigureSettings) -> Figure:
    """Draw a metric against an axis, both logarithmic: medians, fitted power laws, their bands.

    A metric of 0 and 1 is drawn as the share of successes with its 95 % interval, and one with
    values that have no logarithm as medians, both on a linear axis: no cell is left out.
    """
    x = str(wanted.x)
    figure = Figure(figsize=(5, 3.8), layout="constrained")
    axis = figure.subplots()
    drawn = frame[wanted.metric].dropna()
    if not (drawn > 0).all():
        _draw_linear(axis, sweep, frame, wanted, binary=bool(drawn.isin([0.0, 1.0]).all()))
        return figure
    for label, colour in _colours(sweep).items():
        mine = frame[(frame["label"] == label) & (frame[wanted.metric] > 0)]
        if mine.empty:
            continue
        median = mine.groupby(x)[wanted.metric].median()
        axis.plot(median.index, median, "o", color=colour, markersize=4)
        at, values = mine[x].to_numpy(dtype=float), mine[wanted.metric].to_numpy(dtype=float)
        if len(np.unique(at)) < 2:
            continue
        law = fit_power_law(at, values)
        grid = np.geomspace(at.min(), at.max(), 50)
        line, low, high = law.band(grid)
        legend = f"{label}: slope {law.slope:.2f} [{law.slope_low:.2f}, {law.slope_high:.2f}]"
        axis.plot(grid, line, color=colour, label=legend)
        axis.fill_between(grid, low, high, color=colour, alpha=0.2, linewidth=0)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel(x)
    axis.set_ylabel(wanted.metric)
    axis.grid(color=SOFT)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=7)
    return figure


def _draw_linear(
    axis: Axes, sweep: Sweep, frame: pd.DataFrame, wanted: FigureSettings, *, binary: bool
) -> None:
    """Draw shares of successes with their intervals, or medians."""
    x = str(wanted.x)
    for label, colour in _colours(sweep).items():
        mine = frame[frame["label"] == label].dropna(subset=[wanted.metric])
        if mine.empty:
            continue
        groups = mine.groupby(x)[wanted.metric]
        middle = groups.mean() if binary else groups.median()
        axis.plot(middle.index, middle, "o-", color=colour, markersize=4, label=label)
        if binary:
            ends = [
                binomtest(int(done), int(n)).proportion_ci(LEVEL, method="wilson")
                for done, n in zip(groups.sum(), groups.count(), strict=True)
            ]
            low, high = [end.low for end in ends], [end.high for end in ends]
            axis.fill_between(middle.index, low, high, color=colour, alpha=0.2, linewidth=0)
    if binary:
        axis.set_ylim(-0.03, 1.03)
    axis.set_xscale("log")
    axis.set_xticks(sweep.axes[x], [f"{v:g}" for v in sweep.axes[x]], fontsize=8)
    axis.minorticks_off()
    axis.set_xlabel(x)
    axis.set_ylabel(f"share of cells with {wanted.metric}" if binary else wanted.metric)
    axis.grid(color=SOFT)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=7)


def bars(sweep: Sweep, frame: pd.DataFrame, wanted: FigureSettings) -> Figure:
    """Draw the mean of a metric over the grid by method, with the 95 % interval over seeds."""
    panels = [v.label for v in sweep.variants]
    colours = _colours(sweep)
    figure = Figure(figsize=(5, 0.8 + 0.4 * len(panels)), layout="constrained")
    axis = figure.subplots()
    for place, label in enumerate(reversed(panels)):
        mean, width = mean_of_points(sweep, frame[frame["label"] == label], wanted.metric)
        if np.isnan(mean):
            continue
        ours = colours[label] == OURS
        axis.barh(place, mean, xerr=width or None, color=OURS if ours else OTHERS, capsize=2)
        axis.annotate(f" {mean:.3g}", (mean + width, place), va="center", fontsize=7)
    axis.set_yticks(range(len(panels)), list(reversed(panels)), fontsize=8)
    axis.set_xlabel(f"{wanted.metric}, mean over {len(sweep.points)} points")
    axis.margins(x=0.12)
    return figure


def mean_of_points(sweep: Sweep, frame: pd.DataFrame, metric: str) -> tuple[float, float]:
    """Return the mean over points of the mean over seeds, and half of its interval at `LEVEL`.

    The points are fixed and the seeds are random, so only the seeds contribute to the interval.  It
    is 0 where a point has one seed.
    """
    values = frame.dropna(subset=[metric])
    if values.empty:
        return float("nan"), 0.0
    grouped = values.groupby(list(sweep.axes))[metric] if sweep.axes else None
    means = grouped.mean() if grouped is not None else pd.Series([values[metric].mean()])
    errors = grouped.sem() if grouped is not None else pd.Series([values[metric].sem()])
    error = float(np.sqrt((errors**2).sum(skipna=False)) / len(means))
    return float(means.mean()), 0.0 if np.isnan(error) else float(norm.ppf(0.5 + LEVEL / 2)) * error


def _draw_boundary(
    axis: Axes,
    frame: pd.DataFrame,
    wanted: FigureSettings,
    columns: list[float],
    rows: list[float],
) -> None:
    """Draw the fitted transition along x in every row, in units of the drawn cells."""
    found: list[list[float]] = []
    for row in rows:
        at = frame[frame[wanted.y] == row].groupby(wanted.x)[wanted.metric].agg(["sum", "count"])
        ends: list[float | None] = [None, None, None]
        if len(at) > 1:
            fit = fit_transition(at.index, at["sum"], at["count"], LEVEL)
            ends = [fit.boundary, fit.low, fit.high] if fit.boundary is not None else ends
        found.append([np.nan if end is None else end for end in ends])
    places = np.interp(np.array(found).ravel(), columns, range(len(columns)))
    outside = np.isnan(found).ravel()
    places[outside] = np.nan
    for line, style in zip(places.reshape(-1, 3).T, ("-", ":", ":"), strict=True):
        axis.plot(line, range(len(rows)), style, color="white", marker="." if style == "-" else "")


def _colours(sweep: Sweep) -> dict[str, str]:
    """Return colours by label: ours for our first method, the others in order."""
    found: dict[str, str] = {}
    others = 0
    for variant in sweep.variants:
        if variant.method in sweep.family.ours and OURS not in found.values():
            found[variant.label] = OURS
        else:
            found[variant.label] = COLOURS[others % len(COLOURS)]
            others += 1
    return found
