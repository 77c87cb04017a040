"""Figures of a fit, of a comparison of methods and of a path of budgets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from secateurs.core.figures import OTHERS, OURS, SOFT
from secateurs.data.table_estimator import input_names
from secateurs.training.budget_paths import BudgetPath
from secateurs.training.comparison import Estimator
from secateurs.training.description import input_strength

SHOWN_INPUTS = 15
LOWEST_SHOWN = -1.0  # score at which the axis of a comparison ends


def fit_figure(
    model: Estimator,
    rows: list[dict[str, Any]],
    image_shape: tuple[int, ...] | None = None,
) -> Figure:
    """Draw the training, the inputs that are used, and the comparison of the methods.

    A line is solved without steps; then the panel of the training is left out.

    Parameters
    ----------
    model : fitted estimator
        SparseMLPClassifier or SparseMLPRegressor.
    rows : list of dict
        From `secateurs.training.comparison`; the row of the model itself comes first.
    image_shape : tuple of int, optional
        Draw the inputs as an image of this shape.

    Returns
    -------
    Figure
        Not shown and not saved; `secateurs.core.save_figure` writes it to a file.
    """
    panels: list[Callable[[Axes], None]] = [partial(_draw_inputs, model=model)]
    if image_shape is not None and len(image_shape) == 2:
        panels = [partial(_draw_pixels, model=model, shape=image_shape)]
    if model.n_steps_:  # a line is solved without steps, so there is no course to draw
        panels.insert(0, partial(_draw_training, model=model))
    if len(rows) > 1:
        panels.append(partial(_draw_comparison, rows=rows))
    width = 5.6 if len(panels) == 1 else 4.2 * len(panels)
    figure = Figure(figsize=(width, 3.4), layout="constrained")
    for axis, draw in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw(axis)
    return figure


def path_figure(path: BudgetPath) -> Figure:
    """Draw the score against the number of weights, on a logarithmic axis.

    For classes the band reaches down to the worst accuracy that the certificate of each network
    leaves possible; networks without such a bound have no band.

    Parameters
    ----------
    path : BudgetPath
        From `budget_path`, with scores on test rows.

    Returns
    -------
    Figure
        Not shown and not saved; `secateurs.core.save_figure` writes it to a file.
    """
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axis = figure.subplots()
    axis.plot([m.n_nonzero_ for m in path.estimators], path.scores, "o-", color=OURS)
    _draw_bounds(axis, path)
    axis.set_xscale("log")
    axis.set_xticks(path.budgets, [str(s) for s in path.budgets])
    axis.minorticks_off()
    axis.set_xlabel("weights")
    axis.set_ylabel(f"{_shown_metric(path.metric)} on test rows")
    axis.grid(color=SOFT)
    return figure


def _shown_metric(metric: str) -> str:
    return "R²" if metric == "r2" else metric


def _draw_bounds(axis: Axes, path: BudgetPath) -> None:
    """Draw the certified accuracies below the scores, each with a confidence of 95 %."""
    points = []
    for model, score in zip(path.estimators, path.scores, strict=True):
        checks = {check.name: check for check in model.certificate_.checks}
        found = checks.get("held-out error")
        if found is not None and found.measured is not None and found.measured < 1:
            points.append((model.n_nonzero_, 1 - found.measured, score))
    if points:
        weights, bounds, scores = zip(*sorted(points), strict=True)
        label = "certified, each with 95 %"
        axis.plot(weights, bounds, ":", color=OURS, linewidth=1)
        axis.fill_between(weights, bounds, scores, color=OURS, alpha=0.15, label=label)
        axis.legend(loc="lower right", fontsize=8)


def _draw_training(axis: Axes, model: Estimator) -> None:
    history = model.history_
    axis.plot(history["step"], history["loss"], color=OURS)
    axis.set_yscale("log")
    axis.set_xlabel("step")
    axis.set_ylabel("training loss", color=OURS)
    twin = axis.twinx()
    twin.step(history["step"], history["n_nonzero"], color=OTHERS, where="post")
    twin.axhline(model.budget_, color=OTHERS, linestyle=":", linewidth=1)
    twin.set_ylabel("weights", color=OTHERS)
    twin.set_ylim(bottom=0)
    twin.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_title("training")


def _draw_pixels(axis: Axes, model: Estimator, shape: tuple[int, ...]) -> None:
    strength = input_strength(model).reshape(shape)
    shown = np.where(strength > 0, strength, np.nan)
    axis.set_facecolor(SOFT)
    image = axis.imshow(shown, cmap="viridis")
    axis.figure.colorbar(image, ax=axis, label="sum of |weight|")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_title(f"{int((strength > 0).sum())} of {strength.size} pixels are read")


def _draw_inputs(axis: Axes, model: Estimator) -> None:
    strength = input_strength(model)
    order = np.argsort(-strength, kind="stable")[:SHOWN_INPUTS]
    order = order[strength[order] > 0][::-1]
    names = input_names(model)
    axis.barh([names[j][:24] for j in order], strength[order], color=OURS)
    axis.tick_params(axis="y", labelsize=7)
    axis.set_xlabel("sum of |weight|")
    used = int((strength > 0).sum())
    axis.set_title(f"{used} of {len(strength)} inputs are read")


def _draw_comparison(axis: Axes, rows: list[dict[str, Any]]) -> None:
    # a score may be undefined, as R² of a single row
    defined = [row for row in rows if row["score"] is not None and np.isfinite(row["score"])]
    ordered = sorted(defined, key=lambda row: row["score"])
    colours = [OURS if row["method"] == "prune_regrow" else OTHERS for row in ordered]
    labels = [f"{row['label']}\n{row['nonzeros']} weights" for row in ordered]
    axis.barh(labels, [row["score"] for row in ordered], color=colours)
    for place, row in enumerate(ordered):
        axis.annotate(
            *(f"{row['score']:.3f}", (max(row["score"], 0), place), (3, 0)),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axis.tick_params(axis="y", labelsize=7)
    # R² has no lower limit, and a method far below the others would hide their differences
    lowest = min([0.0, *(row["score"] for row in ordered)])
    axis.set_xlim(max(lowest, LOWEST_SHOWN), 1.15)
    axis.set_xlabel(f"{_shown_metric(rows[0]['metric'])} on test rows")
    axis.set_title("same rows, same budget")
