"""Factors of a given rank: from the spectrum of the data, or from factors at hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from secateurs.core.solution import Solution
from secateurs.sensing.factored import Factors, Point, Sensed, descend, rotated
from secateurs.sensing.operators.base import SensingOperator

FLOOR = 1e-26  # mean squared residual over that of y at which nothing is left
NEGLIGIBLE = 1e-12  # relative: eigenvalues below it are rounding


def fit_rank(
    operator: SensingOperator,
    y: ArrayLike,
    rank: int,
    *,
    signed: bool = False,
    start: Factors | None = None,
    n_steps: int = 500,
    tolerance: float = 1e-6,
) -> Solution[Factors]:
    """Least squares over matrices sum_k s_k u_k u_k^H of at most `rank` terms.

    Parameters
    ----------
    operator : SensingOperator
    y : array, shape [n]
        Raw measurements; their nuisance part is projected out here.
    rank : int
    signed : bool
        Allow terms of both signs; without, the matrix is positive semidefinite.
    start : Factors, optional
        Where to begin, its weakest terms left out; by default the leading eigenvectors of
        sum_i y_i A_i, and of what they leave where they are too few.
    n_steps : int
    tolerance : float
        Relative: the squared distance to the optimum is about tolerance^2 times the loss.

    Returns
    -------
    Solution of Factors
        Status "converged", or "budget" when the steps are spent.  Fewer terms than `rank` only
        where one more lowers nothing: none is left of the sign allowed, or of the residual.

    Notes
    -----
    One forward and one adjoint pass a step.  A local minimum: without noise and with enough
    random measurements it is the truth, otherwise nothing is promised.
    """
    sensed = Sensed(operator, operator.project(np.asarray(y, dtype=np.float64)))
    point = Point.empty(sensed) if start is None else _part(sensed, start, rank)
    floor = FLOOR * float(sensed.y @ sensed.y) / len(sensed.y)
    grown, spent = _grown(point, rank, signed), False
    while not spent:
        used = sensed.adjoint
        point = rotated(
            descend(
                grown,
                curvature=_curvature(grown),
                n_steps=n_steps,
                tolerance=tolerance,
                floor=floor,
            )
        )
        spent = sensed.adjoint - used >= n_steps
        grown = _grown(point, rank, signed)
        if grown is point or point.loss <= floor:
            break
    measured = {"loss": point.loss, "calls": sensed.calls}
    return Solution(
        Factors(point.U, point.signs),
        "budget" if spent else "converged",
        {"loss": [point.loss]},
        measured,
    )


def _grown(point: Point, rank: int, signed: bool) -> Point:
    """More terms, as many as may come: leading eigenvectors of N, scaled to fit best."""
    wanted = rank - len(point.U)
    if wanted <= 0:
        return point
    values, vectors = point.eigenpairs(both_ends=signed)
    least = NEGLIGIBLE * float(np.abs(values).max())
    kept = np.flatnonzero((np.abs(values) if signed else values) > least)[:wanted]
    if not len(kept):
        return point
    V = vectors[kept] * np.sqrt(np.abs(values[kept]))[:, None]
    signs = np.sign(values[kept])
    found = point.sensed.factors(V, signs)
    scale = max(float(found @ point.residual) / float(found @ found), NEGLIGIBLE)
    return Point(
        point.sensed,
        np.vstack([point.U, V * np.sqrt(scale)]),
        np.concatenate([point.signs, signs]),
        point.residual - scale * found,
    )


def _part(sensed: Sensed, start: Factors, rank: int) -> Point:
    """The strongest terms of the factors given."""
    order = np.argsort(-np.einsum("kd,kd->k", start.components, start.components.conj()).real)
    kept = np.sort(order[:rank])
    return Point.at(sensed, start.components[kept], start.signs[kept])


def _curvature(point: Point) -> float:
    """Mean of <A_i, M>^2 over ||M||_F^2, at the matrix of the point."""
    if not len(point.U):
        return 1.0
    fitted = point.sensed.y - point.residual
    gram = point.U.conj() @ point.U.T
    size = float(point.signs @ (np.abs(gram) ** 2) @ point.signs)
    return float(fitted @ fitted) / len(fitted) / max(size, np.finfo(float).tiny)
