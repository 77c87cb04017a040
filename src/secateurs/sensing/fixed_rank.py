"""Least squares at a given rank, from the spectrum of the data or from given factors.

repeat:
    add leading eigenvectors of N until there are `rank` terms
    descend on L;  rotate to the eigenbasis
until no term can be added, or the residual is zero
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from secateurs.core.solution import Solution, Status
from secateurs.sensing.descent import descend
from secateurs.sensing.factored import Factors, Point, Sensed, rotated, rounding, squares
from secateurs.sensing.identification import identify
from secateurs.sensing.message_passing import retrieve
from secateurs.sensing.operators.base import SensingOperator

FLOOR = 1e-26  # loss over the mean square of y at which the residual is zero, for float64
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
    random_state: int = 0,
) -> Solution[Factors]:
    """Fit a matrix sum_k s_k u_k u_k^H of at most `rank` terms by least squares.

    Parameters
    ----------
    operator : SensingOperator
        The n measurements of d x d matrices.
    y : array, shape [n]
        Raw measurements; their nuisance part is projected out here.
    rank : int
        The largest number of terms.
    signed : bool
        Allow terms of both signs.  If False, the matrix is positive semidefinite.
    start : Factors, optional
        Start from the strongest `rank` of these terms.  By default, and for missing terms, from
        the leading eigenvectors of N; one term that is measured by x x^T without noise is
        retrieved (`message_passing`).
    n_steps : int
        The most steps of descent each time that terms have been added.
    tolerance : float
        Relative: the squared distance to the optimum is about tolerance^2 times the loss.
    random_state : int
        Random seed of the search for another matrix, where the residual is zero.

    Returns
    -------
    Solution of Factors
        Status "exact" (the residual is zero to rounding, and no other matrix of this rank was
        found that has the same measurements), "converged", or "budget" after `n_steps` steps.
        There are fewer terms than `rank` only if another one cannot lower the loss: N has no
        eigenvalue of an allowed sign, or the residual is zero.

    Notes
    -----
    One forward and one adjoint pass a step.  Losses are those of y / scale, as for
    `group_lasso_path`.  The result is a local minimum: it is the truth without
    noise and with enough random measurements; otherwise nothing is guaranteed.
    """
    sensed = Sensed.of(operator, y)
    first = None if start is None else sensed.scaled(start)
    if start is None and rank == 1 and (u := retrieve(sensed, y, random_state)) is not None:
        first = Factors(u, np.ones(1))
    point, spent = least_squares(
        sensed,
        rank,
        signed=signed,
        start=first,
        n_steps=n_steps,
        tolerance=tolerance,
    )
    status: Status = "budget" if spent else "converged"
    identification = None
    if point.loss <= _floor(sensed):
        identification = identify(sensed, point.factors(), random_state=random_state)
        status = identification.status
    measured = {
        "loss": point.loss,
        "calls": sensed.calls,
        "scale": sensed.scale,
        "identification": identification,
    }
    found = sensed.unscaled(point.factors())
    return Solution(found, status, {"loss": [point.loss]}, measured)


def least_squares(
    sensed: Sensed,
    rank: int,
    *,
    signed: bool,
    start: Factors | None,
    n_steps: int,
    tolerance: float,
) -> tuple[Point, bool]:
    """Do what `fit_rank` does in the units of `sensed`, without a search for other matrices.

    Returns
    -------
    Point
    bool
        Whether all steps were made.
    """
    point = Point.empty(sensed) if start is None else _strongest(sensed, start, rank)
    floor = _floor(sensed)
    grown, spent = _grown(point, rank, signed=signed), False
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
        grown = _grown(point, rank, signed=signed)
        if grown is point or point.loss <= floor:
            break
    return point, spent


def _floor(sensed: Sensed) -> float:
    """Loss at which the residual is zero to rounding."""
    return max(FLOOR, rounding(sensed.operator) ** 2) * sensed.power


def _grown(point: Point, rank: int, *, signed: bool) -> Point:
    """Add leading eigenvectors of N until there are `rank` terms, or none is left."""
    wanted = rank - len(point.U)
    if wanted <= 0:
        return point
    values, vectors = point.eigenpairs(both_ends=signed)
    least = NEGLIGIBLE * float(np.abs(values).max())
    kept = np.flatnonzero((np.abs(values) if signed else values) > least)[:wanted]
    if not len(kept):
        return point
    V = vectors[kept] * np.sqrt(np.abs(values[kept]))[:, None]
    return point.grown(V, np.sign(values[kept]), least=NEGLIGIBLE)


def _strongest(sensed: Sensed, start: Factors, rank: int) -> Point:
    """Start from the strongest of the given terms."""
    kept = np.sort(np.argsort(-squares(start.components))[:rank])
    return Point.at(sensed, start.components[kept], start.signs[kept])


def _curvature(point: Point) -> float:
    """Mean of <A_i, M>^2 over ||M||_F^2, at the matrix of the point."""
    if not len(point.U):
        return 1.0
    fitted = point.sensed.y - point.residual
    gram = point.U.conj() @ point.U.T
    size = float(point.signs @ (np.abs(gram) ** 2) @ point.signs)
    return float(fitted @ fitted) / len(fitted) / max(size, np.finfo(float).tiny)
