"""Phase retrieval by message passing: one component, measured by x x^T without noise.

The moduli |x_i . u| are known and the signs are not.  Rows and columns of X are scaled first, so
that they have the same size, and n E psi^2 = |u|^2 tr(X^T X) / d then gives the size of u.

psi_i = sqrt(y_i);  u = leading eigenvector of sum_i w(psi_i) x_i x_i^T;  V = E psi^2 - |u|^2
repeat:
    p_i = x_i . u - V g_i                      x_i . u as the other measurements see it      (1)
    g_i = (psi_i tanh(psi_i p_i / V) - p_i) / V            posterior mean over the two signs (2)
    a = sum_i (1 - psi_i^2 / (V cosh^2(psi_i p_i / V))) / V
    u = (a u + sum_i g_i x_i) / (a + d / E psi^2);  V = d / (a + d / E psi^2)                (3)
until |x_i . u| = psi_i for all i

g, u and V move only by a part of each step (damping), which a small d needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from scipy.sparse.linalg import LinearOperator, lsqr

from secateurs.sensing.factored import Sensed, measured_values, rounding
from secateurs.sensing.operators.base import Array, SensingOperator
from secateurs.sensing.operators.projected import Projected
from secateurs.sensing.operators.rank_one import RankOne

FEW = 4  # rows over columns up to which a failure is followed by further attempts
SCALINGS, SAME_SIZE = 3, 0.1  # of columns and rows in turn; columns that change less stay
N_STEPS = 300
PATIENCE = 60  # steps without a better fit after which an attempt has failed
DAMPING = 0.2  # share of the last value that is kept
POWER_STEPS, SHIFT = 40, 5.0  # of the power iteration; `SHIFT` makes all eigenvalues positive
WEIGHT_OFFSET, LEAST_WEIGHT = 0.1, -5.0  # of the weights (psi^2 - 1) / (psi^2 + .1)
OVERLAP = 0.5  # |u|^2 over E psi^2 at the start
FOUND = 1e-8  # relative error of the moduli at which the signs are known
DIVERGED = 10.0  # relative error of the moduli
BETTER = 0.99  # share of the smallest error so far, below which an error is better
SOLVER_STEPS, SOLVED = 300, 1e-7  # of least squares with known signs
SAME = 1e-3  # relative difference of cosine from 1, up to which two vectors are the same
LEAST_VARIANCE = 1e-24  # of E psi^2
MOST_WHITENED = 2000  # largest d for which the rows are whitened

Map = Callable[[Array], Array]


@dataclass(frozen=True)
class Moduli:
    """Moduli psi_i = |x_i . u| with rows of one size, and the maps of the rows.

    Attributes
    ----------
    times, transposed : callables
        X u and X^T g.
    psi : array [n]
    original : callable
        u in the coordinates of the given rows.
    """

    times: Map
    transposed: Map
    psi: Array
    original: Map


def rows_of(operator: SensingOperator) -> RankOne | None:
    """Return the rows x_i of measurements by x x^T with at most an intercept beside, else None."""
    if isinstance(operator, Projected) and operator.n_nuisance == 1:
        operator = operator.operator
    return operator if isinstance(operator, RankOne) else None


def retrieve(sensed: Sensed, y: ArrayLike, random_state: int = 0) -> Array | None:
    """Find u [1, d] with (x_i . u)^2 = y_i, or return None where it was not found.

    Parameters
    ----------
    sensed : Sensed
    y : array, shape [n]
        The raw measurements of which `sensed` was made; u is in the units of `sensed`.
    random_state : int

    Returns
    -------
    array, shape [1, d], or None
        To rounding.  None also for other measurements (`rows_of`), for at most d of them, and if a
        y is negative.

    Notes
    -----
    Two passes with one vector a step; about 60 steps where there are twice as many rows as
    columns.  With at most four times as many rows, there are up to three attempts: from the
    spectrum, from random numbers, and with whitened rows, O(n d^2).  An attempt ends after 60 steps
    without progress, as where there is noise or a second component.

    For Gaussian rows and large d it works from about 1.13 d rows.
    Sources: Rangan (2011), generalised approximate message passing; Schniter & Rangan (2015), for
    phase retrieval; Barbier, Krzakala, Macris, Miolane & Zdeborova (2019), the number 1.13; weights
    after Mondelli & Montanari (2018).  Constants: measured.
    """
    operator = rows_of(sensed.operator)
    n, d = sensed.operator.shape
    values = measured_values(sensed.operator, y) / sensed.scale
    if operator is None or n <= d or values.min() < 0 or not values.any():
        return None
    psi = np.sqrt(values)
    rng = np.random.default_rng(random_state)
    accuracy = max(FOUND, rounding(operator))
    scaled = scaled_rows(operator, psi)
    white = None
    found = pass_messages(scaled, spectral_start(scaled, d, rng), accuracy)
    if found is None and n <= FEW * d:
        found = pass_messages(scaled, random_start(scaled, d, rng), accuracy)
        white = whitened_rows(operator, psi) if found is None and d <= MOST_WHITENED else None
        if white is not None:
            found = pass_messages(white, spectral_start(white, d, rng), accuracy)
    return None if found is None else with_signs(scaled if white is None else white, found)[None]


def from_random_start(operator: RankOne, u: Array, rng: np.random.Generator) -> Array | None:
    """Find a vector [d] that is not u or -u and has its moduli, from a random start; else None."""
    scaled = scaled_rows(operator, np.abs(operator.inner_products(u)).astype(np.float64))
    found = pass_messages(scaled, random_start(scaled, len(u), rng), max(FOUND, rounding(operator)))
    if found is None:
        return None
    inner, size = float(scaled.original(found) @ u), float(u @ u)
    same = abs(abs(inner) / size - 1) <= SAME
    return None if same else with_signs(scaled, found)


def scaled_rows(operator: RankOne, psi: Array) -> Moduli:
    """Scale columns and rows of X in turn, so that all have about the same size.

    Two to six passes.
    """
    n, d = operator.shape
    rows, columns = np.ones(n), np.ones(d)
    for _ in range(SCALINGS):
        squares, sizes = np.zeros(d), np.empty(n)
        for block, part in operator.rows.wide_blocks():
            squares += rows[block] ** 2 @ (part * part)
        last, columns = columns, _inverse_root(squares / n)
        if np.allclose(columns, last, rtol=SAME_SIZE):
            break
        for block, part in operator.rows.wide_blocks():
            sizes[block] = (part * part) @ columns**2
        rows = _inverse_root(sizes / d)
    return Moduli(
        times=lambda u: rows * operator.inner_products(columns * u),
        transposed=lambda g: columns * operator.weighted_sum(rows * g),
        psi=rows * psi,
        original=lambda u: columns * u,
    )


def whitened_rows(operator: RankOne, psi: Array) -> Moduli | None:
    """Replace X by X L^-T, where L L^T = X^T X / n; None where X^T X is singular."""
    n = operator.shape[0]
    gram = operator.adjoint(np.full(n, 1 / n)).astype(np.float64)
    try:
        factor = cholesky(gram, lower=True, check_finite=False)
    except LinAlgError:
        return None

    def back(u: Array) -> Array:
        return np.asarray(solve_triangular(factor, u, lower=True, trans="T", check_finite=False))

    return Moduli(
        times=lambda u: operator.inner_products(back(u)).astype(np.float64),
        transposed=lambda g: np.asarray(
            solve_triangular(factor, operator.weighted_sum(g), lower=True, check_finite=False)
        ),
        psi=psi,
        original=back,
    )


def spectral_start(moduli: Moduli, d: int, rng: np.random.Generator) -> Array:
    """Leading eigenvector of sum_i w(psi_i) x_i x_i^T, by a fixed number of power steps."""
    power = float(np.mean(moduli.psi**2))
    square = moduli.psi**2 / power
    weights = np.maximum((square - 1) / (square + WEIGHT_OFFSET), LEAST_WEIGHT) / len(square)
    u = rng.standard_normal(d)
    for _ in range(POWER_STEPS):
        u = moduli.transposed(weights * moduli.times(u)) + SHIFT * u
        u /= np.linalg.norm(u)
    return np.asarray(u * np.sqrt(OVERLAP * power))


def random_start(moduli: Moduli, d: int, rng: np.random.Generator) -> Array:
    """A random direction, with a fifth of the squared norm of the spectral start."""
    u = rng.standard_normal(d)
    return np.asarray(u * np.sqrt(0.2 * OVERLAP * np.mean(moduli.psi**2)) / np.linalg.norm(u))


def pass_messages(moduli: Moduli, u: Array, accuracy: float) -> Array | None:
    """Iterate (1) to (3) from u [d]; None unless the moduli of the result are psi.

    All vectors are in the coordinates of the scaled rows.
    """
    psi, d = moduli.psi, len(u)
    power = float(np.mean(psi**2))
    prior, size = d / power, float(np.linalg.norm(psi))
    V, g = power - float(u @ u), np.zeros(len(psi))
    z, smallest, since = moduli.times(u), np.inf, 0
    for step in range(N_STEPS):
        p = z - V * g  # (1)
        signs = np.tanh(psi * p / V)
        new = (psi * signs - p) / V  # (2)
        g = (1 - DAMPING) * new + DAMPING * g if step else new
        a = max(float(np.sum(1 - psi**2 * (1 - signs**2) / V)) / V, 1 / power)
        new = (a * u + moduli.transposed(g)) / (a + prior)  # (3)
        u = (1 - DAMPING) * new + DAMPING * u
        V = max((1 - DAMPING) * d / (a + prior) + DAMPING * V, LEAST_VARIANCE * power)
        z = moduli.times(u)
        error = float(np.linalg.norm(np.abs(z) - psi)) / size
        if error <= accuracy:
            return u
        since = 0 if error < BETTER * smallest else since + 1
        smallest = min(smallest, error)
        if since > PATIENCE or not error <= DIVERGED:  # also true for nan
            break
    return None


def with_signs(moduli: Moduli, u: Array) -> Array:
    """Solve x_i . u = +-psi_i with the signs at u, to rounding; in the original coordinates."""
    z = moduli.times(u)
    maps: Any = LinearOperator(
        (len(z), len(u)), matvec=moduli.times, rmatvec=moduli.transposed, dtype=np.dtype(np.float64)
    )
    left = np.sign(z) * moduli.psi - z
    step = lsqr(maps, left, atol=SOLVED, btol=SOLVED, iter_lim=SOLVER_STEPS)[0]
    return moduli.original(u + step)


def _inverse_root(squares: Array) -> Array:
    """Return one over the square roots; 0 for zeros."""
    return np.asarray(np.where(squares > 0, 1 / np.sqrt(np.where(squares > 0, squares, 1.0)), 0.0))
