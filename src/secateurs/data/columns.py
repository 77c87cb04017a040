"""A matrix as blocks of columns, from an array, a mapped file, a sparse matrix or a table."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import sparse

from secateurs.core.parameters import Shown, bad_value
from secateurs.data.errors import bad_column, bad_data, unreadable
from secateurs.data.sparse_matrix import REAL_KINDS, canonical_sparse

BLOCK_ELEMENTS = 1 << 23  # numbers in a block: 32 MB in float32
MAPPED_BYTES = 1 << 27  # bytes that are read from a mapped file before its pages are handed back
NEIGHBOURS = 1 << 21  # bytes that the system may map when one byte is read
COPIED_ROWS = 16  # rows of a mapped file that are copied at once
ACCEPTED = "a 2-d array, np.memmap, scipy sparse matrix, pandas or pyarrow table, .npy or .parquet"


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns of an [n, d] matrix, read a few at a time.

    Attributes
    ----------
    n, d : int
    read : callable
        ``read(columns)`` with a slice or an integer array gives those columns, [n, k], in
        their own dtype and memory order.
    release : callable
        Called after every block with the number of bytes that were read.
    names : list of str, optional
    rows : callable, optional
        For a matrix in row order: yields the first row number and the values [k, d] of
        successive groups of rows.
    """

    n: int
    d: int
    read: Callable[[Any], NDArray[Any]]
    release: Callable[[int], None] = lambda _: None
    names: list[str] | None = None
    rows: Callable[[], Iterator[tuple[int, NDArray[Any]]]] | None = None

    def blocks(self, width: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the first column number and the values [n, <= width] of each block, once."""
        width = width or max(1, min(self.d, BLOCK_ELEMENTS // max(1, self.n)))
        for start in range(0, self.d, width):
            block = self.read(slice(start, min(start + width, self.d)))
            yield start, block
            self.release(block.nbytes)

    def take(self, columns: NDArray[Any]) -> NDArray[np.float64]:
        """Return the values of these columns, [n, k], in float64.

        Raises
        ------
        ValueError
            A column has infinite or missing values.
        """
        X = np.ascontiguousarray(self.read(np.asarray(columns, dtype=np.intp)), dtype=np.float64)
        self.release(X.nbytes)
        if not np.isfinite(X).all():
            bad = int(np.asarray(columns)[~np.isfinite(X).all(axis=0)][0])
            raise not_finite(self.label(bad))
        return X

    def label(self, column: int) -> str:
        """Return the name of a column for a message."""
        return f"column {column}" + (f" ({self.names[column]})" if self.names else "")


def not_finite(label: str) -> ValueError:
    """Make the error for a column with infinite or missing values."""
    got = Shown("infinite or missing values")
    return bad_value(label, got, "finite numbers", "remove or impute them")


def columns_of(X: Any) -> Columns:
    """Read any supported matrix by columns.

    Parameters
    ----------
    X : array [n, d], np.memmap, scipy sparse, DataFrame, pyarrow Table, path, or Columns
        A path names a ``.npy`` file (mapped, never loaded whole) or a ``.parquet`` file (only
        the columns of a block are read).

    Returns
    -------
    Columns

    Raises
    ------
    ValueError
        The type of `X` is not listed, or it is not two-dimensional, is empty or not numeric.

    Notes
    -----
    Memory: one block.  Sparse blocks are made dense; a CSR matrix is converted to CSC once.
    """
    if isinstance(X, Columns):
        return X
    if isinstance(X, str | Path):
        return _from_file(Path(X))
    if bool(sparse.issparse(X)):
        ready = X.format == "csc" and X.dtype == np.float64 and X.has_canonical_format
        csc = X if ready else canonical_sparse(X.tocsc())
        return _checked(csc.shape, csc.dtype, lambda c: csc[:, c].toarray(order="F"))
    if isinstance(X, pa.Table | pa.RecordBatch):
        return _from_arrow(X, X.select)
    if hasattr(X, "iloc"):
        return _from_frame(X)
    if isinstance(X, np.ndarray):
        return _from_array(X)
    raise bad_value("X", Shown(type(X).__name__), ACCEPTED)


def _checked(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    read: Callable[[Any], NDArray[Any]],
    release: Callable[[int], None] = lambda _: None,
    names: list[str] | None = None,
) -> Columns:
    if len(shape) != 2 or 0 in shape:
        raise bad_value("X", Shown(f"shape {tuple(shape)}"), "[n, d] with n, d >= 1")
    if dtype.kind not in REAL_KINDS:
        raise bad_value("X", Shown(f"dtype {dtype}"), "numbers", "encode the other columns")
    return Columns(int(shape[0]), int(shape[1]), read, release, names)


def _from_array(X: NDArray[Any]) -> Columns:
    """Read an array, mapped or not.

    The pages of a mapped file that were touched count as memory of this process, and the system
    maps up to 2 MB around each.  In a file in row order, one block of columns touches all pages.
    Its rows are therefore copied a few at a time, and the pages are handed back.
    """
    release = _release_pages(X)
    if X.ndim != 2 or X.flags.f_contiguous:
        return _checked(X.shape, X.dtype, lambda c: X[:, c], release)

    def copied(columns: Any) -> NDArray[Any]:
        width = len(range(X.shape[1])[columns]) if isinstance(columns, slice) else len(columns)
        out = np.empty((len(X), width), dtype=X.dtype)
        for r in range(0, len(X), COPIED_ROWS):
            out[r : r + COPIED_ROWS] = X[r : r + COPIED_ROWS, columns]
            release(COPIED_ROWS * NEIGHBOURS)
        return out

    def rows() -> Iterator[tuple[int, NDArray[Any]]]:
        step = max(1, MAPPED_BYTES // max(1, X.strides[0]))
        for r in range(0, len(X), step):
            yield r, X[r : r + step]
            release(MAPPED_BYTES)

    read = copied if isinstance(X, np.memmap) else lambda c: X[:, c]
    return replace(_checked(X.shape, X.dtype, read), rows=rows)


def _release_pages(X: NDArray[Any]) -> Callable[[int], None]:
    """Return a function that counts bytes read and hands pages of a read-only mapped file back."""
    mapped = getattr(X, "_mmap", None)
    if not isinstance(mapped, mmap.mmap) or X.flags.writeable or not hasattr(mapped, "madvise"):
        return lambda _: None
    n_read = 0

    def release(n_bytes: int) -> None:
        nonlocal n_read
        n_read += n_bytes
        if n_read >= MAPPED_BYTES:
            mapped.madvise(mmap.MADV_DONTNEED)
            n_read = 0

    return release


def _from_file(path: Path) -> Columns:
    if not path.is_file() or path.suffix not in (".npy", ".parquet"):
        got = "another file" if path.is_file() else "no such file"
        raise bad_data(path, got, "a .npy or .parquet file")
    if path.suffix == ".parquet":
        file = pq.ParquetFile(path)
        return _from_arrow(file.schema_arrow.empty_table(), file.read, file.metadata.num_rows)
    try:
        X = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise unreadable(path, error, "an array of numbers", "write it with numpy.save") from error
    return columns_of(X)


def _from_arrow(table: Any, select: Callable[[list[str]], Any], n: int | None = None) -> Columns:
    """Read an Arrow table of n rows; `select` gives the named columns as a table."""
    names = list(table.column_names)
    for field in table.schema:
        kind = field.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or kind == pa.bool_()):
            raise _not_numeric(field.name, kind)

    def read(columns: Any) -> NDArray[Any]:
        index = np.arange(len(names))[columns]
        part = select([names[j] for j in index])
        out = np.empty((part.num_rows, len(index)), dtype=np.float64, order="F")
        for k, j in enumerate(index):
            values = part.column(names[j])
            if values.null_count:
                raise not_finite(f"column {j} ({names[j]})")
            out[:, k] = values.to_numpy(zero_copy_only=False)
        return out

    shape = (table.num_rows if n is None else n, len(names))
    return _checked(shape, np.dtype(float), read, names=names)


def _from_frame(frame: Any) -> Columns:
    names = [str(name) for name in frame.columns]
    for name, kind in zip(names, frame.dtypes, strict=True):
        if getattr(kind, "kind", "O") not in REAL_KINDS:
            raise _not_numeric(name, kind)

    def read(columns: Any) -> NDArray[Any]:
        return np.asarray(frame.iloc[:, columns].to_numpy(dtype=np.float64, na_value=np.nan))

    return _checked(frame.shape, np.dtype(float), read, names=names)


def _not_numeric(name: str, kind: Any) -> ValueError:
    return bad_column(name, f"type {kind}", "numbers", "encode or drop it")
