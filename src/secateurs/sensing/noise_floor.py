"""What noise alone would leave: residuals with random signs, and planted components.

    N(e) = (1/n) sum_i w_i c(e_i) A_i,   T(e) = largest eigenvalue of N(e) off the matrix M      (1)
    w_i = 1 / |A_i|,  c cuts e_i at 3 deviations

If the residual e is noise that is independent and symmetric about 0, then e with random signs is
distributed as e, whatever the measurements are.  T(e) exceeds the largest of k values with random
signs with probability 1 / (k + 1).  Neither the noise nor the measurements need be Gaussian.

That T(e) looks like noise does not mean that nothing is hidden: where a few measurements are much
larger than the rest, they dominate N.  The weights w and the cut c take away some of this, and what
is left is measured.  The residual loses its strongest direction and gets random signs, so that a
hidden component is not in it; then a component of a known size is planted, in a random direction,
and the part that tangent directions explain is removed, as a fit would do.  If a component of that
size is hidden in e, T(e) is distributed as these k values of T, or is larger, because the planted
residuals have the smaller noise.  So

    T(e) is below all k of them with probability at most 1 / (k + 1).                            (2)

The removal of tangent directions assumes that the fit moves little where the component is added.
Where random starts lead to other matrices (`identification`), it moves far, and (2) is not used.

Source: derived.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from secateurs.sensing.operators.base import Array, SensingOperator, method
from secateurs.sensing.operators.spectrum import SMALL
from secateurs.sensing.tangent import Tangent

Product = Callable[[Array], Array]  # of every matrix of a stack with its own vector

N_SIGNS = 19  # residuals with random signs, so that the confidence is 95 %
REMOVAL_STEPS = 12  # of the removal of tangent directions, where the map is not formed
STEPS, STEPS_LARGE = 16, 10  # Lanczos steps of a largest eigenvalue; for d above `SMALL`
MARGIN = 1.05  # T(e) over the largest with random signs, from which a component is visible
LIGHTEST = 0.1  # share of the median size below which a measurement weighs no more
CUT = 4.5  # c cuts at this many medians of |e|: 3 standard deviations of Gaussian noise
MOST_STACKED = 1 << 22  # entries of matrices that are held at once


@dataclass(frozen=True)
class Comparison:
    """T of a residual beside k other values of T: those with random signs, or with components.

    Attributes
    ----------
    observed : float
    least, largest : float
        The extremes of the other values.
    k : int
    """

    observed: float
    least: float
    largest: float
    k: int

    @property
    def ratio(self) -> float:
        """`observed` over `largest`."""
        if self.largest > 0:
            return self.observed / self.largest
        return np.inf if self.observed > 0 else 0.0

    @property
    def above(self) -> bool:
        """Whether `observed` is larger than all others, by the margin."""
        return self.ratio > MARGIN

    @property
    def below(self) -> bool:
        """Whether `observed` is smaller than all others."""
        return self.observed < self.least

    @property
    def confidence(self) -> float:
        """The probability that one value among k + 1 alike is not the first, or not the last."""
        return self.k / (self.k + 1)


class NoiseFloor:
    """T of (1) for one operator.

    Parameters
    ----------
    operator : SensingOperator
    signed : bool
        T is then the largest modulus of an eigenvalue.
    rng : Generator
    """

    def __init__(
        self, operator: SensingOperator, *, signed: bool, rng: np.random.Generator
    ) -> None:
        sizes = np.asarray(method(operator, "sizes")(), dtype=np.float64)
        usual = float(np.median(sizes[sizes > 0])) if (sizes > 0).any() else 1.0
        self._operator, self._signed, self._rng = operator, signed, rng
        self._weights = (usual / np.maximum(sizes, LIGHTEST * usual))[:, None]
        large = operator.shape[1] > SMALL
        self._n_steps = STEPS_LARGE if large else STEPS

    def against_signs(self, residual: Array, V: Array) -> Comparison:
        """Compare T of a residual [n] with random signs, off an orthonormal basis V [r, d].

        20 columns of `largest`.
        """
        return self._compared(residual, residual[:, None] * self._signs(len(residual)), V)

    def against_planted(self, residual: Array, tangent: Tangent, eigenvalue: float) -> Comparison:
        """Compare T of a residual [n] with components of this eigenvalue planted, see (2).

        21 columns of `largest`.
        """
        columns = self._without_strongest(residual, tangent)[:, None] * self._signs(len(residual))
        directions = self._directions(tangent.V, columns.shape[1])
        planted = np.stack([self._measured(v) for v in directions], axis=1)
        columns = tangent.off(columns + eigenvalue * planted, REMOVAL_STEPS)
        return self._compared(residual, columns, tangent.V)

    def usual_measurement(self, V: Array) -> float:
        """Root mean square of the measurements of a random direction v v^H off V."""
        return float(np.sqrt(np.mean(self._measured(self._directions(V, 1)[0]) ** 2)))

    def largest(self, residuals: Array, V: Array) -> Array:
        """T for columns [n, k]: the largest Ritz value of 16 Lanczos steps from one fixed start.

        It is a little too small, and for all columns alike, so that they remain comparable.
        """
        return self._leading(residuals, V)[0]

    def _leading(self, residuals: Array, V: Array) -> tuple[Array, Array]:
        """T for columns [n, k], and the Ritz vectors [k, d]."""
        rms = np.sqrt(np.mean(residuals**2, axis=0))
        cut = np.maximum(CUT * np.median(np.abs(residuals), axis=0), rms)
        columns = self._weights * np.clip(residuals, -cut, cut) / len(residuals)
        d = self._operator.shape[1]
        if not self._operator.dense_adjoint and (
            d > SMALL or getattr(self._operator, "row_products", False)
        ):
            times = method(self._operator, "adjoint_columns")
            return self._ritz(lambda v: times(columns, v), columns.shape[1], V)
        step = max(1, MOST_STACKED // (d * d))
        values, vectors = [], []
        for first in range(0, columns.shape[1], step):
            stack = method(self._operator, "adjoint_stack")(columns[:, first : first + step])
            found = self._ritz(partial(_stack_times, stack), len(stack), V)
            values.append(found[0])
            vectors.append(found[1])
        return np.concatenate(values), np.concatenate(vectors)

    def _compared(self, residual: Array, others: Array, V: Array) -> Comparison:
        values = self.largest(np.column_stack([residual, others]), V)
        rest = values[1:]
        return Comparison(float(values[0]), float(rest.min()), float(rest.max()), len(rest))

    def _without_strongest(self, residual: Array, tangent: Tangent) -> Array:
        """Subtract the multiple of the strongest direction off the matrix that fits best."""
        if len(tangent.V) == tangent.V.shape[1]:
            return residual
        direction = self._leading(residual[:, None], tangent.V)[1][0]
        seen = tangent.off(self._measured(direction)[:, None], REMOVAL_STEPS)[:, 0]
        size = float(seen @ seen)
        return residual - (float(seen @ residual) / size if size > 0 else 0.0) * seen

    def _measured(self, direction: Array) -> Array:
        """The measurements [n] of v v^H."""
        return np.asarray(self._operator.forward_factors(direction[None]), dtype=np.float64)

    def _signs(self, n: int) -> Array:
        return self._rng.choice([-1.0, 1.0], size=(n, N_SIGNS))

    def _directions(self, V: Array, k: int) -> Array:
        """Random unit vectors orthogonal to V, as rows."""
        found: Array = self._rng.standard_normal((k, V.shape[1]))
        if V.dtype.kind == "c":
            found = found + 1j * self._rng.standard_normal(found.shape)
        found = found - (found @ V.conj().T) @ V
        return np.asarray(found / np.linalg.norm(found, axis=1)[:, None])

    def _ritz(self, times: Product, k: int, V: Array) -> tuple[Array, Array]:
        """Largest Ritz value (in modulus if signed) and vector of k matrices off V, all at once."""
        d = V.shape[1]

        def off(x: Array) -> Array:
            return np.asarray(x - V.T @ (V.conj() @ x), dtype=V.dtype)

        start = off(np.random.default_rng(0).standard_normal((d, 1)).astype(V.dtype))
        v = np.repeat(start / np.linalg.norm(start), k, axis=1)
        n_steps = min(self._n_steps, d - len(V))
        basis = np.zeros((n_steps, d, k), dtype=V.dtype)
        projected = np.zeros((k, n_steps, n_steps), dtype=V.dtype)
        for step in range(n_steps):
            basis[step] = v
            image = off(times(v))
            for _ in range(2):  # the second round keeps the basis orthogonal to rounding
                inner = np.einsum("sdk,dk->sk", basis[: step + 1].conj(), image)
                image = image - np.einsum("sdk,sk->dk", basis[: step + 1], inner)
                projected[:, : step + 1, step] += inner.T
            projected[:, step, : step + 1] = projected[:, : step + 1, step].conj()
            size = np.linalg.norm(image, axis=0)
            v = image / np.where(size > 0, size, 1.0)
        values, inner = np.linalg.eigh(projected)
        low = self._signed & (-values[:, 0] > values[:, -1])
        chosen = np.where(low[:, None], inner[:, :, 0], inner[:, :, -1])
        vectors = np.einsum("sdk,ks->kd", basis, chosen)
        return np.where(low, -values[:, 0], values[:, -1]), vectors


def _stack_times(stack: Array, v: Array) -> Array:
    """Product of each matrix [k, d, d] with its column of v [d, k]."""
    return np.asarray((stack @ v.T[:, :, None])[:, :, 0].T)
