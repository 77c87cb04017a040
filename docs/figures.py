"""Draw the pictures of the documentation; run as ``python docs/figures.py [NAME ...]``."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from secateurs import SparseMLPClassifier, compare, load_dataset
from secateurs.core.figures import OTHERS, OURS, SOFT, save_figure
from secateurs.data.datasets import split
from secateurs.features.certificate import correlational_lower_bound, unpruned_rows
from secateurs.recovery.planted import PlantedProblem, planted_relu
from secateurs.recovery.pursuit.search import relu_pursuit
from secateurs.recovery.thresholding.iht import iht
from secateurs.recovery.thresholding.layer_by_layer import iht_network
from secateurs.sensing.baselines import compare_column_norms
from secateurs.sensing.figures import norms_figure
from secateurs.sensing.planted import planted_sensing
from secateurs.sensing.regularisation_path import group_lasso_path
from secateurs.sparse.compact import CompactNetwork
from secateurs.tickets.neuron.figures import gap_figure
from secateurs.tickets.neuron.scaling import BITS, NETWORKS, NeuronPoint, fewest_neurons
from secateurs.training.comparison import LABELS, result_row
from secateurs.training.figures import fit_figure
from secateurs.training.imp import imp_path
from secateurs.training.training_data import Scaling, TrainingData

Array = NDArray[np.floating]

IMAGES = Path(__file__).parent / "images"
BUDGETS = (50, 100, 200, 300, 500, 1000)
STYLES = {
    "prune_regrow": {"color": OURS, "marker": "o", "linewidth": 2.5},
    "gradual": {"color": "#3a6ea5", "marker": "s"},
    "imp": {"color": "#b5651d", "marker": "^"},
    "rigl": {"color": "#7a5195", "marker": "v"},
}
SPLITS = 3
PLANTED = {"d": 50, "m": 5, "s": 20}
ROWS = (100, 150, 200, 300, 500, 1000)
SEEDS = 6
EXACT, PAPER_BAR = 100, 60  # dB on fresh rows
CAPPED = 350  # dB, about rounding
MEASURED = Path(__file__).parent / "measured"  # by benchmarks that take long
SCALING = MEASURED / "features_scaling.json"
GAP = MEASURED / "neuron_pruning.json"


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


def by_pursuit(problem: PlantedProblem) -> Array:
    """Prediction of the fresh rows."""
    fit = relu_pursuit(problem.X, problem.y, PLANTED["s"], PLANTED["m"])
    return fit.value.predict(problem.X_test)


def by_exchanges(problem: PlantedProblem) -> Array:
    """Hard thresholding, Gauss-Newton, exchanges, Gauss-Newton."""
    fit = iht_network(problem.X, problem.y, PLANTED["s"], PLANTED["m"])
    return fit.value.predict(problem.X_test)


def by_iht(problem: PlantedProblem) -> Array:
    """The textbook iteration, at most 200 steps.

    From the same gates it recovers the networks that tests/reference/textbook_iht.py does; it
    ends after 20 steps without progress.
    """
    fit = iht(problem.X, problem.y, PLANTED["s"], PLANTED["m"], n_steps=200)
    return fit.value.predict(problem.X_test)


def by_imp(problem: PlantedProblem) -> Array:
    """Magnitude pruning of a network with output weights, which are added to its budget."""
    scale = problem.y.std()
    n, n_test = len(problem.X), len(problem.X_test)
    X = np.concatenate([problem.X, problem.X_test]).astype(np.float32)
    y = (np.concatenate([problem.y, problem.y_test]) / scale).astype(np.float32)[:, None]
    scaling = Scaling(None, np.ones(X.shape[1]))
    train = TrainingData(X, y, scaling, 1, rows=np.arange(n))
    (pruned,) = imp_path(
        train,
        (PLANTED["m"],),
        [PLANTED["s"] + PLANTED["m"]],
        round_steps=1200,  # best of 400 and 1200, at learning rates .005, .02, .05, other seeds
        batch_size=min(100, n // 2),
    )
    fresh = TrainingData(X, y, scaling, 1, rows=np.arange(n, n + n_test))
    net = CompactNetwork.from_network(pruned.value)
    output = net.forward(fresh.inputs(torch.arange(n_test), net.units[0]))[-1]
    return scale * output.numpy().ravel().astype(float)


RECOVERY: dict[str, tuple[Callable[[PlantedProblem], Array], dict[str, object]]] = {
    "pursuit": (by_pursuit, {"color": OURS, "marker": "o", "linewidth": 2.5}),
    "IHT + polish + exchanges": (by_exchanges, {"color": "#3a6ea5", "marker": "s"}),
    "textbook IHT, 200 steps": (by_iht, {"color": OTHERS, "marker": "v"}),
    "magnitude pruning (IMP)": (by_imp, {"color": "#b5651d", "marker": "^"}),
}


def decibels(y: Array, prediction: Array) -> float:
    """Peak signal to noise ratio."""
    error = float(np.mean((y - prediction) ** 2))
    return min(CAPPED, 20 * math.log10(np.abs(y).max()) - 10 * math.log10(error + 1e-300))


def recovery_figure() -> Figure:
    """Planted networks recovered against the number of rows, on the same problems."""
    psnr = {name: np.zeros((len(ROWS), SEEDS)) for name in RECOVERY}
    for i, n in enumerate(ROWS):
        for seed in range(SEEDS):
            problem = planted_relu(n, **PLANTED, random_state=seed)
            for name, (fit, _) in RECOVERY.items():
                psnr[name][i, seed] = decibels(problem.y_test, fit(problem))
    figure = Figure(figsize=(9, 3.9), layout="constrained")
    share, median = figure.subplots(1, 2)
    for name, (_, style) in RECOVERY.items():
        share.plot(ROWS, 100 * (psnr[name] > EXACT).mean(1), label=name, **style)
        median.plot(ROWS, np.median(psnr[name], axis=1), label=name, **style)
    share.set_ylabel("networks recovered, %")
    share.set_title(f"above {EXACT} dB on fresh rows, {SEEDS} networks a point")
    share.set_ylim(-5, 105)
    median.set_ylabel("dB on fresh rows, median")
    median.axhline(EXACT, color=OURS, linestyle=":", linewidth=1)
    median.axhline(PAPER_BAR, color=OTHERS, linestyle=":", linewidth=1)
    for bar in (EXACT, PAPER_BAR):
        median.annotate(f"{bar} dB", (ROWS[0], bar), (0, 2), textcoords="offset points", fontsize=8)
    median.set_title("how well the network is known")
    for axis in (share, median):
        axis.set_xscale("log")
        axis.set_xticks(ROWS, [str(n) for n in ROWS])
        axis.minorticks_off()
        axis.set_xlabel("rows n  ({s} weights, {m} neurons, {d} inputs)".format(**PLANTED))
        axis.grid(color=SOFT)
    share.legend(fontsize=8, loc="upper right", bbox_to_anchor=(1, 0.93))
    return figure


def sensing_figure() -> Figure:
    """Column norms of one over-parameterised model, with the group lasso and without."""
    problem = planted_sensing(450, 50, 2, noise_ratio=0.05, random_state=0)
    path = group_lasso_path(problem.operator, problem.y)
    norms = compare_column_norms(
        problem.operator,
        problem.y,
        strength=path.measured["strength"],
        beta=path.measured["beta"],
    )
    return norms_figure(norms)


def gap() -> Figure:
    """Width against accuracy, pruning weights and neurons.

    Neurons as ``python -m benchmarks.tickets.neuron_pruning --seeds 12 --out FILE`` measured them.
    """
    points = [NeuronPoint(**point) for point in json.loads(GAP.read_text())["points"]]
    needed = {
        d: np.array([[fewest_neurons(d, 2.0**-b, seed) for b in BITS] for seed in range(NETWORKS)])
        for d in sorted({point.d for point in points})
    }
    return gap_figure(points, BITS, needed)


SCALING_STYLES = {
    "multi_index": ("inputs pruned (multi_index)", {"color": OURS, "marker": "o", "linewidth": 2}),
    "paper, told k and M": ("inputs pruned (paper's)", {"color": "#3a6ea5", "marker": "s"}),
    "one large step": ("not pruned, one large step", {"color": "#b5651d", "marker": "^"}),
    "spectral": ("not pruned, spectral", {"color": "#7a5195", "marker": "v"}),
}


def scaling_figure() -> Figure:
    """Rows needed against columns, as ``python -m benchmarks.features.scaling`` measured them."""
    measured = json.loads(SCALING.read_text())
    figure = Figure(figsize=(3.5 * len(measured), 4.8), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(measured), sharey=True))
    for axis, (link, methods) in zip(axes, measured.items(), strict=True):
        k = int(link[2])
        every = sorted({int(d) for cells in methods.values() for d in cells})
        for method, (label, style) in SCALING_STYLES.items():
            d = np.array([int(key) for key in methods.get(method, {})])
            n = np.array(list(methods.get(method, {}).values()))
            if len(d) > 1:
                label += f", slope {np.polyfit(np.log(d), np.log(n), 1)[0]:.2f}"
            if len(d):
                axis.plot(d, n, label=label, **style)
        bounds = (
            ("lower bound of correlational queries", correlational_lower_bound, (k, 8)),
            ("order $d^k$ of one large step", unpruned_rows, (k,)),
        )
        for (label, bound, rest), line in zip(bounds, (":", "--"), strict=True):
            axis.plot(
                *(every, [bound(d, *rest) for d in every]),
                **{"color": OTHERS, "linestyle": line, "linewidth": 1, "label": label},
            )
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_ylim(4, 3e5)
        axis.set_xticks(every, [str(d) for d in every])
        axis.minorticks_off()
        axis.set_xlabel("columns d, of which 8 matter")
        axis.set_title(f"information exponent {k}", fontsize=10)
        axis.grid(color=SOFT)
        axis.legend(fontsize=6, loc="upper center", bbox_to_anchor=(0.5, -0.17))
    axes[0].set_ylabel("rows needed for R² > .9")
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "digits_budget": budget_figure,
    "digits_fit": digits_figure,
    "recovery_transition": recovery_figure,
    "features_scaling": scaling_figure,
    "sensing_norms": sensing_figure,
    "tickets_gap": gap,
}


def main(names: list[str]) -> None:
    """Write the pictures named, or every one, to docs/images."""
    torch.set_num_threads(1)
    IMAGES.mkdir(exist_ok=True)
    unknown = set(names) - set(PICTURES)
    if unknown:
        raise SystemExit(f"no picture {min(unknown)!r}; there are {', '.join(PICTURES)}")
    for name in names or PICTURES:
        save_figure(PICTURES[name](), IMAGES / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
