"""The operators of measurements y_i = <A_i, M> of a symmetric (or Hermitian) matrix M.

Factors are stored as rows: U [r, d] and signs s stand for M = sum_k s_k u_k u_k^H.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.core.parameters import Shown, bad_value

Array = NDArray[Any]  # float32, float64, or complex128 where the operator is complex

BLOCK_BYTES = 1 << 22  # data that a pass holds at once; this much fits into a cache
SIZE_PROBES = 24  # random matrices by which sizes of measurements are estimated


class SensingOperator:
    """The n measurements <A_i, M> of a d x d matrix M, as the solvers use them.

    An operator implements `_inner` and `adjoint` and inherits the rest.  The solvers also accept
    an object of another class with all these attributes and methods.  The arguments of the methods
    are described here, and are the same for every operator.

    Attributes
    ----------
    shape : (int, int)
        (n, d).
    dtype : np.dtype
        Type of the factors.  Results have this type, or its real part's.  A complex type means
        that M is Hermitian.
    n_nuisance : int
        Dimensions of the measurements that are projected out (see `operators.projected`).
    dense_adjoint : bool
        True if `adjoint` costs about one pass.  The solvers then form d x d matrices.
    row_products : bool
        True if `adjoint_columns` costs about one pass.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    n_nuisance: int = 0
    dense_adjoint: bool = False
    row_products: bool = False

    def _inner(self, pairs: list[tuple[Array, Array]], signs: Array | None) -> list[Array]:
        """<A_i, sum_k s_k Re u_k v_k^H> [n] for each pair (U, V) of checked factors, in one pass.

        The pairs are (U, U), or (U, P) and (P, P).
        """
        raise NotImplementedError

    def forward_factors(self, U: Array, signs: Array | None = None) -> Array:
        """Compute <A_i, sum_k s_k u_k u_k^H>.

        Parameters
        ----------
        U : array, shape [r, d]
            Factors u_k as rows.
        signs : array, shape [r], optional
            The s_k, +1 or -1; all are +1 by default.

        Returns
        -------
        array, shape [n]
            The measurements, real.
        """
        U = factors(self, U)
        return self._inner([(U, U)], signs)[0]

    def forward_line(self, U: Array, P: Array, signs: Array | None = None) -> tuple[Array, Array]:
        """Compute <A_i, sum_k s_k Re u_k p_k^H> and <A_i, sum_k s_k p_k p_k^H>, in one pass.

        They give y(U + t P) = y(U) + 2 t first + t^2 second for every t.

        Parameters
        ----------
        U : array, shape [r, d]
            Factors as rows, where the line starts.
        P : array, shape [r, d]
            The direction of the line.
        signs : array, shape [r], optional
            The s_k, +1 or -1; all are +1 by default.

        Returns
        -------
        first : array, shape [n]
            Half the derivative of the measurements at t = 0, real.
        second : array, shape [n]
            The measurements of the direction, real.
        """
        U, P = factors(self, U), factors(self, P)
        first, second = self._inner([(U, P), (P, P)], signs)
        return first, second

    def adjoint(self, residual: Array) -> Array:
        """Compute the matrix sum_i residual_i A_i.

        Parameters
        ----------
        residual : array, shape [n]
            The weight of each A_i, real.

        Returns
        -------
        array, shape [d, d]
            Symmetric, or Hermitian for a complex type.
        """
        raise NotImplementedError

    def adjoint_times(self, residual: Array, V: Array) -> Array:
        """Compute (sum_i residual_i A_i) V; by default `adjoint` forms the matrix.

        Parameters
        ----------
        residual : array, shape [n]
            The weight of each A_i, real.
        V : array, shape [d, k]
            Vectors as columns.

        Returns
        -------
        array, shape [d, k]
            The product with each column of `V`.
        """
        return np.asarray(self.adjoint(residual) @ factors(self, V.T).T)

    def project(self, y: Array) -> Array:
        """Remove the nuisance part from measurements; by default there is none.

        Parameters
        ----------
        y : array, shape [n]
            Raw measurements.

        Returns
        -------
        array, shape [n]
            What is left of them.
        """
        return y

    # what follows has a default that needs only the methods above; `method` finds it for objects
    # of other classes

    def adjoint_columns(self, residuals: Array, V: Array) -> Array:
        """Compute (sum_i residuals_ib A_i) v_b for each column b.

        Parameters
        ----------
        residuals : array, shape [n, k]
            Weights of the A_i, other ones for each column.
        V : array, shape [d, k]
            Vectors as columns.

        Returns
        -------
        array, shape [d, k]
            One product for each column.
        """
        pairs = zip(residuals.T, V.T, strict=True)
        return np.hstack([self.adjoint_times(r, v[:, None]) for r, v in pairs])

    def adjoint_stack(self, residuals: Array) -> Array:
        """Compute the matrices sum_i residuals_ib A_i, one for each column b.

        Parameters
        ----------
        residuals : array, shape [n, k]
            Weights of the A_i, other ones for each matrix.

        Returns
        -------
        array, shape [k, d, d]
            The matrices.
        """
        return np.stack([self.adjoint(column) for column in residuals.T])

    def sizes(self) -> Array:
        """Estimate the Frobenius norms of the A_i.

        By default a size is the root mean square of the measurements of 24 random matrices.

        Returns
        -------
        array, shape [n]
            The norms, or numbers in about the same proportions.
        """
        rng = np.random.default_rng(0)
        squares = np.zeros(self.shape[0])
        for _ in range(SIZE_PROBES):
            U = rng.standard_normal((2, self.shape[1]))
            squares += self.forward_factors(U, np.array([1.0, -1.0])).astype(np.float64) ** 2
        return np.asarray(np.sqrt(squares / SIZE_PROBES))

    def tangent_map(self, V: Array) -> Array:
        """Compute A_i v_k for all i and k.

        By default it takes r d passes, or 2 r d for a complex type.

        Parameters
        ----------
        V : array, shape [r, d]
            Vectors v_k as rows.

        Returns
        -------
        array, shape [n, r, d]
            The products, in the type of the operator.
        """
        n, d = self.shape
        units = (1.0, 1.0j) if self.dtype.kind == "c" else (1.0,)
        found = np.zeros((n, len(V), d), dtype=self.dtype)
        for k in range(len(V)):
            for j in range(d):
                for unit in units:
                    P = np.zeros((len(V), d), dtype=self.dtype)
                    P[k, j] = unit
                    found[:, k, j] += unit * self.forward_line(V, P)[0]
        return found

    def evaluate(self, U: Array, signs: Array | None = None) -> Array:
        """Compute the values of `forward_factors` for predictions.

        Operators that hold rows compute each value in float64 and in an order that does not
        depend on the other rows.

        Parameters
        ----------
        U : array, shape [r, d]
            Factors, as for `forward_factors`.
        signs : array, shape [r], optional
            Signs, as for `forward_factors`.

        Returns
        -------
        array of float64, shape [n]
            The measurements.
        """
        return np.asarray(self.forward_factors(U, signs), dtype=np.float64)


