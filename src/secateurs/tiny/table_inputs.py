"""Choose the integer features of a table from its training rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from secateurs.core.parameters import Shown, bad_value
from secateurs.data.tables import ColumnSchema, TableSchema
from secateurs.tiny.inputs import (
    CEILING,
    FLOOR,
    INT32,
    MOST_DISTANCE,
    CategoryFeature,
    NumberFeature,
    Source,
    TableInputs,
)

FloatArray = NDArray[np.float64]

LEAST_RANGE, MOST_RANGE = 2.0, 8.0  # scaled inputs beyond the range are clipped
UNKNOWN_RANGE = 4.0  # without rows
BULK = 0.999  # share of the entries of a column that the range should hold
LEAST_UNITS = 2560  # raw units from one end of a feature to the other
MOST_DECIMALS = 30


def fit_table_inputs(
    X: FloatArray,
    columns: Sequence[int],
    shift: FloatArray,
    scale: FloatArray,
    names: Sequence[str],
    schema: TableSchema | None,
) -> tuple[TableInputs, float]:
    """Choose the range of all features, and decimals, low end and multiplier of each.

    Parameters
    ----------
    X : float64 array [n, n_encoded]
        Training rows, encoded.
    columns : sequence of int
        Columns that the network reads, increasing.
    shift, scale : float64 arrays [len(columns)]
        The network was trained on ``(X[:, columns] - shift) * scale``.
    names : sequence of str
        Names of the encoded columns.
    schema : TableSchema or None

    Returns
    -------
    inputs : TableInputs
    unit : float
        One unit of a feature, in units of the scaled inputs.  It is the same for all features, so
        that one step size of the weights suits all of them.
    """
    owners = _owners(columns, X.shape[1], names, schema)
    scaled = (X[:, list(columns)] - shift) * scale
    numbers = [i for i, j in enumerate(columns) if not owners[j][1]]
    unit = _range(scaled[:, numbers]) / CEILING
    sources: list[Source] = []
    place: dict[str, int] = {}
    parts: list[NumberFeature | CategoryFeature] = []
    for i, j in enumerate(columns):
        source, is_category = owners[j]
        if is_category:
            at = place.setdefault(source.name, len(sources))
            if at == len(sources):
                sources.append(source)
            code = 1 if len(source.categories) == 2 else j - source.encoded[0]
            off, on = (_clipped((v - shift[i]) * scale[i] / unit) for v in (0, 1))
            parts.append(CategoryFeature(names[j], at, code, on, off))
            continue
        ends = [shift[i] + end * unit / scale[i] for end in (FLOOR, CEILING)]
        decimals, low, multiplier = _affine(ends[0], ends[1], X[:, j], names[j])
        fill = _raw_fill(source, j, schema, decimals)
        place[names[j]] = len(sources)
        sources.append(Source(source.name, source.encoded, decimals, fill))
        parts.append(NumberFeature(names[j], len(sources) - 1, low, multiplier))
    return TableInputs(tuple(sources), tuple(parts), X.shape[1], schema), unit


def _owners(
    columns: Sequence[int], n_encoded: int, names: Sequence[str], schema: TableSchema | None
) -> dict[int, tuple[Source, bool]]:
    """Return the source of each encoded column, and whether it is a category.

    The cyclic parts of a time are sources of their own: the caller computes them.
    """
    if schema is None:
        return {j: (Source(names[j], (j,)), False) for j in columns}
    owners: dict[int, tuple[Source, bool]] = {}
    first = 0
    for position in schema.encoded_order:
        column = schema.columns[position]
        width = len(column.encoded_names)
        encoded = tuple(range(first, first + width))
        for j in encoded:
            if column.kind == "categorical":
                owners[j] = (_category_source(column, encoded), True)
            else:
                owners[j] = (Source(names[j], (j,)), False)
        first += width
    assert first == n_encoded
    return owners


def _category_source(column: ColumnSchema, encoded: tuple[int, ...]) -> Source:
    categories = tuple(column.categories or ())
    return Source(column.name, encoded, 0, categories.index(str(column.fill)), categories)


def _raw_fill(source: Source, column: int, schema: TableSchema | None, decimals: int) -> int | None:
    """Return the raw number that stands for a missing value of a column of numbers."""
    if schema is None:
        return None
    fills = {c.name: c.fill for c in schema.columns if c.kind in ("numeric", "time")}
    fill = fills.get(source.name)
    if not isinstance(fill, int | float):  # a cyclic part of a time
        return None
    del column
    return int(np.clip(np.rint(fill * 10.0**decimals), -INT32, INT32))


def _range(scaled: FloatArray) -> float:
    """Return the largest |scaled input| that a feature can stand for."""
    if not scaled.size:
        return UNKNOWN_RANGE
    bulk = float(np.quantile(np.abs(scaled), BULK, axis=0).max())
    return min(MOST_RANGE, max(LEAST_RANGE, bulk))


def _clipped(value: float) -> int:
    return int(np.clip(np.rint(value), FLOOR, CEILING))


def _affine(low_end: float, high_end: float, values: FloatArray, name: str) -> tuple[int, int, int]:
    """Return decimals, low end in raw units, and multiplier of a column of numbers.

    The decimals are those of the data, where these are coarse enough to stay in 16 bits; otherwise
    as many as give at least `LEAST_UNITS` units between the ends.
    """
    span = high_end - low_end
    if not (math.isfinite(span) and span > 0):
        raise bad_value(f"column {name!r}", span, "a finite range of its values")
    decimals = math.ceil(math.log10(LEAST_UNITS / span))
    least = math.ceil(math.log10((CEILING - FLOOR + 1) / span))
    for fewer in range(least, decimals if len(values) else least):
        if _are_multiples(values, fewer):
            decimals = fewer
            break
    unit = 10.0**-decimals
    low, units = round(low_end / unit), round(span / unit)
    if max(abs(low), abs(round(high_end / unit))) > INT32 or abs(decimals) > MOST_DECIMALS:
        raise bad_value(
            f"column {name!r}",
            Shown(f"values from {low_end:.6g} to {high_end:.6g}"),
            "values that 32 bits hold at a useful resolution",
            "subtract a constant from the column",
        )
    assert units <= MOST_DISTANCE
    return decimals, low, min(round((CEILING - FLOOR) * 65536 / units), 65535)


def _are_multiples(values: FloatArray, decimals: int) -> bool:
    """Whether all values have at most so many decimals."""
    scaled = values * 10.0**decimals
    return bool((np.abs(scaled - np.rint(scaled)) <= 1e-9 * np.maximum(1.0, np.abs(scaled))).all())
