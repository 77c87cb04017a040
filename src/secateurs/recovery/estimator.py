"""A sum of sparse ReLU neurons, recovered exactly where that is possible."""

from __future__ import annotations

import math
import time
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from secateurs.core.archive import Archive
from secateurs.core.certificate import Certificate
from secateurs.core.estimator import hold_out, require_target, told_progress, warn_if_interrupted
from secateurs.core.parameters import check_integer, check_real, is_integer
from secateurs.core.saved_model import (
    CheckRecords,
    History,
    Names,
    Number,
    Parameters,
    SavedModel,
    Status,
    Strict,
    recorded_checks,
    recorded_history,
    recorded_names,
    recorded_parameters,
    restored_certificate,
    restored_history,
    with_parameters,
)
from secateurs.core.solution import ProgressCallback
from secateurs.core.version import __version__
from secateurs.recovery.certificate import fit_certificate
from secateurs.recovery.matching import NeuronMatch, match_neurons
from secateurs.recovery.pursuit.search import relu_pursuit
from secateurs.recovery.thresholding.exchange import exchange
from secateurs.recovery.thresholding.gauss_newton import gauss_newton
from secateurs.recovery.thresholding.iht import iht
from secateurs.sparse.network import SparseNetwork
from secateurs.sparse.stack import ReLUStack
from secateurs.sparse.storage import archived_network, network_bytes

IHT_STEPS = 100
BETTER = 0.9  # a larger budget must lower the held-out error to this share of the smaller one's
EXACT = 1e-8  # relative held-out error at which no larger budget is tried
PATIENCE = 2  # larger budgets tried after the best

Solver = Literal["pursuit", "iht"]


class ReLURecord(Strict):
    """What the file of a `SparseReLURegressor` holds beside its weights."""

    kind: Literal["SparseReLURegressor"]
    version: str
    parameters: Parameters
    seed: int
    status: Status
    solver: Literal["pursuit", "iht"]
    budget: Annotated[int, Field(ge=1)]
    n_train: Annotated[int, Field(ge=1)]
    intercept: Number
    feature_names: Names | None
    history: History
    certificate: CheckRecords


