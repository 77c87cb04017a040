"""Loading of data sets by name or from a file, and their split into training and test rows.

Data that cannot be used are refused with a `DatasetError` of one line: the file, what was found,
what was expected, and what to do.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from secateurs.data.built_in import BUILT_IN, built_in_dataset
from secateurs.data.checked_dataset import Dataset, input_matrix
from secateurs.data.errors import bad_data
from secateurs.data.idx import (
    dataset_from_idx_directory,
    dataset_from_idx_images,
    is_idx_name,
    read_idx,
)
from secateurs.data.npz import dataset_from_npz, inputs_from_npz
from secateurs.data.suggest import nearest
from secateurs.data.table_files import BINARY_SUFFIXES, SUFFIXES, TEXT_SUFFIXES, read_table
from secateurs.data.table_options import TableOptions
from secateurs.data.table_roles import dataset_from_table
from secateurs.data.tables import TableSchema
from secateurs.data.targets import CLASSIFICATION, REGRESSION

_FORMATS = (
    f"{', '.join((*TEXT_SUFFIXES, *BINARY_SUFFIXES))}, .npz, IDX files or a directory of them"
)


def load_dataset(
    name_or_path: str | Path,
    target: str | None = None,
    task: str | None = None,
    options: TableOptions | None = None,
) -> Dataset:
    """Load a data set by name or from a file.

    Parameters
    ----------
    name_or_path : str or Path
        One of `BUILT_IN`, or the path of a table (see `secateurs.data.read_table`), of an .npz
        archive with ``x_train, y_train`` and optionally ``x_test, y_test`` or with ``X, y``,
        of a directory with the four IDX files of MNIST, or of one IDX file of images whose
        labels are in a file beside it.  A Path is never taken for a name.
    target : str, optional
        Target column.  A table requires it, and other data do not accept it.  Several numeric
        targets are separated by commas.
    task : {"classification", "regression"}, optional
        By default text, booleans, the integer labels of images, and whole numbers that look like
        class numbers are classes (`secateurs.data.targets.read_target` has the rule, and
        ``Dataset.task_reason`` the reason); other numbers, and several targets, are regression.
    options : TableOptions, optional
        How a table is read, and the roles of its columns.

    Returns
    -------
    Dataset
        Numeric arrays are not copied if the reader leaves them in C order.

    Raises
    ------
    DatasetError
        The data cannot be read, or no model can be trained on them.

    Notes
    -----
    The whole file is read into memory.  "mnist" and "fashion_mnist" are downloaded from OpenML
    on first use and kept by scikit-learn.
    """
    if task not in (None, CLASSIFICATION, REGRESSION):
        raise bad_data("task", repr(task), f"{CLASSIFICATION!r} or {REGRESSION!r}")
    if _is_built_in(name_or_path):
        _refuse_target(target, str(name_or_path))
        return built_in_dataset(str(name_or_path), task)
    path = Path(name_or_path).expanduser()
    if not path.exists():
        known = f"a path or one of {', '.join(BUILT_IN)}"
        did_you_mean = nearest(str(name_or_path).lower(), BUILT_IN)
        raise bad_data(path, "no file and no built-in data set of this name", known + did_you_mean)
    if _is_table(path):
        return dataset_from_table(path, target, task, options or TableOptions())
    if not (path.is_dir() or _is_npz(path) or is_idx_name(path)):
        raise bad_data(path, "an unknown kind of file", _FORMATS, "save it as a table in .csv")
    _refuse_target(target, str(path))
    if _is_npz(path):
        return dataset_from_npz(path, task)
    if path.is_dir():
        return dataset_from_idx_directory(path, task)
    return dataset_from_idx_images(path, task)


def load_inputs(
    name_or_path: str | Path,
    schema: TableSchema | None = None,
    options: TableOptions | None = None,
) -> NDArray[Any] | pd.DataFrame:
    """Load the inputs of rows to predict; no targets are needed.

    Parameters
    ----------
    name_or_path : str or Path
        As for `load_dataset`.  An .npz archive gives its array ``X``, ``x`` or ``x_test``; a data
        set with test rows gives these.
    schema : TableSchema, optional
        The ``table_`` of a fitted model: a row of a text file is then read as the fit read such
        rows, whatever the other rows of the file hold.
    options : TableOptions, optional
        How a table is read.

    Returns
    -------
    array [n, d] or DataFrame
        A table comes with all its columns, or with those of the schema.

    Raises
    ------
    DatasetError
        The data cannot be read.
    """
    path = Path(name_or_path).expanduser()
    if path.is_file() and not _is_built_in(name_or_path):
        if _is_table(path):
            return read_table(path, options, schema=schema).frame
        if _is_npz(path):
            return input_matrix(inputs_from_npz(path), path, "X")
        if is_idx_name(path):
            return input_matrix(read_idx(path), path, "X")
    dataset = load_dataset(name_or_path)
    return dataset.X if dataset.X_test is None else dataset.X_test


def split(dataset: Dataset, test_size: float | int = 0.2, random_state: int = 0) -> Dataset:
    """Keep rows out for testing, unless the data set has its own test rows.

    Classes keep their shares if each has at least two rows and both parts have room for all.
    Groups are never divided; `test_size` is then a share or number of groups.

    Parameters
    ----------
    dataset : Dataset
        The rows to split; it is not changed.
    test_size : float or int
        Share (between 0 and 1) or number of test rows.
    random_state : int
        Random seed of the choice of the test rows.

    Returns
    -------
    Dataset
        `dataset` itself if it has test rows; otherwise a copy with the rows of `X` split in two.

    Raises
    ------
    DatasetError
        One of the parts would be empty.
    """
    if dataset.X_test is not None:
        return dataset
    n = len(dataset.y)
    try:
        if dataset.groups is not None:
            splitter = GroupShuffleSplit(1, test_size=test_size, random_state=random_state)
            train, test = next(splitter.split(np.arange(n), groups=dataset.groups))
        else:
            strata = _strata(dataset, test_size)
            train, test = train_test_split(
                np.arange(n), test_size=test_size, random_state=random_state, stratify=strata
            )
    except ValueError as error:
        got = f"test_size={test_size} for {n} rows"
        if dataset.groups is not None:
            got += f" in {len(set(dataset.groups.tolist()))} groups"
        expected = "a share between 0 and 1, or a number of rows that leaves some to train on"
        raise bad_data(dataset.name, got, expected) from error
    return replace(
        dataset,
        X=_rows(dataset.X, train),
        y=dataset.y[train],
        X_test=_rows(dataset.X, test),
        y_test=dataset.y[test],
        groups=None if dataset.groups is None else dataset.groups[train],
        weights=None if dataset.weights is None else dataset.weights[train],
    )


def _strata(dataset: Dataset, test_size: float | int) -> NDArray[Any] | None:
    """Return the classes if each can have its share in both parts."""
    if dataset.task != CLASSIFICATION:
        return None
    n = len(dataset.y)
    n_test = test_size if isinstance(test_size, int) else math.ceil(test_size * n)
    counts = Counter(dataset.y.tolist())
    shared = min(counts.values()) >= 2 and len(counts) <= min(n_test, n - n_test)
    return dataset.y if shared else None


def _rows(X: NDArray[Any] | pd.DataFrame, rows: NDArray[np.int64]) -> NDArray[Any] | pd.DataFrame:
    return X.iloc[rows] if isinstance(X, pd.DataFrame) else X[rows]


def _is_built_in(name_or_path: str | Path) -> bool:
    return isinstance(name_or_path, str) and name_or_path in BUILT_IN


def _is_table(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)


def _is_npz(path: Path) -> bool:
    return path.name.lower().endswith(".npz")


def _refuse_target(target: str | None, source: str) -> None:
    if target is not None:
        expected = "none, because this kind of data has its own target"
        raise bad_data(source, f"target {target!r}", expected, "name a target for tables only")
