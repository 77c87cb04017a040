"""Draw the pictures of the documentation; run as ``python docs/figures.py [NAME ...]``."""

from __future__ import annotations

import json
import math
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from secateurs import SparseMLPClassifier, SparseReLURegressor, compare, load_dataset
from secateurs.core.figures import OTHERS, OURS, SOFT, save_figure
from secateurs.data.datasets import split
from secateurs.features.sample_sizes import correlational_lower_bound, unpruned_rows
from secateurs.nn import plan
from secateurs.nn.figures import plan_figure
from secateurs.recovery.planted import PlantedProblem, planted_relu
from secateurs.recovery.pursuit.search import relu_pursuit
from secateurs.recovery.thresholding.iht import iht
from secateurs.recovery.thresholding.layer_by_layer import iht_network
from secateurs.sensing.baselines import compare_column_norms
from secateurs.sensing.figures import norms_figure
from secateurs.sensing.planted import planted_sensing
from secateurs.sensing.regularisation_path import group_lasso_path
from secateurs.sparse.compact import CompactNetwork
from secateurs.tickets.neuron.scaling import BITS, NETWORKS, NeuronPoint, fewest_neurons
from secateurs.tiny import quantize
from secateurs.tiny.figures import bytes_figure
from secateurs.training.comparison import LABELS, result_row
from secateurs.training.figures import fit_figure
from secateurs.training.imp import imp_path
from secateurs.training.training_data import Scaling, TrainingData

Array = NDArray[np.floating]

IMAGES = Path(__file__).parent / "images"
CARD = (5.6, 3.4)  # inches of a picture on the front page
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
RECOVERED_DB, PAPER_DB = 100, 60  # decibels on fresh rows: our bar, and that of the paper
HIGHEST_DB = 350  # decibels of the rounding error
MEASURED = Path(__file__).parent / "measured"  # results of long benchmarks
SCALING = MEASURED / "features_scaling.json"
NORMS = MEASURED / "sensing_norms.json"
GAP = MEASURED / "neuron_pruning.json"
PROGRAMS = MEASURED / "tiny_mnist.json"


def budget_figure() -> Figure:
    """Draw accuracy against weights on digits: mean over splits, same rows for every method."""
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
    """Draw the figure of ``secateurs fit digits --nonzeros 300 --compare --plot``."""
    dataset = split(load_dataset("digits"), 0.2, random_state=0)
    parts = (dataset.X, dataset.y, dataset.X_test, dataset.y_test)
    model = SparseMLPClassifier(n_nonzero=300, random_state=0).fit(dataset.X, dataset.y)
    rows = [result_row(model, dataset.X_test, dataset.y_test, "prune_regrow", 0.0)]
    return fit_figure(model, rows + compare(model, *parts), dataset.image_shape)


def by_pursuit(problem: PlantedProblem) -> Array:
    """Predict the fresh rows with the network that the pursuit finds."""
    fit = relu_pursuit(problem.X, problem.y, PLANTED["s"], PLANTED["m"])
    return fit.value.predict(problem.X_test)


def by_exchanges(problem: PlantedProblem) -> Array:
    """Predict by hard thresholding, Gauss-Newton, exchanges and Gauss-Newton again."""
    fit = iht_network(problem.X, problem.y, PLANTED["s"], PLANTED["m"])
    return fit.value.predict(problem.X_test)


def by_iht(problem: PlantedProblem) -> Array:
    """Predict by the textbook iteration, with at most 200 steps.

    From the same gates it recovers the same networks as tests/reference/textbook_iht.py.  It ends
    after 20 steps without progress.
    """
    s = PLANTED["s"]
    fit = iht(problem.X, problem.y, s, PLANTED["m"], n_kept=s, n_steps=200)
    return fit.value.predict(problem.X_test)


def by_imp(problem: PlantedProblem) -> Array:
    """Predict by magnitude pruning; the network has output weights, which its budget includes."""
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
    """Return the peak signal-to-noise ratio."""
    error = float(np.mean((y - prediction) ** 2))
    return min(HIGHEST_DB, 20 * math.log10(np.abs(y).max()) - 10 * math.log10(error + 1e-300))


