"""Fit a quadratic function of few directions: the pairwise interactions of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import RegressorMixin
from sklearn.utils import check_X_y, column_or_1d
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from secateurs.core.archive import Archive, archive_bytes
from secateurs.core.certificate import Certificate, Check
from secateurs.core.description import Description, Table, format_bytes
from secateurs.core.estimator import draw_seed, require_target
from secateurs.core.generalization import CLIP, held_out_regression_checks
from secateurs.core.parameters import check_choice, check_integer, check_real
from secateurs.core.saved_model import Number
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.core.splits import Split
from secateurs.data.sparse_matrix import canonical_sparse
from secateurs.data.table_estimator import (
    TableEstimator,
    TableRecord,
    certifying_split,
    input_names,
)
from secateurs.sensing.certificate import sensing_certificate
from secateurs.sensing.factored import scale_of
from secateurs.sensing.quadratic_fit import Quadratic, QuadraticFit, fit_quadratic, strongest_pairs
from secateurs.sensing.regularisation_path import CRITERIA

UNIT = "squared units of y"
ARRAYS = ("components", "signs", "coef", "mean", "pairs", "effects")  # of a file


class Interaction(NamedTuple):
    """The joint effect of two inputs.

    Attributes
    ----------
    first, second : str
        Names; the same name twice for a square.
    effect : float
        In units of y: standard deviation of the part that their product adds to a linear function,
        with the sign of its coefficient.
    """

    first: str
    second: str
    effect: float


def pairs_table(interactions: Sequence[Interaction]) -> Table:
    """Arrange interactions as a table for a terminal."""
    rows = [
        (first, "(squared)" if first == second else second, f"{effect:+.4g}")
        for first, second, effect in interactions
    ]
    return Table(("first", "second", "effect"), rows, "strongest pairs")


class QuadraticRecord(TableRecord):
    """The JSON in the file of a `QuadraticRegressor`."""

    kind: Literal["QuadraticRegressor"]
    intercept: Number


@dataclass
class _Data:
    """The rows of a fit; the solution is added once it is found."""

    X: NDArray[np.float64]
    y: NDArray[np.float64]
    split: Split
    solution: Solution[QuadraticFit] | None = None


class QuadraticRegressor(RegressorMixin, TableEstimator):  # type: ignore[misc]
    """Least squares by a quadratic function with as few squares as the data need.

    It models all pairwise interactions of d inputs with r d numbers instead of d^2 / 2.  The
    number of directions is found, not given.

    Parameters
    ----------
    n_components : int or "auto"
        Number of directions; "auto" finds them by the group lasso path and keeps those that lower
        the error on the held-out rows.
    signed : bool
        Allow squares of both signs.  If False, the quadratic part is convex.
    fit_linear : bool
        Fit w and b.  If False, only b.
    criterion : {"certificate", "bic"}
        Where the path stops: when the residual looks like noise, or at the smallest BIC.
    validation_fraction : float
        Share of the rows held out for the choice of directions and for the certificate.
    random_state : int, RandomState or None
        Random seed of the choice of held-out rows and of all other draws.
    verbose : int
        1 prints progress.

    Attributes
    ----------
    components_ : array, shape [r, d]
        u_k, strongest first.
    signs_ : array, shape [r]
        s_k, +-1.
    coef_, intercept_ : array, shape [d], and float
        w and b, for inputs minus `mean_`.
    mean_ : array, shape [d]
        Mean of each input over the training rows.
    n_components_ : int
        The number r of directions.
    interactions_ : list of Interaction
        The strongest products of two inputs, at most 50, strongest first.
    pairs_, effects_ : arrays, shape [k, 2] and [k]
        The same by number of the input.
    status_ : str
        As in `group_lasso_path`; "exact" also says that the columns leave no coefficient free.
    certificate_ : Certificate
        Checks on the held-out rows, and those of `sensing_certificate`.
    history_ : dict of lists
        As in `MatrixSensing`.
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

    def fit(
        self, X: Any, y: Any, *, groups: Any = None, progress: ProgressCallback | None = None
    ) -> Self:
        """Find the directions.

        Parameters
        ----------
        X : array, DataFrame or scipy sparse matrix, shape [n, d]
            A DataFrame may hold categories and missing values.  A sparse matrix is made dense.
        y : array, shape [n]
            Finite numbers.
        groups : array of numbers or texts, shape [n], optional
            Rows of one group are never split between training rows and held-out rows.  By
            default, equal rows are a group.
        progress : callable, optional
            Called with a `Progress` after each stage.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            A parameter or the data cannot be used; the message says which and why.

        Notes
        -----
        O(n d^2) once and O(n d r) a pass, about 100 passes; O(n d) memory.
        """
        return self._fit(X, y, progress, groups=groups)

    def __sklearn_tags__(self) -> Any:
        """Say that sparse inputs are accepted."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predict y; 2 n d (r + 1) flops.

        Parameters
        ----------
        X : array, DataFrame or scipy sparse matrix, shape [n, d]
            Rows with the columns of the fit.

        Returns
        -------
        array of float64, shape [n]
            The prediction for a row does not depend on the other rows.
        """
        check_is_fitted(self)
        return self._function().predict(self._read_inputs(X, reset=False))

    @property
    def n_components_(self) -> int:
        """Number of directions."""
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

    # -- the steps of a fit ------------------------------------------------------------------

    def _check_parameters(self) -> None:
        if self.n_components != "auto":
            check_integer("n_components", self.n_components, 0, otherwise="'auto'")
        check_choice("criterion", self.criterion, CRITERIA)
        check_real("validation_fraction", self.validation_fraction, least=0, below=1)

    def _prepare(self, X: Any, y: Any, **options: Any) -> _Data:
        self._check_parameters()
        self.seed_ = draw_seed(self.random_state)  # before the rows are read, which it splits
        return self._read(X, y, **options)

    def _read(self, X: Any, y: Any, **options: Any) -> _Data:
        require_target(self, y)
        if not isinstance(X, pd.DataFrame):
            X = self._read_inputs(X, reset=True)
            X, y = check_X_y(X, y, y_numeric=True, ensure_min_samples=2, estimator=self)
        y = check_array(column_or_1d(y, warn=True), ensure_2d=False, dtype=np.float64)
        check_consistent_length(X, y)
        split = certifying_split(X, y, options.get("groups"), self.validation_fraction, self.seed_)
        if isinstance(X, pd.DataFrame):  # its encoding is learnt on the training rows
            X = self._read_inputs(X, reset=True, rows=split.train)
            X, _ = check_X_y(X, y, ensure_min_samples=2, estimator=self)
        return _Data(X, y, split)

    def _read_inputs(
        self, X: Any, *, reset: bool, rows: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        if bool(sparse.issparse(X)) and X.dtype.kind in "buif":
            X = canonical_sparse(X).toarray()
        encoded = self._read_table(X, reset=reset, rows=rows)
        if encoded is not None:
            return encoded.astype(np.float64)
        return np.asarray(validate_data(self, X, reset=reset, dtype=np.float64))

    def _largest_product(self, data: _Data) -> int:
        n, d = data.X.shape
        return int(n * d * d)  # of the linear part; a pass over the squares takes less

    def _solve(self, data: _Data, progress: ProgressCallback | None) -> None:
        X, y = data.X, data.y
        train, held_out = data.split.train, data.split.held_out
        data.solution = fit_quadratic(
            X[train],
            y[train],
            X_held_out=X[held_out] if len(held_out) else None,
            y_held_out=y[held_out] if len(held_out) else None,
            n_components=None if self.n_components == "auto" else int(self.n_components),
            signed=self.signed,
            fit_linear=self.fit_linear,
            criterion=self.criterion,
            random_state=self.seed_,
            progress=progress,
        )
        function = data.solution.value.function
        self.mean_, self.coef_, self.intercept_ = function.centre, function.coef, function.intercept
        self.components_, self.signs_ = function.components, function.signs
        self.pairs_, self.effects_ = strongest_pairs(function, X[train])
        self.status_, self.history_ = data.solution.status, data.solution.history
        self.n_train_ = len(train)
        self.report_ = {
            "n_found": int(data.solution.measured["n_found"]),
            "held_out_errors": data.solution.measured.get("held_out_errors"),
        }

    def _certify(self, data: _Data) -> Certificate:
        """Check the rank against the noise, and the gain over the mean on the held-out rows."""
        assert data.solution is not None
        fit = data.solution.value
        y = data.y[data.split.train]
        sensing = sensing_certificate(
            fit.operator,
            y,
            fit.factors.components,
            fit.factors.signs,
            signed=self.signed,
            identification=data.solution.measured["identification"],
            random_state=self.seed_,
        )
        n_tried = max(1, len(data.solution.measured.get("held_out_errors", ())))
        return Certificate((*sensing.checks, *self._gain_checks(data, y, n_tried)))

    def _gain_checks(self, data: _Data, y: NDArray[np.float64], n_tried: int) -> list[Check]:
        """Compare with the mean of the training targets y on the held-out units."""
        held_out, rows = data.split.held_out, data.split.held_out_rows()
        scale = scale_of(y)
        wanted = data.y[held_out] / scale
        if not len(held_out):
            return held_out_regression_checks((np.empty((0, 2)),), 0.0, UNIT, n_tried)
        predicted = self._function().predict(data.X[held_out]) / scale
        errors = np.stack([wanted - predicted, wanted - (y / scale).mean()], axis=1) ** 2
        clip = CLIP * float((y / scale).var())
        unit = UNIT if scale == 1.0 else f"{UNIT} / {scale:.3g}"
        return held_out_regression_checks(
            rows.samples(errors), clip, unit, n_tried, grouped=rows.grouped
        )

    def _report(self) -> dict[str, Any]:
        return self.report_

    def _function(self) -> Quadratic:
        return Quadratic(self.mean_, self.coef_, self.intercept_, self.components_, self.signs_)

    def _description(self) -> Description:
        interactions = self.interactions_
        return Description(
            f"The function has {self.n_components_} squares over {len(self.coef_)} inputs.  The "
            f"file of this QuadraticRegressor takes {format_bytes(len(self._file_content()))}; the "
            f"status of the fit is {self.status_}.",
            {
                "inputs": len(self.coef_),
                "components": self.n_components_,
                "signs": self.signs_.tolist(),
                "intercept": self.intercept_,
                "interactions": [pair._asdict() for pair in interactions],
            },
            tables=(pairs_table(interactions),) if interactions else (),
            notes=() if interactions else ("No pair improves on a linear function.",),
        )

    # -- the file ----------------------------------------------------------------------------

    def _file_content(self) -> bytes:
        record = QuadraticRecord(
            **self._recorded_fit(), **self._recorded_table(), intercept=self.intercept_
        )
        arrays = {
            name: np.ascontiguousarray(getattr(self, f"{name}_"), dtype=np.float64)
            for name in ARRAYS
        }
        return archive_bytes(record.model_dump(mode="json"), arrays)

    @classmethod
    def _from_archive(cls, archive: Archive) -> Self:
        record = archive.record(QuadraticRecord)
        model = cls._restored_fit(archive, record)
        d = model._restore_table(archive, record)
        r = len(archive.arrays.get("signs", ()))
        k = len(archive.arrays.get("effects", ()))
        shapes = {"components": (r, d), "signs": (r,), "coef": (d,), "mean": (d,)}
        shapes |= {"pairs": (k, 2), "effects": (k,)}
        for name, array in archive.float_arrays(shapes).items():
            setattr(model, f"{name}_", array)
        archive.require(bool((np.abs(model.signs_) == 1).all()), "signs other than +1 and -1")
        archive.require(bool(np.isin(model.pairs_, np.arange(d)).all()), "pairs without inputs")
        model.pairs_ = model.pairs_.astype(np.int64)
        model.intercept_ = record.intercept
        return model
