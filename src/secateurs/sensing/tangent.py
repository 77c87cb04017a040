"""The measurements restricted to the tangent space of the matrices of one rank.

At M = V Lambda V^H with orthonormal columns V, the matrices of rank r can move along

    V B V^H + V C^H + C V^H,   B Hermitian, C = W K orthogonal to V                           (1)

Coordinates x are the entries of B and of sqrt(2) K, off-diagonal entries of B times sqrt(2), real
and imaginary parts apart.  They are isometric: |x| is the Frobenius norm of (1).  So a null vector
of the map x -> y is a direction along which no measurement changes; there is no other one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh, get_lapack_funcs, qr
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh

from secateurs.sensing.operators.base import Array, SensingOperator, method

MOST_COORDINATES = 1200  # up to this many, and ...
MOST_ENTRIES = 20_000_000  # ... up to this many entries n x coordinates, ...
MOST_FLOPS = 4e9  # ... and flops of its Gram matrix, the map is formed
FEW = 3  # coordinates for which Lanczos makes no sense
ACCURACY = 1e-2  # relative, of the extreme eigenvalues by Lanczos
BASIS, RESTARTS = 40, 12  # of Lanczos; about 300 products at most
SOLVER_STEPS = 60  # of conjugate gradients on the normal equations, where the map is not formed


def degrees_of_freedom(d: int, r: int, *, complex_: bool) -> int:
    """Dimension of the d x d matrices of rank r: symmetric ones, or complex Hermitian ones."""
    return 2 * r * d - r * r if complex_ else r * d - r * (r - 1) // 2


@dataclass(frozen=True)
class Extremes:
    """Smallest and largest singular value of the map; `smallest` is None where it is not known."""

    smallest: float | None
    largest: float

    @property
    def ratio(self) -> float | None:
        """Smallest over largest."""
        if self.smallest is None:
            return None
        return self.smallest / self.largest if self.largest > 0 else 0.0


class Tangent:
    """The map (1) -> y of an operator at the column space of some factors.

    Parameters
    ----------
    operator : SensingOperator
    U : array [r, d]
        Factors of M as rows, linearly independent.

    Attributes
    ----------
    V : array [r, d]
        The basis, as rows.
    W : array [d - r, d]
        A basis of its complement, as rows.
    n_coordinates : int
    """

    def __init__(self, operator: SensingOperator, U: Array) -> None:
        self.operator = operator
        self.is_complex = operator.dtype.kind == "c"
        wide = np.complex128 if self.is_complex else np.float64
        r, d = U.shape
        basis = qr(U.T.astype(wide))[0] if r else np.eye(d, dtype=wide)
        self._reflectors = qr(U.T.astype(wide), mode="raw")[0] if r else None
        self.V, self.W = (np.ascontiguousarray(part.T) for part in (basis[:, :r], basis[:, r:]))
        self._upper = np.triu_indices(r, 1)
        self.n_coordinates = degrees_of_freedom(d, r, complex_=self.is_complex)

    @cached_property
    def dense(self) -> Array | None:
        """The map [n, n_coordinates], or None where it is too large."""
        n, size = self.operator.shape[0], self.n_coordinates
        large = size > MOST_COORDINATES or n * size > MOST_ENTRIES or n * size**2 > MOST_FLOPS
        if large and size > FEW:
            return None
        return self._coordinates(method(self.operator, "tangent_map")(self.V))

    def times(self, x: Array) -> Array:
        """The measurements [n] of the direction with these coordinates."""
        if self.dense is not None:
            return np.asarray(self.dense @ x)
        first, _ = self.operator.forward_line(self.V, self._direction(x))
        return np.asarray(2 * first.astype(np.float64))

    def transposed(self, y: Array) -> Array:
        """The transposed map at measurements [n]."""
        if self.dense is not None:
            return np.asarray(self.dense.T @ y)
        product: Array = self.operator.adjoint_times(y, self.V.T).T
        return np.asarray(self._coordinates(product[None])[0])

    def extremes(self) -> Extremes:
        """Smallest and largest singular value, scaled to one measurement: over sqrt(n)."""
        n, size = self.operator.shape[0], self.n_coordinates
        if not size:
            return Extremes(None, 0.0)
        least: float | None
        most: float | None
        if self.dense is not None:
            values = self._gram_values
            least, most = float(values[0]), float(values[-1])
        else:
            most, least = self._by_lanczos("LA"), self._by_lanczos("SA")
        if most is None:
            return Extremes(None, 0.0)
        largest = float(np.sqrt(max(most, 0.0) / n))
        return Extremes(None if least is None else float(np.sqrt(max(least, 0.0) / n)), largest)

    def rank(self, least: float) -> int | None:
        """Number of singular values above this share of the largest, if the map is formed."""
        if self.dense is None:
            return None
        values = self._gram_values
        return int(np.sum(values > least**2 * values[-1])) if values[-1] > 0 else 0

    def off(self, y: Array, n_steps: int = SOLVER_STEPS) -> Array:
        """Remove from measurements [n, k] the part that tangent directions explain.

        The map must be injective.  It takes at most `n_steps` steps where the map is not formed.
        """
        if not self.n_coordinates:
            return y
        if self.dense is not None:
            for _ in range(2):  # the second round removes the rounding of the first
                y = y - self.dense @ cho_solve(self._factor, self.dense.T @ y)
            return np.asarray(y)
        return np.stack([self._off_by_steps(column, n_steps) for column in y.T], axis=1)

    @cached_property
    def _gram(self) -> Array:
        assert self.dense is not None
        return np.asarray(self.dense.T @ self.dense)

    @cached_property
    def _gram_values(self) -> Array:
        values: Array = eigh(self._gram, eigvals_only=True, check_finite=False)
        return values

    @cached_property
    def _factor(self) -> tuple[Array, bool]:
        return cho_factor(self._gram, check_finite=False)

    def _by_lanczos(self, which: Literal["LA", "SA"]) -> float | None:
        """An end of the spectrum of J^T J, or None where Lanczos did not converge."""
        size = self.n_coordinates

        def gram(x: Array) -> Array:
            return self.transposed(self.times(x.reshape(-1)))

        J: Any = LinearOperator((size, size), matvec=gram, dtype=np.dtype(np.float64))
        start = np.random.default_rng(0).standard_normal(size)
        try:
            values = eigsh(
                J, 1, which=which, v0=start, tol=ACCURACY, ncv=min(BASIS, size),
                maxiter=RESTARTS, return_eigenvectors=False,
            )  # fmt: skip
        except (ArpackNoConvergence, ArpackError):
            return None
        return float(values[0])

    def _off_by_steps(self, y: Array, n_steps: int) -> Array:
        """One column of `off` by conjugate gradients on the normal equations (CGLS)."""
        s = self.transposed(y)
        p, size = s, float(s @ s)
        first = size
        for _ in range(n_steps):
            if size <= 1e-24 * first:
                break
            q = self.times(p)
            step = size / float(q @ q)
            y = y - step * q
            s = self.transposed(y)
            p, size = s + (float(s @ s) / size) * p, float(s @ s)
        return y

    def _coordinates(self, products: Array) -> Array:
        """Coordinates [n, n_coordinates] from the products A_i v_k [n, r, d]."""
        r = len(self.V)
        turned = self._turned(products)
        inner, outer = turned[:, :, :r], turned[:, :, r:]
        diagonal = np.einsum("nkk->nk", inner).real
        pairs = np.sqrt(2) * inner[:, self._upper[0], self._upper[1]]
        outer = np.sqrt(2) * outer.reshape(len(outer), -1)
        parts = [diagonal, pairs.real, outer.real]
        if self.is_complex:
            parts += [pairs.imag, outer.imag]
        return np.hstack(parts).astype(np.float64)

    def _turned(self, products: Array) -> Array:
        """Inner products with V and W of vectors [n, r, d], by r reflections: O(n r^2 d)."""
        if self._reflectors is None:
            return products
        packed, scales = self._reflectors
        multiply: Any = get_lapack_funcs("unmqr" if self.is_complex else "ormqr", (packed,))
        flat = products.reshape(-1, products.shape[-1]).conj().astype(packed.dtype)
        size = int(multiply("R", "N", packed, scales, flat[:1], -1)[1][0].real)
        found = multiply("R", "N", packed, scales, flat, max(size, len(flat)))[0]
        return np.asarray(found.conj().reshape(products.shape))

    def _direction(self, x: Array) -> Array:
        """P [r, d] such that (1) is sum_k v_k p_k^H + p_k v_k^H, from the coordinates."""
        r, rest = len(self.V), len(self.W)
        sizes = [r, r * (r - 1) // 2, r * rest]
        if self.is_complex:
            sizes += sizes[1:]
        diagonal, pairs, outer, *imaginary = np.split(x, np.cumsum(sizes)[:-1])
        if imaginary:
            pairs, outer = pairs + 1j * imaginary[0], outer + 1j * imaginary[1]
        B = np.diag(diagonal / 2).astype(self.V.dtype)
        B[self._upper] = pairs / np.sqrt(8)
        B[self._upper[::-1]] = pairs.conj() / np.sqrt(8)
        return np.asarray(B @ self.V + outer.reshape(r, rest) @ self.W / np.sqrt(2))
