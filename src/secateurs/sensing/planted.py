"""Planted matrices seen through linear measurements, with the truth and fresh measurements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secateurs.core.parameters import check_counts, check_real
from secateurs.sensing.operators.base import Array, SensingOperator
from secateurs.sensing.operators.dense import PackedDense, packed_size
from secateurs.sensing.operators.entries import Entries
from secateurs.sensing.operators.pauli import Pauli
from secateurs.sensing.operators.projected import centred
from secateurs.sensing.operators.rank_one import RankOne
from secateurs.sensing.operators.seeded import Seeded

FloatArray = NDArray[np.float64]

N_TEST = 2000  # fresh measurements
NOISE_NORM = {"gaussian": np.sqrt(2), "rademacher": np.sqrt(2), "rank-one": 2.0}  # times sqrt(d/n)


@dataclass(frozen=True, eq=False)
class SensingProblem:
    """Measurements y = <A_i, M> + noise of a matrix that is known.

    Attributes
    ----------
    operator : SensingOperator
        For the solvers (centred for rank-one measurements).
    y : float array [n]
        Measurements, with noise.
    components : array [r, d], signs : array [r]
        M = sum_k s_k u_k u_k^H.
    sigma : float
        Standard deviation of the noise (of the mean of the shots, at most, for tomography).
    operator_test, y_test
        Fresh measurements of the uncentred kind, never with noise.
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
        """``||M_found - M||_F / ||M||_F``; O(r^2 d) for r components, no d x d matrix."""
        s = np.ones(len(components)) if signs is None else signs
        both = np.vstack([components, self.components])
        weights = np.concatenate([s, -self.signs])
        truth = np.concatenate([np.zeros(len(s)), self.signs])
        # triangular factors keep the difference accurate to rounding, a Gram matrix would not
        triangle: Array = np.linalg.qr(both.T)[1]
        left = np.linalg.norm((triangle * weights) @ triangle.conj().T)
        return float(left / np.linalg.norm((triangle * truth) @ triangle.conj().T))


