"""Planted sparse ReLU networks: pursuit and thresholding, with magnitude pruning as a peer."""

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
from secateurs.core.parameters import bad_value
from secateurs.experiments.sweeps.registry import Family
from secateurs.recovery import PlantedProblem, match_neurons, relu_pursuit
from secateurs.recovery import iht as run_iht
from secateurs.recovery import iht_network as run_iht_network
from secateurs.recovery import planted_relu as make_planted
from secateurs.recovery.certificate import fit_certificate
from secateurs.sparse import ReLUStack
from secateurs.sparse.compact import CompactNetwork
from secateurs.training.imp import imp_path
from secateurs.training.moments import Scaling
from secateurs.training.training_data import TrainingData

FloatArray = NDArray[np.float64]
Predict = Callable[[Any], NDArray[Any]]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]

EXACT_PSNR = 100.0  # dB on fresh rows
EXACT_WEIGHTS = 1e-6  # largest error of a weight, relative to the largest weight
PAPER_PSNR = 60.0  # dB from which Fridovich-Keil & Pilanci call a network recovered
LARGEST_PSNR = 400.0  # dB; float64 cannot show more

planted = Family("planted_relu", ours=("pursuit", "iht_network"), truth="exact")


@dataclass(frozen=True, eq=False)
class Planted:
    """A planted problem and the budget of its solvers: m neurons and s weights."""

    data: PlantedProblem
    m: int
    s: int

    @property
    def given(self) -> tuple[FloatArray, FloatArray, int, int]:
        """Arguments that every solver of this package takes."""
        return self.data.X, self.data.y, self.s, self.m


@dataclass(frozen=True, eq=False)
class Fit:
    """Result of a method.

    Attributes
    ----------
    predict : callable
    n_nonzero : int
    within_budget : bool
        Whether neurons and weights are within the budget, as the method counts them.
    network : ReLUStack or None
        None where its weights cannot be compared with the planted ones.
    """

    predict: Predict
    n_nonzero: int
    within_budget: bool
    network: ReLUStack | None


def _fits(*, d: int, m: int, s: int, **_: object) -> None:
    if s > m * d:
        raise bad_value("s", s, f"at most {m * d} weights for {m} neurons of {d} inputs")


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
    """See `secateurs.recovery.planted_relu`; the budget is the planted one."""
    data = make_planted(n, d, m, s, separated=separated, noise=noise, random_state=random_state)
    return Planted(data, m, s)


@planted.method
def pursuit(problem: Planted, *, max_rounds: Count = 100, random_state: int) -> Fit:
    """See `secateurs.recovery.relu_pursuit`."""
    found = relu_pursuit(*problem.given, max_rounds=max_rounds, random_state=random_state).value
    return _fit(found.predict, ReLUStack((found.weights,), fused=True), problem)


@planted.method
def iht(problem: Planted, *, n_steps: Count = 200, random_state: int) -> Fit:
    """Run the textbook iteration; see `secateurs.recovery.iht`."""
    found = run_iht(*problem.given, n_steps=n_steps, random_state=random_state).value
    return _fit(found.predict, found, problem)


@planted.method
def iht_network(
    problem: Planted, *, n_steps: Count = 100, n_rounds: Count = 60, random_state: int
) -> Fit:
    """Threshold, polish, exchange, polish; see `secateurs.recovery.iht_network`."""
    found = run_iht_network(
        *problem.given, n_steps=n_steps, n_rounds=n_rounds, random_state=random_state
    ).value
    return _fit(found.predict, found, problem)


@planted.method
def imp(
    problem: Planted,
    *,
    round_steps: Count = 1200,
    learning_rate: Positive = 5e-3,
    random_state: int,
) -> Fit:
    """Prune a network with output weights by magnitude; its budget includes them.

    The defaults are the best of ``round_steps`` 400 and 1200 and learning rates .005, .02 and
    .05 on seeds that no other run uses.
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
    """See `secateurs.recovery.certificate`; only the metrics use the fresh rows."""
    del random_state  # nothing is drawn
    assert fit.network is not None
    return fit_certificate(fit.network, problem.data.X, problem.data.y, problem.s)


@planted.metric
def psnr(problem: Planted, fit: Fit) -> float:
    """PSNR on the fresh rows in decibels, at most 400."""
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

    Where the weights of a method cannot be compared, only the fresh rows and the budget count.
    """
    error = weight_error(problem, fit)
    same = math.isnan(error) or error < EXACT_WEIGHTS
    return float(psnr(problem, fit) > EXACT_PSNR and same and fit.within_budget)


@planted.metric
def above_60_db(problem: Planted, fit: Fit) -> float:
    """1 for more than 60 dB on fresh rows, which the paper calls recovered; else 0."""
    return float(psnr(problem, fit) > PAPER_PSNR)


@planted.metric
def n_nonzero(_: Planted, fit: Fit) -> float:
    """Number of weights, as the method counts them."""
    return fit.n_nonzero


def _fit(predict: Predict, network: ReLUStack, problem: Planted) -> Fit:
    live = int((np.diff(network.weights.indptr) > 0).sum())
    within = network.n_nonzero <= problem.s and live <= problem.m
    return Fit(predict, network.n_nonzero, within, network)