def recovery_figure() -> Figure:
    """Draw the share of planted networks that are recovered against the number of rows."""
    psnr = {name: np.zeros((len(ROWS), SEEDS)) for name in RECOVERY}
    for i, n in enumerate(ROWS):
        for seed in range(SEEDS):
            problem = planted_relu(n, **PLANTED, random_state=seed)
            for name, (fit, _) in RECOVERY.items():
                psnr[name][i, seed] = decibels(problem.y_test, fit(problem))
    figure = Figure(figsize=(9, 3.9), layout="constrained")
    share, median = figure.subplots(1, 2)
    for name, (_, style) in RECOVERY.items():
        share.plot(ROWS, 100 * (psnr[name] > RECOVERED_DB).mean(1), label=name, **style)
        median.plot(ROWS, np.median(psnr[name], axis=1), label=name, **style)
    share.set_ylabel("networks recovered, %")
    share.set_title(f"above {RECOVERED_DB} dB on fresh rows, {SEEDS} networks a point")
    share.set_ylim(-5, 105)
    median.set_ylabel("dB on fresh rows, median")
    median.axhline(RECOVERED_DB, color=OURS, linestyle=":", linewidth=1)
    median.axhline(PAPER_DB, color=OTHERS, linestyle=":", linewidth=1)
    for bar in (RECOVERED_DB, PAPER_DB):
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
    """Draw the column norms of one over-parameterised model, with and without the group lasso."""
    problem = planted_sensing(450, 50, 2, noise_ratio=0.05, random_state=0)
    path = group_lasso_path(problem.operator, problem.y)
    norms = compare_column_norms(
        problem.operator,
        problem.y,
        strength=path.measured["strength"],
        beta=path.measured["beta"],
    )
    return norms_figure(norms)


def paper_norms() -> Figure:
    """Draw the column norms at the paper's size.

    They were measured by ``python -m benchmarks.sensing.column_norms --out FILE``.
    """
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from benchmarks.sensing.column_norms import norms_figure as paper_figure  # noqa: PLC0415

    return paper_figure(json.loads(NORMS.read_text()))


def gap() -> Figure:
    """Draw width against accuracy, for pruned weights and for pruned neurons.

    The neurons were measured by
    ``python -m benchmarks.tickets.neuron_pruning --seeds 12 --wide-seeds 8 --out FILE``.
    """
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from benchmarks.tickets.gap import gap_figure  # noqa: PLC0415 - not an installed package

    points = [NeuronPoint(**point) for point in json.loads(GAP.read_text())["points"]]
    needed = {
        d: np.array([[fewest_neurons(d, 2.0**-b, seed) for b in BITS] for seed in range(NETWORKS)])
        for d in sorted({point.d for point in points})
    }
    return gap_figure(points, BITS, needed)


def tiny_mnist() -> Figure:
    """Draw accuracy against bytes on MNIST; ``python -m benchmarks.tiny.mnist`` measures."""
    return bytes_figure(
        json.loads(PROGRAMS.read_text()), "accuracy on the MNIST test images", is_mnist=True
    )


SCALING_STYLES = {
    "multi_index": ("inputs pruned (multi_index)", {"color": OURS, "marker": "o", "linewidth": 2}),
    "k and M given": ("inputs pruned, k and M given", {"color": "#3a6ea5", "marker": "s"}),
    "one large step": ("not pruned, one large step", {"color": "#b5651d", "marker": "^"}),
    "spectral": ("not pruned, spectral", {"color": "#7a5195", "marker": "v"}),
}


def scaling_figure() -> Figure:
    """Draw the rows needed against columns; ``python -m benchmarks.features.scaling`` measures."""
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


FLOW = [  # what a step receives, the step, what it does, and the place of the shared code
    ("", "fit(X, y)", "the call of the user", "WING/estimator.py"),
    ("X, y", "_check_parameters", "refuses parameters that make no sense", "core/parameters.py"),
    ("X, y", "_read", "validates X and y, encodes tables", "data/table_estimator.py"),
    ("data", "_solve", "calls a solver, a plain function", "WING/SOLVER.py, core/driver.py"),
    ("Solution", "_certify", "turns assumptions into checks", "WING/certificate.py"),
    ("Certificate", "_report", "records sizes and times", "core/estimator.py"),
]
USES = [  # a call of the fitted estimator, its result, and the place of the code
    ("predict(X)", "predictions,\nrow by row", "WING/estimator.py"),
    ("describe()", "Description: text,\ntables, JSON facts", "core/description.py"),
    ("save(path)", "one safetensors file;\nload(path) reads it", "core/saved_model.py"),
]


