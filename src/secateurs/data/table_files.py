"""Reading of CSV and Parquet files, and the choice of their target columns."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from secateurs.data.checked_dataset import Dataset, checked_dataset
from secateurs.data.errors import bad_data, check_file, listed, unreadable
from secateurs.data.parquet import read_parquet
from secateurs.data.suggest import nearest

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".pq")


def dataset_from_table(path: Path, target: str | None, task: str | None) -> Dataset:
    """Read a table, and take the named columns as targets and all others as inputs."""
    frame = read_table_file(path)
    columns = list(frame.columns)
    if target is None:
        raise bad_data(path, "no target", f"the name of one of its columns, {listed(columns)}")
    wanted = [target] if target in columns else [part.strip() for part in target.split(",")]
    for column in wanted:
        if column not in columns:
            known = f"one of its columns, {listed(columns)}{nearest(column, columns)}"
            raise bad_data(path, f"target {column!r}", known)
        if columns.count(column) > 1 or wanted.count(column) > 1:
            raise bad_data(path, f"target column {column!r} twice", "one column, named once")
    if len(wanted) == len(columns):
        raise bad_data(path, "targets only", "at least one other column, to use as input")
    y = frame[wanted[0]] if len(wanted) == 1 else frame[wanted]
    return checked_dataset(path, frame.drop(columns=wanted), y, task, ", ".join(wanted))


def read_table_file(path: Path) -> pd.DataFrame:
    """Read a table with all its columns, whose names become text."""
    name = path.name.lower()
    check_file(path)
    try:
        if name.endswith((".parquet", ".pq")):
            frame = read_parquet(path)
        else:
            separator = "\t" if name.endswith((".tsv", ".tsv.gz")) else ","
            frame = pd.read_csv(path, sep=separator, low_memory=False)
            if frame.shape[1] == 1 and ";" in str(frame.columns[0]):
                frame = pd.read_csv(path, sep=";", low_memory=False)
    except Exception as error:  # a damaged file can raise any error of the readers
        raise unreadable(path, error, "a CSV or Parquet table", "write it again") from error
    if not isinstance(frame.index, pd.RangeIndex):  # how pandas reads a row longer than the header
        raise bad_data(path, "rows with more fields than the header", "a name for every column")
    frame.columns = pd.Index([str(column) for column in frame.columns])
    return frame
