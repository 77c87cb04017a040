"""Data sets by name, or from a table, an .npz archive or IDX image files.

Whatever cannot be used as it stands is refused with a `DatasetError` of one line: what was
found, what was expected and what to do about it.
"""

from __future__ import annotations

import gzip
import http.client
import math
import re
import warnings
import zlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import datasets as sklearn_datasets
from sklearn.model_selection import train_test_split

from secateurs.data.npz import (
    DatasetError,
    listed,
    npz_array,
    one_line,
    open_npz,
    refuse_non_finite,
)
from secateurs.data.suggest import nearest
from secateurs.data.tables import as_numbers, as_texts, column_kind

_SHIPPED = ("digits", "breast_cancer", "wine", "diabetes")
_OPENML_IDS = {"mnist": 554, "fashion_mnist": 40996}
#: Names that `load_dataset` knows.
BUILT_IN: tuple[str, ...] = (*_SHIPPED, *_OPENML_IDS)
#: A target of whole numbers is taken for classes when it has at most this many distinct values.
MAX_GUESSED_CLASSES = 20
#: Largest content of a compressed IDX file, in bytes; larger ones must be unpacked first.
MAX_IDX_GZ_BYTES = 4 << 30

CLASSIFICATION, REGRESSION = "classification", "regression"

