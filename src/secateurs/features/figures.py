"""Figure of the columns that matter: scores against the threshold."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from secateurs.core.description import counted
from secateurs.core.figures import OTHERS, OURS, SOFT
from secateurs.data.table_estimator import input_names
from secateurs.features.estimator_base import SparseMultiIndexBase

MOST_POINTS = 5000  # dropped columns drawn: the highest, and an even selection of the others
MOST_NAMES = 8  # kept columns whose names stand beside their scores
MOST_COLUMNS = 15  # kept columns whose directions are drawn


def features_figure(model: SparseMultiIndexBase) -> Figure:
    """Draw the scores of all columns against the threshold, and the directions found.

    Parameters
    ----------
    model : fitted SparseMultiIndexRegressor or SparseMultiIndexClassifier
        Its kept columns are named, the eight with the highest scores at most.

    Returns
    -------
    Figure
        Not shown and not saved; `secateurs.core.save_figure` writes it to a file.
    """
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    screen, directions = figure.subplots(1, 2, width_ratios=(3, 2))
    scores, kept = model.scores_, model.support_
    dropped = np.setdiff1d(np.arange(len(scores)), kept)
    if len(dropped) > MOST_POINTS:
        order = dropped[np.argsort(-scores[dropped], kind="stable")]
        high, low = order[: MOST_POINTS // 2], np.sort(order[MOST_POINTS // 2 :])
        dropped = np.concatenate([high, low[:: -(-len(low) // (MOST_POINTS // 2))]])
    screen.plot(dropped, scores[dropped], ".", color=OTHERS, markersize=3, label="dropped")
    screen.plot(kept, scores[kept], "o", color=OURS, markersize=5, label="kept")
    screen.axhline(model.threshold_, color=OURS, linestyle=":", linewidth=1)
    screen.annotate(
        f"threshold {model.threshold_:.2f}",
        (1.0, model.threshold_),
        (-3, 3),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        fontsize=8,
    )
    _name_columns(screen, model)
    screen.set_xlabel("number of the column")
    screen.set_ylabel("score, standard deviations of noise")
    screen.set_ylim(bottom=0)
    doubt = "" if model.signal_detected_ else ": NO SIGNAL, DO NOT TRUST"
    screen.set_title(f"{len(kept)} of {len(scores)} columns kept{doubt}", fontsize=10)
    screen.legend(fontsize=8, loc="upper left")
    _draw_directions(directions, model)
    return figure


def _name_columns(axis: Axes, model: SparseMultiIndexBase) -> None:
    """Write the names of the kept columns with the highest scores beside their points."""
    names, middle = input_names(model), len(model.scores_) / 2
    highest = sorted(model.support_.tolist(), key=lambda j: (-model.scores_[j], j))
    for j in highest[:MOST_NAMES]:
        place, side = ((6, 0), "left") if j < middle else ((-6, 0), "right")
        axis.annotate(
            *(names[j][:24], (j, model.scores_[j]), place),
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize=7,
        )


def _draw_directions(axis: Axes, model: SparseMultiIndexBase) -> None:
    """Draw the entries of the directions for the kept columns with the largest share."""
    order = np.argsort(-model.feature_importances_, kind="stable")
    order = order[: min(MOST_COLUMNS, len(model.support_))]
    names = input_names(model)
    values = model.directions_[:, order].toarray()
    limit = float(np.abs(values).max())
    image = axis.imshow(values.T, cmap="PRGn", vmin=-limit, vmax=limit, aspect="auto")
    axis.set_yticks(range(len(order)), [names[j][:24] for j in order], fontsize=7)
    axis.set_xticks(
        range(len(values)), [f"direction {i + 1}" for i in range(len(values))], fontsize=8
    )
    score = "R²" if "classes_" not in vars(model) else "relative gain in log-loss"
    title = f"{counted(len(values), 'direction')}\n{score} on validation rows: {model.val_r2_:.3f}"
    axis.set_title(title, fontsize=9)
    axis.spines[:].set_color(SOFT)
    axis.figure.colorbar(image, ax=axis, label="entry of the direction")
