"""Nuclear norm minimisation by FISTA, a peer of the group lasso path."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from secateurs.core.driver import Iterations
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.sensing.factored import Factors, Point, Sensed, rotated, squares
from secateurs.sensing.operators.base import SensingOperator

POWER_STEPS = 20  # for the Lipschitz constant of the loss
SAFETY = 1.05  # over the constant that the power iteration finds
NONZERO = 1e-3  # eigenvalues above this share of the largest count for the rank


def nuclear_norm(
    operator: SensingOperator,
    y: ArrayLike,
    strength: float,
    *,
    signed: bool = False,
    n_steps: int = 500,
    tolerance: float = 1e-6,
    progress: ProgressCallback | None = None,
) -> Solution[Factors]:
    """Minimise (1/2n) ||y - A(M)||^2 + strength ||M||_* by FISTA; M >= 0 unless signed.

    Parameters
    ----------
    operator : SensingOperator
    y : array, shape [n]
    strength : float
        mu; the usual choice is the noise norm sigma * base.
    signed : bool
    n_steps : int
    tolerance : float
        Stop when the relative change of M in a step is below this.
    progress : callable, optional

    Returns
    -------
    Solution of Factors
        Status "converged", "budget" or "interrupted".  History: step, loss (mean squared
        residual), rank.  Measured: rank (eigenvalues above 1e-3 of the largest), loss, calls.

    Notes
    -----
    One call and an eigendecomposition of d x d a step.  The measurements are linear, so y(Z) of
    the extrapolated Z needs no pass.  The step is 1 / L, with L from a power iteration.
    Source: Beck & Teboulle (2009); O'Donoghue & Candes (2015) for the restart.
    """
    sensed = Sensed.of(operator, y)
    n, d = operator.shape
    lipschitz = _lipschitz(sensed) / n
    empty = Point.empty(sensed)
    M = np.zeros((d, d), dtype=empty.U.dtype)
    Z, momentum = M, 1.0
    U, signs = empty.U, empty.signs
    image = image_Z = np.zeros(n)
    with Iterations(n_steps, progress, ("step", "loss", "rank")) as run:
        for t in run:
            sensed.adjoint += 1
            N = np.asarray(operator.adjoint((sensed.y - image_Z) / n), dtype=M.dtype)
            w, V = np.linalg.eigh(Z + N / lipschitz)
            shrunk = np.sign(w) * np.maximum(np.abs(w) - strength / lipschitz, 0)
            shrunk = shrunk if signed else np.maximum(shrunk, 0)
            live = shrunk != 0
            U = (V[:, live] * np.sqrt(np.abs(shrunk[live]))).T
            signs = np.sign(shrunk[live])
            found = (V[:, live] * shrunk[live]) @ V[:, live].conj().T
            reached = sensed.factors(U, signs) if len(U) else np.zeros(n)
            change = found - M
            if float(np.vdot(Z - found, change).real) > 0:
                momentum = 1.0  # restart
            after = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            weight = (momentum - 1) / after
            Z, image_Z = found + weight * change, reached + weight * (reached - image)
            M, image, momentum = found, reached, after
            loss = float(np.mean((sensed.y - image) ** 2))
            run.history.record(step=t, loss=loss, rank=len(U))
            run.report(loss, len(U))
            if t > 1 and np.linalg.norm(change) <= tolerance * np.linalg.norm(M):
                run.end("converged")
    point = rotated(Point(sensed, U, signs, sensed.y - image))
    sizes = squares(point.U)
    rank = int(np.sum(sizes > NONZERO * sizes.max(initial=0.0)))
    return run.solution(point.factors(), rank=rank, loss=point.loss, calls=sensed.calls)


def _lipschitz(sensed: Sensed) -> float:
    """||A||^2 by power iteration on A A*, which acts on a vector of measurements."""
    operator = sensed.operator
    v = operator.project(np.random.default_rng(0).standard_normal(operator.shape[0]))
    size = 1.0
    for _ in range(POWER_STEPS):
        v = v / np.linalg.norm(v)
        w, V = np.linalg.eigh(operator.adjoint(v))
        sensed.adjoint += 1
        image = sensed.factors((V * np.sqrt(np.abs(w))).T, np.sign(w))
        size, v = float(np.linalg.norm(image)), image
    return SAFETY * size
