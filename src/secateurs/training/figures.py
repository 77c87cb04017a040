"""Figures of a fit, of a comparison of methods and of a path of budgets."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from secateurs.core.figures import OTHERS, OURS, SOFT
from secateurs.data.table_estimator import input_names
from secateurs.training.budget_paths import BudgetPath
from secateurs.training.comparison import Estimator
from secateurs.training.description import input_strength

SHOWN_INPUTS = 15


def fit_figure(
    model: Estimator,
    rows: list[dict[str, Any]],
    image_shape: tuple[int, ...] | None = None,
) -> Figure:
    """Draw the training, the inputs that are used, and the comparison of the methods.

    Parameters
    ----------
    model : fitted estimator
    rows : list of dict
        From `secateurs.training.comparison`; the row of the model itself comes first.
    image_shape : tuple of int, optional
        Draw the inputs as an image of this shape.

    Returns
    -------
    Figure
    """
    n_panels = 3 if len(rows) > 1 else 2
    figure = Figure(figsize=(4.2 * n_panels, 3.4), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, n_panels))
    _draw_training(axes[0], model)
    if image_shape is not None and len(image_shape) == 2:
        _draw_pixels(axes[1], model, image_shape)
    else:
        _draw_inputs(axes[1], model)
    if n_panels == 3:
        _draw_comparison(axes[2], rows)
    return figure


def path_figure(path: BudgetPath) -> Figure:
    """Draw the score against the number of weights, on a logarithmic axis."""
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axis = figure.subplots()
    axis.plot([m.n_nonzero_ for m in path.estimators], path.scores, "o-", color=OURS)
    axis.set_xscale("log")
    axis.set_xticks(path.budgets, [str(s) for s in path.budgets])
    axis.minorticks_off()
    axis.set_xlabel("weights")
    axis.set_ylabel(f"test {path.metric}")
    axis.grid(color=SOFT)
    return figure


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
    ordered = sorted(rows, key=lambda row: row["score"])
    colours = [OURS if row["method"] == "prune_regrow" else OTHERS for row in ordered]
    labels = [f"{row['label']}\n{row['nonzeros']} weights" for row in ordered]
    axis.barh(labels, [row["score"] for row in ordered], color=colours)
    for place, row in enumerate(ordered):
        axis.annotate(f"{row['score']:.3f}", (max(row["score"], 0), place), va="center", fontsize=8)
    axis.tick_params(axis="y", labelsize=7)
    axis.set_xlim(0, 1.15)
    axis.set_xlabel(f"test {rows[0]['metric']}")
    axis.set_title("same rows, same budget")
