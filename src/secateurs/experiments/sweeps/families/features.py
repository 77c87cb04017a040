"""Planted functions of a few columns out of many: methods that prune the inputs, and peers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from secateurs.core.certificate import Certificate
from secateurs.core.solution import Solution
from secateurs.experiments.sweeps.registry import Family
from secateurs.features import MultiIndexFit
from secateurs.features import multi_index as run_multi_index
from secateurs.features import one_large_step as run_one_large_step
from secateurs.features import planted_multi_index as make_planted
from secateurs.features import pruned_network as run_pruned_network
from secateurs.features import spectral as run_spectral
from secateurs.features.certificate import features_certificate
from secateurs.features.planted import MultiIndexProblem

Count = Annotated[int, Field(ge=1)]
Exponent = Annotated[int, Field(ge=1, le=4)]
SOLVED = 0.9  # R^2 on clean fresh rows

features = Family("planted_multi_index", ours=("multi_index",), truth="solved")


@dataclass(frozen=True, eq=False)
class Found:
    """Result of a method.

    Attributes
    ----------
    predict : callable
    support : int array, or None
        None for a method that uses every column.
    signal : bool or None
        Whether the method reports a signal; None for a method that reports nothing about it.
    solution : Solution of MultiIndexFit, or None
        None for a method without a certificate.
    """

    predict: Callable[[Any], NDArray[Any]]
    support: NDArray[np.int64] | None = None
    signal: bool | None = None
    solution: Solution[MultiIndexFit] | None = None


@features.problem
def planted_multi_index(
    *,
    n: Count,
    d: Count,
    r: Count = 1,
    link: str = "he2",
    sparsity: Annotated[float, Field(gt=0)] = 8,
    q: Annotated[float, Field(ge=0, lt=2)] = 0.0,
    inputs: Literal["gaussian", "t5", "exponential", "ar", "binary", "uniform"] = "gaussian",
    noise: Annotated[float, Field(ge=0)] = 0.2,
    random_state: int,
) -> MultiIndexProblem:
    """See `secateurs.features.planted_multi_index`."""
    return make_planted(
        *(n, d, r, link),
        sparsity=int(sparsity) if q == 0 else sparsity,
        q=q,
        inputs=inputs,
        noise=noise,
        random_state=random_state,
    )


@features.method
def multi_index(problem: MultiIndexProblem, *, random_state: int) -> Found:
    """See `secateurs.features.multi_index`, which knows neither exponent nor sparsity."""
    solution = run_multi_index(problem.X, problem.y, random_state=random_state)
    fit = solution.value
    return Found(fit.predict, fit.support, fit.signal_detected, solution)


@features.method
def pruned_network(
    problem: MultiIndexProblem, *, k: Exponent = 2, n_features: Count = 8, random_state: int
) -> Found:
    """See `secateurs.features.pruned_network`, which is given the exponent and the sparsity."""
    fit = run_pruned_network(problem.X, problem.y, k, n_features, random_state=random_state).value
    return Found(fit.predict, fit.support)


@features.method
def one_large_step(problem: MultiIndexProblem, *, k: Exponent = 2, random_state: int) -> Found:
    """See `secateurs.features.one_large_step`, which prunes no column."""
    fit = run_one_large_step(problem.X, problem.y, k, random_state=random_state).value
    return Found(fit.predict)


@features.method
def spectral(problem: MultiIndexProblem, *, random_state: int) -> Found:
    """See `secateurs.features.spectral`, which prunes no column."""
    fit = run_spectral(problem.X, problem.y, random_state=random_state).value
    return Found(fit.predict)


@features.certificate("multi_index")
def certificate(_: MultiIndexProblem, found: Found, *, random_state: int) -> Certificate:
    """See `secateurs.features.certificate`."""
    del random_state  # nothing is drawn
    assert found.solution is not None
    return features_certificate(found.solution)


@features.metric
def r2(problem: MultiIndexProblem, found: Found) -> float:
    """R^2 on clean fresh rows; nan where the target is constant."""
    spread = float(problem.y_test.var())
    error = found.predict(problem.X_test) - problem.y_test
    return 1.0 - float(np.mean(error**2)) / spread if spread > 0 else math.nan


@features.metric
def solved(problem: MultiIndexProblem, found: Found) -> float:
    """1 for R^2 above .9 on clean fresh rows; else 0."""
    return float(r2(problem, found) > SOLVED)


@features.metric
def recall(problem: MultiIndexProblem, found: Found) -> float:
    """Share of the planted columns kept; nan where all are used or none is planted."""
    if found.support is None or not len(problem.support):
        return math.nan
    return float(np.isin(problem.support, found.support).mean())


@features.metric
def support_size(_: MultiIndexProblem, found: Found) -> float:
    """Columns kept; nan for a method that uses all."""
    return math.nan if found.support is None else float(len(found.support))


@features.metric
def signal(_: MultiIndexProblem, found: Found) -> float:
    """1 where the method reports a signal; nan for a method that does not report it."""
    return math.nan if found.signal is None else float(found.signal)
