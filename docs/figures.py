"""Draw the pictures of the documentation; run as ``python docs/figures.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from secateurs import SparseMLPClassifier, compare, load_dataset
from secateurs.experiments.compare import LABELS, result_row
from secateurs.experiments.figures import OTHERS, OURS, SOFT, fit_figure, save_figure
from secateurs.problems.datasets import split

IMAGES = Path(__file__).parent / "images"
BUDGETS = (50, 100, 200, 300, 500, 1000)
STYLES = {
    "prune_regrow": {"color": OURS, "marker": "o", "linewidth": 2.5},
    "gradual": {"color": "#3a6ea5", "marker": "s"},
    "imp": {"color": "#b5651d", "marker": "^"},
    "rigl": {"color": "#7a5195", "marker": "v"},
}
SPLITS = 3


def budget_figure() -> Figure:
    """Accuracy against weights on digits, mean over splits, every method on the same rows."""
    scores = {method: np.zeros(len(BUDGETS)) for method in STYLES}
    dense = 0.0
    for seed in range(SPLITS):
        dataset = split(load_dataset("digits"), 0.2, random_state=seed)
        parts = (dataset.X, dataset.y, dataset.X_test, dataset.y_test)
        for i, s in enumerate(BUDGETS):
            model = SparseMLPClassifier(n_nonzero=s, random_state=seed)
            for row in compare(model, *parts, methods=list(STYLES)):
                scores[row["method"]][i] += row["score"] / SPLITS
        (row,) = compare(SparseMLPClassifier(random_state=seed), *parts, methods=["dense"])
        dense += row["score"] / SPLITS
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axis = figure.subplots()
    for method, style in STYLES.items():
        axis.plot(BUDGETS, 100 * scores[method], label=LABELS[method], **style)
    axis.axhline(100 * dense, color=OTHERS, linestyle=":", label="dense, all 3,760 weights")
    axis.set_xscale("log")
    axis.set_xticks(BUDGETS, [str(s) for s in BUDGETS])
    axis.minorticks_off()
    axis.set_xlabel("weights of the network (64-50-10, biases included)")
    axis.set_ylabel("test accuracy, %")
    axis.set_title("digits: what a weight budget costs")
    axis.grid(color=SOFT)
    axis.legend()
    return figure


def digits_figure() -> Figure:
    """What ``secateurs fit digits --nonzeros 300 --compare --plot`` draws."""
    dataset = split(load_dataset("digits"), 0.2, random_state=0)
    parts = (dataset.X, dataset.y, dataset.X_test, dataset.y_test)
    model = SparseMLPClassifier(n_nonzero=300, random_state=0).fit(dataset.X, dataset.y)
    rows = [result_row(model, dataset.X_test, dataset.y_test, "prune_regrow", 0.0)]
    return fit_figure(model, rows + compare(model, *parts), dataset.image_shape)


def main() -> None:
    """Write every picture to docs/images."""
    torch.set_num_threads(1)
    IMAGES.mkdir(exist_ok=True)
    save_figure(budget_figure(), IMAGES / "digits_budget.png")
    save_figure(digits_figure(), IMAGES / "digits_fit.png")


if __name__ == "__main__":
    main()
