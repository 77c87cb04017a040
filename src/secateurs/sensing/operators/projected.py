"""Measurements with nuisance directions projected out: an intercept, a linear part."""

from __future__ import annotations

import numpy as np

from secateurs.core.parameters import Shown, bad_value
from secateurs.sensing.operators.base import (
    Array,
    SensingOperator,
    method,
    real_dtype,
    residuals,
    shape_of,
)

DEPENDENT = 1e-10  # relative singular value below which nuisance columns are dependent


class Projected(SensingOperator):
    """An operator whose measurements have the columns of a nuisance matrix projected out.

    Least squares for y = B c + <A_i, M> with a free c is least squares for (I - Q Q^T) y with
    (I - Q Q^T) A, where Q is an orthonormal basis of B's columns.

    Parameters
    ----------
    operator : SensingOperator
        The operator without the projection.
    nuisance : array, shape [n, q]
        B; columns that depend on others are dropped.

    Attributes
    ----------
    operator : SensingOperator
        The operator without the projection; use it to predict.
    """

    def __init__(self, operator: SensingOperator, nuisance: Array) -> None:
        n = operator.shape[0]
        nuisance = np.asarray(nuisance, dtype=np.float64)
        if nuisance.ndim != 2 or len(nuisance) != n or not nuisance.shape[1]:
            raise bad_value("nuisance", shape_of(nuisance), f"[{n}, q], q >= 1")
        Q, sizes, _ = np.linalg.svd(nuisance, full_matrices=False)
        basis = Q[:, sizes > DEPENDENT * sizes.max(initial=0.0)]
        if not 0 < basis.shape[1] < n:
            raise bad_value("nuisance", Shown(f"rank {basis.shape[1]}"), f"1 to {n - 1}")
        self.operator = operator
        self.shape = operator.shape
        self.dtype = operator.dtype
        self.dense_adjoint = operator.dense_adjoint
        self.row_products = getattr(operator, "row_products", False)
        self.n_nuisance = operator.n_nuisance + basis.shape[1]
        self._basis = np.asfortranarray(basis, dtype=real_dtype(operator.dtype))

    def forward_factors(self, U: Array, signs: Array | None = None) -> Array:
        """Project the operator's result."""
        return self._off(self.operator.forward_factors(U, signs))

    def forward_line(self, U: Array, P: Array, signs: Array | None = None) -> tuple[Array, Array]:
        """Project the operator's result."""
        first, second = self.operator.forward_line(U, P, signs)
        return self._off(first), self._off(second)

    def adjoint(self, residual: Array) -> Array:
        """Apply the operator's adjoint to the projected residual."""
        return self.operator.adjoint(self._off(residuals(self, residual)))

    def adjoint_times(self, residual: Array, V: Array) -> Array:
        """Apply the operator's adjoint to the projected residual."""
        return self.operator.adjoint_times(self._off(residuals(self, residual)), V)

    def adjoint_columns(self, residuals: Array, V: Array) -> Array:
        """Apply the operator's method to the projected residuals."""
        return np.asarray(method(self.operator, "adjoint_columns")(self._off(residuals), V))

    def adjoint_stack(self, residuals: Array) -> Array:
        """Apply the operator's method to the projected residuals."""
        return np.asarray(method(self.operator, "adjoint_stack")(self._off(residuals)))

    def sizes(self) -> Array:
        """Return the sizes of the operator's matrices, without the projection."""
        return np.asarray(method(self.operator, "sizes")())

    def tangent_map(self, V: Array) -> Array:
        """Project the operator's result."""
        found = np.asarray(method(self.operator, "tangent_map")(V))
        return self._off(found.reshape(len(found), -1)).reshape(found.shape)

    def evaluate(self, U: Array, signs: Array | None = None) -> Array:
        """Project the operator's result; it depends on all rows."""
        return self._off(np.asarray(method(self.operator, "evaluate")(U, signs)))

    def project(self, y: Array) -> Array:
        """Remove from y the part that the nuisance explains; keep the type of y."""
        y = self.operator.project(y)
        basis = self._basis.astype(y.dtype, copy=False)
        return np.asarray(y - basis @ (basis.T @ y))

    def _off(self, y: Array) -> Array:
        return np.asarray(y - self._basis @ (self._basis.T @ y))


def centred(operator: SensingOperator) -> Projected:
    """Subtract the mean over the measurements from an operator: A_i - mean A.

    The fit then ignores an unknown constant in y and a common part of all A_i (x x^T has one).

    Parameters
    ----------
    operator : SensingOperator
        At least two measurements.

    Returns
    -------
    Projected
        The operator with a column of ones projected out; it takes raw measurements y.
    """
    return Projected(operator, np.ones((operator.shape[0], 1)))