def method(operator: Any, name: str) -> Any:
    """A method of an operator, or the default of `SensingOperator` where its class has none."""
    return getattr(operator, name, None) or partial(getattr(SensingOperator, name), operator)


def product(U: Array, V: Array, signs: Array | None = None) -> Array:
    """sum_k s_k (u_k v_k^H + v_k u_k^H) / 2, shape [d, d]; 2 r d^2 flops."""
    M: Array = (U.T if signs is None else U.T * signs.astype(U.dtype)) @ V.conj()
    return M if U is V else np.asarray((M + M.conj().T) / 2)


def factors(operator: SensingOperator, U: Array) -> Array:
    """Check factors and convert them to the type of the operator, so that its data is not."""
    d = operator.shape[1]
    if U.ndim != 2 or U.shape[1] != d:
        raise bad_value("factors", shape_of(U), f"shape [r, {d}], one factor a row")
    return np.ascontiguousarray(U, dtype=operator.dtype)


def residuals(operator: SensingOperator, residual: Array) -> Array:
    """Check a residual and convert it to the (real) type of the operator."""
    n = operator.shape[0]
    if residual.shape != (n,):
        raise bad_value("residual", shape_of(residual), f"shape [{n}]")
    return np.ascontiguousarray(residual, dtype=real_dtype(operator.dtype))


def real_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Type of the measurements of an operator of this type."""
    single = dtype in (np.dtype(np.float32), np.dtype(np.complex64))
    return np.dtype(np.float32) if single else np.dtype(np.float64)


def symmetric_dtype(dtype: Any, name: str) -> np.dtype[Any]:
    """Return float32 or float64, or raise ValueError for the argument of this name."""
    found: np.dtype[Any] = np.dtype(dtype)
    if found not in (np.float32, np.float64):
        raise bad_value(name, Shown(f"type {found}"), "float32 or float64", "convert it")
    return found


def index_arrays(first: Any, second: Any, names: str, n_values: int) -> tuple[Array, Array]:
    """Return two int64 arrays [n] of numbers from 0 to n_values - 1, or raise ValueError."""
    a, b = np.asarray(first), np.asarray(second)
    if a.ndim != 1 or a.shape != b.shape or not len(a):
        raise bad_value(names, Shown(f"shapes {a.shape} and {b.shape}"), "[n] both, n >= 1")
    if a.dtype.kind not in "iu" or b.dtype.kind not in "iu":
        raise bad_value(names, Shown(f"types {a.dtype} and {b.dtype}"), "integers")
    low, high = min(a.min(), b.min()), max(a.max(), b.max())
    if low < 0 or high >= n_values:
        raise bad_value(names, Shown(f"values {low} to {high}"), f"0 to {n_values - 1}")
    return a.astype(np.int64), b.astype(np.int64)


def shape_of(array: Any) -> Shown:
    """Describe the shape of an array, for a message."""
    return Shown(f"shape {tuple(array.shape)}")