_TABLES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".pq")
_FORMATS = ".csv, .csv.gz, .tsv, .tsv.gz, .parquet, .pq, .npz, IDX files or a directory of them"
_IDX_NAME = re.compile(r"(?P<stem>.*)(?P<what>images|labels)(?P<sep>[-.])idx\d-ubyte(\.gz)?")
_IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs and targets, with a test split where the source has one.

    Attributes
    ----------
    name : str
    X : array of any real dtype, shape [n, d], C order; or DataFrame [n, d]
        As stored: pixels stay uint8, the columns of a table keep their types.
    y : array, shape [n] or [n, k]
        Classes as int64, bool or text (object); or float64 targets, 2-D for several of them.
    task : {"classification", "regression"}
    target_name : str
    X_test, y_test : like X and y, or None
    image_shape : tuple of int, or None
        Shape of the image in each row of `X`.
    """

    name: str
    X: NDArray[Any] | pd.DataFrame
    y: NDArray[Any]
    task: str
    target_name: str
    X_test: NDArray[Any] | pd.DataFrame | None = None
    y_test: NDArray[Any] | None = None
    image_shape: tuple[int, ...] | None = None


def load_dataset(
    name_or_path: str | Path, target: str | None = None, task: str | None = None
) -> Dataset:
    """Load a data set by name or from a file.

    Parameters
    ----------
    name_or_path : str or Path
        One of `BUILT_IN`, or the path of a table (.csv, .csv.gz, .tsv, .parquet), of an .npz
        archive with ``x_train, y_train`` and optionally ``x_test, y_test`` or with ``X, y``,
        of a directory with the four IDX files of MNIST, or of one IDX file of images whose
        labels lie beside it.  A Path is never taken for a name.
    target : str, optional
        Target column, for tables only, where it is required; several numeric ones separated
        by commas.
    task : {"classification", "regression"}, optional
        When not given: text, booleans and categories are classes, so are the integer labels
        of images, and whole numbers with at most ``min(20, max(2, n // 2))`` distinct values;
        other numbers, and several targets, are regression.

    Returns
    -------
    Dataset
        Numeric arrays are not copied where the reader leaves them in C order.

    Raises
    ------
    DatasetError
        For anything that cannot be read, or that no model could be trained on.

    Notes
    -----
    The whole file is read into memory.  "mnist" and "fashion_mnist" are downloaded from OpenML
    on first use and kept by scikit-learn.
    """
    if task not in (None, CLASSIFICATION, REGRESSION):
        raise DatasetError(f"task is {task!r}; give {CLASSIFICATION!r} or {REGRESSION!r}")
    if isinstance(name_or_path, str) and name_or_path in BUILT_IN:
        _no_target(target, f"data set {name_or_path!r}")
        if name_or_path in _OPENML_IDS:
            return _from_openml(name_or_path, task)
        return _from_sklearn(name_or_path, task)
    path = Path(name_or_path).expanduser()
    if not path.exists():
        raise DatasetError(
            f"no file or directory {str(path)!r}, and no built-in data set of that name "
            f"(there are {', '.join(BUILT_IN)}){nearest(str(name_or_path).lower(), BUILT_IN)}"
        )
    file_name = path.name.lower()
    if file_name.endswith(_TABLES):
        return _from_table(path, target, task)
    _no_target(target, f"{path}: this kind of data")
    if file_name.endswith(".npz"):
        return _from_npz(path, task)
    if path.is_dir():
        return _from_idx_directory(path, task)
    if _IDX_NAME.fullmatch(path.name):
        return _from_idx_images(path, task)
    raise DatasetError(f"{path}: unknown kind of file; expected {_FORMATS}")


def load_inputs(name_or_path: str | Path) -> NDArray[Any] | pd.DataFrame:
    """Load rows to predict: inputs alone, no targets needed.

    Parameters
    ----------
    name_or_path : str or Path
        As for `load_dataset`; of an .npz archive the array ``X``, ``x`` or ``x_test``, of a data
        set with test rows those.

    Returns
    -------
    array [n, d] or DataFrame
        A table comes with all its columns.

    Raises
    ------
    DatasetError
        For anything that cannot be read.
    """
    file_name = str(name_or_path).lower()
    is_name = isinstance(name_or_path, str) and name_or_path in BUILT_IN
    path = Path(name_or_path).expanduser()
    if not is_name and path.is_file():
        if file_name.endswith(_TABLES):
            frame = _read_table(path)
            frame.columns = pd.Index([str(column) for column in frame.columns])
            return frame
        if file_name.endswith(".npz"):
            return _matrix(_npz_inputs(path), path, "X")
        if _IDX_NAME.fullmatch(path.name):
            return _matrix(_read_idx(path), path, "X")
    dataset = load_dataset(name_or_path)
    return dataset.X if dataset.X_test is None else dataset.X_test


def split(dataset: Dataset, test_size: float | int = 0.2, random_state: int = 0) -> Dataset:
    """Set rows aside for testing, unless the data set has its own test rows.

    Classes keep their shares when each has two rows or more and both parts have room for all.

    Parameters
    ----------
    dataset : Dataset
    test_size : float or int
        Share (between 0 and 1) or number of rows.
    random_state : int

    Returns
    -------
    Dataset
        `dataset` itself where it has test rows; otherwise the rows of `X` shared out, copied.

    Raises
    ------
    DatasetError
        When one of the parts would be empty.
    """
    if dataset.X_test is not None:
        return dataset
    n = len(dataset.y)
    n_test = test_size if isinstance(test_size, int) else math.ceil(test_size * n)
    strata = None
    if dataset.task == CLASSIFICATION:
        counts = Counter(dataset.y.tolist())
        if min(counts.values()) >= 2 and len(counts) <= min(n_test, n - n_test):
            strata = dataset.y
    try:
        X, X_test, y, y_test = train_test_split(
            dataset.X, dataset.y, test_size=test_size, random_state=random_state, stratify=strata
        )
    except ValueError as error:
        raise DatasetError(
            f"{dataset.name}: cannot set test_size={test_size} of {n} rows aside; "
            "give a share between 0 and 1, or a number of rows that leaves some to train on"
        ) from error
    return replace(dataset, X=X, y=y, X_test=X_test, y_test=y_test)


# -- sources ------------------------------------------------------------------------------


def _from_sklearn(name: str, task: str | None) -> Dataset:
    if name == "digits":
        X, y = sklearn_datasets.load_digits(return_X_y=True)
        return _from_arrays(name, X, y, task or CLASSIFICATION, "digit", image_shape=(8, 8))
    if name == "diabetes":  # in the units of the patients' files, not standardised
        bunch = sklearn_datasets.load_diabetes(as_frame=True, scaled=False)
        return _checked(name, bunch.data, bunch.target, task or REGRESSION, "progression")
    load = {
        "breast_cancer": sklearn_datasets.load_breast_cancer,
        "wine": sklearn_datasets.load_wine,
    }[name]
    bunch = load(as_frame=True)
    target_name = {"breast_cancer": "diagnosis", "wine": "cultivar"}[name]
    return _checked(name, bunch.data, bunch.target, task or CLASSIFICATION, target_name)


def _from_openml(name: str, task: str | None) -> Dataset:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about retries: the outcome is what matters
            X, y = sklearn_datasets.fetch_openml(
                data_id=_OPENML_IDS[name], as_frame=False, return_X_y=True, n_retries=1
            )
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DatasetError(
            f"{name}: download from OpenML failed ({one_line(error)}); give the path of an .npz "
            "file with x_train, y_train, x_test, y_test, or of a directory with the four IDX "
            "files, instead"
        ) from error
    if X.shape != (70_000, 784) or len(y) != 70_000:
        raise DatasetError(f"{name}: OpenML sent X of shape {X.shape}, expected (70000, 784)")
    X, y = X.astype(np.uint8), y.astype(np.int64)
    return _from_arrays(
        *(name, X[:60_000], y[:60_000], task or CLASSIFICATION, "class"),
        X_test=X[60_000:],
        y_test=y[60_000:],
        image_shape=(28, 28),
    )


def _from_table(path: Path, target: str | None, task: str | None) -> Dataset:
    frame = _read_table(path)
    columns = [str(column) for column in frame.columns]
    frame.columns = pd.Index(columns)
    if target is None:
        raise DatasetError(
            f"{path}: a table needs its target column named; it has {listed(columns)}"
        )
    wanted = [target] if target in columns else [part.strip() for part in target.split(",")]
    for column in wanted:
        if column not in columns:
            raise DatasetError(
                f"{path}: no column {column!r}; it has {listed(columns)}{nearest(column, columns)}"
            )
        if columns.count(column) > 1 or wanted.count(column) > 1:
            raise DatasetError(f"{path}: target column {column!r} appears twice; name it once")
    if len(wanted) == len(columns):
        raise DatasetError(f"{path}: no column is left as input beside the target")
    y = frame[wanted[0]] if len(wanted) == 1 else frame[wanted]
    return _checked(path, frame.drop(columns=wanted), y, task, ", ".join(wanted))


def _read_table(path: Path) -> pd.DataFrame:
    name = path.name.lower()
    try:
        if name.endswith((".parquet", ".pq")):
            return pd.read_parquet(path, engine="pyarrow").reset_index(drop=True)
        separator = "\t" if name.endswith((".tsv", ".tsv.gz")) else ","
        frame = pd.read_csv(path, sep=separator, low_memory=False)
        if frame.shape[1] == 1 and ";" in str(frame.columns[0]):
            frame = pd.read_csv(path, sep=";", low_memory=False)
    except Exception as error:  # the readers raise what they please on damaged files
        raise DatasetError(f"{path}: cannot be read as a table ({one_line(error)})") from error
    if not isinstance(
        frame.index, pd.RangeIndex
    ):  # pandas' reading of a row longer than the header
        raise DatasetError(
            f"{path}: rows have more fields than the header names; name every column"
        )
    return frame


def _from_npz(path: Path, task: str | None) -> Dataset:
    with open_npz(path) as (archive, keys):
        for names in (("x_train", "y_train", "x_test", "y_test"), ("x", "y")):
            if set(names[:2]) <= keys.keys():
                break
        else:
            raise DatasetError(
                f"{path}: holds {listed(archive.files)}, expected the arrays x_train, y_train "
                "and optionally x_test, y_test, or X, y"
            )
        test_keys = [name for name in names[2:] if name in keys]
        if len(test_keys) == 1:
            raise DatasetError(f"{path}: has {test_keys[0]} alone; give both of x_test, y_test")
        arrays = {name: npz_array(archive, keys[name], path) for name in (*names[:2], *test_keys)}
    return _from_arrays(
        *(path, arrays[names[0]], arrays[names[1]], task, "y"),
        X_test=arrays.get("x_test"),
        y_test=arrays.get("y_test"),
    )


def _npz_inputs(path: Path) -> NDArray[Any]:
    with open_npz(path) as (archive, keys):
        for name in ("x", "x_test"):
            if name in keys:
                return npz_array(archive, keys[name], path)
        raise DatasetError(f"{path}: holds {listed(archive.files)}, expected an array X or x_test")


def _from_idx_directory(path: Path, task: str | None) -> Dataset:
    found: list[Path] = []
    for stem in ("train", "t10k"):
        for what, ndim in (("images", 3), ("labels", 1)):
            candidates = [
                path / f"{stem}-{what}{separator}idx{ndim}-ubyte{suffix}"
                for suffix in ("", ".gz")
                for separator in ("-", ".")
            ]
            present = [candidate for candidate in candidates if candidate.is_file()]
            if not present:
                raise DatasetError(
                    f"{path}: no file {candidates[0].name}, with or without .gz; a directory must "
                    "hold the four IDX files of MNIST (train-* and t10k-*, images and labels)"
                )
            found.append(present[0])
    X, y, X_test, y_test = (_read_idx(file) for file in found)
    return _from_arrays(path, X, y, task, "label", X_test, y_test)


def _from_idx_images(path: Path, task: str | None) -> Dataset:
    match = _IDX_NAME.fullmatch(path.name)
    assert match is not None
    if match["what"] == "labels":
        raise DatasetError(f"{path}: these are labels; give the file of images beside them")
    stem = f"{match['stem']}labels{match['sep']}idx1-ubyte"
    for name in (stem, stem + ".gz"):
        labels = path.with_name(name)
        if labels.is_file():
            return _from_arrays(path, _read_idx(path), _read_idx(labels), task, "label")
    raise DatasetError(f"{path}: its labels must lie beside it as {stem}, with or without .gz")


def _read_idx(path: Path) -> NDArray[Any]:
    """Parse an IDX file: 0, 0, type, ndim, the dimensions (big-endian uint32), the entries.

    The announced size is compared with the file's before the entries are read; a compressed
    file is unpacked up to one byte beyond the announced size.
    """
    packed = path.suffix.lower() == ".gz"
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            dtype, shape, header = _read_idx_header(file, path)
            entries = math.prod(shape) * dtype.itemsize
            if entries == 0:
                raise DatasetError(f"{path}: is empty, of shape {shape}")
            expected = f"expected {header + entries} for shape {shape}"
            if packed and entries > MAX_IDX_GZ_BYTES:
                raise DatasetError(
                    f"{path}: announces {entries} bytes, more than the {MAX_IDX_GZ_BYTES} allowed "
                    "in a compressed file; unpack it first"
                )
            size = path.stat().st_size
            if not packed and size != header + entries:
                raise DatasetError(f"{path}: has {size} bytes, {expected}; fetch the file again")
            content = bytearray()
            while chunk := file.read(min(_CHUNK, entries + 1 - len(content))):
                content += chunk
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path}: cannot be read ({one_line(error)})") from error
    if len(content) != entries:
        more = "or more " if len(content) > entries else ""
        raise DatasetError(
            f"{path}: unpacks to {header + len(content)} bytes {more}({expected}); fetch the file "
            "again"
        )
    array = np.frombuffer(content, dtype=dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_idx_header(
    file: IO[bytes] | gzip.GzipFile, path: Path
) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Type and shape of the entries, and the length of the header in bytes."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_DTYPES:
        raise DatasetError(
            f"{path}: starts with {magic.hex() or 'nothing'}, expected the IDX header 00 00, a "
            "type and a number of dimensions"
        )
    if not 1 <= magic[3] <= 3:
        raise DatasetError(f"{path}: has {magic[3]} dimensions, expected 1 for labels, 2 or 3")
    raw = file.read(4 * magic[3])
    if len(raw) < 4 * magic[3]:
        length = 4 + 4 * magic[3]
        raise DatasetError(
            f"{path}: has {4 + len(raw)} bytes, expected {length} for the IDX header alone"
        )
    shape = tuple(int(size) for size in np.frombuffer(raw, dtype=">u4"))
    return np.dtype(_IDX_DTYPES[magic[2]]), shape, 4 + len(raw)


# -- checks -------------------------------------------------------------------------------


def _from_arrays(
    source: str | Path,
    X: NDArray[Any],
    y: NDArray[Any],
    task: str | None,
    target_name: str,
    X_test: NDArray[Any] | None = None,
    y_test: NDArray[Any] | None = None,
    image_shape: tuple[int, ...] | None = None,
) -> Dataset:
    """Check plain arrays; images [n, h, w] become rows [n, h * w]."""
    if X.ndim == 3:
        image_shape = X.shape[1:]
        if task is None and y.ndim == 1 and y.dtype.kind in "biu":
            task = CLASSIFICATION  # however many: alphabets have more than MAX_GUESSED_CLASSES
    if X_test is not None and X_test.shape[1:] != X.shape[1:]:
        raise DatasetError(
            f"{source}: training inputs have shape {X.shape}, test inputs {X_test.shape}; "
            "they must agree beyond the rows"
        )
    X = _matrix(X, source, "X")
    X_test = None if X_test is None else _matrix(X_test, source, "X_test")
    targets = _columns(y, source, "y")
    test_targets = None if y_test is None else _columns(y_test, source, "y_test")
    dataset = _checked(source, X, targets, task, target_name, X_test, test_targets)
    return replace(dataset, image_shape=image_shape)


def _matrix(X: NDArray[Any], source: str | Path, label: str) -> NDArray[Any]:
    if X.dtype.kind not in "biuf" or X.dtype.itemsize > 8:
        raise DatasetError(f"{source}: {label} has dtype {X.dtype}; expected real numbers")
    if X.ndim not in (2, 3):
        raise DatasetError(
            f"{source}: {label} has shape {X.shape}; expected rows [n, d] or images [n, h, w]"
        )
    X = np.ascontiguousarray(X, dtype=X.dtype.newbyteorder("="))
    X = X.reshape(len(X), math.prod(X.shape[1:]))
    refuse_non_finite(X, source, label)
    return X


def _columns(y: NDArray[Any], source: str | Path, label: str) -> pd.Series[Any] | pd.DataFrame:
    """Targets as pandas has them, so that tables and arrays are judged by the same rules."""
    if y.dtype.kind not in "biufU" or (y.dtype.kind != "U" and y.dtype.itemsize > 8):
        raise DatasetError(f"{source}: {label} has dtype {y.dtype}; expected numbers or text")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim not in (1, 2):
        raise DatasetError(f"{source}: {label} has shape {y.shape}; expected [n] or [n, k]")
    y = y.astype(y.dtype.newbyteorder("="), copy=False)
    if y.dtype.kind == "f":
        refuse_non_finite(y, source, label)
    if y.ndim == 1:
        return pd.Series(y, name=label)
    if y.dtype.kind in "biu" and y.size and (y.sum(axis=1) == 1).all() and y.min() == 0:
        raise DatasetError(f"{source}: {label} is one-hot; give class numbers, {label}.argmax(1)")
    return pd.DataFrame(y, columns=[f"{label}[{j}]" for j in range(y.shape[1])])


def _checked(
    source: str | Path,
    X: NDArray[Any] | pd.DataFrame,
    y: pd.Series[Any] | pd.DataFrame,
    task: str | None,
    target_name: str,
    X_test: NDArray[Any] | None = None,
    y_test: pd.Series[Any] | pd.DataFrame | None = None,
) -> Dataset:
    """Refuse what no model can be trained on; settle the task and the type of the target."""
    for inputs, targets, where in ((X, y, ""), (X_test, y_test, "test ")):
        if inputs is None or targets is None:
            continue
        if 0 in inputs.shape:
            raise DatasetError(f"{source}: {where}inputs are empty, of shape {inputs.shape}")
        if len(inputs) != len(targets):
            raise DatasetError(
                f"{source}: {len(inputs)} rows of {where}inputs but {len(targets)} {where}targets"
            )
    try:
        values, task = _target(y, task)
        test_values = None if y_test is None else _target(y_test, task)[0]
    except ValueError as error:
        raise DatasetError(f"{source}: target: {one_line(error)}") from error
    if (values == values[0]).all(axis=0).any():
        raise DatasetError(
            f"{source}: the target has the same value in all {len(values)} rows; "
            "there is nothing to learn"
        )
    if test_values is not None:
        _refuse_other_targets(source, task, values, test_values)
    name = source if isinstance(source, str) else source.name
    return Dataset(name, X, values, task, target_name, X_test, test_values)


def _target(y: pd.Series[Any] | pd.DataFrame, task: str | None) -> tuple[NDArray[Any], str]:
    if isinstance(y, pd.Series):
        return _one_target(y, task)
    if task == CLASSIFICATION:
        raise ValueError("several targets are always regression; name one for classification")
    columns = [_one_target(y[column], REGRESSION)[0] for column in y.columns]
    return np.column_stack(columns), REGRESSION


def _one_target(y: pd.Series[Any], task: str | None) -> tuple[NDArray[Any], str]:
    """Values and task of one column; raises ValueError."""
    name = str(y.name)
    missing = np.flatnonzero(y.isna().to_numpy())
    if len(missing):
        raise ValueError(
            f"column {name!r} is missing in {len(missing)} rows, first in row {missing[0]} "
            "(counted from 0); fill or delete them"
        )
    if column_kind(y, name) == "categorical":
        if task == REGRESSION:
            return as_numbers(y, name), REGRESSION
        if task is None:
            _refuse_mostly_numbers(y, name)
        return as_texts(y, name), CLASSIFICATION
    values = as_numbers(y, name)
    whole = bool((values == np.rint(values)).all())
    if task is None:
        most = min(MAX_GUESSED_CLASSES, max(2, len(values) // 2))
        few = whole and len(np.unique(values)) <= most
        task = CLASSIFICATION if few else REGRESSION
    if task == REGRESSION:
        return values, REGRESSION
    if not whole:
        first = values[values != np.rint(values)][0]
        raise ValueError(
            f"column {name!r} holds {first:g}, which is no class number; "
            "give whole numbers or text, or task='regression'"
        )
    if pd.api.types.infer_dtype(y) == "boolean":
        return values.astype(np.bool_), CLASSIFICATION
    return values.astype(np.int64), CLASSIFICATION


def _refuse_mostly_numbers(y: pd.Series[Any], name: str) -> None:
    """Keep a stray "?" among numbers from turning a regression into thousands of classes."""
    numbers = pd.to_numeric(y.astype(object), errors="coerce").notna().to_numpy()
    if 0.5 <= numbers.mean() < 1.0:
        row = int(np.flatnonzero(~numbers)[0])
        raise ValueError(
            f"column {name!r} is numbers but for {int((~numbers).sum())} rows, first "
            f"{y.iloc[row]!r} in row {row} (counted from 0); correct them or give the task"
        )


def _refuse_other_targets(
    source: str | Path, task: str, train: NDArray[Any], test: NDArray[Any]
) -> None:
    if train.shape[1:] != test.shape[1:]:
        raise DatasetError(
            f"{source}: training targets have shape {train.shape}, test targets {test.shape}"
        )
    if task == CLASSIFICATION:
        unknown = set(test.tolist()) - set(train.tolist())
        if unknown:
            raise DatasetError(
                f"{source}: {len(unknown)} classes of the test targets are not among the training "
                f"targets, such as {min(unknown, key=str)!r}; leave those rows out"
            )


def _no_target(target: str | None, what: str) -> None:
    if target is not None:
        raise DatasetError(f"{what} has its own target; target={target!r} is for tables only")
