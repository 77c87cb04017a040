"""Fitting of a schema to a training table, whose rows may be shared between processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from secateurs.core.description import counted
from secateurs.core.parameters import Shown, bad_value
from secateurs.data.column_values import Kind, as_days, as_numbers, as_texts, column_kind
from secateurs.data.tables import (
    MAX_CATEGORIES,
    MISSING,
    ColumnSchema,
    TableSchema,
    refuse_duplicates,
)

HINTS = "secateurs.columns"  # key of DataFrame.attrs: what a file says about its columns
READ_HINTS = {"numeric": ("decimal", "unit", "missing"), "time": ("format", "cyclic", "missing")}
SMALLEST_UNIQUE = 10  # rows from which distinct texts in all of them are identifiers
MANY_TEXTS = 20  # distinct texts that a column of categories may have in any number of rows

Gather = Callable[[Any], list[Any]]  # from this process's JSON value to the list of all processes'


def alone(value: Any) -> list[Any]:
    """Gather the value of a single process, which holds all rows."""
    return [value]


def fit_schema(
    frame: pd.DataFrame, gather: Gather = alone, rows: NDArray[np.int64] | None = None
) -> TableSchema:
    """Read a training table once and decide how to encode it.

    Numbers and booleans are numeric, and dates and times are times; their missing values become
    the median.  Text, categories and mixtures are categorical, by the text of each value (a whole
    float reads as an integer, so ``1`` and ``1.0`` are one category).  Missing values become the
    category `MISSING` if there are any, otherwise the most frequent category.  Categories are
    sorted, except that of two the fill comes first, because the first of two has no encoded
    column.  Beyond `MAX_CATEGORIES`, the most frequent have a column of their own.

    A column without a value is left out, and so is one of texts that differ from row to row
    (`identifies`), unless it has pandas' category type or ``frame.attrs[HINTS]``, which
    `secateurs.data.read_table` fills, says to keep it.

    Parameters
    ----------
    frame : DataFrame, shape [n, d]
        Column names are used as text.
    gather : callable, optional
        For rows that are shared between processes: every process calls it with a JSON value and
        receives the values of all, so that each makes the schema of the whole table.
    rows : array of int64, optional
        Rows from which medians and categories are learnt; all by default.  Whether a column is
        numeric depends on all rows, so that the others can be read too.

    Returns
    -------
    TableSchema
        It does not depend on the order of the rows, nor on how they are shared.

    Raises
    ------
    ValueError
        The table is empty, has duplicate names, a column with infinities, or no column to use.

    Notes
    -----
    O(n d) time, O(n) memory beyond the table.
    """
    if 0 in frame.shape:
        got = Shown(f"{counted(frame.shape[0], 'row')} and {counted(frame.shape[1], 'column')}")
        raise bad_value("the table", got, "at least one of each")
    names = [str(name) for name in frame.columns]
    refuse_duplicates(names)
    if any(part != names for part in gather(names)):
        raise bad_value("the table", Shown("parts with different columns"), "the same in all")
    hints = frame.attrs.get(HINTS, {})
    columns = {name: frame.iloc[:, i] for i, name in enumerate(names)}
    parts = gather([_kind_here(column) for column in columns.values()])
    kinds = {name: _whole_kind(kinds) for name, *kinds in zip(names, *parts, strict=True)}
    numbers = {
        name: as_numbers(columns[name], name) if kind == "numeric" else as_days(columns[name], name)
        for name, kind in kinds.items()
        if kind in ("numeric", "time")
    }
    if rows is not None:
        numbers = {name: column[rows] for name, column in numbers.items()}
        columns = {name: column.iloc[rows] for name, column in columns.items()}
    medians = dict(zip(numbers, _medians(list(numbers.values()), gather), strict=True))
    fitted = []
    for name, kind in kinds.items():
        hint = hints.get(name, {})
        if name in medians:
            known = {key: hint[key] for key in READ_HINTS[kind] if key in hint}
            fitted.append(ColumnSchema(name=name, kind=kind, fill=medians[name], **known))
        elif kind == "categorical":
            fitted.append(_fit_categories(name, columns[name], gather, hint))
        else:
            fitted.append(left_out(name, "no value in any row"))
    if all(column.kind == "left out" for column in fitted):
        got = Shown(f"no column to use: {', '.join(f'{c.name} ({c.reason})' for c in fitted)}")
        raise bad_value("the table", got, "at least one", "keep one of them with --keep")
    return TableSchema(version=2, columns=fitted)


def left_out(name: str, reason: str) -> ColumnSchema:
    """Make the schema of a column that is not used."""
    return ColumnSchema(name=name, kind="left out", fill=None, reason=reason)


def identifies(n_texts: int, n_rows: int) -> bool:
    """Whether so many distinct texts in so many rows identify rows instead of describing them.

    True if all differ in at least `SMALLEST_UNIQUE` rows, or if there are more than
    `MANY_TEXTS` and fewer than two rows for each.
    """
    if n_texts == n_rows:
        return n_rows >= SMALLEST_UNIQUE
    return n_texts > MANY_TEXTS and 2 * n_texts > n_rows


def _kind_here(series: pd.Series[Any]) -> Kind | None:
    """Kind of a column by the rows of this process; None if they hold no value."""
    return None if series.isna().all() else column_kind(series)


def _whole_kind(kinds: list[Kind | None]) -> Kind:
    """Kind of a column by the kinds of its parts: text in one part makes categories."""
    known = {kind for kind in kinds if kind is not None}
    return known.pop() if len(known) == 1 else "categorical" if known else "left out"


def _fit_categories(
    name: str, series: pd.Series[Any], gather: Gather, hint: dict[str, Any]
) -> ColumnSchema:
    texts = as_texts(series, name)
    present = series.notna().to_numpy()
    chosen = isinstance(series.dtype, pd.CategoricalDtype) or bool(hint.get("keep"))
    parts = gather([Counter(texts[present].tolist()), bool(present.all()), chosen])
    counts: Counter[str] = sum((Counter(part) for part, *_ in parts), Counter())
    chosen = any(part_chosen for *_, part_chosen in parts)
    if not chosen and identifies(len(counts), counts.total()):
        return left_out(name, f"{len(counts)} different texts in {counts.total()} rows")
    complete = all(all_present for _, all_present, _ in parts)
    order = sorted(counts, key=lambda text: (-counts[text], text))
    fill = order[0] if complete and counts else MISSING
    kept = [text for text in order if text != MISSING][:MAX_CATEGORIES]
    categories = sorted({*kept, fill, *({MISSING} & counts.keys())})
    if len(categories) == 2:
        categories.sort(key=lambda category: category != fill)
    return ColumnSchema(
        name=name,
        kind="categorical",
        fill=fill,
        categories=categories,
        n_rare=len(counts.keys() - set(categories)),
        missing=hint.get("missing", []),
    )


def _medians(columns: list[NDArray[np.float64]], gather: Gather) -> list[float]:
    """Median of each column over all parts of its rows; missing values are left out.

    For several parts, bisection on the order of the doubles finds the exact median in 64 rounds
    of counts.
    """
    present = [np.sort(column[~np.isnan(column)]) for column in columns]
    counts = gather([len(column) for column in present])
    if len(counts) == 1:
        return [float(np.median(column)) if len(column) else 0.0 for column in present]
    keys = [_ordered(column) for column in present]
    n = np.sum(counts, axis=0)
    middles = [_of_rank(rank, keys, gather) for rank in ((n - 1) // 2, n // 2)]
    return [float(np.mean(pair)) for pair in zip(*middles, strict=True)]


def _of_rank(
    rank: NDArray[np.int64], keys: list[NDArray[np.int64]], gather: Gather
) -> NDArray[np.float64]:
    """Value of this rank, counted from 0, in each column."""
    # Python integers, because the sum of two ends does not fit into 64 bits
    low = np.full(len(keys), -(2**63), dtype=object)
    high = np.full(len(keys), 2**63 - 1, dtype=object)
    while (low < high).any():
        guess = (low + high) // 2
        here = [int(np.searchsorted(key, g, "right")) for key, g in zip(keys, guess, strict=True)]
        enough = np.sum(gather(here), axis=0) > rank
        low, high = np.where(enough, low, guess + 1), np.where(enough, guess, high)
    return _ordered(low.astype(np.int64).view(np.float64)).view(np.float64)


def _ordered(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Integers in the order of the doubles; on their bits, it is its own inverse."""
    bits = values.view(np.int64)
    return np.where(bits < 0, bits ^ np.int64(2**63 - 1), bits)
