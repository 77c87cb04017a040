"""The roles of the columns of a table: target, input, identifier, group, weight."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from secateurs.core.description import counted
from secateurs.core.parameters import Shown, bad_value
from secateurs.data.checked_dataset import Dataset, checked_dataset
from secateurs.data.column_values import as_numbers, as_texts
from secateurs.data.errors import DatasetError, bad_data, listed, one_line
from secateurs.data.schema_fitting import HINTS
from secateurs.data.suggest import nearest
from secateurs.data.table_files import read_table
from secateurs.data.table_options import TableOptions

_ID_NAME = re.compile(
    r"(.*[_. -])?(id|ids|uid|uuid|guid|index|idx|row|rows|row[_. -]?(names?|number|num|no|nr)"
    r"|rownum|nr|no|obs|observation|case|caseno|serial|seq|record|subject|patient|sample"
    r"|respondent|participant|unnamed: [0-9]+)([_. -]?(id|no|nr|num|number))?|.*[a-z]I[dD]",
)
_TIME_NAME = re.compile(
    r"(.*[_. -])?(t|time|date|year|quarter|month|week|day|hour|minute|second|period|trend|step)s?",
    re.IGNORECASE,
)
_SMALLEST = 3  # rows from which numbers in order are row numbers


def dataset_from_table(
    path: Path, target: str | None, task: str | None, options: TableOptions
) -> Dataset:
    """Read a table, and take the named columns as targets and the others by their roles."""
    strict = () if target is None else (target, *(part.strip() for part in target.split(",")))
    table = read_table(path, options, strict=strict)
    frame = table.frame
    names = [str(name) for name in frame.columns]
    wanted = _targets(path, target, names, table.notes)
    roles = _checked_roles(path, options, names, wanted)
    inputs = [name for name in names if name not in wanted and roles.get(name) is None]
    left_out = _identifiers(frame, inputs, table.index, options.keep)
    inputs = [name for name in inputs if name not in left_out]
    if not inputs:
        got = "no input besides the target"
        do = f"use {next(iter(left_out))!r} with --keep" if left_out else "drop fewer columns"
        raise bad_data(path, got, "at least one column to use as input", do)
    complete = frame[wanted].notna().all(axis=1).to_numpy()
    if len(complete) and not complete.any():
        raise bad_data(
            path, f"no value in the target column {wanted[0]!r}", "a target in some rows"
        )
    notes = [*table.notes, *_role_notes(roles, left_out)]
    if not complete.all():
        notes.append(f"{counted(int((~complete).sum()), 'row')} without a target left out")
    rows = frame if complete.all() else frame[complete].reset_index(drop=True)
    y = rows[wanted[0]] if len(wanted) == 1 else rows[wanted]
    if not complete.all() and len(rows) and len(wanted) == 1 and y.nunique() == 1:
        some = counted(len(rows), "row")
        got = f"the target {y.iloc[0]!r} in {some} and none in {len(frame) - len(rows)}"
        do = "fill the empty cells of the target with another value"
        raise bad_data(path, got, "at least two values", do)
    X = rows[inputs]
    X.attrs = {HINTS: _hints(frame, inputs, options)}
    y.attrs = {}
    dataset = checked_dataset(path, X, y, task, ", ".join(wanted))
    try:
        groups, weights = _groups_and_weights(rows, options)
    except ValueError as error:
        raise DatasetError(f"{path}: {one_line(error)}") from error
    return replace(
        dataset, groups=groups, weights=weights, reading=table.reading, notes=tuple(notes)
    )


def _targets(path: Path, target: str | None, names: list[str], notes: tuple[str, ...]) -> list[str]:
    if target is None:
        raise bad_data(path, "no target", f"the name of one of its columns, {listed(names)}")
    wanted = [target] if target in names else [part.strip() for part in target.split(",")]
    for name in wanted:
        if name not in names:
            known = f"one of its columns, {listed(names)}{nearest(name, names)}"
            raise bad_data(path, f"target {name!r}", known)
        doubled = any(note.startswith(f"a second column {name!r}") for note in notes)
        if doubled or names.count(name) > 1 or wanted.count(name) > 1:
            raise bad_data(path, f"target column {name!r} twice", "one column, named once")
    if len(wanted) == len(names):
        raise bad_data(path, "targets only", "at least one other column, to use as input")
    return wanted


def _checked_roles(
    path: Path, options: TableOptions, names: list[str], wanted: list[str]
) -> dict[str, str]:
    roles = options.roles()
    for name in (*roles, *options.keep):
        if name not in names:
            known = f"one of its columns, {listed(names)}{nearest(name, names)}"
            raise bad_data(path, f"a role for the column {name!r}", known)
        if name in wanted:
            raise bad_data(path, f"two roles for the column {name!r}", "a target without another")
    return roles


def _identifiers(
    frame: pd.DataFrame, inputs: list[str], index: str | None, keep: tuple[str, ...]
) -> dict[str, str]:
    """Find the columns that number or name the rows, with the reason."""
    first = str(frame.columns[0]) if frame.shape[1] else ""
    found = {}
    for name in inputs:
        column = frame[name]
        if name in keep or len(frame) < _SMALLEST or column.isna().any():
            continue
        reason = _identifier(name, column, is_index=name == index, is_first=name == first)
        if reason:
            found[name] = reason
    # a table whose only input is numbered in order has that input
    return found if len(found) < len(inputs) or index in found else {}


def _identifier(name: str, column: pd.Series[Any], *, is_index: bool, is_first: bool) -> str:
    if is_index:
        return "a row index without a name" if column.is_unique else ""
    if column.dtype.kind not in "iu" or not column.is_unique:
        return ""
    named = _ID_NAME.fullmatch(name) or _ID_NAME.fullmatch(name.lower())
    values = column.to_numpy()
    in_order = values[0] in (0, 1) and bool((np.diff(values) == 1).all())
    if in_order and (named or is_first) and not _TIME_NAME.fullmatch(name):
        return "a row number"
    return "an identifier by its name, a different number in every row" if named else ""


def _role_notes(roles: dict[str, str], left_out: dict[str, str]) -> list[str]:
    notes = [
        f"column {name!r} left out: {reason}; --keep {name} uses it"
        for name, reason in left_out.items()
    ]
    return notes + [f"column {name!r}: {role}" for name, role in roles.items()]


def _hints(frame: pd.DataFrame, inputs: list[str], options: TableOptions) -> dict[str, Any]:
    hints = frame.attrs.get(HINTS, {})
    chosen = {name: dict(hints.get(name, {})) for name in inputs}
    for name in options.keep:
        chosen.setdefault(name, {})["keep"] = True
    if "cyclic" in options.dates:
        for name in inputs:
            if frame[name].dtype.kind == "M":
                chosen[name]["cyclic"] = True
    return {name: hint for name, hint in chosen.items() if hint}


def _groups_and_weights(
    rows: pd.DataFrame, options: TableOptions
) -> tuple[NDArray[Any] | None, NDArray[np.float64] | None]:
    groups = weights = None
    if options.group is not None:
        column = rows[options.group]
        if column.isna().any():
            got = Shown(f"no group in {counted(int(column.isna().sum()), 'row')}")
            raise bad_value(f"column {options.group!r}", got, "a group in every row")
        if column.dtype.kind == "M":
            column = column.astype(str)
        groups = np.array(as_texts(column, options.group).tolist())
    if options.weight is not None:
        weights = as_numbers(rows[options.weight], options.weight)
        if not (weights >= 0).all() or not weights.any():
            got = Shown("missing or negative weights, or none above 0")
            raise bad_value(f"column {options.weight!r}", got, "weights >= 0")
    return groups, weights
