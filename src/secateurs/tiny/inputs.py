"""How rows of data become the small integers that an integer network reads.

Pixels are read as they are, pooled or filtered.  A table is read in two steps, because a
microcontroller has no floating-point numbers:

    raw = round(value * 10^decimals)                     one integer for each column that is used
    x   = clip((raw - low) * multiplier / 2^16) - 128    for a column of numbers
    x   = on if raw == code else off                     for a category; raw is its number

The program in C gets `raw` and computes `x` in integers.  Python computes both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from secateurs.core.parameters import Shown, bad_value
from secateurs.data.encoding import encode
from secateurs.data.frames import as_frame
from secateurs.data.tables import TableSchema
from secateurs.tiny.filters import Filters
from secateurs.tiny.integer_layer import IntArray
from secateurs.tiny.pixels import as_pixels
from secateurs.tiny.pooling import Pooling

FLOOR, CEILING = -128, 127  # the range of an integer feature of a table
MOST_DISTANCE = 65_535  # raw units from the low end that are told apart
INT32 = 2**31 - 1
Stage = Pooling | Filters  # turns an image into the inputs of the network


@dataclass(frozen=True)
class PixelInputs:
    """Whole numbers from 0 to 255, as they are or after a first stage.

    Attributes
    ----------
    n_raw : int
        Numbers in a row before the first stage.
    stage : Pooling, Filters or None
        Turns an image into the inputs of the network, which are bytes too.
    """

    n_raw: int
    stage: Stage | None = None

    low, high = 0, 255

    @property
    def n_features(self) -> int:
        """Inputs of the network."""
        return self.n_raw if self.stage is None else self.stage.n_features

    def raw(self, X: Any) -> IntArray:
        """Return rows as integers [n, n_raw]."""
        return as_pixels(X, self.n_raw).astype(np.int64)

    def features(self, raw: IntArray) -> IntArray:
        """Return the inputs of the network [n, n_features] for rows of integers [n, n_raw]."""
        return raw if self.stage is None else self.stage(raw).astype(np.int64)


@dataclass(frozen=True)
class Source:
    """A number that the caller of the program in C gives.

    Attributes
    ----------
    name : str
    encoded : tuple of int
        Columns of the encoded table that come from it.
    decimals : int
        The number is in units of ``10^-decimals``; 0 for a category.
    fill : int or None
        Replaces a missing value; None where the column has no rule for missing values.
    categories : tuple of str
        The category with number i; none for a column of numbers.
    """

    name: str
    encoded: tuple[int, ...]
    decimals: int = 0
    fill: int | None = None
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class NumberFeature:
    """A column of numbers: ``clip((raw - low) * multiplier / 2^16) - 128``, rounded."""

    name: str
    source: int
    low: int
    multiplier: int

    def values(self, raw: IntArray) -> IntArray:
        """Return the feature for rows of raw numbers [n, n_raw]."""
        distance = np.clip(raw[:, self.source] - self.low, 0, MOST_DISTANCE)
        scaled = (distance * self.multiplier + 32768) >> 16
        found: IntArray = np.minimum(scaled, CEILING - FLOOR) + FLOOR
        return found

    def missing(self, source: Source) -> int:
        """Return the feature of a missing value; the low end where there is no rule."""
        if source.fill is None:
            return FLOOR
        raw = np.full((1, self.source + 1), source.fill, dtype=np.int64)
        return int(self.values(raw)[0])


@dataclass(frozen=True)
class CategoryFeature:
    """One category: `on` where it is that of the row, otherwise `off`."""

    name: str
    source: int
    code: int
    on: int
    off: int

    def values(self, raw: IntArray) -> IntArray:
        """Return the feature for rows of raw numbers [n, n_raw]."""
        return np.where(raw[:, self.source] == self.code, self.on, self.off)


@dataclass(frozen=True)
class TableInputs:
    """The columns of a table that a network reads, as integers from -128 to 127.

    Attributes
    ----------
    sources : tuple of Source
    parts : tuple of NumberFeature or CategoryFeature
        The inputs of the network, in order.  Numbers come first, and number i reads source i.
    n_encoded : int
        Columns of the array, or of the encoded table.
    schema : TableSchema or None
        How a DataFrame is encoded.
    """

    sources: tuple[Source, ...]
    parts: tuple[NumberFeature | CategoryFeature, ...]
    n_encoded: int
    schema: TableSchema | None = None

    low, high = FLOOR, CEILING

    def __post_init__(self) -> None:
        numbers = [i for i, part in enumerate(self.parts) if isinstance(part, NumberFeature)]
        in_order = list(range(len(numbers)))
        if numbers != in_order or [self.parts[i].source for i in numbers] != in_order:
            raise bad_value("parts", Shown("another order"), "numbers first, as the sources are")

    @property
    def n_raw(self) -> int:
        """Numbers that the program in C reads."""
        return len(self.sources)

    @property
    def n_features(self) -> int:
        """Inputs of the network."""
        return len(self.parts)

    def raw(self, X: Any) -> IntArray:
        """Return the raw integers [n, n_raw] of a table or an array.

        A category that the fit did not see is -1.
        """
        values = encoded_rows(X, self.schema, self.n_encoded)
        raw = np.empty((len(values), self.n_raw), dtype=np.int64)
        for j, source in enumerate(self.sources):
            columns = values[:, source.encoded]
            raw[:, j] = _codes(columns, source) if source.categories else _rounded(columns, source)
        return raw

    def features(self, raw: IntArray) -> IntArray:
        """Return the inputs of the network [n, n_features] for rows of raw integers."""
        columns = [part.values(raw) for part in self.parts]
        return np.stack(columns, axis=1) if columns else np.empty((len(raw), 0), dtype=np.int64)


def encoded_rows(X: Any, schema: TableSchema | None, n_encoded: int) -> NDArray[np.float64]:
    """Return a table or an array as finite float64 [n, n_encoded]."""
    frame = as_frame(X)
    if schema is not None and isinstance(frame, pd.DataFrame):
        return encode(schema, frame)
    if hasattr(X, "toarray"):
        frame = X.toarray()
    values = np.asarray(frame)
    if values.ndim != 2 or values.shape[1] != n_encoded:
        raise bad_value("X", Shown(f"shape {values.shape}"), f"[n, {n_encoded}]")
    try:
        values = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise bad_value("X", Shown(f"dtype {values.dtype}"), "real numbers") from error
    if not np.isfinite(values).all():
        raise bad_value("X", Shown("infinite or missing values"), "finite numbers")
    return values


def _rounded(columns: NDArray[np.float64], source: Source) -> IntArray:
    with np.errstate(over="ignore"):
        scaled = np.rint(columns[:, 0] * 10.0**source.decimals)
    return np.clip(scaled, -INT32, INT32).astype(np.int64)


def _codes(columns: NDArray[np.float64], source: Source) -> IntArray:
    """Return the number of the category of each row; -1 where no column is on."""
    if len(source.categories) == 2:  # only the second has a column
        return (columns[:, 0] > 0.5).astype(np.int64)
    on = columns > 0.5
    return np.where(on.any(axis=1), on.argmax(axis=1), -1)