@dataclass(frozen=True, eq=False)
class QuadraticProblem:
    """A table whose target is quadratic: y = b + w . x + sum_k s_k (u_k . x)^2 + noise.

    Attributes
    ----------
    X, y : arrays [n, d] and [n]
    components : array [r, d], signs : array [r]
    coefficients : array [d]
    intercept : float
    X_test, y_test : fresh rows, never with noise
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
    """Random measurements of a random positive semidefinite matrix of rank r.

    Parameters
    ----------
    n, d, r : int
    kind : {"gaussian", "rank-one", "rademacher"}
        Packed symmetric matrices with standard normal or +-1 entries, or x x^T with standard
        normal x.
    noise_ratio : float
        nu / sigma_r^2: operator norm of the noise in N, sigma sqrt(2 d / n) (for x x^T
        2 sigma sqrt(d / n)), over the smallest nonzero eigenvalue of M.
    condition : float, optional
        Orthogonal components whose eigenvalues fall geometrically from 1 to 1 / condition.
        Without: independent random unit vectors.
    stored : bool
        Without, Gaussian and Rademacher matrices are drawn again in every pass.
    dtype : float32 or float64
        Of the measurement matrices.
    random_state : int, optional

    Returns
    -------
    SensingProblem
        With 2000 fresh measurements.

    Raises
    ------
    ValueError
        A number out of range.
    """
    check_counts(n=n, d=d, r=r)
    check_real("noise_ratio", noise_ratio, least=0.0)
    if r > d:
        raise ValueError(f"r={r}: expected at most d = {d}")
    if kind not in NOISE_NORM:
        raise ValueError(f"kind={kind!r}: expected one of {tuple(NOISE_NORM)}")
    rng = np.random.default_rng(random_state)
    U = _components(r, d, condition, rng)
    raw = _measurements(kind, n, d, stored, dtype, rng)
    test = _measurements(kind, N_TEST, d, False, dtype, rng)
    smallest = float(np.linalg.svd(U, compute_uv=False)[-1] ** 2)
    sigma = noise_ratio * smallest / (NOISE_NORM[kind] * np.sqrt(d / n))
    y = raw.forward_factors(U).astype(np.float64) + sigma * rng.standard_normal(n)
    operator = centred(raw) if kind == "rank-one" else raw
    y_test = test.forward_factors(U).astype(np.float64)
    return SensingProblem(operator, y, U, np.ones(r), float(sigma), test, y_test)


def quadratic_network(
    n: int, d: int, r: int, *, noise: float = 0.0, random_state: int | None = None
) -> QuadraticProblem:
    """Y = sum_k (u_k . x)^2 on standard normal x: r neurons with the activation t^2.

    Parameters
    ----------
    n, d, r : int
    noise : float
        In units of the standard deviation of y.
    random_state : int, optional
    """
    return interactions_table(
        n, d, n_positive=r, n_negative=0, linear=0.0, noise=noise, random_state=random_state
    )


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
    """A table with pairwise interactions of low rank and a linear part.

    Parameters
    ----------
    n, d : int
    n_positive, n_negative : int
        Components of each sign: orthogonal, of norms 1 to 1.5.
    linear : float
        Norm of the linear coefficients; 0 for none, and then no intercept either.
    noise : float
        In units of the standard deviation of y.
    random_state : int, optional

    Returns
    -------
    QuadraticProblem
        Rows are standard normal; 2000 fresh ones.
    """
    check_counts(n=n, d=d)
    r = n_positive + n_negative
    if min(n_positive, n_negative) < 0 or not 0 < r <= d:
        raise ValueError(
            f"got n_positive={n_positive} and n_negative={n_negative}; expected 1 to d = {d} in all"
        )
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
    y = y + noise * y.std() * rng.standard_normal(n)
    return QuadraticProblem(X, y, U, signs, w, b, X_test, target(X_test))


def matrix_completion(
    n: int, d: int, r: int, *, noise: float = 0.0, random_state: int | None = None
) -> SensingProblem:
    """N distinct entries (i <= j) of a symmetric matrix of rank r.

    Parameters
    ----------
    n, d, r : int
    noise : float
        In units of the root mean square entry.
    random_state : int, optional
    """
    check_counts(n=n, d=d, r=r)
    check_real("noise", noise, least=0.0)
    if n > packed_size(d):
        raise ValueError(f"n={n}: a symmetric {d} x {d} matrix has {packed_size(d)} entries")
    rng = np.random.default_rng(random_state)
    U = rng.standard_normal((r, d))
    i, j = np.triu_indices(d)
    order = rng.permutation(len(i))
    seen, rest = order[:n], order[n : n + N_TEST] if n < len(i) else order[:N_TEST]
    operator, test = Entries(d, i[seen], j[seen]), Entries(d, i[rest], j[rest])
    y = operator.forward_factors(U)
    sigma = noise * float(np.sqrt(np.mean(y**2)))
    y_test = test.forward_factors(U)
    y = y + sigma * rng.standard_normal(n)
    return SensingProblem(operator, y, U, np.ones(r), sigma, test, y_test)


def phase_retrieval(
    n: int, d: int, *, noise: float = 0.0, random_state: int | None = None
) -> SensingProblem:
    """A real signal from squared inner products: y_i = (x_i . u)^2, standard normal x.

    Parameters
    ----------
    n, d : int
    noise : float
        In units of the standard deviation of y.
    random_state : int, optional
    """
    check_counts(n=n, d=d)
    check_real("noise", noise, least=0.0)
    rng = np.random.default_rng(random_state)
    U = _components(1, d, None, rng)
    raw, test = RankOne(rng.standard_normal((n, d))), RankOne(rng.standard_normal((N_TEST, d)))
    y = raw.forward_factors(U)
    sigma = noise * float(y.std())
    y = y + sigma * rng.standard_normal(n)
    return SensingProblem(centred(raw), y, U, np.ones(1), sigma, test, test.forward_factors(U))


def pauli_tomography(
    n: int, n_qubits: int, r: int, *, shots: int | None = None, random_state: int | None = None
) -> SensingProblem:
    """Expectations of n distinct Pauli strings in a random state of rank r, from shots.

    Parameters
    ----------
    n : int
        At most 4^q - 1: the identity says nothing of a state and is left out.
    n_qubits, r : int
        The state is U^T U.conj() with complex standard normal U [r, 2^q], at trace one.
    shots : int, optional
        Outcomes +-1 averaged for a string; without, exact expectations.
    random_state : int, optional
    """
    check_counts(n=n, n_qubits=n_qubits, r=r)
    if shots is not None:
        check_counts(shots=shots)
    d = 1 << n_qubits
    if n >= d * d:
        raise ValueError(f"n={n}: there are {d * d - 1} Pauli strings besides the identity")
    rng = np.random.default_rng(random_state)
    U = rng.standard_normal((r, d)) + 1j * rng.standard_normal((r, d))
    U /= np.linalg.norm(U)
    order = 1 + rng.permutation(d * d - 1)
    seen, rest = order[:n], order[n : n + N_TEST] if n < len(order) else order[:N_TEST]
    operator, test = (Pauli(n_qubits, codes // d, codes % d) for codes in (seen, rest))
    y = np.clip(operator.forward_factors(U), -1, 1)
    if shots is not None:
        y = 2 * rng.binomial(shots, (1 + y) / 2) / shots - 1
    sigma = 0.0 if shots is None else 1 / np.sqrt(shots)
    return SensingProblem(operator, y, U, np.ones(r), sigma, test, test.forward_factors(U))


def fidelity(found: Array, truth: Array) -> float:
    """(tr |rho^(1/2) sigma^(1/2)|)^2 of the states of two sets of factors, at trace one.

    With rho = X X^H and sigma = Y Y^H it is the squared nuclear norm of X^H Y; O(r^2 d).
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
    kind: str, n: int, d: int, stored: bool, dtype: type, rng: np.random.Generator
) -> SensingOperator:
    if kind == "rank-one":
        return RankOne(rng.standard_normal((n, d), dtype=dtype))
    if stored and kind == "gaussian":
        return PackedDense(rng.standard_normal((n, packed_size(d)), dtype=dtype))
    drawn = Seeded(n, d, kind=kind, random_state=int(rng.integers(1 << 31)), dtype=dtype)
    return PackedDense(drawn.rows(0, n)) if stored else drawn
