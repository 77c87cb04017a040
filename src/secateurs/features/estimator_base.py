"""What `SparseMultiIndexRegressor` and `SparseMultiIndexClassifier` do alike, and their file."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from secateurs.core.archive import Archive, archive_bytes
from secateurs.core.certificate import Certificate
from secateurs.core.estimator import require_target, told_progress, warn_if_interrupted
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
from secateurs.data.columns import columns_of
from secateurs.data.table_estimator import input_names, read_table
from secateurs.data.tables import TableSchema
from secateurs.features.certificate import features_certificate
from secateurs.features.network import IndexNetwork
from secateurs.features.result import MultiIndexFit
from secateurs.features.solver import multi_index

Classes = Annotated[list[str] | list[bool] | list[int] | list[Number], Field(min_length=2)]


class MultiIndexRecord(Strict):
    """What the file of a `SparseMultiIndexRegressor` or classifier holds beside its arrays."""

    kind: Literal["SparseMultiIndexRegressor", "SparseMultiIndexClassifier"]
    version: str
    parameters: Parameters
    seed: int
    status: Status
    n_train: Annotated[int, Field(ge=1)]
    n_features_in: Annotated[int, Field(ge=1)]
    feature_names: Names | None
    table: TableSchema | None
    classes: Classes | None
    channel: str
    information_exponent: Annotated[int, Field(ge=1, le=3)]
    threshold: Number
    val_r2: Number
    signal_detected: bool
    history: History
    certificate: CheckRecords


class SparseMultiIndexBase(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    SavedModel,
):
    """What the regressor and the classifier share: everything but what y is."""

    max_features: int | None
    alpha: float
    degrees: int
    hidden: int
    interactions: bool
    validation_fraction: float
    random_state: Any
    verbose: int

    certificate_: Certificate
    history_: dict[str, list[float]]
    table_: TableSchema | None
    status_: Status

    def __init__(
        self,
        max_features: int | None = None,
        alpha: float = 0.1,
        degrees: int = 3,
        hidden: int = 64,
        interactions: bool = True,
        validation_fraction: float = 0.2,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.max_features = max_features
        self.alpha = alpha
        self.degrees = degrees
        self.hidden = hidden
        self.interactions = interactions
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, *, progress: ProgressCallback | None = None) -> Self:
        """Find the columns and the directions, and fit a small network on them.

        Parameters
        ----------
        X : array, np.memmap, scipy sparse matrix or DataFrame, shape [n, d]
            A mapped file is read in blocks of columns and never copied to memory; a DataFrame
            may hold categories and missing values.
        y : array, shape [n]
        progress : callable, optional
            Called with a `Progress` after each of the five stages.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            A parameter or the data cannot be used; the message says which and why.

        Notes
        -----
        O(n d (log n + K)) a pass over the columns, a few passes; memory of a block of columns
        and 12 numbers a column.
        """
        began = time.perf_counter()
        self._check_parameters()
        X, targets = self._read(X, y)
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        solution = multi_index(
            X,
            targets,
            task=self._task,
            max_features=self.max_features,
            alpha=float(self.alpha),
            degrees=int(self.degrees),
            hidden=int(self.hidden),
            validation=float(self.validation_fraction),
            interactions=self.interactions,
            random_state=self.seed_,
            progress=told_progress(self.verbose, progress),
        )
        self._keep(solution.value)
        self.status_ = solution.status  # type: ignore[assignment]
        self.history_ = solution.history
        self.n_train_ = int(solution.measured["n_train"])
        self.certificate_ = features_certificate(solution)
        self.report_ = {
            "conditional_scores": solution.measured["conditional_scores"],
            "predicted_n": solution.measured["predicted_n"],
            "file_bytes": len(self._file_content()),
            "seconds": time.perf_counter() - began,
        }
        warn_if_interrupted(self.status_)
        return self

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Indices of rows X [n, d]: their standardised columns along `directions_`, [n, r]."""
        kept = self._kept(X)
        Z = (kept - self.network_.center) / self.network_.scale
        return np.asarray(Z @ self._on_support.T)

    def get_support(self, indices: bool = False) -> NDArray[Any]:
        """Which input columns are kept: a mask over all of them, or their places.

        A column of categories is kept when any of its categories is.
        """
        check_is_fitted(self)
        of = np.arange(self.n_features_in_)
        if self.table_ is not None:
            columns = self.table_.columns
            kinds = [[j for j, c in enumerate(columns) if c.kind == "numeric"]]
            kinds += [
                [j] * len(c.encoded_categories)
                for j, c in enumerate(columns)
                if c.kind == "categorical"
            ]
            of = np.concatenate([np.asarray(part, dtype=np.int64) for part in kinds])
        mask = np.zeros(self.n_features_in_, dtype=bool)
        mask[of[self.support_]] = True
        return np.flatnonzero(mask) if indices else mask

    @property
    def feature_importances_(self) -> NDArray[np.float64]:
        """Squared length of each column of `directions_`, summing to 1, [d]."""
        check_is_fitted(self)
        squares = np.zeros(len(self.scores_))
        squares[self.support_] = np.square(self._on_support).sum(axis=0)
        return np.asarray(squares / squares.sum())

    @property
    def support_names_(self) -> list[str]:
        """Names of the kept columns, in the order of `support_`."""
        check_is_fitted(self)
        names = input_names(self)
        return [names[j] for j in self.support_]

    @property
    def _n_features_out(self) -> int:
        return int(self.directions_.shape[0])

    @property
    def _on_support(self) -> NDArray[np.float64]:
        return np.asarray(self.directions_[:, self.support_].toarray())

    # -- the parts of a fit ------------------------------------------------------------------

    _task: str
    classes_: NDArray[Any]

    @abstractmethod
    def _targets(self, y: NDArray[Any]) -> NDArray[Any]:
        """What `multi_index` is given: numbers, or class numbers."""

    def _read(self, X: Any, y: Any) -> tuple[Any, NDArray[Any]]:
        require_target(self, y)
        X = self._read_inputs(X, reset=True)
        y = check_array(y, ensure_2d=False, dtype=None, input_name="y")
        targets = column_or_1d(y, warn=True)
        check_consistent_length(X, targets)
        return X, self._targets(targets)

    def _read_inputs(self, X: Any, *, reset: bool) -> Any:
        """Something that `columns_of` reads; values of a mapped file are checked as they come."""
        encoded = read_table(self, X, reset=reset)
        if encoded is not None:
            return encoded
        if isinstance(X, np.memmap) and X.ndim == 2:
            validate_data(self, X, reset=reset, skip_check_array=True)
            columns_of(X)
            return X
        least = 2 if reset else 1
        return validate_data(
            self, X, reset=reset, accept_sparse=("csc", "csr"), ensure_min_samples=least
        )

    def _kept(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        kept: NDArray[np.float64] = columns_of(self._read_inputs(X, reset=False)).take(
            self.support_
        )
        return kept

    def _keep(self, fit: MultiIndexFit) -> None:
        self.support_, self.directions_ = fit.support, fit.directions
        self.scores_, self.threshold_ = fit.scores, float(fit.threshold)
        self.channel_, self.information_exponent_ = fit.channel
        self.val_r2_, self.signal_detected_ = float(fit.val_r2), bool(fit.signal_detected)
        self.network_ = fit.network

    def _check_parameters(self) -> None:
        if self.max_features is not None:
            check_integer("max_features", self.max_features, 1, otherwise="None")
        check_real("alpha", self.alpha, above=0, below=1)
        if not is_integer(self.degrees, 1, 3):
            raise ValueError(f"degrees={self.degrees!r}; expected 1, 2 or 3")
        check_integer("hidden", self.hidden, 1)
        check_real("validation_fraction", self.validation_fraction, above=0, below=1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # -- the file ----------------------------------------------------------------------------

    def _file_content(self) -> bytes:
        record = MultiIndexRecord(
            kind=type(self).__name__,  # type: ignore[arg-type]
            version=__version__,
            parameters=recorded_parameters(self),
            seed=self.seed_,
            status=self.status_,
            n_train=self.n_train_,
            n_features_in=int(self.n_features_in_),
            feature_names=recorded_names(self),
            table=self.table_,
            classes=self.classes_.tolist() if self._task == "classification" else None,
            channel=self.channel_,
            information_exponent=int(self.information_exponent_),
            threshold=self.threshold_,
            val_r2=self.val_r2_,
            signal_detected=self.signal_detected_,
            history=recorded_history(self.history_),
            certificate=recorded_checks(self.certificate_),
        )
        arrays = {
            "scores": self.scores_,
            "support": self.support_,
            "directions": self._on_support,
            **{name: getattr(self.network_, name) for name in _NETWORK},
        }
        return archive_bytes(
            record.model_dump(mode="json"),
            {name: np.ascontiguousarray(a, dtype=np.float64) for name, a in arrays.items()},
        )

    @classmethod
    def _from_archive(cls, archive: Archive) -> Self:
        record = archive.record(MultiIndexRecord)
        model = with_parameters(cls, archive, record.parameters)
        d = record.n_features_in if record.table is None else record.table.n_encoded
        if record.table is not None:
            n_columns = len(record.table.columns)
            archive.require(n_columns == record.n_features_in, "table of another width")
        classes = record.classes
        archive.require((classes is None) == (cls._task == "regression"), "classes")
        s, h = (len(archive.arrays.get(name, ())) for name in ("support", "bias"))
        r = len(archive.arrays.get("directions", ()))
        k = 1 if classes is None else len(classes)
        archive.require(min(s, h, r) > 0, "a model of no columns, units or directions")
        shapes = {"scores": (d,), "support": (s,), "directions": (r, s), "center": (s,)}
        shapes |= {"scale": (s,), "W": (h, s), "bias": (h,), "w": (h, k), "intercept": (k,)}
        arrays = archive.float_arrays(shapes)
        support = arrays["support"]
        archive.require(bool(np.isin(support, np.arange(d)).all()), "columns that do not exist")
        archive.require(bool((np.diff(support) > 0).all()), "columns out of order")
        archive.require(bool((arrays["scale"] > 0).all()), "scales of 0 or less")
        model.support_ = support.astype(np.int64)
        places = (np.repeat(np.arange(r), s), np.tile(model.support_, r))
        model.directions_ = sparse.csr_array((arrays["directions"].ravel(), places), shape=(r, d))
        model.network_ = IndexNetwork(**{name: arrays[name] for name in _NETWORK}, task=cls._task)
        model.scores_, model.table_ = arrays["scores"], record.table
        if classes is not None:
            model.classes_ = np.array(classes)
            increasing = bool((model.classes_[:-1] < model.classes_[1:]).all())
            archive.require(increasing, "classes out of order")
        model._restore_names(archive, record.feature_names, record.n_features_in)
        model.threshold_, model.val_r2_ = record.threshold, record.val_r2
        model.channel_, model.information_exponent_ = record.channel, record.information_exponent
        model.signal_detected_ = record.signal_detected
        model.seed_, model.status_, model.n_train_ = record.seed, record.status, record.n_train
        model.history_ = restored_history(record.history)
        model.certificate_ = restored_certificate(record.certificate)
        return model


_NETWORK = ("center", "scale", "W", "bias", "w", "intercept")
