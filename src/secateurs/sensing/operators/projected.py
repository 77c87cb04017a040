"""Measurements with nuisance directions projected out: an intercept, a linear part."""

from __future__ import annotations

import numpy as np

from secateurs.sensing.operators.base import Array, SensingOperator, real_dtype, residuals


class Projected:
    """An operator followed by the projection off the columns of a nuisance matrix.

    y = B c + <A_i, M> with free c is the same least squares problem as (I - Q Q^T) y against
    (I - Q Q^T) A, Q an orthonormal basis of B's columns.

    Parameters
    ----------
    operator : SensingOperator
    nuisance : array, shape [n, q]
        B; dependent columns are dropped.

    Attributes
    ----------
    operator : SensingOperator
        The one without the projection, which predicts.
    """

    def __init__(self, operator: SensingOperator, nuisance: Array) -> None:
        n = operator.shape[0]
        nuisance = np.asarray(nuisance, dtype=np.float64)
        if nuisance.ndim != 2 or len(nuisance) != n or not nuisance.shape[1]:
            raise ValueError(f"got a nuisance of shape {nuisance.shape}; expected [{n}, q], q >= 1")
        Q, sizes, _ = np.linalg.svd(nuisance, full_matrices=False)
        basis = Q[:, sizes > 1e-10 * sizes.max(initial=0.0)]
        if not 0 < basis.shape[1] < n:
            raise ValueError(
                f"got a nuisance of rank {basis.shape[1]} for {n} measurements; expected between "
                f"1 and {n - 1}"
            )
        self.operator = operator
        self.shape = operator.shape
        self.dtype = operator.dtype
        self.dense_adjoint = operator.dense_adjoint
        self.n_nuisance = operator.n_nuisance + basis.shape[1]
        self._basis = np.asfortranarray(basis, dtype=real_dtype(operator.dtype))

    def forward_factors(self, U: Array, signs: Array | None = None) -> Array:
        """(I - Q Q^T) of the operator's."""
        return self._off(self.operator.forward_factors(U, signs))

    def forward_line(self, U: Array, P: Array, signs: Array | None = None) -> tuple[Array, Array]:
        """(I - Q Q^T) of the operator's."""
        first, second = self.operator.forward_line(U, P, signs)
        return self._off(first), self._off(second)

    def adjoint(self, residual: Array) -> Array:
        """The operator's, at the projected residual."""
        return self.operator.adjoint(self._off(residuals(self, residual)))

    def adjoint_times(self, residual: Array, V: Array) -> Array:
        """The operator's, at the projected residual."""
        return self.operator.adjoint_times(self._off(residuals(self, residual)), V)

    def project(self, y: Array) -> Array:
        """Y without what the nuisance explains, in the type of y."""
        y = self.operator.project(y)
        basis = self._basis.astype(y.dtype, copy=False)
        return np.asarray(y - basis @ (basis.T @ y))

    def _off(self, y: Array) -> Array:
        return np.asarray(y - self._basis @ (self._basis.T @ y))


def centred(operator: SensingOperator) -> Projected:
    """The operator with the mean over the measurements taken off: A_i - mean A.

    An unknown constant in y, or a common part of all A_i (as x x^T has), then does not matter.
    """
    return Projected(operator, np.ones((operator.shape[0], 1)))
