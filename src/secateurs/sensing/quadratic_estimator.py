"""A quadratic function of few directions: pairwise interactions of a table."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state, check_X_y, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from secateurs.core.archive import Archive, archive_bytes
from secateurs.core.certificate import Certificate
from secateurs.core.estimator import hold_out, require_target, told_progress, warn_if_interrupted
from secateurs.core.parameters import check_integer, check_real
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
from secateurs.data.table_estimator import input_names, read_table
from secateurs.data.tables import TableSchema
from secateurs.sensing.quadratic_certificate import quadratic_certificate
from secateurs.sensing.quadratic_fit import Quadratic, fit_quadratic, strongest_pairs


class Interaction(NamedTuple):
    """What two inputs do together.

    Attributes
    ----------
    first, second : str
        Names; the same one for a square.
    effect : float
        In units of y: standard deviation of what their product adds to a linear function, with
        the sign of its coefficient.
    """

    first: str
    second: str
    effect: float


class QuadraticRecord(Strict):
    """What the file of a `QuadraticRegressor` holds beside its arrays."""

    kind: Literal["QuadraticRegressor"]
    version: str
    parameters: Parameters
    seed: int
    status: Status
    n_train: Annotated[int, Field(ge=1)]
    n_features_in: Annotated[int, Field(ge=1)]
    feature_names: Names | None
    table: TableSchema | None
    intercept: Number
    history: History
    certificate: CheckRecords


class QuadraticRegressor(SavedModel, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """``y = b + w . x + sum_k s_k (u_k . x)^2`` with as few directions u_k as the data ask for.

    All pairwise interactions of d inputs in r d numbers instead of d^2 / 2: the number of
    directions is found, not given.

    Parameters
    ----------
    n_components : int or "auto"
        Directions; "auto" finds them by the group lasso path, and keeps those that lower the
        error on the held-out rows.
    signed : bool
        Squares of both signs; without, the quadratic part is convex.
    fit_linear : bool
        Fit w; without, only b.
    criterion : {"certificate", "bic"}
        Where the path stops: when what is left looks like noise, or at the smallest BIC.
    validation_fraction : float
        Share of the rows kept out of the fit, for the choice and the certificate.
    random_state : int, RandomState or None
    verbose : int
        1 prints progress.

    Attributes
    ----------
    components_ : array, shape [r, d]
        u_k, strongest first.
    signs_ : array, shape [r]
        s_k, +-1.
    coef_, intercept_ : array, shape [d], and float
        w and b, at the point `mean_` of the inputs.
    mean_ : array, shape [d]
    n_components_ : int
    interactions_ : list of Interaction
        The strongest products of two inputs, at most 50, strongest first.
    pairs_, effects_ : arrays, shape [k, 2] and [k]
        The same, by column.
    status_ : str
        As `group_lasso_path` says.
    certificate_ : Certificate
    history_ : dict of lists
    table_ : TableSchema or None
        How a DataFrame was encoded; d then counts encoded columns.

    Examples
    --------
    >>> import numpy as np
    >>> from secateurs import QuadraticRegressor
    >>> X = np.random.default_rng(0).standard_normal((500, 10))
    >>> y = 2 * X[:, 0] * X[:, 3] + X[:, 1]
    >>> model = QuadraticRegressor(random_state=0).fit(X, y)
    >>> model.n_components_, model.interactions_[0][:2]
    (2, ('x0', 'x3'))
    """

    certificate_: Certificate
    history_: dict[str, list[float]]
    table_: TableSchema | None
    status_: Status

    def __init__(
        self,
        n_components: int | str = "auto",
        signed: bool = True,
        fit_linear: bool = True,
        criterion: str = "certificate",
        validation_fraction: float = 0.1,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.signed = signed
        self.fit_linear = fit_linear
        self.criterion = criterion
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, *, progress: ProgressCallback | None = None) -> Self:
        """Find the directions.

        Parameters
        ----------
        X : array or DataFrame, shape [n, d]
            A DataFrame may hold categories and missing values.
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
        O(n d^2) once and O(n d r) a pass, about 100 passes; O(n d) memory.
        """
        began = time.perf_counter()
        self._check_parameters()
        X, y = self._read(X, y)
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        train, held_out = hold_out(len(y), self.validation_fraction, self.seed_)
        solution = fit_quadratic(
            X[train],
            y[train],
            X_held_out=X[held_out] if len(held_out) else None,
            y_held_out=y[held_out] if len(held_out) else None,
            n_components=None if self.n_components == "auto" else int(self.n_components),
            signed=self.signed,
            fit_linear=self.fit_linear,
            criterion=self.criterion,
            random_state=self.seed_,
            progress=told_progress(self.verbose, progress),
        )
        self._keep(solution.value.function)
        self.pairs_, self.effects_ = strongest_pairs(solution.value.function, X[train])
        self.status_ = solution.status  # type: ignore[assignment]
        self.history_ = solution.history
        self.n_train_ = len(train)
        self.certificate_ = quadratic_certificate(
            solution,
            y[train],
            X[held_out],
            y[held_out],
            signed=self.signed,
            random_state=self.seed_,
        )
        self.report_ = {
            "n_found": int(solution.measured["n_found"]),
            "held_out_errors": solution.measured.get("held_out_errors"),
            "file_bytes": len(self._file_content()),
            "seconds": time.perf_counter() - began,
        }
        warn_if_interrupted(self.status_)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Values at rows X [n, d], shape [n]; 2 n d (r + 1) flops."""
        check_is_fitted(self)
        return self._function().predict(self._read_inputs(X, reset=False))

    @property
    def n_components_(self) -> int:
        """Directions kept."""
        check_is_fitted(self)
        return len(self.components_)

    @property
    def interactions_(self) -> list[Interaction]:
        """The strongest products of two inputs."""
        check_is_fitted(self)
        names = input_names(self)
        return [
            Interaction(names[i], names[j], float(effect))
            for (i, j), effect in zip(self.pairs_, self.effects_, strict=True)
        ]

    # -- the parts of a fit ------------------------------------------------------------------

    def _read(self, X: Any, y: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        require_target(self, y)
        X = self._read_inputs(X, reset=True)
        X, y = check_X_y(X, y, y_numeric=True, ensure_min_samples=2, estimator=self)
        return X, column_or_1d(y, warn=True).astype(np.float64)

    def _read_inputs(self, X: Any, *, reset: bool) -> NDArray[np.float64]:
        encoded = read_table(self, X, reset=reset)
        if encoded is not None:
            return encoded.astype(np.float64)
        return np.asarray(validate_data(self, X, reset=reset, dtype=np.float64))

    def _function(self) -> Quadratic:
        return Quadratic(self.mean_, self.coef_, self.intercept_, self.components_, self.signs_)

    def _keep(self, function: Quadratic) -> None:
        self.mean_, self.coef_ = function.centre, function.coef
        self.intercept_ = function.intercept
        self.components_, self.signs_ = function.components, function.signs

    def _check_parameters(self) -> None:
        if self.n_components != "auto":
            check_integer("n_components", self.n_components, 0, otherwise="'auto'")
        if self.criterion not in ("certificate", "bic"):
            raise ValueError(f"criterion={self.criterion!r}; expected 'certificate' or 'bic'")
        check_real("validation_fraction", self.validation_fraction, least=0, below=1)

    # -- the file ----------------------------------------------------------------------------

    def _file_content(self) -> bytes:
        record = QuadraticRecord(
            kind="QuadraticRegressor",
            version=__version__,
            parameters=recorded_parameters(self),
            seed=self.seed_,
            status=self.status_,
            n_train=self.n_train_,
            n_features_in=int(self.n_features_in_),
            feature_names=recorded_names(self),
            table=self.table_,
            intercept=self.intercept_,
            history=recorded_history(self.history_),
            certificate=recorded_checks(self.certificate_),
        )
        arrays = {
            name: np.ascontiguousarray(getattr(self, f"{name}_"), dtype=np.float64)
            for name in _ARRAYS
        }
        return archive_bytes(record.model_dump(mode="json"), arrays)

    @classmethod
    def _from_archive(cls, archive: Archive) -> Self:
        record = archive.record(QuadraticRecord)
        model = with_parameters(cls, archive, record.parameters)
        d = record.n_features_in if record.table is None else record.table.n_encoded
        if record.table is not None:
            n_columns = len(record.table.columns)
            archive.require(n_columns == record.n_features_in, "table of another width")
        r = len(archive.arrays.get("signs", ()))
        k = len(archive.arrays.get("effects", ()))
        shapes = {"components": (r, d), "signs": (r,), "coef": (d,), "mean": (d,)}
        shapes |= {"pairs": (k, 2), "effects": (k,)}
        for name, array in archive.float_arrays(shapes).items():
            setattr(model, f"{name}_", array)
        archive.require(bool((np.abs(model.signs_) == 1).all()), "signs other than +1 and -1")
        archive.require(bool(np.isin(model.pairs_, np.arange(d)).all()), "pairs of no inputs")
        model.pairs_ = model.pairs_.astype(np.int64)
        model.table_ = record.table
        model._restore_names(archive, record.feature_names, record.n_features_in)
        model.intercept_, model.seed_ = record.intercept, record.seed
        model.status_, model.n_train_ = record.status, record.n_train
        model.history_ = restored_history(record.history)
        model.certificate_ = restored_certificate(record.certificate)
        return model


_ARRAYS = ("components", "signs", "coef", "mean", "pairs", "effects")