def flow_figure() -> Figure:
    """Draw the steps of a fit, which ``core/estimator.py`` has once for all estimators."""
    figure = Figure(figsize=(8, 7), layout="constrained")
    axis = figure.subplots()
    axis.set_xlim(0, 9)
    axis.set_ylim(-3, len(FLOW) - 0.4)
    axis.axis("off")
    small = {"fontsize": 8, "family": "monospace", "color": OTHERS}
    for i, (received, step, text, place) in enumerate(FLOW):
        y = len(FLOW) - 1 - i
        _box(axis, (2.2, y), step, OURS)
        axis.text(4.2, y + 0.05, text, va="bottom", fontsize=9)
        axis.text(4.2, y - 0.05, place, va="top", **small)
        axis.text(2.35, y + 0.5, received, va="center", fontsize=8, style="italic")
        if i:
            _arrow(axis, (2.2, y + 0.74), (2.2, y + 0.27))
    for i, (call, result, place) in enumerate(USES):
        x = 1.5 + 3 * i
        _arrow(axis, (2.2, -0.27), (x, -1.2))
        _box(axis, (x, -1.5), call, "#3a6ea5")
        axis.text(x, -1.85, result, ha="center", va="top", fontsize=9)
        axis.text(x, -2.5, place, ha="center", va="top", **small)
    axis.set_title("one template: each wing fills in the steps", fontsize=11)
    return figure


def _box(axis: Axes, centre: tuple[float, float], text: str, colour: str) -> None:
    style = {"boxstyle": "round,pad=0.45", "facecolor": colour, "edgecolor": "none"}
    axis.text(*centre, text, ha="center", va="center", color="white", fontsize=10, bbox=style)


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": OTHERS})


def table_card() -> Figure:
    """Draw test accuracy on digits against the weight budget."""
    scores = np.zeros(len(BUDGETS))
    for seed in range(SPLITS):
        dataset = split(load_dataset("digits"), 0.2, random_state=seed)
        for i, s in enumerate(BUDGETS):
            model = SparseMLPClassifier(n_nonzero=s, random_state=seed).fit(dataset.X, dataset.y)
            scores[i] += 100 * model.score(dataset.X_test, dataset.y_test) / SPLITS
    figure = Figure(figsize=CARD, layout="constrained")
    axis = figure.subplots()
    axis.plot(BUDGETS, scores, color=OURS, marker="o", linewidth=2.5)
    for s, score in zip(BUDGETS, scores, strict=True):
        axis.annotate(f"{score:.1f} %", (s, score), (0, -14), textcoords="offset points")
    axis.set_xscale("log")
    axis.set_xlim(40, 2000)
    axis.set_ylim(min(scores) - 4, 100)
    axis.set_xticks(BUDGETS, [str(s) for s in BUDGETS])
    axis.minorticks_off()
    axis.set_xlabel("weights, biases included (a dense network has 3,760)")
    axis.set_ylabel("test accuracy, %")
    axis.grid(color=SOFT)
    return figure


def network_card() -> Figure:
    """Draw the channels of a small convolutional network at half of its FLOPs."""
    torch.manual_seed(0)
    layers = {
        **{"conv1": nn.Conv2d(3, 32, 3, padding=1), "norm1": nn.BatchNorm2d(32)},
        **{"relu1": nn.ReLU(), "pool1": nn.MaxPool2d(2)},
        **{"conv2": nn.Conv2d(32, 64, 3, padding=1), "norm2": nn.BatchNorm2d(64)},
        **{"relu2": nn.ReLU(), "pool2": nn.MaxPool2d(2)},
        **{"conv3": nn.Conv2d(64, 128, 3, padding=1), "norm3": nn.BatchNorm2d(128)},
        **{"relu3": nn.ReLU(), "pool3": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten()},
        **{"fc1": nn.Linear(128, 64), "relu4": nn.ReLU(), "fc2": nn.Linear(64, 10)},
    }
    module = nn.Sequential(OrderedDict(layers)).eval()
    X = torch.randn(64, 3, 16, 16)
    found = plan(module, X[:2])
    cut = found.choose(found.score("reconstruction", X), flops=0.5)
    figure = plan_figure(found, cut)
    figure.set_size_inches(*CARD)
    return figure


