"""What a solver asks of measurements y_i = <A_i, M> of a symmetric (or Hermitian) matrix M.

Factors are rows: U [r, d] and signs s stand for M = sum_k s_k u_k u_k^H.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # float32, float64, or complex128 where the operator is complex

BLOCK_BYTES = 1 << 22  # of data a pass holds at once: what a cache keeps


class SensingOperator(Protocol):
    """n measurements <A_i, M> of d x d matrices.

    Attributes
    ----------
    shape : (int, int)
        (n, d).
    dtype : np.dtype
        Of the factors: results have it too, or its real part's.  Complex means Hermitian M.
    n_nuisance : int
        Dimensions of the measurements that are projected out (see `operators.projected`).
    dense_adjoint : bool
        Whether `adjoint` costs about one pass, so that there is no point in avoiding d x d.
    """

    @property
    def shape(self) -> tuple[int, int]: ...  # noqa: D102

    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102

    @property
    def n_nuisance(self) -> int: ...  # noqa: D102

    @property
    def dense_adjoint(self) -> bool: ...  # noqa: D102

    def forward_factors(self, U: Array, signs: Array | None = None) -> Array:
        """<A_i, sum_k s_k u_k u_k^H>, shape [n], real; signs [r] are +-1, all + without."""
        ...

    def forward_line(self, U: Array, P: Array, signs: Array | None = None) -> tuple[Array, Array]:
        """In one pass <A_i, sum_k s_k Re u_k p_k^H> and <A_i, sum_k s_k p_k p_k^H>.

        With them y(U + t P) = y(U) + 2 t first + t^2 second for every t.
        """
        ...

    def adjoint(self, residual: Array) -> Array:
        """sum_i residual_i A_i, shape [d, d]."""
        ...

    def adjoint_times(self, residual: Array, V: Array) -> Array:
        """(sum_i residual_i A_i) V for V [d, k], shape [d, k]."""
        ...

    def project(self, y: Array) -> Array:
        """Measurements y without their nuisance part; y itself where there is none."""
        ...


class Plain:
    """Nothing is projected out: the defaults of most operators."""

    n_nuisance = 0
    dense_adjoint = False

    def project(self, y: Array) -> Array:
        """Measurements as they are."""
        return y


def product(U: Array, V: Array, signs: Array | None = None) -> Array:
    """sum_k s_k (u_k v_k^H + v_k u_k^H) / 2, shape [d, d]; 2 r d^2 flops."""
    M: Array = (U.T if signs is None else U.T * signs.astype(U.dtype)) @ V.conj()
    return M if U is V else np.asarray((M + M.conj().T) / 2)


def factors(operator: SensingOperator, U: Array) -> Array:
    """U in the type of the operator, so that products never copy its data."""
    d = operator.shape[1]
    if U.ndim != 2 or U.shape[1] != d:
        raise ValueError(f"got factors of shape {U.shape}; expected [r, {d}], one factor a row")
    return np.ascontiguousarray(U, dtype=operator.dtype)


def real_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Type of the measurements of an operator of this type."""
    single = dtype in (np.dtype(np.float32), np.dtype(np.complex64))
    return np.dtype(np.float32) if single else np.dtype(np.float64)


def residuals(operator: SensingOperator, residual: Array) -> Array:
    """Residual in the (real) type of the operator, checked for length."""
    n = operator.shape[0]
    if residual.shape != (n,):
        raise ValueError(f"got a residual of shape {residual.shape}; expected [{n}]")
    return np.ascontiguousarray(residual, dtype=real_dtype(operator.dtype))


def symmetric_dtype(dtype: Any, what: str) -> np.dtype[Any]:
    """float32 or float64, or an error that says what to do."""
    found: np.dtype[Any] = np.dtype(dtype)
    if found not in (np.float32, np.float64):
        raise ValueError(f"got {what} of type {found}; expected float32 or float64: convert it")
    return found
