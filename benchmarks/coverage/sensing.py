"""Planted matrices: an exact fit must be the planted matrix, and no component may be missed.

What is noise is decided here with what was planted, which a fit does not know: an estimate from
its own residual takes a missed component for noise.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.coverage.judging import Case, attempt, judge, never, status_check
from benchmarks.coverage.scenario import Generator, Scenario, seed_of
from secateurs import MatrixSensing, QuadraticRegressor
from secateurs.core import Check
from secateurs.sensing import Entries, PackedDense, RankOne, SensingOperator, pack

Array = NDArray[np.float64]
WRONG = 1e-6  # relative error of an exact matrix
ROUNDING = 1e-13
INVISIBLE = 1e-9  # relative size of measurements that is rounding
SLACK = 1.5  # for norms of noise, which are estimated from a few draws


@dataclass(frozen=True)
class MatrixTruth:
    """A model, the planted matrix and the noise.

    Attributes
    ----------
    model : MatrixSensing or QuadraticRegressor
    A : array [n, d, d]
        The measurement matrices, and `y` their measurements.
    M : array [d, d]
    sigma : float
        Standard deviation of the noise on y.
    nuisance : array [n, k]
        Columns that are fitted beside the matrix.
    """

    model: Any
    A: Array
    y: Array
    M: Array
    sigma: float
    nuisance: Array

    @cached_property
    def found(self) -> Array:
        """The matrix of the model."""
        U, signs = self.model.components_, self.model.signs_
        return np.asarray((U.T * signs) @ U)

    @cached_property
    def error(self) -> float:
        """Relative error of the matrix."""
        size = np.abs(self.M).max()
        if size == 0:
            return float(np.abs(self.found).max(initial=0) > 0)
        return float(np.linalg.norm((self.found - self.M) / size) / np.linalg.norm(self.M / size))

    @property
    def rank(self) -> int:
        """Rank of the planted matrix."""
        size = np.abs(self.M).max()
        return int(np.linalg.matrix_rank(self.M / size, tol=1e-9)) if size > 0 else 0

    def values(self, M: Array) -> Array:
        """<A_i, M> for every i."""
        return np.asarray(self.A.reshape(len(self.A), -1) @ M.ravel())

    def beside_nuisance(self, values: Array) -> Array:
        """What the nuisance leaves of values, [n] or [n, k]."""
        Q = np.linalg.svd(self.nuisance, full_matrices=False)[0]
        return np.asarray(values - Q @ (Q.T @ values))

    def seen(self, values: Array) -> Array:
        """(1/n) sum_i v_i A_i, where v is what the nuisance leaves of the values."""
        return np.asarray(np.tensordot(self.beside_nuisance(values), self.A, 1) / len(self.A))

    @cached_property
    def unit_noise(self) -> float:
        """Mean norm of `seen` for standard normal noise."""
        rng = np.random.default_rng(0)
        return float(np.mean([norm(self.seen(rng.standard_normal(len(self.A)))) for _ in range(8)]))

    @cached_property
    def left(self) -> Array:
        """`seen` for the residual."""
        return self.seen(self.y - self.values(self.found))

    @property
    def residual_is_zero(self) -> bool:
        """Whether the fit leaves nothing but rounding, on its own rows where these are known."""
        if not self.every_row_is_fitted:
            return self.sigma == 0
        left, y = (self.beside_nuisance(v) for v in (self.y - self.values(self.found), self.y))
        rounding = ROUNDING * np.linalg.norm(self.y)  # where the nuisance takes all of y
        return bool(np.linalg.norm(left) <= INVISIBLE * np.linalg.norm(y) + rounding)

    @property
    def every_row_is_fitted(self) -> bool:
        """Whether there are no held-out rows, so that the residual is that of the fit."""
        return self.model.n_train_ == len(self.y)


def norm(N: Array) -> float:
    """Largest eigenvalue, in modulus."""
    return float(np.abs(np.linalg.eigvalsh(N)).max())


# -- the judges ------------------------------------------------------------------------------


@judge("matrix", "status exact")
def exact(_: Check, truth: MatrixTruth) -> bool:
    """The matrix is the planted one."""
    return truth.error <= WRONG


@judge("matrix", "identification")
def no_other_matrix(_: Check, truth: MatrixTruth) -> bool:
    """No direction of the tangent space is invisible, and the planted matrix is no second one."""
    U = truth.model.components_
    r, d = U.shape
    if not r:
        return True
    turns = r * (r - 1) // 2  # directions in which the components turn and the matrix stays
    J = truth.beside_nuisance(np.einsum("nij,kj->nki", truth.A, U).reshape(len(truth.A), r * d))
    sizes = np.linalg.svd(J, compute_uv=False)
    if len(J) < r * d - turns or sizes[r * d - turns - 1] <= INVISIBLE * sizes[0]:
        return False
    wanted, found = (truth.beside_nuisance(truth.values(M)) for M in (truth.M, truth.found))
    same = np.linalg.norm(found - wanted) <= INVISIBLE * np.linalg.norm(wanted)
    return not (same and truth.rank == r and truth.error > WRONG)


@judge("matrix", "second order", nominal=0.05)
def nothing_missed(check: Check, truth: MatrixTruth) -> bool:
    """The residual is zero, or no planted component of the stated size is missing."""
    r, d = truth.model.components_.shape
    hidden = re.search(r"\(([-+.e\d]+)\) is hidden", check.statement)
    if hidden is None:
        return r == d or truth.residual_is_zero
    if r >= truth.rank:
        return True
    return float(np.abs(np.linalg.eigvalsh(truth.M - truth.found)).max()) < float(hidden[1])


@judge("matrix", "singular gap", nominal=0.05)
def weakest_is_no_noise(check: Check, truth: MatrixTruth) -> bool:
    """There are no more components than were planted; without noise, the weakest one is measured.

    Without noise another matrix may have a larger rank: that is the matter of `identification`.
    """
    del check
    if truth.sigma == 0:
        weakest = np.argmin(np.linalg.norm(truth.model.components_, axis=1))
        u = truth.model.components_[weakest]
        unit = float(np.abs(truth.y).max())  # squares of the values may leave float64
        seen, y = truth.values(np.outer(u, u)) / unit, truth.y / unit
        size = np.linalg.norm(truth.beside_nuisance(seen))
        return bool(size > INVISIBLE * np.linalg.norm(truth.beside_nuisance(y)))
    return len(truth.model.components_) <= truth.rank


@judge("matrix", "penalty window", nominal=0.05)
def noise_is_removed(check: Check, truth: MatrixTruth) -> bool:
    """There are no more components than were planted, where there is noise to remove.

    As sure as the singular gap, on which it rests.
    """
    del check
    return truth.sigma == 0 or len(truth.model.components_) <= truth.rank


@judge("matrix", "sample size")
def enough_measurements(check: Check, truth: MatrixTruth) -> bool:
    """There are so many distinct measurements for each component and column."""
    r, d = truth.model.components_.shape
    distinct = np.unique(truth.A.reshape(len(truth.A), -1), axis=0)
    return len(distinct) >= check.threshold * r * d


@judge("matrix", "stationarity")
def flat(check: Check, truth: MatrixTruth) -> bool | None:
    """||N U|| / ||U|| is computed again."""
    U = truth.model.components_
    if not truth.every_row_is_fitted or not len(U):
        return None
    size = float(np.abs(truth.y).max())  # squares of the values may leave float64
    rms = float(np.sqrt(np.mean(((truth.y - truth.values(truth.found)) / size) ** 2)))
    unit = max(truth.unit_noise * rms, 1e-6 * norm(truth.seen(truth.y / size)))
    measured = np.linalg.norm(truth.left / size @ U.T) / np.linalg.norm(U)
    return bool(measured <= SLACK * check.threshold * unit)


@judge("matrix", "penalty")
def no_column_grows(check: Check, truth: MatrixTruth) -> bool:
    """lambda_max(N) is computed again; components of both signs count at both ends."""
    values = np.linalg.eigvalsh(truth.left)
    largest = max(values[-1], -values[0]) if truth.model.signed else values[-1]
    return bool(largest <= SLACK * check.threshold)


never("matrix", "predicted error", "restricted isometry")


# -- the measurements ------------------------------------------------------------------------


def _symmetric(rng: Generator, n: int, d: int) -> Array:
    A = rng.standard_normal((n, d, d))
    return np.asarray((A + A.transpose(0, 2, 1)) / 2)


def _entries(d: int, i: Any, j: Any) -> tuple[SensingOperator, Array]:
    A = np.zeros((len(i), d, d))
    rows = np.arange(len(i))
    A[rows, i, j] += 0.5
    A[rows, j, i] += 0.5
    return Entries(d, i, j), A


def _pairs(rng: Generator, d: int, share: float, allowed: Callable[[Any, Any], Any]) -> Any:
    """A random share of the entries that are allowed."""
    i, j = np.triu_indices(d)
    kept = allowed(i, j) & (rng.random(len(i)) < share)
    return i[kept], j[kept]


Operator = tuple[SensingOperator, Array]


def _dense(rng: Generator, d: int, dof: int, least: float, most: float, repeats: int) -> Operator:
    n = max(2, int(rng.uniform(least, most) * dof))
    A = np.tile(_symmetric(rng, n, d), (repeats, 1, 1))
    return PackedDense(pack(A)), A


def _completion(rng: Generator, d: int, dof: int, kind: str) -> Operator:  # noqa: ARG001
    hidden, half = int(rng.integers(d)), d // 2
    allowed: dict[str, Callable[[Any, Any], Any]] = {
        "all": lambda i, j: i <= j,
        "row": lambda i, j: (i != hidden) & (j != hidden),
        "blocks": lambda i, j: (i < half) == (j < half),
        "diagonal": lambda i, j: i != j,
    }
    i, j = _pairs(rng, d, rng.uniform(0.5, 1.0), allowed[kind])
    return _entries(d, np.tile(i, 3), np.tile(j, 3))


def _rank_one(rng: Generator, d: int, dof: int, kind: str) -> Operator:
    n = int(rng.uniform(4, 10) * dof)
    X = rng.standard_normal((n, d))
    if kind == "heavy":
        X = rng.standard_t(1.5, (n, d))
    elif kind == "sparse":
        X *= rng.random((n, d)) < 0.15
    elif kind == "equal columns":
        X[:, 1] = X[:, 0]
    elif kind == "repeated":
        X = np.repeat(X[: max(2, dof // 2)], 12, axis=0)
    return RankOne(X), X[:, :, None] * X[:, None]


def fit_matrix(
    rng: Generator,
    measure: Callable[..., Operator],
    how: dict[str, Any],
    noise: float = 0.0,
    scale: float = 1.0,
    settings: dict[str, Any] | None = None,
    r: int | None = None,
) -> list[Case]:
    """Measure and fit a planted positive semidefinite matrix.

    `noise` is in units of the standard deviation of y, and of 1 where the rank `r` is 0.
    """
    d = int(rng.integers(6, 12))
    r = int(rng.integers(1, 3)) if r is None else r
    U = rng.standard_normal((r, d))
    M = scale * (U.T @ U)
    operator, A = measure(rng, d, dof=max(1, r * d - r * (r - 1) // 2), **how)
    clean = A.reshape(len(A), -1) @ M.ravel()
    sigma = noise * (float(clean.std()) if r else 1.0)
    y = clean + sigma * rng.standard_normal(len(clean))
    settings = dict(settings or {})
    model = MatrixSensing(random_state=seed_of(rng), **settings)
    if attempt(lambda: model.fit(operator, y)) is None:
        return [Case("MatrixSensing", "matrix", ())]
    k = 1 if settings.get("fit_intercept") else 0
    truth = MatrixTruth(model, A, y, M, sigma, np.ones((len(y), k)))
    checks = (status_check(model.status_), *model.certificate_.checks)
    return [Case("MatrixSensing", "matrix", checks, truth)]


def fit_quadratic(
    rng: Generator, inputs: str, noise: float = 0.0, n_factor: float = 12.0, held_out: float = 0.0
) -> list[Case]:
    """Fit a table with planted interactions; every statement is about whitened inputs."""
    d, r = int(rng.integers(4, 8)), int(rng.integers(1, 3))
    n = int(n_factor * d * (r + 1))
    draws: dict[str, Callable[[], Array]] = {
        "gaussian": lambda: rng.standard_normal((n, d)),
        "copied column": lambda: rng.standard_normal((n, d))[:, [0, *range(d - 1)]],
        "0/1": lambda: rng.integers(0, 2, (n, d)) * 1.0,
        "heavy": lambda: rng.standard_t(2, (n, d)),
        "sparse": lambda: rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.1),
        "repeated": lambda: np.repeat(rng.standard_normal((d * r, d)), n // (d * r), axis=0),
    }
    X = draws[inputs]()
    U, signs = rng.standard_normal((r, d)), rng.choice([-1.0, 1.0], r)
    clean = (X @ U.T) ** 2 @ signs + X @ rng.standard_normal(d)
    sigma = noise * float(clean.std())
    y = clean + sigma * rng.standard_normal(len(X))
    model = QuadraticRegressor(validation_fraction=held_out, random_state=seed_of(rng))
    if attempt(lambda: model.fit(X, y)) is None:
        return [Case("QuadraticRegressor", "matrix", ())]
    truth = _whitened(model, X, y, (U.T * signs) @ U, sigma)
    checks = [c for c in model.certificate_.checks if not c.name.startswith("held-out")]
    return [
        Case("QuadraticRegressor", "matrix", tuple(checks), truth),
        Case("QuadraticRegressor", "raw matrix", (status_check(model.status_),), (model, U, signs)),
    ]


def _whitened(model: Any, X: Array, y: Array, M: Array, sigma: float) -> MatrixTruth:
    """The truth in coordinates in which the inputs have covariance 1, as the certificate has it."""
    Z = X - X.mean(axis=0)
    left, sizes, right = np.linalg.svd(Z, full_matrices=False)
    kept = sizes > 1e-9 * sizes[0]
    back = right[kept].T * sizes[kept] / np.sqrt(len(Z))  # x = back z
    Z = left[:, kept] * np.sqrt(len(Z))
    in_z = SimpleNamespace(
        components_=model.components_ @ back, signs_=model.signs_, n_train_=model.n_train_
    )
    nuisance = np.column_stack([np.ones(len(Z)), Z])
    return MatrixTruth(in_z, Z[:, :, None] * Z[:, None], y, back.T @ M @ back, sigma, nuisance)


@judge("raw matrix", "status exact")
def exact_interactions(_: Check, truth: tuple[Any, Array, Array]) -> bool:
    """The planted interactions are those of the model, in the inputs as they were given."""
    model, U, signs = truth
    M = (U.T * signs) @ U
    found = (model.components_.T * model.signs_) @ model.components_
    return bool(np.linalg.norm(found - M) <= WRONG * np.linalg.norm(M))


DENSE: dict[str, Any] = {"measure": _dense, "how": {"least": 4, "most": 9, "repeats": 1}}
ENTRIES: dict[str, Any] = {"measure": _completion}
RANK_ONE: dict[str, Any] = {"measure": _rank_one, "settings": {"fit_intercept": True}}
MATRICES: dict[str, dict[str, Any]] = {
    "usual": DENSE,
    "100 distinct, 5 times": DENSE | {"how": {"least": 9, "most": 10, "repeats": 5}},
    "noise of 10 %": DENSE | {"noise": 0.1},
    "noise of 100 %": DENSE | {"noise": 1.0, "how": {"least": 8, "most": 20, "repeats": 1}},
    "only noise": DENSE | {"noise": 1.0, "r": 0, "how": {"least": 9, "most": 30, "repeats": 1}},
    "rank given": DENSE | {"r": 2, "settings": {"n_components": 1}},
    "chosen by BIC": DENSE | {"noise": 0.1, "settings": {"criterion": "bic"}},
    "signed": DENSE | {"settings": {"signed": True}},
    "repeated": DENSE | {"how": {"least": 0.4, "most": 1.5, "repeats": 12}},
    "few": DENSE | {"how": {"least": 0.3, "most": 2.0, "repeats": 1}},
    "values of 1e150": DENSE | {"scale": 1e150},
    "values of 1e-150": DENSE | {"scale": 1e-150},
    "values of 1e-300": DENSE | {"scale": 1e-300},
    "entries": ENTRIES | {"how": {"kind": "all"}},
    "row never measured": ENTRIES | {"how": {"kind": "row"}},
    "blocks": ENTRIES | {"how": {"kind": "blocks"}},
    "diagonal never measured": ENTRIES | {"how": {"kind": "diagonal"}},
    "rank-one": RANK_ONE | {"how": {"kind": "gaussian"}},
    "heavy rank-one": RANK_ONE | {"how": {"kind": "heavy"}},
    "heavy rank-one and noise": RANK_ONE | {"how": {"kind": "heavy"}, "noise": 0.05},
    "sparse rank-one": RANK_ONE | {"how": {"kind": "sparse"}},
    "sparse rank-one and noise": RANK_ONE | {"how": {"kind": "sparse"}, "noise": 0.05},
    "equal columns": RANK_ONE | {"how": {"kind": "equal columns"}},
    "repeated rank-one": RANK_ONE | {"how": {"kind": "repeated"}},
}
TABLES: dict[str, dict[str, Any]] = {
    **{name: {"inputs": name} for name in ("gaussian", "copied column", "0/1", "repeated")},
    "noise": {"inputs": "gaussian", "noise": 0.3, "held_out": 0.1},
    "heavy tails": {"inputs": "heavy", "noise": 0.05},
    "sparse": {"inputs": "sparse", "noise": 0.05},
    "few rows": {"inputs": "gaussian", "n_factor": 1.0},
}
SCENARIOS = [
    *(Scenario(f"matrix, {name}", fit_matrix, options) for name, options in MATRICES.items()),
    *(
        Scenario(f"interactions, {name}", fit_quadratic, options)
        for name, options in TABLES.items()
    ),
]
