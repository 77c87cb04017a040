"""The common part of `SparseMultiIndexRegressor` and `SparseMultiIndexClassifier`."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from secateurs.core.archive import Archive, archive_bytes
from secateurs.core.certificate import Certificate
from secateurs.core.description import Description, Table, counted, format_bytes
from secateurs.core.estimator import require_target
from secateurs.core.parameters import check_integer, check_real
from secateurs.core.saved_model import Number
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.data.columns import columns_of
from secateurs.data.matrix import read_matrix
from secateurs.data.table_estimator import TableEstimator, TableRecord, input_names
from secateurs.features.certificate import CHANNELS, SCORES, features_certificate
from secateurs.features.network import IndexNetwork
from secateurs.features.result import MultiIndexFit
from secateurs.features.screening import MAX_DEGREE
from secateurs.features.solver import multi_index

Classes = Annotated[list[str] | list[bool] | list[int] | list[Number], Field(min_length=2)]
NETWORK_ARRAYS = ("center", "scale", "W", "bias", "w", "intercept")
SCORES_A_COLUMN = 12  # one for each transform of y and degree
SHOWN_ENTRIES = 6  # entries of the directions that a table shows for each column
TITLE = "Columns kept (share: how much of all directions lies on the column)"


class MultiIndexRecord(TableRecord):
    """The JSON part of the file of a `SparseMultiIndexRegressor` or classifier."""

    kind: Literal["SparseMultiIndexRegressor", "SparseMultiIndexClassifier"]
    classes: Classes | None
    channel: str
    information_exponent: Annotated[int, Field(ge=1, le=MAX_DEGREE)]
    threshold: Number
    val_r2: Number
    signal_detected: bool


class SparseMultiIndexBase(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    TableEstimator,
):
    """Everything that does not depend on whether y is a number or a class."""

    _task: str
    classes_: NDArray[Any]

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
        fdr: float | None = None,
    ) -> None:
        self.max_features = max_features
        self.alpha = alpha
        self.degrees = degrees
        self.hidden = hidden
        self.interactions = interactions
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose
        self.fdr = fdr

    def fit(self, X: Any, y: Any, *, progress: ProgressCallback | None = None) -> Self:
        """Find the columns and the directions, and fit a small network on them.

        Parameters
        ----------
        X : array, np.memmap, scipy sparse matrix or DataFrame, shape [n, d]
            A mapped file is read in blocks of columns and never copied to memory; a DataFrame
            may hold categories and missing values.
        y : array, shape [n]
            Finite numbers; for the classifier, labels of at least two classes.
        progress : callable, optional
            Called with a `Progress` after each of the five stages.

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
        O(n d (log n + K)) time for a pass over the columns, with a few passes; memory of one block
        of columns and 12 numbers for each column.
        """
        return self._fit(X, y, progress)

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Compute the indices of rows: standardised columns along `directions_`.

        Parameters
        ----------
        X : array, np.memmap, scipy sparse matrix or DataFrame, shape [n, d]
            Rows with the columns of the fit.

        Returns
        -------
        array of float64, shape [n, r]
            One column for each direction.
        """
        kept = self._kept(X)
        Z = (kept - self.network_.center) / self.network_.scale
        return np.asarray(Z @ self._on_support.T)

    def get_support(self, indices: bool = False) -> NDArray[Any]:
        """Return which input columns are kept.

        A column of categories is kept if one of its categories is.

        Parameters
        ----------
        indices : bool
            True for the numbers of the columns instead of a mask.

        Returns
        -------
        array of bool, shape [number of input columns], or of int64
            A mask over the columns, or the numbers of the kept ones, increasing.
        """
        check_is_fitted(self)
        column = np.arange(self.n_features_in_)  # of each encoded column
        if self.table_ is not None:
            column = np.array(self.table_.sources, dtype=np.int64)
        mask = np.zeros(self.n_features_in_, dtype=bool)
        mask[column[self.support_]] = True
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

    # -- the steps of a fit ------------------------------------------------------------------

    def _check_parameters(self) -> None:
        if self.max_features is not None:
            check_integer("max_features", self.max_features, otherwise="None")
        check_real("alpha", self.alpha, above=0, below=1)
        check_integer("degrees", self.degrees, 1, MAX_DEGREE)
        check_integer("hidden", self.hidden)
        if self.fdr is not None:
            check_real("fdr", self.fdr, above=0, below=1, otherwise="None")
        check_real("validation_fraction", self.validation_fraction, above=0, below=1)

    @abstractmethod
    def _targets(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return the numbers, or the class numbers, that `multi_index` reads."""

    def _read(self, X: Any, y: Any, **_: Any) -> tuple[Any, NDArray[Any]]:
        require_target(self, y)
        X = self._read_inputs(X, reset=True)
        y = check_array(y, ensure_2d=False, dtype=None, input_name="y")
        targets = column_or_1d(y, warn=True)
        check_consistent_length(X, targets)
        return X, self._targets(targets)

    def _read_inputs(self, X: Any, *, reset: bool) -> Any:
        """Return an object that `columns_of` reads; a mapped file is checked later, by blocks."""
        encoded = self._read_table(X, reset=reset)
        if encoded is not None:
            return encoded
        if isinstance(X, np.memmap) and X.ndim == 2:
            validate_data(self, X, reset=reset, skip_check_array=True)
            columns_of(X)
            return X
        least = 2 if reset else 1
        formats = ("csc", "csr")
        return read_matrix(self, X, reset=reset, formats=formats, ensure_min_samples=least)

    def _kept(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        return columns_of(self._read_inputs(X, reset=False)).take(self.support_)

    def _largest_product(self, data: tuple[Any, NDArray[Any]]) -> int:
        n, d = data[0].shape
        return int(n * d * SCORES_A_COLUMN)

    def _solve(self, data: tuple[Any, NDArray[Any]], progress: ProgressCallback | None) -> None:
        self._solution: Solution[MultiIndexFit] = multi_index(
            *data,
            task=self._task,
            max_features=self.max_features,
            alpha=float(self.alpha),
            degrees=int(self.degrees),
            hidden=int(self.hidden),
            validation=float(self.validation_fraction),
            interactions=self.interactions,
            fdr=None if self.fdr is None else float(self.fdr),
            random_state=self.seed_,
            progress=progress,
        )
        self.status_, self.history_ = self._solution.status, self._solution.history
        self.n_train_ = int(self._solution.measured["n_train"])
        fit = self._solution.value
        self.support_, self.directions_ = fit.support, fit.directions
        self.scores_, self.threshold_ = fit.scores, float(fit.threshold)
        self.channel_, self.information_exponent_ = fit.channel
        self.val_r2_, self.signal_detected_ = float(fit.val_r2), bool(fit.signal_detected)
        self.network_ = fit.network

    def _certify(self, data: Any) -> Certificate:  # noqa: ARG002
        return features_certificate(self._solution)

    def _report(self) -> dict[str, Any]:
        measured = self._solution.measured
        return {name: measured[name] for name in ("conditional_scores", "predicted_n")}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # -- the description ---------------------------------------------------------------------

    def _description(self) -> Description:
        share, names = self.feature_importances_, input_names(self)
        entries = dict(zip(self.support_.tolist(), self._on_support.T.tolist(), strict=True))
        columns = [
            {
                "name": names[j],
                "column": j,
                "score": float(self.scores_[j]),
                "share": float(share[j]),
                "direction": entries[j],
            }
            for j in sorted(
                entries, key=lambda j: (-round(float(share[j]), 4), -self.scores_[j], j)
            )
        ]
        n_directions, d = self._n_features_out, len(self.scores_)
        facts = {
            "d": d,
            "directions": n_directions,
            "columns": columns,
            "threshold": self.threshold_,
            "channel": self.channel_,
            "information_exponent": self.information_exponent_,
            "val_r2": self.val_r2_,
            "signal_detected": self.signal_detected_,
            "classes": getattr(self, "classes_", np.empty(0)).tolist() or None,
        }
        score = SCORES[self._task]
        headline = (
            f"{type(self).__name__}: {score} is {self.val_r2_:.3f} on the validation rows. "
            f"The model uses {len(columns)} of {d} columns and "
            f"{counted(n_directions, 'direction')}. "
            f"The fit ended with status {self.status_}. "
            f"The file takes {format_bytes(len(self._file_content()))}."
        )
        notes = (
            f"A column passes the screen with a score above {self.threshold_:.2f}. The scores are "
            f"largest for {self._channel_name()} and polynomials of degree "
            f"{self.information_exponent_}.",
        )
        if not self.signal_detected_:
            headline = f"No signal was detected: noise gives as much as this. {headline}"
        return Description(headline, facts, (self._columns_table(columns),), notes)

    def _channel_name(self) -> str:
        """Return the transform of y, or the class, that the scores are largest for, in words."""
        kind, _, number = self.channel_.partition(" ")
        if kind != "class" or not number.isdecimal() or not hasattr(self, "classes_"):
            return CHANNELS.get(self.channel_, self.channel_)
        return f"class {str(self.classes_[int(number)])!r}"

    def _columns_table(self, columns: list[dict[str, Any]]) -> Table:
        rows = [
            (
                entry["name"],
                f"{entry['score']:.2f}{'' if entry['score'] > self.threshold_ else ' (below)'}",
                f"{entry['share']:.1%}",
                " ".join(f"{value:+.2f}" for value in entry["direction"][:SHOWN_ENTRIES]),
            )
            for entry in columns
        ]
        names = ("column", "score", "share", "directions")
        return Table(names, rows, title=TITLE, numeric=frozenset(names[1:3]))

    # -- the file ----------------------------------------------------------------------------

    def _file_content(self) -> bytes:
        record = MultiIndexRecord(
            **self._recorded_fit(),
            **self._recorded_table(),
            classes=self.classes_.tolist() if self._task == "classification" else None,
            channel=self.channel_,
            information_exponent=int(self.information_exponent_),
            threshold=self.threshold_,
            val_r2=self.val_r2_,
            signal_detected=self.signal_detected_,
        )
        arrays = {
            "scores": self.scores_,
            "support": self.support_,
            "directions": self._on_support,
            **{name: getattr(self.network_, name) for name in NETWORK_ARRAYS},
        }
        return archive_bytes(
            record.model_dump(mode="json"),
            {name: np.ascontiguousarray(a, dtype=np.float64) for name, a in arrays.items()},
        )

    @classmethod
    def _from_archive(cls, archive: Archive) -> Self:
        record = archive.record(MultiIndexRecord)
        model = cls._restored_fit(archive, record)
        d = model._restore_table(archive, record)
        classes = record.classes
        archive.require((classes is None) == (cls._task == "regression"), "classes")
        s, h = (len(archive.arrays.get(name, ())) for name in ("support", "bias"))
        r = len(archive.arrays.get("directions", ()))
        k = 1 if classes is None else len(classes)
        archive.require(min(s, h, r) > 0, "no columns, hidden units or directions")
        shapes = {"scores": (d,), "support": (s,), "directions": (r, s), "center": (s,)}
        shapes |= {"scale": (s,), "W": (h, s), "bias": (h,), "w": (h, k), "intercept": (k,)}
        arrays = archive.float_arrays(shapes)
        support = arrays["support"]
        archive.require(bool(np.isin(support, np.arange(d)).all()), "columns do not exist")
        archive.require(bool((np.diff(support) > 0).all()), "columns do not increase")
        archive.require(bool((arrays["scale"] > 0).all()), "scales are not positive")
        if classes is not None:
            model.classes_ = np.array(classes)
            increasing = bool((model.classes_[:-1] < model.classes_[1:]).all())
            archive.require(increasing, "classes do not increase")
        model.support_ = support.astype(np.int64)
        places = (np.repeat(np.arange(r), s), np.tile(model.support_, r))
        model.directions_ = sparse.csr_array((arrays["directions"].ravel(), places), shape=(r, d))
        network = {name: arrays[name] for name in NETWORK_ARRAYS}
        model.network_ = IndexNetwork(**network, task=cls._task)
        model.scores_, model.threshold_ = arrays["scores"], record.threshold
        model.channel_, model.information_exponent_ = record.channel, record.information_exponent
        model.val_r2_, model.signal_detected_ = record.val_r2, record.signal_detected
        return model
