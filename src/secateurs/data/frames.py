"""Data frames of other libraries as pandas frames."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import pandas as pd
import pyarrow as pa

from secateurs.core.parameters import Shown, bad_value


def as_frame(X: Any) -> Any:
    """Return a polars, Arrow or other eager data frame as a pandas DataFrame.

    Anything else, and a pandas DataFrame, is returned unchanged; of a DataFrame with some names
    that are text and others that are not, all become text.

    Parameters
    ----------
    X : object
        narwhals recognises the frames of polars, Modin, cuDF and pyarrow.

    Raises
    ------
    ValueError
        The rows of a lazy frame are not read yet.

    Notes
    -----
    Numbers without missing values are not copied where both libraries allow it.
    """
    if isinstance(X, pd.DataFrame):
        return _with_names_of_one_type(X)
    if isinstance(X, pa.RecordBatch):
        X = pa.Table.from_batches([X])
    frame = nw.from_native(X, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        got = Shown(f"a {type(X).__name__}, whose rows are not read yet")
        raise bad_value("X", got, "a frame with its rows", "call collect() first")
    return frame.to_pandas() if isinstance(frame, nw.DataFrame) else X


def _with_names_of_one_type(X: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with names as text where some are text and some are not."""
    n_texts = sum(isinstance(name, str) for name in X.columns)
    if n_texts in (0, len(X.columns)):
        return X
    return X.set_axis([str(name) for name in X.columns], axis=1)
