"""Planted sparse ReLU networks: pursuit and thresholding against magnitude pruning."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from secateurs.core.certificate import Certificate
from secateurs.experiments.sweeps.registry import Family
from secateurs.recovery import planted as source
from secateurs.recovery.certificate import fit_certificate
from secateurs.recovery.matching import match_neurons
from secateurs.recovery.planted import PlantedProblem
from secateurs.recovery.pursuit.search import relu_pursuit
from secateurs.recovery.thresholding import iht as thresholding
from secateurs.recovery.thresholding import layer_by_layer as networks
from secateurs.sparse.compact import CompactNetwork
from secateurs.sparse.stack import ReLUStack
from secateurs.training.imp import imp_path
from secateurs.training.training_data import Scaling, TrainingData

FloatArray = NDArray[np.float64]
Predict = Callable[[Any], NDArray[Any]]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]

EXACT_PSNR, EXACT_WEIGHTS = 100.0, 1e-6  # dB on fresh rows; of the largest weight
PAPER_PSNR = 60.0  # dB from which Fridovich-Keil & Pilanci call a network recovered
LARGEST_PSNR = 400.0  # dB, beyond what float64 can show

planted = Family("planted_relu", ours=("pursuit", "iht_network"), truth="exact")


@dataclass(frozen=True, eq=False)
class Planted:
    """A planted problem and the budget its solvers get."""

    data: PlantedProblem
    m: int
    s: int


@dataclass(frozen=True, eq=False)
class Fit:
    """What a method found.

    Attributes
    ----------
    predict : callable
    n_nonzero : int
    within_budget : bool
        By the method's own count.
    network : ReLUStack or None
        None where its weights cannot be compared with the planted ones.
    """

    predict: Predict
    n_nonzero: int
    within_budget: bool
    network: ReLUStack | None


def _fits(*, d: int, m: int, s: int, **_: object) -> None:
    if s > m * d:
        raise ValueError(f"s = {s} nonzeros do not fit {m} neurons of {d} inputs; at most {m * d}")


@planted.problem(check=_fits)
def planted_relu(
    *,
    n: Count,
    d: Count,
    m: Count,
    s: Count,
    separated: bool = False,
    noise: Annotated[float, Field(ge=0)] = 0.0,
    random_state: int,
) -> Planted:
    """See `secateurs.recovery.planted.planted_relu`; the budget is the planted one."""
    data = source.planted_relu(
        n, d, m, s, separated=separated, noise=noise, random_state=random_state
    )
    return Planted(data, m, s)


@planted.method
def pursuit(problem: Planted, *, max_rounds: Count = 100, random_state: int) -> Fit:
    """See `secateurs.recovery.pursuit.search`."""
    found = relu_pursuit(
        problem.data.X,
        problem.data.y,
        problem.s,
        problem.m,
        max_rounds=max_rounds,
        random_state=random_state,
    ).value
    return _fit(found.predict, ReLUStack((found.weights,), fused=True), problem)


@planted.method
def iht(problem: Planted, *, n_steps: Count = 200, random_state: int) -> Fit:
    """Run the textbook iteration; see `secateurs.recovery.thresholding.iht`."""
    found = thresholding.iht(
        problem.data.X,
        problem.data.y,
        problem.s,
        problem.m,
        n_steps=n_steps,
        random_state=random_state,
    )
    return _of_stack(found.value, problem)


@planted.method
def iht_network(
    problem: Planted, *, n_steps: Count = 100, n_rounds: Count = 60, random_state: int
) -> Fit:
    """Threshold, polish, exchange, polish; see `secateurs.recovery.thresholding.layer_by_layer`."""
    found = networks.iht_network(
        problem.data.X,
        problem.data.y,
        problem.s,
        problem.m,
        n_steps=n_steps,
        n_rounds=n_rounds,
        random_state=random_state,
    )
    return _of_stack(found.value, problem)


@planted.method
def imp(
    problem: Planted,
    *,
    round_steps: Count = 1200,
    learning_rate: Positive = 5e-3,
    random_state: int,
) -> Fit:
    """Iterative magnitude pruning of a network with output weights, which add to its budget.

    The defaults are the best of ``round_steps`` 400 and 1200 and learning rates .005, .02 and
    .05, on seeds that are used nowhere else.
    """
    data = problem.data
    scale = float(data.y.std()) or 1.0
    X, y = data.X.astype(np.float32), (data.y / scale).astype(np.float32)[:, None]
    scaling = Scaling(None, np.ones(X.shape[1]))
    (pruned,) = imp_path(
        TrainingData(X, y, scaling, 1),
        (problem.m,),
        [problem.s + problem.m],
        round_steps=round_steps,
        batch_size=max(1, min(100, len(X) // 2)),
        learning_rate=learning_rate,
        random_state=random_state % 2**31,
    )
    net = CompactNetwork.from_network(pruned.value)

    def predict(rows: FloatArray) -> FloatArray:
        inputs = TrainingData(
            rows.astype(np.float32), np.zeros((len(rows), 1), np.float32), scaling, 1
        )
        output = net.forward(inputs.inputs(torch.arange(len(rows)), net.units[0]))[-1]
        return scale * output.numpy().ravel().astype(np.float64)

    count = pruned.value.n_nonzero
    return Fit(predict, count, count <= problem.s + problem.m, None)


@planted.certificate("pursuit", "iht", "iht_network")
def certificate(problem: Planted, fit: Fit, *, random_state: int) -> Certificate:
    """See `secateurs.recovery.certificate`; the fresh rows are for the metrics alone."""
    del random_state  # nothing is drawn
    assert fit.network is not None
    return fit_certificate(fit.network, problem.data.X, problem.data.y, problem.s)


@planted.metric
def psnr(problem: Planted, fit: Fit) -> float:
    """Decibels on the fresh rows, at most 400."""
    y = problem.data.y_test
    error = float(np.mean((y - fit.predict(problem.data.X_test)) ** 2))
    peak = float(np.abs(y).max())
    if error == 0 or peak == 0:
        return LARGEST_PSNR if error == 0 else math.nan
    return min(LARGEST_PSNR, 20 * math.log10(peak) - 10 * math.log10(error))


@planted.metric
def weight_error(problem: Planted, fit: Fit) -> float:
    """Largest error of a matched weight over the largest planted one; nan without weights."""
    if fit.network is None:
        return math.nan
    assert problem.data.truth is not None
    return match_neurons(fit.network.weights, problem.data.truth[0]).error


@planted.metric
def exact(problem: Planted, fit: Fit) -> float:
    """1 for 100 dB on fresh rows, the planted weights to 1e-6 and both budgets; else 0.

    Where a method's weights cannot be compared, the fresh rows and the budget decide.
    """
    error = weight_error(problem, fit)
    same = math.isnan(error) or error < EXACT_WEIGHTS
    return float(psnr(problem, fit) > EXACT_PSNR and same and fit.within_budget)


@planted.metric
def above_60_db(problem: Planted, fit: Fit) -> float:
    """1 for 60 dB on fresh rows, which the paper calls recovered; else 0."""
    return float(psnr(problem, fit) > PAPER_PSNR)


@planted.metric
def n_nonzero(_: Planted, fit: Fit) -> float:
    """Weights, by the method's own count."""
    return fit.n_nonzero


def _of_stack(found: ReLUStack, problem: Planted) -> Fit:
    return _fit(found.predict, found, problem)


def _fit(predict: Predict, network: ReLUStack, problem: Planted) -> Fit:
    live = int((np.diff(network.weights.indptr) > 0).sum())
    within = network.n_nonzero <= problem.s and live <= problem.m
    return Fit(predict, network.n_nonzero, within, network)
