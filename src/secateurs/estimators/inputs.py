"""Tables of mixed types as inputs of an estimator, and the names of what they become."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import validate_data

from secateurs.problems.tables import Gather, alone, encode, encoded_names, fit_schema


def read_table(
    estimator: Any, X: Any, *, reset: bool, gather: Gather = alone
) -> NDArray[np.float32] | None:
    """A DataFrame, encoded; how is kept in ``estimator.table_``.  None for anything else.

    Parameters
    ----------
    estimator : estimator
        Its ``table_`` is set when `reset`, and followed otherwise.
    X : anything
    reset : bool
        Whether this is the fit.
    gather : callable, optional
        As for `fit_schema`.

    Raises
    ------
    ValueError
        The fit saw categories, and this is no DataFrame.
    """
    if reset:
        estimator.table_ = None
    if isinstance(X, pd.DataFrame):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        if reset:
            estimator.table_ = fit_schema(X, gather)
        if estimator.table_ is not None:
            return encode(estimator.table_, X)
    if estimator.table_ is not None and estimator.table_.of_kind("categorical"):
        raise ValueError(
            f"{type(estimator).__name__} was fitted on a DataFrame with categories; "
            "give a DataFrame with the same columns"
        )
    return None


def input_names(estimator: Any) -> list[str]:
    """Names of the columns a fitted estimator computes with."""
    if estimator.table_ is not None:
        return encoded_names(estimator.table_)
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None:
        return [str(name) for name in names]
    return [f"x{j}" for j in range(estimator.n_features_in_)]