class SparseReLURegressor(SavedModel, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Least squares by ``y = intercept + sum_j relu(w_j . x)`` with few nonzero weights.

    Made for targets that *are* such a network, or nearly: planted problems, images as
    functions.  For ordinary tables `SparseMLPRegressor` is the better choice.

    Parameters
    ----------
    n_nonzero : int or "auto"
        Budget s: nonzeros of all w_j together; "auto" doubles it while the held-out error falls.
    n_neurons : int, optional
        Most neurons m; s by default.
    solver : {"auto", "pursuit", "iht"}
        "pursuit" recovers planted networks exactly; "iht" is iterative hard thresholding with
        a Gauss-Newton polish and exchanges of weights; "auto" runs the first, runs the second
        unless the first is exact or explains all but noise, and keeps the better.
    fit_intercept : bool
        Add one constant to the output ("pursuit" only).
    validation_fraction : float
        Share of the rows kept out of the fit, for the certificate and the choices.
    random_state : int, RandomState or None
    verbose : int
        1 prints progress.

    Attributes
    ----------
    coef_ : scipy.sparse.csr_array, shape [m, d]
        The w_j, live neurons first.
    intercept_ : float
    n_nonzero_ : int
    status_ : str
        "exact" (no residual on the rows of the fit nor on those held out, and the check
        "identification" of the certificate holds), "converged" (no residual on the rows of the
        fit, but another network may fit as well; or what is left looks like noise, or no step
        helps), "stalled", "budget", "interrupted".
    solver_ : str
        Which solver's result was kept.
    history_ : dict of lists
    certificate_ : Certificate
    held_out_error_ : float or None
        ||y - f(X)|| / ||y - mean(y)|| on the held-out rows.

    Examples
    --------
    >>> from secateurs import SparseReLURegressor
    >>> from secateurs.recovery.planted import planted_relu
    >>> problem = planted_relu(600, 20, 3, 10, random_state=0)
    >>> model = SparseReLURegressor(n_nonzero=10, random_state=0).fit(problem.X, problem.y)
    >>> model.status_, model.match(problem.truth[0]).error < 1e-6
    ('exact', True)
    """

    coef_: sparse.csr_array
    budget_: int
    certificate_: Certificate
    history_: dict[str, list[float]]
    status_: Status

    def __init__(
        self,
        n_nonzero: int | str = 100,
        n_neurons: int | None = None,
        solver: str = "auto",
        fit_intercept: bool = False,
        validation_fraction: float = 0.1,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.n_nonzero = n_nonzero
        self.n_neurons = n_neurons
        self.solver = solver
        self.fit_intercept = fit_intercept
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, *, progress: ProgressCallback | None = None) -> Self:
        """Find the weights.

        Parameters
        ----------
        X : array, shape [n, d]
        y : array, shape [n]
        progress : callable, optional
            Called with a `Progress`; its loss is the relative residual.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            A parameter or the data cannot be used; the message says which and why.
        """
        began = time.perf_counter()
        self._check_parameters()
        require_target(self, y)
        X, y = validate_data(self, X, y, dtype=np.float64, order="C", y_numeric=True)
        y = column_or_1d(y, warn=True).astype(np.float64)
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        train, held_out = hold_out(len(y), self.validation_fraction, self.seed_)
        tell = told_progress(self.verbose, progress)
        parts = X[train], y[train], X[held_out], y[held_out]
        if self.n_nonzero == "auto":
            self._fit_growing(parts, tell)
        else:
            self._keep(self._best(parts, int(self.n_nonzero), tell), int(self.n_nonzero))
        self.n_train_ = len(train)
        self.held_out_error_ = relative_error(self, X[held_out], y[held_out])
        self.certificate_ = fit_certificate(
            self._stack(),
            X[train],
            y[train] - self.intercept_,
            self.budget_,
            X_held_out=X[held_out] if len(held_out) else None,
            y_held_out=y[held_out] - self.intercept_ if len(held_out) else None,
        )
        if self.status_ == "exact" and not self._is_identified(X[held_out], y[held_out]):
            self.status_ = "converged"
        self.report_ = {
            "nonzeros": self.n_nonzero_,
            "neurons": int((np.diff(self.coef_.indptr) > 0).sum()),
            "file_bytes": len(self._file_content()),
            "seconds": time.perf_counter() - began,
        }
        warn_if_interrupted(self.status_)
        return self

    def _is_identified(self, X: Any, y: Any) -> bool:
        """Whether the rows of the fit show that it is the one, and those held out agree."""
        if self.certificate_["identification"].verdict != "holds":
            return False
        return len(y) == 0 or bool(
            np.linalg.norm(y - self.intercept_ - relu_sum(X, self.coef_))
            <= EXACT * np.linalg.norm(y)
        )

    def _fit_growing(self, parts: tuple[Any, ...], tell: ProgressCallback | None) -> None:
        """Double the budget while the held-out error falls."""
        X, _, X_held, y_held = parts
        if len(y_held) == 0:
            raise ValueError(
                "n_nonzero='auto' compares budgets on held-out rows, but there are none: "
                f"validation_fraction={self.validation_fraction}; raise it or give n_nonzero"
            )
        least, waited, s = math.inf, 0, 4
        kept: tuple[Any, int] | None = None
        while kept is None or (waited < PATIENCE and s <= len(X)):
            result = self._best(parts, s, tell)
            self._keep(result, s)
            error = relative_error(self, X_held, y_held)
            if kept is None or (error is not None and error < BETTER * least):
                kept, least, waited = (result, s), error or 0.0, 0
            else:
                waited += 1
            if least < EXACT or self.status_ == "interrupted":
                break
            s *= 2
        self._keep(*kept)

    def _best(
        self, parts: tuple[Any, ...], s: int, tell: ProgressCallback | None
    ) -> tuple[Solver, Any, sparse.csr_array, float]:
        """Solver, solution, weights and intercept of the better of the solvers asked for."""
        X, y, X_held, y_held = parts
        m = s if self.n_neurons is None else int(self.n_neurons)
        found: list[tuple[Solver, Any, sparse.csr_array, float]] = []
        if self.solver in ("auto", "pursuit"):
            pursued = relu_pursuit(
                X,
                y,
                s,
                m,
                fit_intercept=self.fit_intercept,
                random_state=self.seed_,
                progress=tell,
            )
            value = pursued.value
            found.append(("pursuit", pursued, value.weights, value.intercept))
            settled = pursued.status in ("exact", "converged") and not pursued.measured["doubt"]
            if settled or pursued.status == "interrupted":
                return found[0]
        if self.solver == "iht" or (self.solver == "auto" and not self.fit_intercept):
            solution = iht(X, y, s, m, n_steps=IHT_STEPS, random_state=self.seed_, progress=tell)
            for refine in (self._polish, self._exchange, self._polish):
                if solution.status == "interrupted":
                    break
                solution = refine(X, y, solution.value, s, tell)
            found.append(("iht", solution, solution.value.weights, 0.0))
        judged = (X_held, y_held) if len(y_held) >= len(y) // 20 > 0 else (X, y)

        def error(entry: tuple[Solver, Any, sparse.csr_array, float]) -> float:
            return float(np.linalg.norm(judged[1] - relu_sum(judged[0], entry[2]) - entry[3]))

        return min(found, key=error)

    def _polish(
        self, X: Any, y: Any, start: ReLUStack, s: int, tell: ProgressCallback | None
    ) -> Any:
        del s  # the support stays
        return gauss_newton(X, y, start, progress=tell)

    def _exchange(
        self, X: Any, y: Any, start: ReLUStack, s: int, tell: ProgressCallback | None
    ) -> Any:
        return exchange(X, y, start, s, random_state=self.seed_, progress=tell)

    def _keep(self, result: tuple[Solver, Any, sparse.csr_array, float], s: int) -> None:
        self.solver_, solution, weights, intercept = result
        self.coef_ = sparse.csr_array(weights)
        self.intercept_ = float(intercept)
        self.status_ = solution.status
        self.history_ = solution.history
        self.budget_ = s

    # -- answers ---------------------------------------------------------------------------

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Output on rows X [n, d], shape [n]; 2 nnz n flops."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return self.intercept_ + relu_sum(X, self.coef_)

    @property
    def n_nonzero_(self) -> int:
        """Nonzero weights, the intercept not counted."""
        check_is_fitted(self)
        return int(self.coef_.nnz)

    def match(self, truth: sparse.csr_array | NDArray[np.float64]) -> NeuronMatch:
        """Compare with known neurons [m', d]: merge parallel ones, then assign (Hungarian).

        Returns
        -------
        NeuronMatch
            Its ``error`` is relative to the largest true weight.
        """
        check_is_fitted(self)
        return match_neurons(self.coef_, truth)

    def _file_content(self) -> bytes:
        record = ReLURecord(
            kind="SparseReLURegressor",
            version=__version__,
            parameters=recorded_parameters(self),
            seed=self.seed_,
            status=self.status_,
            solver=self.solver_,
            budget=self.budget_,
            n_train=self.n_train_,
            intercept=self.intercept_,
            feature_names=recorded_names(self),
            history=recorded_history(self.history_),
            certificate=recorded_checks(self.certificate_),
        )
        coo = self.coef_.tocoo()
        d = self.coef_.shape[1]
        keys = coo.row.astype(np.int64) * (d + 1) + coo.col
        order = np.argsort(keys)
        network = SparseNetwork((d, self.coef_.shape[0]), [keys[order]], [coo.data[order]])
        return network_bytes(network, record.model_dump(mode="json"))

    @classmethod
    def _from_archive(cls, archive: Archive) -> Self:
        network, arrays = archived_network(archive)
        record = archive.record(ReLURecord)
        model = with_parameters(cls, archive, record.parameters)
        if arrays:
            raise archive.damaged(f"unknown arrays {sorted(arrays)}")
        rows, cols = network.entries(0)
        if len(network.keys) != 1 or (cols >= network.widths[0]).any():
            raise archive.damaged("not one layer of neurons without biases")
        d, m = network.widths
        model.coef_ = sparse.csr_array((network.values[0].astype(float), (rows, cols)), (m, d))
        model._restore_names(archive, record.feature_names, d)
        model.intercept_, model.seed_ = record.intercept, record.seed
        model.status_, model.solver_ = record.status, record.solver
        model.budget_, model.n_train_ = record.budget, record.n_train
        model.history_ = restored_history(record.history)
        model.certificate_ = restored_certificate(record.certificate)
        return model

    # -- checks ----------------------------------------------------------------------------

    def _check_parameters(self) -> None:
        if self.n_nonzero != "auto":
            check_integer("n_nonzero", self.n_nonzero, 1, otherwise="'auto'")
        if self.n_neurons is not None and not is_integer(self.n_neurons, 1):
            raise ValueError(f"n_neurons={self.n_neurons!r}; expected an integer >= 1 or None")
        if self.solver not in ("auto", "pursuit", "iht"):
            raise ValueError(f"solver={self.solver!r}; expected 'auto', 'pursuit' or 'iht'")
        if self.solver == "iht" and self.fit_intercept:
            raise ValueError("solver='iht' has no intercept; use 'pursuit', or centre y yourself")
        check_real("validation_fraction", self.validation_fraction, least=0, below=1)

    def _stack(self) -> ReLUStack:
        return ReLUStack((self.coef_,), fused=True)


def relu_sum(X: NDArray[np.float64], weights: sparse.csr_array) -> NDArray[np.float64]:
    """Outputs sum_j relu(w_j . x) of rows X [n, d], shape [n]."""
    return np.asarray(ReLUStack((sparse.csr_array(weights),), fused=True).predict(X), dtype=float)


def relative_error(model: SparseReLURegressor, X: Any, y: Any) -> float | None:
    """||y - f(X)|| / ||y - mean(y)||; None without rows, or if y is constant."""
    size = float(np.linalg.norm(y - y.mean())) if len(y) else 0.0
    if size == 0.0:
        return None
    return float(np.linalg.norm(y - model.intercept_ - relu_sum(X, model.coef_))) / size
