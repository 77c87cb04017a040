"""One canonical form for sparse matrices, however a caller has stored them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from secateurs.core.parameters import Shown, bad_value

REAL_KINDS = "biuf"  # dtype kinds of booleans, integers and floats
LARGEST_INDEX = int(np.iinfo(np.int32).max)


def canonical_sparse(X: Any) -> Any:
    """Copy a scipy sparse matrix of real numbers so that equal matrices become equal arrays.

    Parameters
    ----------
    X : scipy sparse array or matrix, shape [n, d]
        It is not changed, and may be read-only.

    Returns
    -------
    csr_array or csc_array of float64, shape [n, d]
        CSC where `X` is CSC.  Indices are int32 and sorted; there are no duplicates and no stored
        zeros.  Costs O(nnz) time and 12 bytes per stored number.

    Raises
    ------
    ValueError
        There are more entries, rows or columns than int32 can index.
    """
    largest = max(X.nnz, *X.shape)
    if largest > LARGEST_INDEX:
        got = Shown(f"a sparse matrix of shape {X.shape} with {X.nnz} entries")
        raise bad_value("X", got, f"at most {LARGEST_INDEX} of each", "fit on fewer rows")
    kind = sparse.csc_array if X.format == "csc" else sparse.csr_array
    copy = kind(X, dtype=np.float64, copy=True)
    copy.indices, copy.indptr = (at.astype(np.int32) for at in (copy.indices, copy.indptr))
    copy.sum_duplicates()  # sorts the indices too
    copy.eliminate_zeros()
    return copy
