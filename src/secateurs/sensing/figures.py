"""Figures of sensed matrices and of interactions."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from secateurs.core.description import counted
from secateurs.core.figures import OTHERS, OURS, SOFT
from secateurs.data.table_estimator import input_names
from secateurs.sensing.baselines import ColumnNorms
from secateurs.sensing.estimator import MatrixSensing
from secateurs.sensing.quadratic_estimator import QuadraticRegressor


def components_figure(model: MatrixSensing) -> Figure:
    """Draw the eigenvalues, and the path that found them.

    Parameters
    ----------
    model : fitted MatrixSensing
        Without a path in its history, as with a single component, one panel is drawn.

    Returns
    -------
    Figure
        Not shown and not saved; `secateurs.core.save_figure` writes it to a file.
    """
    history = model.history_
    with_path = bool(history.get("tau"))  # one component may be found without a path
    figure = Figure(figsize=(8.4 if with_path else 4.2, 3.4), layout="constrained")
    axes = figure.subplots(1, 2 if with_path else 1, squeeze=False)[0]
    values = model.eigenvalues_
    colours = [OURS if value > 0 else OTHERS for value in values]
    axes[0].bar(np.arange(1, len(values) + 1), values, color=colours)
    axes[0].axhline(0, color=SOFT, linewidth=1)
    axes[0].set_xlabel("component")
    axes[0].set_ylabel("eigenvalue")
    axes[0].set_title(f"rank {len(values)}, {model.status_}")
    if with_path:
        axes[1].plot(history["tau"], history["loss"], "o-", color=OURS)
        axes[1].set_xscale("log")
        axes[1].set_yscale("log")
        axes[1].invert_xaxis()
        axes[1].set_xlabel("tau, the eigenvalue of the residual above which a column is added")
        axes[1].set_ylabel("mean squared residual", color=OURS)
        twin = axes[1].twinx()
        twin.step(history["tau"], history["rank"], color=OTHERS, where="post")
        twin.set_ylabel("columns after pruning", color=OTHERS)
        twin.set_ylim(bottom=0)
        axes[1].set_title("path")
    return figure


def interactions_figure(model: QuadraticRegressor, n_pairs: int = 15) -> Figure:
    """Draw the strongest pairs, as bars and as a matrix.

    Parameters
    ----------
    model : fitted QuadraticRegressor
        The pairs are those of its `interactions_`.
    n_pairs : int
        The most pairs that are drawn.

    Returns
    -------
    Figure
        Not shown and not saved; `secateurs.core.save_figure` writes it to a file.
    """
    pairs = model.interactions_[:n_pairs]
    if not pairs:
        figure = Figure(figsize=(5, 1), layout="constrained")
        text = "no pair of columns improves on a linear function"
        figure.text(0.5, 0.5, text, ha="center", va="center")
        return figure
    figure = Figure(figsize=(9.6, 0.8 + 0.28 * max(len(pairs), 8)), layout="constrained")
    bars, matrix = figure.subplots(1, 2)
    labels = [
        f"{p.first[:24]}²" if p.first == p.second else f"{p.first[:20]} × {p.second[:20]}"
        for p in reversed(pairs)
    ]
    effects = [p.effect for p in reversed(pairs)]
    bars.barh(labels, effects, color=[OURS if effect > 0 else OTHERS for effect in effects])
    bars.axvline(0, color=SOFT, linewidth=1)
    bars.tick_params(axis="y", labelsize=7)
    bars.set_xlabel("effect, in units of y")
    bars.set_title(counted(model.n_components_, "square"))
    shown, place = np.unique(model.pairs_[:n_pairs], return_inverse=True)
    place = place.reshape(-1, 2)
    effect = np.zeros((len(shown), len(shown)))
    effect[place[:, 0], place[:, 1]] = effect[place[:, 1], place[:, 0]] = model.effects_[:n_pairs]
    names = input_names(model)
    limit = float(np.abs(effect).max(initial=0.0)) or 1.0
    drawn = matrix.imshow(effect, cmap="PiYG", vmin=-limit, vmax=limit)
    figure.colorbar(drawn, ax=matrix, label="effect")
    ticks = [names[j][:16] for j in shown]
    matrix.set_xticks(range(len(shown)), ticks, rotation=90, fontsize=6)
    matrix.set_yticks(range(len(shown)), ticks, fontsize=6)
    matrix.set_title("the same pairs as a matrix")
    return figure


def norms_figure(norms: ColumnNorms) -> Figure:
    """Draw column norms with the regulariser and without it, and the columns that pruning keeps.

    Parameters
    ----------
    norms : ColumnNorms
        From `secateurs.sensing.compare_column_norms`.

    Returns
    -------
    Figure
        Not shown and not saved; `secateurs.core.save_figure` writes it to a file.
    """
    without = f"without: {norms.n_comparable} of {len(norms.plain)} above .3 of the largest"
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axis, sizes, colour, title, loss in zip(
        panels,
        (norms.penalised, norms.plain),
        (OURS, OTHERS),
        (f"with group lasso: {norms.n_kept} columns stay", without),
        (norms.pruned_penalised, norms.pruned_plain),
        strict=True,
    ):
        axis.bar(np.arange(1, len(sizes) + 1), sizes, color=colour)
        axis.axhline(norms.threshold, color="black", linestyle=":", linewidth=1)
        axis.set_xlabel("column")
        axis.set_title(title, fontsize=10)
        kept = f"loss after keeping the {norms.n_kept} largest:\n{loss:.3f} of the mean square"
        place = {"xycoords": "axes fraction", "ha": "right", "va": "top", "fontsize": 8}
        axis.annotate(kept, (0.97, 0.75), **place)
    panels[0].set_ylabel("norm")
    end = (len(norms.penalised), norms.threshold)
    panels[0].annotate("pruned below", end, ha="right", va="top", fontsize=8)
    return figure
