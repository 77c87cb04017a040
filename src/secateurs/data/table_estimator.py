"""The template of estimators that also read tables of mixed types."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import validate_data

from secateurs.core.archive import Archive
from secateurs.core.estimator import Estimator
from secateurs.core.near_copies import column_blocks, near_groups
from secateurs.core.parameters import Shown, bad_value
from secateurs.core.saved_model import Count, FitRecord, Names
from secateurs.core.solution import ProgressCallback
from secateurs.core.splits import Split, Words, combined_keys, group_keys, hold_out, row_keys
from secateurs.data.encoding import encode, encoded_names
from secateurs.data.frames import as_frame
from secateurs.data.schema_fitting import Gather, alone, fit_schema
from secateurs.data.tables import TableSchema, refuse_duplicates


class TableRecord(FitRecord):
    """What a file holds about the fit and about the columns it was made on."""

    n_features_in: Count
    feature_names: Names | None
    table: TableSchema | None


class TableEstimator(Estimator):
    """Base of estimators that accept a data frame of pandas, polars, pyarrow or another library.

    Attributes
    ----------
    table_ : TableSchema or None
        How the columns of the DataFrame of the fit were encoded; None for an array.
    """

    table_: TableSchema | None

    def _fit(self, X: Any, y: Any, progress: ProgressCallback | None, **options: Any) -> Self:
        return super()._fit(as_frame(X), y, progress, **options)

    def _read_table(
        self,
        X: Any,
        *,
        reset: bool,
        gather: Gather = alone,
        rows: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64] | None:
        """Return a data frame as numbers [n, n_encoded], or None for anything else.

        After the fit, columns are found by name, in any order, and others are ignored.

        Parameters
        ----------
        X : object
        reset : bool
            True during the fit: the encoding is learnt and kept in `table_`.
        gather : callable, optional
            As for `secateurs.data.schema_fitting.fit_schema`.
        rows : array of int64, optional
            Rows from which the encoding is learnt; all by default.

        Raises
        ------
        ValueError
            The fit saw categories, and `X` is not a DataFrame.
        """
        if reset:
            self.table_ = None
        X = as_frame(X)
        if isinstance(X, pd.DataFrame):
            if reset:
                refuse_duplicates(str(name) for name in X.columns)
            if reset or self.table_ is None:
                validate_data(self, X, reset=reset, skip_check_array=True)
            if reset:
                self.table_ = fit_schema(X, gather, rows)
            if self.table_ is not None:
                return encode(self.table_, X)
        table = self.table_
        if table is not None and len(table.of_kind("numeric")) < len(table.columns):
            raise bad_value(
                "X",
                Shown(type(X).__name__),
                "a DataFrame with the columns of the fit",
                f"this {type(self).__name__} was fitted on texts or times",
            )
        return None

    def _recorded_table(self) -> dict[str, Any]:
        """The fields that `TableRecord` has beside those of `FitRecord`."""
        return {
            "n_features_in": int(self.n_features_in_),
            "feature_names": self._recorded_names(),
            "table": self.table_,
        }

    def _restore_table(self, archive: Archive, record: TableRecord) -> int:
        """Restore the columns from a file; return the number of encoded inputs."""
        self.table_ = record.table
        self._restore_names(archive, record.feature_names, record.n_features_in)
        if record.table is None:
            return record.n_features_in
        archive.require(
            len(record.table.columns) == record.n_features_in, "the table has another width"
        )
        return record.table.n_encoded


def split_keys(X: Any, y: NDArray[Any], groups: Any = None) -> Words:
    """Key of the unit of every row, for `secateurs.core.splits.hold_out`.

    Parameters
    ----------
    X : DataFrame, array or scipy CSR, shape [n, d]
    y : array of numbers, shape [n] or [n, k]
    groups : array, shape [n], optional
        Rows with the same number or text are one unit; without groups, equal rows are.

    Raises
    ------
    ValueError
        `groups` does not have one entry for each row.
    """
    if groups is not None:
        labels = np.asarray(groups)
        if labels.shape != (len(y),):
            raise bad_value("groups", Shown(f"shape {labels.shape}"), f"shape ({len(y)},)")
        return group_keys(labels)
    if not isinstance(X, pd.DataFrame):
        return row_keys(X, y)
    try:
        keys = pd.util.hash_pandas_object(X, index=False).to_numpy()
    except (TypeError, ValueError):  # a column that pandas cannot hash
        keys = pd.util.hash_pandas_object(X.astype(str), index=False).to_numpy()
    return combined_keys(keys.astype(np.uint64), row_keys(np.empty((len(y), 0)), y))


def certifying_split(
    X: Any, y: NDArray[Any], groups: Any, fraction: float, seed: int, *, exact: bool = True
) -> Split:
    """Split rows as a certificate needs it.

    Parameters
    ----------
    X, y, groups : as for `split_keys`
    fraction, seed, exact : as for `secateurs.core.splits.hold_out`

    Returns
    -------
    Split
        Without groups it has a sample of distinct rows and one of rows, and rows that are equal
        up to rounding count as copies, unless there are several processes.
    """
    contents = None if groups is None else split_keys(X, y)
    keys = split_keys(X, y, groups)
    if contents is None and exact:
        keys = keys_of_near_copies(X, y, keys)
    return hold_out(keys, fraction, seed, exact=exact, by_row=True, contents=contents)


def keys_of_near_copies(X: Any, y: NDArray[Any], keys: Words) -> Words:
    """Give rows that are equal up to rounding the same key, the smallest of theirs.

    A DataFrame is compared as it is encoded: texts that name the rows, for example, are left out.
    """
    if isinstance(X, pd.DataFrame):
        X = encode(fit_schema(X), X)
    targets = y[:, None] if y.ndim == 1 else y
    units = near_groups(
        np.zeros(len(keys), dtype=np.int64), (*column_blocks(targets), *column_blocks(X))
    )
    order = np.argsort(keys, kind="stable")
    _, first = np.unique(units[order], return_index=True)
    return np.asarray(keys[order[first]][units])


def input_names(model: Any) -> list[str]:
    """Names of the inputs that a fitted estimator computes with, one for each encoded column."""
    if getattr(model, "table_", None) is not None:
        return encoded_names(model.table_)
    names = getattr(model, "feature_names_in_", None)
    if names is not None:
        return [str(name) for name in names]
    return [f"x{j}" for j in range(model.n_features_in_)]
