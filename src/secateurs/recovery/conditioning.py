"""How far rounding and the residual leave the predictions of a fit open.

Let J be the Jacobian of the outputs on the rows, and tau the norm of a change on them that the
residual or rounding hides.  A change v of the weights with |J v| <= tau changes the output of
another row, whose derivatives are g, by at most

    |g.v| <= tau sqrt(g^T (J^T J)^-1 g),                                                      (1)

and this is attained.  Two columns that differ by little make (1) large: the part of one weight that
belongs to the other is then not known.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from secateurs.recovery.fitted_rows import LARGE_BLOCK, FittedRows, FloatArray

SINGULAR = 1e-10  # eigenvalue of J^T J at unit diagonal that counts as zero
OPEN = 1e-7  # error of an output that counts, relative to the largest


def loose_weights(case: FittedRows) -> str:
    """Find combinations of weights that change other rows, but not these by more than rounding."""
    if not case.W.nnz:
        return ""
    size = case.W.nnz + case.intercept
    Q = np.zeros((size, size))
    for _, ZT in case.blocks(LARGE_BLOCK):
        JT = jacobian(case, ZT)
        Q += JT @ JT.T
    norm = np.sqrt(np.diagonal(Q))
    norm[norm == 0.0] = 1.0
    Q /= norm
    Q /= norm[:, None]
    JT = jacobian(case, case.elsewhere) / norm[:, None]
    try:
        R = linalg.cholesky(Q, check_finite=False)
        if np.diagonal(R).min() ** 2 > SINGULAR:
            return _open(case, linalg.solve_triangular(R, JT, trans="T", check_finite=False))
    except linalg.LinAlgError:
        pass
    values, vectors = linalg.eigh(Q, check_finite=False)
    null = vectors[:, values <= SINGULAR]
    seen = np.linalg.norm(null.T @ JT, axis=1).max(initial=0.0)
    if seen > np.sqrt(SINGULAR) * np.linalg.norm(JT, axis=1).max():
        return f"{null.shape[1]} combinations of weights change no row, but do on other inputs"
    kept = values > SINGULAR
    return _open(case, (vectors[:, kept] / np.sqrt(values[kept])).T @ JT)


def jacobian(case: FittedRows, ZT: FloatArray) -> FloatArray:
    """Return J^T [nnz, b], and a row of ones for the constant."""
    JT = np.ones((case.W.nnz + case.intercept, ZT.shape[1]))
    is_open = np.asarray(case.W @ ZT) > 0.0
    np.multiply(ZT[case.W.indices], is_open[case.neuron], out=JT[: case.W.nnz])
    return JT


def _open(case: FittedRows, leverage: FloatArray) -> str:
    """Judge (1) for drawn rows, whose derivatives are the columns [nnz, b] of `leverage`."""
    error = case.slack * float(np.linalg.norm(leverage, axis=0).max(initial=0.0))
    if error <= OPEN * case.peak:
        return ""
    return f"rounding leaves outputs open by {error / case.peak:.1g} of the largest"
