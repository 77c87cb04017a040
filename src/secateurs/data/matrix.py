"""Reading of the arrays and sparse matrices that a caller gives to an estimator."""

from __future__ import annotations

from typing import Any

from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from secateurs.data.sparse_matrix import REAL_KINDS, canonical_sparse


def read_matrix(
    estimator: BaseEstimator, X: Any, *, reset: bool, formats: tuple[str, ...] = (), **options: Any
) -> Any:
    """Check the inputs of an estimator by scikit-learn's rules.

    Parameters
    ----------
    estimator : BaseEstimator
    X : object
    reset : bool
        True in a fit; otherwise `X` must have the columns of the fit.
    formats : tuple of {"csr", "csc"}
        Sparse formats that the estimator computes with; others are converted to the first one.
        None refuses sparse matrices.
    **options
        Further arguments of `sklearn.utils.validation.validate_data`.

    Returns
    -------
    array, shape [n, d], or a sparse array as `canonical_sparse` makes it

    Raises
    ------
    ValueError, TypeError
        `X` is not a matrix of finite real numbers, or has other columns than the fit.
    """
    if formats and bool(sparse.issparse(X)):
        if X.format not in formats:
            X = X.asformat(formats[0])
        if X.dtype.kind in REAL_KINDS:  # other kinds are refused below
            X = canonical_sparse(X)
    return validate_data(estimator, X, reset=reset, accept_sparse=formats or False, **options)