def device_card() -> Figure:
    """Draw accuracy against bytes of flash for networks on digits of several budgets."""
    dataset = split(load_dataset("digits"), 0.2, random_state=0)
    points = []
    for s in (40, 80, 150, 300, 500):
        model = SparseMLPClassifier(n_nonzero=s, random_state=0).fit(dataset.X, dataset.y)
        network = quantize(model, dataset.X, dataset.y, bits=4, random_state=0)
        score = network.score(dataset.X_test, dataset.y_test)
        points.append(
            {"flash": network.flash_bytes_, "score": 100 * score, "label": f"{s} weights"}
        )
    figure = Figure(figsize=CARD, layout="constrained")
    axis = figure.subplots()
    axis.plot(*zip(*((p["flash"], p["score"]) for p in points), strict=True), "o-", color=OURS)
    for point in points:
        where = (point["flash"], point["score"])
        axis.annotate(point["label"], where, (6, -12), textcoords="offset points")
    axis.set_xlim(right=1.2 * points[-1]["flash"])
    axis.set_ylim(bottom=points[0]["score"] - 2)
    axis.set_xlabel("bytes of flash on a Cortex-M0, with all code")
    axis.set_ylabel("test accuracy, %")
    axis.grid(color=SOFT)
    return figure


def by_estimator(problem: PlantedProblem) -> Array:
    """Predict the fresh rows by the estimator at its defaults."""
    model = SparseReLURegressor(PLANTED["s"], n_neurons=PLANTED["m"], random_state=0)
    return model.fit(problem.X, problem.y).predict(problem.X_test)


def theorem_card() -> Figure:
    """Draw the share of planted networks that are recovered, by the estimator and two others."""
    rows = (60, 100, 200, 300, 500, 1000)
    methods = {
        "secateurs": (by_estimator, {"color": OURS, "marker": "o", "linewidth": 2.5}),
        "textbook thresholding": RECOVERY["textbook IHT, 200 steps"],
        "magnitude pruning": RECOVERY["magnitude pruning (IMP)"],
    }
    figure = Figure(figsize=CARD, layout="constrained")
    axis = figure.subplots()
    for name, (fit, style) in methods.items():
        shares = []
        for n in rows:
            problems = [planted_relu(n, **PLANTED, random_state=seed) for seed in range(SEEDS)]
            psnr = [decibels(problem.y_test, fit(problem)) for problem in problems]
            shares.append(100 * np.mean(np.array(psnr) > RECOVERED_DB))
        axis.plot(rows, shares, label=name, **style)
    axis.set_xscale("log")
    axis.set_xticks(rows, [str(n) for n in rows])
    axis.minorticks_off()
    axis.set_xlabel("rows  ({s} weights, {m} neurons, {d} inputs)".format(**PLANTED))
    axis.set_ylabel("networks recovered, %")
    axis.set_ylim(-4, 104)
    axis.grid(color=SOFT)
    axis.legend(loc="center right")
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "front_table": table_card,
    "front_network": network_card,
    "front_device": device_card,
    "front_theorem": theorem_card,
    "flow": flow_figure,
    "digits_budget": budget_figure,
    "digits_fit": digits_figure,
    "recovery_transition": recovery_figure,
    "features_scaling": scaling_figure,
    "sensing_norms": sensing_figure,
    "sensing_column_norms": paper_norms,
    "tickets_gap": gap,
    "tiny_mnist": tiny_mnist,
}


def main(names: list[str]) -> None:
    """Write the named pictures, or all of them, to docs/images."""
    torch.set_num_threads(1)
    IMAGES.mkdir(exist_ok=True)
    unknown = set(names) - set(PICTURES)
    if unknown:
        raise SystemExit(f"NAME: got {min(unknown)!r}; expected one of {', '.join(PICTURES)}")
    for name in names or PICTURES:
        save_figure(PICTURES[name](), IMAGES / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
