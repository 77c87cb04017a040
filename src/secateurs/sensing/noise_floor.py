"""What noise alone would leave: residuals with random signs, and planted components.

    N(e) = (1/n) sum_i w_i c(e_i) A_i,   T(e) = largest eigenvalue of N(e) off the matrix M      (1)
    w_i = 1 / |A_i|,  c cuts e_i at 3 deviations

If the residual e is noise that is independent and symmetric about 0, then e with random signs is
distributed as e, whatever the measurements are.  T(e) exceeds the largest of k values with random
signs with probability 1 / (k + 1).  Neither the noise nor the measurements need be Gaussian.  A
component whose presence is claimed must exceed the largest.  A component whose absence is claimed
is looked for with a test that sees more: T(e) over the mean of the k values.

That T(e) looks like noise does not mean that nothing is hidden: where a few measurements are much
larger than the rest, they dominate N.  The weights w and the cut c take away some of this, and what
is left is measured: components of a known size are planted in the residual, in random directions,
and T must show them.  Let p be the probability that a component of that size is seen.  Ten of ten
planted ones are seen, or nine and then ten more, with probability p^10 + 10 (1 - p) p^19.  So a
component of that size is missed, and yet all this is seen, with probability

    (1 - p) (p^10 + 10 (1 - p) p^19) <= .049   for every p.                                   (2)

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

N_SIGNS, N_SIGNS_LARGE = 19, 9  # residuals with random signs; for d above `SMALL`
STEPS, STEPS_LARGE = 16, 10  # Lanczos steps of a largest eigenvalue
PLANTED = 10  # components planted at a time, see (2)
MARGIN = 1.05  # T(e) over the largest with random signs, from which a component is surely there
SUSPECT = 1.15  # T(e) over their mean, from which one may be there
LIGHTEST = 0.1  # share of the median size below which a measurement weighs no more
CUT = 4.5  # c cuts at this many medians of |e|: 3 standard deviations of Gaussian noise
MOST_STACKED = 1 << 22  # entries of matrices that are held at once


@dataclass(frozen=True)
class Comparison:
    """T of a residual beside `n_signs` T of the same residual with random signs.

    Attributes
    ----------
    observed : float
    largest, mean : float
        Over the random signs.
    n_signs : int
    """

    observed: float
    largest: float
    mean: float
    n_signs: int

    @property
    def over_largest(self) -> float:
        """`observed` over `largest`."""
        return _ratio(self.observed, self.largest)

    @property
    def over_mean(self) -> float:
        """`observed` over `mean`."""
        return _ratio(self.observed, self.mean)

    @property
    def confidence(self) -> float:
        """Probability that `observed` is not the largest where nothing but noise is left."""
        return self.n_signs / (self.n_signs + 1)

    @property
    def certain(self) -> bool:
        """Whether more than noise is left, with this `confidence`."""
        return self.over_largest > MARGIN

    @property
    def suspect(self) -> bool:
        """Whether more than noise may be left."""
        return self.over_mean > SUSPECT


@dataclass(frozen=True)
class Planting:
    """How many of the planted components were seen.

    Attributes
    ----------
    eigenvalue : float
        Of each of them.
    n_seen, n_planted : int
    """

    eigenvalue: float
    n_seen: int
    n_planted: int

    @property
    def enough(self) -> bool:
        """Whether (2) holds: none of 10 was missed, or one of 20."""
        return self.n_seen >= self.n_planted - self.n_planted // (2 * PLANTED)


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
        self._n_signs = N_SIGNS_LARGE if large else N_SIGNS
        self._n_steps = STEPS_LARGE if large else STEPS

    def against_signs(self, residual: Array, V: Array) -> Comparison:
        """Compare T of a residual [n] with random signs, off an orthonormal basis V [r, d].

        20 columns of `largest`.
        """
        columns = self._with_signs(residual[:, None])
        values = self.largest(columns, V)
        signed = values[1:]
        return Comparison(
            float(values[0]), float(signed.max()), float(signed.mean()), self._n_signs
        )

    def planted(self, residual: Array, tangent: Tangent, eigenvalue: float) -> Planting:
        """Plant components in a residual [n], off the tangent space, and count those seen.

        The part that tangent directions explain is removed, as a fit would do.  200 or 400 columns
        of `largest`.
        """
        seen = self._n_seen(residual, tangent, eigenvalue)
        if seen < PLANTED - 1:
            return Planting(eigenvalue, seen, PLANTED)
        if seen == PLANTED - 1:
            seen += self._n_seen(residual, tangent, eigenvalue)
            return Planting(eigenvalue, seen, 2 * PLANTED)
        return Planting(eigenvalue, seen, PLANTED)

    def usual_measurement(self, V: Array) -> float:
        """Root mean square of the measurements of a random direction v v^H off V."""
        values = self._operator.forward_factors(self._directions(V, 1))
        return float(np.sqrt(np.mean(values.astype(np.float64) ** 2)))

    def largest(self, residuals: Array, V: Array) -> Array:
        """T for columns [n, k]: the largest Ritz value of 16 Lanczos steps from one fixed start.

        It is a little too small, and for all columns alike, so that they remain comparable.
        """
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
        parts = []
        for first in range(0, columns.shape[1], step):
            stack = method(self._operator, "adjoint_stack")(columns[:, first : first + step])
            parts.append(self._ritz(partial(_stack_times, stack), len(stack), V))
        return np.concatenate(parts)

    def _n_seen(self, residual: Array, tangent: Tangent, eigenvalue: float) -> int:
        directions = self._directions(tangent.V, PLANTED)
        parts = [self._operator.forward_factors(v[None]).astype(np.float64) for v in directions]
        planted = residual[:, None] + tangent.off(eigenvalue * np.stack(parts, axis=1))
        values = self.largest(self._with_signs(planted), tangent.V).reshape(-1, PLANTED)
        return int(np.sum(values[0] > SUSPECT * values[1:].mean(axis=0)))

    def _with_signs(self, columns: Array) -> Array:
        """The columns, and then all of them `n_signs` times with random signs."""
        shape = (len(columns), self._n_signs, columns.shape[1])
        signs = self._rng.choice([-1.0, 1.0], size=shape)
        flipped = (columns[:, None, :] * signs).reshape(len(columns), -1)
        return np.hstack([columns, flipped])

    def _directions(self, V: Array, k: int) -> Array:
        """Random unit vectors orthogonal to V, as rows."""
        found: Array = self._rng.standard_normal((k, V.shape[1]))
        if V.dtype.kind == "c":
            found = found + 1j * self._rng.standard_normal(found.shape)
        found = found - (found @ V.conj().T) @ V
        return np.asarray(found / np.linalg.norm(found, axis=1)[:, None])

    def _ritz(self, times: Product, k: int, V: Array) -> Array:
        """Largest Ritz value (modulus if signed) of k matrices off V, all at once."""
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
        values: Array = np.linalg.eigvalsh(projected)
        return np.maximum(values[:, -1], -values[:, 0]) if self._signed else values[:, -1]


def _ratio(a: float, b: float) -> float:
    if b > 0:
        return a / b
    return np.inf if a > 0 else 0.0


def _stack_times(stack: Array, v: Array) -> Array:
    """Product of each matrix [k, d, d] with its column of v [d, k]."""
    return np.asarray((stack @ v.T[:, :, None])[:, :, 0].T)
