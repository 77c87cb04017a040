"""A matrix as blocks of columns: in memory, a mapped file, sparse, Arrow or Parquet."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

BLOCK_ELEMENTS = 1 << 23  # numbers of a block: 32 MB in float32
MAPPED_BYTES = 1 << 27  # mapped from a file before its pages are handed back
NEIGHBOURS = 1 << 21  # bytes that may be mapped when one is read
ROWS = 16  # rows of a mapped file that are read at once
KINDS = "a 2-d array, np.memmap, scipy sparse matrix, pandas or pyarrow table, .npy or .parquet"


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns of an [n, d] matrix, read a few at a time.

    Attributes
    ----------
    n, d : int
    read : callable
        ``read(columns)`` with a slice or an integer array gives those columns, [n, k], in
        their own type and order of memory.
    release : callable
        Called after every block with the bytes that were read.
    names : list of str, optional
    rows : callable, optional
        Where the matrix lies by rows: gives first row and values [k, d] of a few rows after
        the other.
    """

    n: int
    d: int
    read: Callable[[Any], NDArray[Any]]
    release: Callable[[int], None] = lambda _: None
    names: list[str] | None = None
    rows: Callable[[], Iterator[tuple[int, NDArray[Any]]]] | None = None

    def blocks(self, width: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        """First column and values [n, <= width] of one block after the other, one pass."""
        width = width or max(1, min(self.d, BLOCK_ELEMENTS // max(1, self.n)))
        for start in range(0, self.d, width):
            block = self.read(slice(start, min(start + width, self.d)))
            yield start, block
            self.release(block.nbytes)

    def take(self, columns: NDArray[Any]) -> NDArray[np.float64]:
        """Values of the given columns, [n, k], in float64.

        Raises
        ------
        ValueError
            Infinite or missing values among them.
        """
        X = np.ascontiguousarray(self.read(np.asarray(columns, dtype=np.intp)), dtype=np.float64)
        self.release(X.nbytes)
        if not np.isfinite(X).all():
            bad = int(np.asarray(columns)[~np.isfinite(X).all(axis=0)][0])
            raise not_finite(self.label(bad))
        return X

    def label(self, column: int) -> str:
        """How to call a column in a message."""
        return f"column {column}" + (f" ({self.names[column]})" if self.names else "")


def not_finite(which: str) -> ValueError:
    """What to say about a column with infinite or missing values."""
    return ValueError(f"{which} has infinite or missing values; remove or impute them")


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
        A kind of object that is not listed, not two-dimensional, empty, or not numeric.

    Notes
    -----
    Memory: one block.  Sparse blocks are made dense; rows in CSR order are turned to CSC once.
    """
    if isinstance(X, Columns):
        return X
    if isinstance(X, str | Path):
        return _of_file(Path(X))
    if bool(sparse.issparse(X)):
        csc = X.tocsc()
        return _checked(csc.shape, csc.dtype, lambda c: csc[:, c].toarray(order="F"))
    if hasattr(X, "column_names") and hasattr(X, "schema"):  # pyarrow Table or RecordBatch
        return _of_arrow(X, lambda names: X.select(names))
    if hasattr(X, "iloc"):
        return _of_frame(X)
    if isinstance(X, np.ndarray):
        return _of_array(X)
    raise ValueError(f"got X of type {type(X).__name__}; expected {KINDS}")


def _checked(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    read: Callable[[Any], NDArray[Any]],
    release: Callable[[int], None] = lambda _: None,
    names: list[str] | None = None,
) -> Columns:
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"got X of shape {tuple(shape)}; expected [n, d] with n, d >= 1")
    if dtype.kind not in "fiub":
        raise ValueError(f"got X of dtype {dtype}; expected numbers: encode the other columns")
    return Columns(int(shape[0]), int(shape[1]), read, release, names)


def _of_array(X: NDArray[Any]) -> Columns:
    """Read an array, mapped or not.

    Pages of a mapped file that were touched count as our memory, and the system maps up to 2 MB
    around each: where columns lie by rows one block touches all of the file.  So its rows are
    copied a few at a time, and the pages handed back.
    """
    release = _pages(X)
    if X.ndim != 2 or X.flags.f_contiguous:
        return _checked(X.shape, X.dtype, lambda c: X[:, c], release)

    def copied(columns: Any) -> NDArray[Any]:
        width = len(range(X.shape[1])[columns]) if isinstance(columns, slice) else len(columns)
        out = np.empty((len(X), width), dtype=X.dtype)
        for r in range(0, len(X), ROWS):
            out[r : r + ROWS] = X[r : r + ROWS, columns]
            release(ROWS * NEIGHBOURS)
        return out

    def rows() -> Iterator[tuple[int, NDArray[Any]]]:
        step = max(1, MAPPED_BYTES // max(1, X.strides[0]))
        for r in range(0, len(X), step):
            yield r, X[r : r + step]
            release(MAPPED_BYTES)

    read = copied if isinstance(X, np.memmap) else lambda c: X[:, c]
    return replace(_checked(X.shape, X.dtype, read), rows=rows)


def _pages(X: NDArray[Any]) -> Callable[[int], None]:
    """Hands pages of a read-only mapped file back when enough was read."""
    mapped = getattr(X, "_mmap", None)
    if not isinstance(mapped, mmap.mmap) or X.flags.writeable or not hasattr(mapped, "madvise"):
        return lambda _: None
    held = [0]

    def release(n_bytes: int) -> None:
        held[0] += n_bytes
        if held[0] >= MAPPED_BYTES:
            mapped.madvise(mmap.MADV_DONTNEED)
            held[0] = 0

    return release


def _of_file(path: Path) -> Columns:
    if not path.is_file():
        raise ValueError(f"X={str(path)!r}: there is no such file")
    if path.suffix == ".npy":
        try:
            X = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise ValueError(f"X={str(path)!r}: not an array of numbers ({error})") from error
        return columns_of(X)
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        file = pq.ParquetFile(path)
        return _of_arrow(file.schema_arrow.empty_table(), file.read, file.metadata.num_rows)
    raise ValueError(f"X={str(path)!r}: expected a .npy or .parquet file")


def _of_arrow(table: Any, select: Callable[[list[str]], Any], n: int | None = None) -> Columns:
    """Read an Arrow table; `select` gives the named columns as a table."""
    import pyarrow as pa

    names = list(table.column_names)
    for field in table.schema:
        kind = field.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or kind == pa.bool_()):
            raise ValueError(
                f"column {field.name!r} has type {kind}; expected numbers: encode or drop it"
            )

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


def _of_frame(frame: Any) -> Columns:
    names = [str(name) for name in frame.columns]
    for name, kind in zip(names, frame.dtypes, strict=True):
        if getattr(kind, "kind", "O") not in "fiub":
            raise ValueError(
                f"column {name!r} has type {kind}; expected numbers: encode or drop it"
            )

    def read(columns: Any) -> NDArray[Any]:
        return np.asarray(frame.iloc[:, columns].to_numpy(dtype=np.float64, na_value=np.nan))

    return _checked(frame.shape, np.dtype(float), read, names=names)
