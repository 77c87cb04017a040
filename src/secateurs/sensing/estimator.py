"""Estimate a low-rank matrix from linear measurements; its rank is found, not given."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from secateurs.core.archive import Archive, archive_bytes
from secateurs.core.certificate import Certificate
from secateurs.core.description import Description, format_bytes
from secateurs.core.estimator import Estimator
from secateurs.core.parameters import Shown, bad_value, check_choice, check_integer, check_real
from secateurs.core.saved_model import Count, FitRecord, Number
from secateurs.core.solution import ProgressCallback
from secateurs.sensing.certificate import sensing_certificate
from secateurs.sensing.factored import Factors, measured_values, scale_of
from secateurs.sensing.fixed_rank import fit_rank
from secateurs.sensing.operators.base import SensingOperator, method
from secateurs.sensing.operators.projected import centred
from secateurs.sensing.regularisation_path import CRITERIA, group_lasso_path

SHOWN = 20  # eigenvalues in a description


class SensingRecord(FitRecord):
    """The JSON in the file of a `MatrixSensing`."""

    kind: Literal["MatrixSensing"]
    d: Count
    intercept: Number


class _Data(NamedTuple):
    """The given operator, the operator of the solver (centred for an intercept), and y."""

    given: SensingOperator
    solved: SensingOperator
    y: NDArray[np.float64]


class MatrixSensing(Estimator):
    """A symmetric matrix of low rank from linear measurements, found by the group lasso path.

    Parameters
    ----------
    n_components : int or "auto"
        Rank of M; "auto" finds it, without a regularisation strength to choose.
    signed : bool
        Allow negative eigenvalues.  If False, M is positive semidefinite.
    fit_intercept : bool
        Fit b, an unknown constant in y.
    criterion : {"certificate", "bic"}
        Where the path stops: when the residual looks like noise, or at the smallest BIC.
    tolerance : float
        Relative distance to the optimum at which the last fit stops.
    random_state : int, RandomState or None
        Random seed of the draws that estimate the norm of the noise.
    verbose : int
        1 prints progress.

    Attributes
    ----------
    components_ : array, shape [r, d]
        M = sum_k signs_[k] components_[k] components_[k]^H; orthogonal, strongest first.
    signs_ : array, shape [r]
        Signs of the eigenvalues of M, +1 or -1.
    intercept_ : float
        b; 0 unless `fit_intercept`.
    n_components_ : int
        Rank of M.
    status_ : str
        As in `group_lasso_path`.
    certificate_ : Certificate
        Checks of the rank, the noise and the accuracy.
    history_ : dict of lists
        One entry for each stage of the path: tau, rank, loss and more.  Where y is not of a size
        between 1e-70 and 1e70, these are for y divided by a power of four, ``report_["scale"]``.

    Examples
    --------
    >>> from secateurs import MatrixSensing
    >>> from secateurs.sensing import planted_sensing
    >>> problem = planted_sensing(600, 20, 3, noise_ratio=0.3, random_state=0)
    >>> MatrixSensing(random_state=0).fit(problem.operator, problem.y).n_components_
    3
    """

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
            One finite number for each measurement.
        progress : callable, optional
            It gets a `Progress` after each stage of the path.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            A parameter is out of range, or y does not have one finite value for each measurement.

        Notes
        -----
        About 40 to 100 passes over the measurements; memory O(n + d r) besides them, and d x d if
        the operator forms it.
        """
        return self._fit(operator, y, progress)

    def predict(self, operator: SensingOperator) -> NDArray[np.float64]:
        """Predict the measurements of M by an operator.

        The prediction for a row does not depend on the other rows, unless the operator projects a
        part of all measurements out.

        Parameters
        ----------
        operator : SensingOperator
            Measurements of matrices of the same d.

        Returns
        -------
        array of float64, shape [n]
            The predicted measurements, with the intercept.

        Raises
        ------
        ValueError
            The operator has another d.
        """
        check_is_fitted(self, "components_")
        d = self.components_.shape[1]
        if operator.shape[1] != d:
            raise bad_value("operator", Shown(f"d = {operator.shape[1]}"), f"d = {d}, as fitted")
        values = method(operator, "evaluate")(self.components_, self.signs_)
        return np.asarray(values, dtype=np.float64) + self.intercept_

    def score(self, operator: SensingOperator, y: ArrayLike) -> float:
        """Compute R^2 of the predicted measurements.

        Parameters
        ----------
        operator : SensingOperator
            Measurements of matrices of the same d.
        y : array, shape [n]
            Their true values.

        Returns
        -------
        float
            At most 1; 0 for a prediction that is no better than the mean of y.
        """
        values = _measurements(operator, y)
        scale = scale_of(values)
        return float(r2_score(values / scale, self.predict(operator) / scale))

    def matrix(self) -> NDArray[Any]:
        """Form M from its components.

        Returns
        -------
        array, shape [d, d]
            Symmetric, or Hermitian where the operator of the fit is complex.
        """
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

    # -- the steps of a fit ------------------------------------------------------------------

    def _check_parameters(self) -> None:
        if self.n_components != "auto":
            check_integer("n_components", self.n_components, 1, otherwise="'auto'")
        check_choice("criterion", self.criterion, CRITERIA)
        check_real("tolerance", self.tolerance, above=0, below=1)

    def _read(self, X: SensingOperator, y: ArrayLike, **_: Any) -> _Data:
        values = _measurements(X, y)
        return _Data(X, centred(X) if self.fit_intercept else X, values)

    def _largest_product(self, data: _Data) -> int:
        n, d = data.solved.shape
        return int(n * d * d)

    def _solve(self, data: _Data, progress: ProgressCallback | None) -> None:
        if self.n_components == "auto":
            solution = group_lasso_path(
                data.solved,
                data.y,
                signed=self.signed,
                criterion=self.criterion,
                tolerance=self.tolerance,
                random_state=self.seed_,
                progress=progress,
            )
        else:
            solution = fit_rank(
                data.solved,
                data.y,
                int(self.n_components),
                signed=self.signed,
                tolerance=self.tolerance,
                random_state=self.seed_,
            )
        self._keep(solution.value)
        self.intercept_ = 0.0
        if self.fit_intercept:
            self.intercept_ = float(np.mean(data.y - self.predict(data.given)))
        self.status_, self.history_ = solution.status, solution.history
        self.n_train_ = len(data.y)
        self.report_ = dict(solution.measured)
        self._identification = self.report_.pop("identification", None)

    def _keep(self, factors: Factors) -> None:
        self.components_, self.signs_ = factors.components, factors.signs

    def _certify(self, data: _Data) -> Certificate:
        return sensing_certificate(
            data.solved,
            data.y,
            self.components_,
            self.signs_,
            signed=self.signed,
            tau=self.report_.get("tau"),
            strength=self.report_.get("strength"),
            identification=self._identification,
            random_state=self.seed_,
        )

    def _report(self) -> dict[str, Any]:
        return self.report_

    def _description(self) -> Description:
        d, r = self.components_.shape[1], self.n_components_
        eigenvalues = self.eigenvalues_.tolist()
        shown = ", ".join(f"{value:.4g}" for value in eigenvalues[:SHOWN])
        return Description(
            f"The {d} x {d} matrix has rank {r}.  The file of this MatrixSensing takes "
            f"{format_bytes(len(self._file_content()))}; the status of the fit is {self.status_}.",
            {"d": d, "rank": r, "eigenvalues": eigenvalues, "intercept": self.intercept_},
            notes=(f"Eigenvalues: {shown or 'none'}{' ...' if r > SHOWN else ''}",),
        )

    # -- the file ----------------------------------------------------------------------------

    def _file_content(self) -> bytes:
        record = SensingRecord(
            **self._recorded_fit(), d=self.components_.shape[1], intercept=self.intercept_
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
        model = cls._restored_fit(archive, record)
        r = len(archive.arrays.get("signs", ()))
        shapes: dict[str, tuple[int, ...]] = {"signs": (r,), "components": (r, record.d)}
        if "components.imag" in archive.arrays:
            shapes["components.imag"] = shapes["components"]
        arrays = archive.float_arrays(shapes)
        archive.require(bool((np.abs(arrays["signs"]) == 1).all()), "signs other than +1 and -1")
        components = arrays["components"]
        if "components.imag" in arrays:
            components = components + 1j * arrays["components.imag"]
        model._keep(Factors(components, arrays["signs"]))
        model.intercept_ = record.intercept
        return model


def _measurements(operator: SensingOperator, y: ArrayLike) -> NDArray[np.float64]:
    if not hasattr(operator, "forward_factors"):
        raise bad_value(
            "operator",
            Shown(type(operator).__name__),
            "a SensingOperator",
            "use one of secateurs.sensing.operators, such as PackedDense(pack(matrices))",
        )
    return measured_values(operator, y)
