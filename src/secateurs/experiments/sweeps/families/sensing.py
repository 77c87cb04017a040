"""Planted matrix sensing: the group lasso path, and solvers that are given the rank."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from secateurs.core.certificate import Certificate
from secateurs.core.parameters import bad_value
from secateurs.core.solution import Solution
from secateurs.experiments.sweeps.registry import Family
from secateurs.sensing import fit_rank, group_lasso_path, planted_sensing
from secateurs.sensing import phase_retrieval as make_phase_retrieval
from secateurs.sensing.baselines import scaled_gd as run_scaled_gd
from secateurs.sensing.certificate import sensing_certificate
from secateurs.sensing.factored import Factors
from secateurs.sensing.planted import SensingProblem

Count = Annotated[int, Field(ge=1)]
sensing = Family("matrix_sensing", ours=("path",), truth="exact_rank")


@dataclass(frozen=True, eq=False)
class Sensed:
    """A planted matrix, and its rank, which some methods are given."""

    data: SensingProblem
    r: int


def _fits(*, d: int, r: int, **_: object) -> None:
    if r > d:
        raise bad_value("r", r, f"at most d = {d}")


@sensing.problem(check=_fits)
def matrix_sensing(
    *,
    n: Count,
    d: Count,
    r: Count,
    kind: Literal["gaussian", "rademacher", "rank-one"] = "gaussian",
    noise_ratio: Annotated[float, Field(ge=0)] = 0.0,
    random_state: int,
) -> Sensed:
    """See `secateurs.sensing.planted_sensing`."""
    data = planted_sensing(n, d, r, kind=kind, noise_ratio=noise_ratio, random_state=random_state)
    return Sensed(data, r)


@sensing.problem
def phase_retrieval(
    *, n: Count, d: Count, noise: Annotated[float, Field(ge=0)] = 0.0, random_state: int
) -> Sensed:
    """See `secateurs.sensing.phase_retrieval`."""
    return Sensed(make_phase_retrieval(n, d, noise=noise, random_state=random_state), 1)


@sensing.method
def path(
    problem: Sensed,
    *,
    criterion: Literal["certificate", "bic"] = "certificate",
    random_state: int,
) -> Solution[Factors]:
    """See `secateurs.sensing.group_lasso_path`, which does not know the rank."""
    data = problem.data
    return group_lasso_path(data.operator, data.y, criterion=criterion, random_state=random_state)


@sensing.method
def told_rank(problem: Sensed, *, random_state: int) -> Solution[Factors]:
    """See `secateurs.sensing.fit_rank`, which is given the rank."""
    del random_state  # nothing is drawn
    return fit_rank(problem.data.operator, problem.data.y, problem.r)


@sensing.method
def scaled_gd(problem: Sensed, *, n_steps: Count = 2000, random_state: int) -> Solution[Factors]:
    """See `secateurs.sensing.baselines.scaled_gd`, which is given the rank."""
    del random_state  # nothing is drawn
    data = problem.data
    return run_scaled_gd(data.operator, data.y, problem.r, n_steps=n_steps)


@sensing.certificate("path", "told_rank")
def certificate(problem: Sensed, found: Solution[Factors], *, random_state: int) -> Certificate:
    """See `secateurs.sensing.certificate`."""
    return sensing_certificate(
        problem.data.operator,
        problem.data.y,
        found.value.components,
        found.value.signs,
        tau=found.measured.get("tau"),
        strength=found.measured.get("strength"),
        random_state=random_state,
    )


@sensing.metric
def error(problem: Sensed, found: Solution[Factors]) -> float:
    """||M_found - M||_F / ||M||_F."""
    return problem.data.error(found.value.components, found.value.signs)


@sensing.metric
def rank(_: Sensed, found: Solution[Factors]) -> float:
    """Number of components found."""
    return float(len(found.value.components))


@sensing.metric
def exact_rank(problem: Sensed, found: Solution[Factors]) -> float:
    """1 where the number of components is the planted one; else 0."""
    return float(len(found.value.components) == len(problem.data.components))


@sensing.metric
def certified(_: Sensed, found: Solution[Factors]) -> float:
    """1 where the residual looks like noise; nan for a method that does not test it."""
    verdict = found.measured.get("certified")
    return math.nan if verdict is None else float(verdict)


@sensing.metric
def relative_noise(problem: Sensed, _: Solution[Factors]) -> float:
    """Order of the error that noise causes: sigma sqrt(r d / n) / ||M||_F."""
    data = problem.data
    n, d = data.operator.shape
    size = float((abs(data.components @ data.components.conj().T) ** 2).sum() ** 0.5)
    return data.sigma * math.sqrt(len(data.components) * d / n) / size
