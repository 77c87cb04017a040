"""A low-rank matrix from linear measurements of it, its rank found and not given."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from sklearn.base import BaseEstimator
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from secateurs.core.archive import Archive, archive_bytes
from secateurs.core.certificate import Certificate
from secateurs.core.estimator import told_progress, warn_if_interrupted
from secateurs.core.parameters import check_integer, check_real
from secateurs.core.saved_model import (
    CheckRecords,
    History,
    Number,
    Parameters,
    SavedModel,
    Status,
    Strict,
    recorded_checks,
    recorded_history,
    recorded_parameters,
    restored_certificate,
    restored_history,
    with_parameters,
)
from secateurs.core.solution import ProgressCallback
from secateurs.core.version import __version__
from secateurs.sensing.certificate import sensing_certificate
from secateurs.sensing.factored import Factors
from secateurs.sensing.fixed_rank import fit_rank
from secateurs.sensing.operators.base import SensingOperator
from secateurs.sensing.operators.projected import centred
from secateurs.sensing.regularisation_path import group_lasso_path


class SensingRecord(Strict):
    """What the file of a `MatrixSensing` holds beside its arrays."""

    kind: Literal["MatrixSensing"]
    version: str
    parameters: Parameters
    seed: int
    status: Status
    n_train: Annotated[int, Field(ge=1)]
    d: Annotated[int, Field(ge=1)]
    intercept: Number
    history: History
    certificate: CheckRecords


class MatrixSensing(SavedModel, BaseEstimator):  # type: ignore[misc]
    """``y_i = <A_i, M> + b`` with a symmetric M of low rank, found by the group lasso path.

    Parameters
    ----------
    n_components : int or "auto"
        Rank of M; "auto" finds it, without a regularisation strength to choose.
    signed : bool
        Allow negative eigenvalues; without, M is positive semidefinite.
    fit_intercept : bool
        Fit b: y may then have an unknown constant.
    criterion : {"certificate", "bic"}
        Where the path stops: when what is left looks like noise, or at the smallest BIC.
    tolerance : float
        Relative distance to the optimum at which the last fit stops.
    random_state : int, RandomState or None
        Of the draws by which the norm of the noise is estimated.
    verbose : int
        1 prints progress.

    Attributes
    ----------
    components_ : array, shape [r, d]
        M = sum_k signs_[k] components_[k] components_[k]^H; orthogonal, strongest first.
    signs_ : array, shape [r]
    intercept_ : float
    n_components_ : int
    status_ : str
        As `group_lasso_path` says.
    certificate_ : Certificate
        Of the rank, the noise and the accuracy.
    history_ : dict of lists
        By stage of the path: tau, rank, loss and more.

    Examples
    --------
    >>> from secateurs import MatrixSensing
    >>> from secateurs.sensing.planted import planted_matrix
    >>> problem = planted_matrix(600, 20, 3, noise=0.1, random_state=0)
    >>> MatrixSensing(random_state=0).fit(problem.operator, problem.y).n_components_
    3
    """

    certificate_: Certificate
    history_: dict[str, list[float]]
    status_: Status

    def __init__(
        self,
        n_components: int | str = "auto",
        signed: bool = False,
        fit_intercept: bool = False,
        criterion: str = "certificate",
        tolerance: float = 1e-6,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.signed = signed
        self.fit_intercept = fit_intercept
        self.criterion = criterion
        self.tolerance = tolerance
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        operator: SensingOperator,
        y: ArrayLike,
        *,
        progress: ProgressCallback | None = None,
    ) -> Self:
        """Find the components.

        Parameters
        ----------
        operator : SensingOperator
            From `secateurs.sensing.operators`.
        y : array, shape [n]
        progress : callable, optional
            Called with a `Progress` once a stage.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            A parameter or the data cannot be used; the message says which and why.

        Notes
        -----
        About 40 to 100 passes over the measurements; memory O(n + d r) beside them, and d x d
        where the operator forms it.
        """
        began = time.perf_counter()
        self._check_parameters()
        y = _measurements(operator, y)
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        sensed = centred(operator) if self.fit_intercept else operator
        if self.n_components == "auto":
            solution = group_lasso_path(
                sensed,
                y,
                signed=self.signed,
                criterion=self.criterion,
                tolerance=self.tolerance,
                random_state=self.seed_,
                progress=told_progress(self.verbose, progress),
            )
        else:
            solution = fit_rank(
                sensed, y, int(self.n_components), signed=self.signed, tolerance=self.tolerance
            )
        self._keep(solution.value)
        self.intercept_ = 0.0
        if self.fit_intercept:
            self.intercept_ = float(np.mean(y - self.predict(operator)))
        self.status_ = solution.status  # type: ignore[assignment]
        self.history_ = solution.history
        self.n_train_ = len(y)
        self.certificate_ = sensing_certificate(
            sensed,
            y,
            self.components_,
            self.signs_,
            signed=self.signed,
            tau=solution.measured.get("tau"),
            strength=solution.measured.get("strength"),
            random_state=self.seed_,
        )
        self.report_ = dict(solution.measured) | {
            "file_bytes": len(self._file_content()),
            "seconds": time.perf_counter() - began,
        }
        warn_if_interrupted(self.status_)
        return self

    def predict(self, operator: SensingOperator) -> NDArray[np.float64]:
        """Measurements of M by an operator of the same d, shape [n]."""
        check_is_fitted(self, "components_")
        d = self.components_.shape[1]
        if operator.shape[1] != d:
            raise ValueError(
                f"got an operator for matrices of size {operator.shape[1]}; the fit was for {d}"
            )
        values = operator.forward_factors(self.components_, self.signs_)
        return np.asarray(values, dtype=np.float64) + self.intercept_

    def score(self, operator: SensingOperator, y: ArrayLike) -> float:
        """R^2 of the measurements."""
        return float(r2_score(_measurements(operator, y), self.predict(operator)))

    def matrix(self) -> NDArray[Any]:
        """M, shape [d, d]."""
        check_is_fitted(self)
        return Factors(self.components_, self.signs_).matrix()

    @property
    def n_components_(self) -> int:
        """Rank of M."""
        check_is_fitted(self, "components_")
        return len(self.components_)

    @property
    def eigenvalues_(self) -> NDArray[np.float64]:
        """Nonzero eigenvalues of M, largest in modulus first."""
        check_is_fitted(self, "components_")
        return np.asarray(self.signs_ * (np.abs(self.components_) ** 2).sum(axis=1))

    # -- checks ------------------------------------------------------------------------------

    def _check_parameters(self) -> None:
        if self.n_components != "auto":
            check_integer("n_components", self.n_components, 1, otherwise="'auto'")
        if self.criterion not in ("certificate", "bic"):
            raise ValueError(f"criterion={self.criterion!r}; expected 'certificate' or 'bic'")
        check_real("tolerance", self.tolerance, above=0, below=1)

    def _keep(self, factors: Factors) -> None:
        self.components_, self.signs_ = factors.components, factors.signs

    # -- the file ----------------------------------------------------------------------------

    def _file_content(self) -> bytes:
        record = SensingRecord(
            kind="MatrixSensing",
            version=__version__,
            parameters=recorded_parameters(self),
            seed=self.seed_,
            status=self.status_,
            n_train=self.n_train_,
            d=self.components_.shape[1],
            intercept=self.intercept_,
            history=recorded_history(self.history_),
            certificate=recorded_checks(self.certificate_),
        )
        arrays = {
            "components": np.ascontiguousarray(self.components_.real),
            "signs": self.signs_.astype(np.float64),
        }
        if self.components_.dtype.kind == "c":
            arrays["components.imag"] = np.ascontiguousarray(self.components_.imag)
        return archive_bytes(record.model_dump(mode="json"), arrays)

    @classmethod
    def _from_archive(cls, archive: Archive) -> Self:
        record = archive.record(SensingRecord)
        model = with_parameters(cls, archive, record.parameters)
        shapes: dict[str, tuple[int, ...]] = {"signs": (len(archive.arrays.get("signs", ())),)}
        shapes["components"] = (*shapes["signs"], record.d)
        if "components.imag" in archive.arrays:
            shapes["components.imag"] = shapes["components"]
        arrays = archive.float_arrays(shapes)
        archive.require(bool((np.abs(arrays["signs"]) == 1).all()), "signs other than +1 and -1")
        imaginary = arrays.get("components.imag")
        real = arrays["components"]
        model._keep(Factors(real if imaginary is None else real + 1j * imaginary, arrays["signs"]))
        model.intercept_, model.seed_ = record.intercept, record.seed
        model.status_, model.n_train_ = record.status, record.n_train
        model.history_ = restored_history(record.history)
        model.certificate_ = restored_certificate(record.certificate)
        return model


def _measurements(operator: SensingOperator, y: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(y, dtype=np.float64)
    if not hasattr(operator, "forward_factors"):
        raise ValueError(
            f"got an operator of type {type(operator).__name__}; expected one of "
            "secateurs.sensing.operators, such as PackedDense(pack(matrices)) or RankOne(X)"
        )
    if values.shape != (operator.shape[0],):
        raise ValueError(
            f"got y of shape {values.shape}; expected [{operator.shape[0]}], one a measurement"
        )
    return values
