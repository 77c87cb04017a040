"""Planted matrices seen through linear measurements, with the truth and fresh measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.core.parameters import (
    Shown,
    bad_value,
    check_choice,
    check_counts,
    check_integer,
    check_real,
)
from secateurs.sensing.operators.base import Array, SensingOperator
from secateurs.sensing.operators.dense import PackedDense, packed_size
from secateurs.sensing.operators.entries import Entries
from secateurs.sensing.operators.pauli import Pauli
from secateurs.sensing.operators.projected import centred
from secateurs.sensing.operators.rank_one import RankOne
from secateurs.sensing.operators.seeded import Seeded

FloatArray = NDArray[np.float64]

N_TEST = 2000  # fresh measurements
NOISE_NORM = {"gaussian": np.sqrt(2), "rademacher": np.sqrt(2), "rank-one": 2.0}  # over sqrt(d/n)


@dataclass(frozen=True, eq=False)
class SensingProblem:
    """Measurements y = <A_i, M> + noise of a known matrix.

    Attributes
    ----------
    operator : SensingOperator
        For the solvers (centred for rank-one measurements).
    y : float array [n]
        Measurements with noise.
    components : array [r, d], signs : array [r]
        M = sum_k s_k u_k u_k^H.
    sigma : float
        Standard deviation of the noise (for tomography: the most that the mean of the shots has).
    operator_test, y_test
        Fresh measurements, not centred and without noise.
    """

    operator: SensingOperator
    y: FloatArray
    components: Array
    signs: FloatArray
    sigma: float
    operator_test: SensingOperator
    y_test: FloatArray

    def matrix(self) -> Array:
        """M [d, d]."""
        return np.asarray((self.components.T * self.signs) @ self.components.conj())

    def error(self, components: Array, signs: Array | None = None) -> float:
        """``||M_found - M||_F / ||M||_F``; O(r^2 d) for r components, without a d x d matrix."""
        s = np.ones(len(components)) if signs is None else signs
        both = np.vstack([components, self.components])
        weights = np.concatenate([s, -self.signs])
        truth = np.concatenate([np.zeros(len(s)), self.signs])
        # a Gram matrix would not keep the difference accurate to rounding; triangular factors do
        triangle: Array = np.linalg.qr(both.T)[1]
        left = np.linalg.norm((triangle * weights) @ triangle.conj().T)
        return float(left / np.linalg.norm((triangle * truth) @ triangle.conj().T))


@dataclass(frozen=True, eq=False)
class QuadraticProblem:
    """A table with a quadratic target: y = b + w . x + sum_k s_k (u_k . x)^2 + noise.

    Attributes
    ----------
    X, y : arrays [n, d] and [n]
    components : array [r, d], signs : array [r]
    coefficients : array [d]
    intercept : float
    X_test, y_test
        Fresh rows without noise.
    """

    X: FloatArray
    y: FloatArray
    components: FloatArray
    signs: FloatArray
    coefficients: FloatArray
    intercept: float
    X_test: FloatArray
    y_test: FloatArray


def planted_sensing(
    n: int,
    d: int,
    r: int,
    *,
    kind: str = "gaussian",
    noise_ratio: float = 0.0,
    condition: float | None = None,
    stored: bool = True,
    dtype: type = np.float64,
    random_state: int | None = None,
) -> SensingProblem:
    """Draw random measurements of a random positive semidefinite matrix of rank r.

    Parameters
    ----------
    n, d, r : int
        Number of measurements, size of the matrix, and its rank (at most d).
    kind : {"gaussian", "rank-one", "rademacher"}
        Packed symmetric matrices with standard normal or +-1 entries, or x x^T with standard
        normal x.
    noise_ratio : float
        The ratio nu / sigma_r^2: the operator norm of the noise in N, sigma sqrt(2 d / n) (for
        x x^T 2 sigma sqrt(d / n)), over the smallest nonzero eigenvalue of M.
    condition : float, optional
        Orthogonal components with eigenvalues that fall geometrically from 1 to 1 / condition.
        By default: independent random unit vectors.
    stored : bool
        If False, Gaussian and Rademacher matrices are drawn again in every pass.
    dtype : float32 or float64
        Type of the measurement matrices.
    random_state : int, optional
        Random seed; without one every call draws another problem.

    Returns
    -------
    SensingProblem
        With 2000 fresh measurements.

    Raises
    ------
    ValueError
        A number is out of range.
    """
    check_counts(n=n, d=d)
    check_integer("r", r, 1, d)
    check_choice("kind", kind, tuple(NOISE_NORM))
    check_real("noise_ratio", noise_ratio, least=0.0)
    rng = np.random.default_rng(random_state)
    U = _components(r, d, condition, rng)
    raw = _measurements(kind, n, d, rng, stored=stored, dtype=dtype)
    test = _measurements(kind, N_TEST, d, rng, stored=False, dtype=dtype)
    smallest = float(np.linalg.svd(U, compute_uv=False)[-1] ** 2)
    sigma = noise_ratio * smallest / (NOISE_NORM[kind] * np.sqrt(d / n))
    y = _noisy(raw.forward_factors(U).astype(np.float64), sigma, rng)
    return _problem(centred(raw) if kind == "rank-one" else raw, y, U, sigma, test)


def interactions_table(
    n: int,
    d: int,
    *,
    n_positive: int = 2,
    n_negative: int = 2,
    linear: float = 1.0,
    noise: float = 0.1,
    random_state: int | None = None,
) -> QuadraticProblem:
    """Draw a table with pairwise interactions of low rank and a linear part.

    Parameters
    ----------
    n, d : int
        Number of rows and of columns.
    n_positive, n_negative : int
        Components of each sign: orthogonal, with norms from 1 to 1.5.
    linear : float
        Norm of the linear coefficients.  If 0, there is no intercept either; with n_negative = 0
        this is a network of n_positive neurons with the activation t^2.
    noise : float
        Standard deviation of the noise, in units of that of y.
    random_state : int, optional
        Random seed; without one every call draws another table.

    Returns
    -------
    QuadraticProblem
        With standard normal rows, 2000 of them fresh.
    """
    check_counts(n=n, d=d)
    r = n_positive + n_negative
    if min(n_positive, n_negative) < 0 or not 0 < r <= d:
        got = Shown(f"{n_positive} and {n_negative}")
        raise bad_value("n_positive and n_negative", got, f"a sum from 1 to d = {d}")
    check_real("linear", linear, least=0.0)
    check_real("noise", noise, least=0.0)
    rng = np.random.default_rng(random_state)
    U = np.linalg.qr(rng.standard_normal((d, r)))[0].T * rng.uniform(1, 1.5, (r, 1))
    signs = np.repeat([1.0, -1.0], [n_positive, n_negative])
    w = rng.standard_normal(d)
    w *= linear / np.linalg.norm(w)
    b = float(rng.standard_normal()) if linear else 0.0

    def target(X: FloatArray) -> FloatArray:
        return np.asarray(b + X @ w + (X @ U.T) ** 2 @ signs)

    X, X_test = rng.standard_normal((n, d)), rng.standard_normal((N_TEST, d))
    y = target(X)
    return QuadraticProblem(
        X, _noisy(y, noise * y.std(), rng), U, signs, w, b, X_test, target(X_test)
    )


def matrix_completion(
    n: int, d: int, r: int, *, noise: float = 0.0, random_state: int | None = None
) -> SensingProblem:
    """Draw n distinct entries (i <= j) of a symmetric matrix of rank r.

    Parameters
    ----------
    n, d, r : int
        Number of entries, at most d (d + 1) / 2, size of the matrix, and its rank.
    noise : float
        Standard deviation of the noise, in units of the root mean square entry.
    random_state : int, optional
        Random seed; without one every call draws another problem.

    Returns
    -------
    SensingProblem
        At most 2000 of the other entries are its fresh measurements.  Without others, they are
        entries that the solver sees.
    """
    check_counts(d=d, r=r)
    check_integer("n", n, 1, packed_size(d))
    check_real("noise", noise, least=0.0)
    rng = np.random.default_rng(random_state)
    U = rng.standard_normal((r, d))
    i, j = np.triu_indices(d)
    operator, test = (Entries(d, i[part], j[part]) for part in _seen_and_fresh(len(i), n, rng))
    y = operator.forward_factors(U)
    sigma = noise * float(np.sqrt(np.mean(y**2)))
    return _problem(operator, _noisy(y, sigma, rng), U, sigma, test)


def phase_retrieval(
    n: int, d: int, *, noise: float = 0.0, random_state: int | None = None
) -> SensingProblem:
    """Draw squared inner products of a real signal: y_i = (x_i . u)^2 with standard normal x_i.

    Parameters
    ----------
    n, d : int
        Number of measurements, and length of the signal, a random unit vector.
    noise : float
        Standard deviation of the noise, in units of that of y.
    random_state : int, optional
        Random seed; without one every call draws another problem.

    Returns
    -------
    SensingProblem
        With one component, the signal, and 2000 fresh measurements.
    """
    check_counts(n=n, d=d)
    check_real("noise", noise, least=0.0)
    rng = np.random.default_rng(random_state)
    U = _components(1, d, None, rng)
    raw, test = RankOne(rng.standard_normal((n, d))), RankOne(rng.standard_normal((N_TEST, d)))
    y = raw.forward_factors(U)
    sigma = noise * float(y.std())
    return _problem(centred(raw), _noisy(y, sigma, rng), U, sigma, test)


def pauli_tomography(
    n: int, n_qubits: int, r: int, *, shots: int | None = None, random_state: int | None = None
) -> SensingProblem:
    """Draw expectations of n distinct Pauli strings in a random state of rank r, from shots.

    Parameters
    ----------
    n : int
        Number of strings, at most 4^q - 1: the identity has the same expectation in every state
        and is left out.
    n_qubits, r : int
        The number q of qubits, and the rank of the state.  The state is U^T U.conj() with complex
        standard normal U [r, 2^q], scaled to trace one.
    shots : int, optional
        Outcomes +-1 that are averaged for each string.  By default, expectations are exact.
    random_state : int, optional
        Random seed; without one every call draws another problem.

    Returns
    -------
    SensingProblem
        At most 2000 of the other strings are its fresh measurements.  Without others, they are
        strings that the solver sees.
    """
    check_counts(n_qubits=n_qubits, r=r, **({} if shots is None else {"shots": shots}))
    d = 1 << n_qubits
    check_integer("n", n, 1, d * d - 1)
    rng = np.random.default_rng(random_state)
    U = rng.standard_normal((r, d)) + 1j * rng.standard_normal((r, d))
    U /= np.linalg.norm(U)
    seen, fresh = (1 + part for part in _seen_and_fresh(d * d - 1, n, rng))
    operator, test = (Pauli(n_qubits, codes // d, codes % d) for codes in (seen, fresh))
    y = np.clip(operator.forward_factors(U), -1, 1)
    if shots is not None:
        y = 2 * rng.binomial(shots, (1 + y) / 2) / shots - 1
    return _problem(operator, y, U, 0.0 if shots is None else 1 / np.sqrt(shots), test)


def fidelity(found: Array, truth: Array) -> float:
    """Compute (tr |rho^(1/2) sigma^(1/2)|)^2 for two states given by factors, at trace one.

    It is the squared nuclear norm of X^H Y for rho = X X^H and sigma = Y Y^H; O(r^2 d).
    """
    X, Y = found / np.linalg.norm(found), truth / np.linalg.norm(truth)
    return float(np.linalg.norm(X.conj() @ Y.T, "nuc") ** 2)


def _components(r: int, d: int, condition: float | None, rng: np.random.Generator) -> FloatArray:
    U = rng.standard_normal((r, d))
    if condition is None:
        return np.asarray(U / np.linalg.norm(U, axis=1, keepdims=True))
    check_real("condition", condition, least=1.0)
    sizes = np.geomspace(1, 1 / condition, r) ** 0.5
    return np.asarray(np.linalg.qr(U.T)[0].T * sizes[:, None])


def _measurements(
    kind: str, n: int, d: int, rng: np.random.Generator, *, stored: bool, dtype: Any
) -> SensingOperator:
    if kind == "rank-one":
        return RankOne(rng.standard_normal((n, d), dtype=dtype))
    if stored and kind == "gaussian":
        return PackedDense(rng.standard_normal((n, packed_size(d)), dtype=dtype))
    drawn = Seeded(n, d, kind=kind, random_state=int(rng.integers(1 << 31)), dtype=dtype)
    return PackedDense(drawn.rows(0, n)) if stored else drawn


def _seen_and_fresh(size: int, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw n positions out of `size`, and others to test on; without others, the same ones."""
    order = rng.permutation(size)
    return order[:n], order[n : n + N_TEST] if n < size else order[:N_TEST]


def _noisy(y: FloatArray, sigma: float, rng: np.random.Generator) -> FloatArray:
    return y + sigma * rng.standard_normal(len(y))


def _problem(
    operator: SensingOperator, y: FloatArray, U: Array, sigma: float, test: SensingOperator
) -> SensingProblem:
    y_test = test.forward_factors(U).astype(np.float64)
    return SensingProblem(operator, y, U, np.ones(len(U)), float(sigma), test, y_test)
