"""Data frames of other libraries as pandas frames."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import pandas as pd
import pyarrow as pa


def as_frame(X: Any) -> Any:
    """Return a polars, Arrow or other eager data frame as a pandas DataFrame.

    Anything else, and a pandas DataFrame, is returned unchanged.

    Parameters
    ----------
    X : object
        narwhals recognises the frames of polars, Modin, cuDF and pyarrow.

    Notes
    -----
    Numbers without missing values are not copied where both libraries allow it.
    """
    if isinstance(X, pd.DataFrame):
        return X
    if isinstance(X, pa.RecordBatch):
        X = pa.Table.from_batches([X])
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    return frame.to_pandas() if isinstance(frame, nw.DataFrame) else X
