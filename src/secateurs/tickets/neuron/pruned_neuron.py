"""The problem of pruning the neurons of a random network: a target neuron and the other neurons.

f(x) = relu(<w*, x>),   h(x) = sum_{i in S} alpha_i relu(<w_i, x>)
form A: E = |f - h|,    form B: E = |f - relu(h)|
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from secateurs.core.parameters import Shown, bad_value, check_choice

Form = Literal["A", "B"]
Array = NDArray[np.float64]

BLOCK = 1 << 22  # entries of <w_i, x> computed at once
LEAST, MOST = 1e-140, 1e140  # sizes whose squares stay inside float64


class PrunedNeuron(NamedTuple):
    """A target and the neurons that replace it; compiled functions can read its fields.

    Attributes
    ----------
    V : array, shape [N, d]
        ``|alpha_i| w_i``.
    signs : array, shape [N]
        Signs of alpha_i.
    target : array, shape [d]
    form_b : bool
        Form B instead of form A.
    """

    V: Array
    signs: Array
    target: Array
    form_b: bool

    @property
    def slack(self) -> float:
        """Bound of the rounding of one value of E at a point of the sphere."""
        return self.rounding(sum(self.V.shape) + 4)

    def rounding(self, operations: int) -> float:
        """Bound the rounding of this many additions of values of the size of f and h."""
        scale = np.linalg.norm(self.target) + np.linalg.norm(self.V, axis=1).sum()
        return float(4 * operations * np.finfo(float).eps * scale)

    def subset(self, kept: NDArray[Any]) -> PrunedNeuron:
        """Return the same target with some of the neurons."""
        return self._replace(V=self.V[kept], signs=self.signs[kept])

    def target_values(self, X: Array) -> Array:
        """Return f at the rows of X [k, d]."""
        return np.asarray(np.maximum(X @ self.target, 0))

    def neuron_values(self, X: Array) -> Array:
        """Return alpha_i relu(<w_i, x_k>), shape [k, N]."""
        return np.asarray(np.maximum(X @ self.V.T, 0) * self.signs)

    def compare(self, f: Array, h: Array) -> Array:
        """Return E from f and h."""
        return np.abs(f - (np.maximum(h, 0) if self.form_b else h))

    def errors(self, X: Array) -> Array:
        """Return E at the rows of X [k, d]; 2 k N d flops."""
        found = np.empty(len(X))
        step = max(1, BLOCK // max(1, len(self.V)))
        for a in range(0, len(X), step):
            x = X[a : a + step]
            h = np.maximum(x @ self.V.T, 0) @ self.signs
            found[a : a + step] = self.compare(self.target_values(x), h)
        return found


def checked(
    W: ArrayLike,
    alpha: ArrayLike,
    target: ArrayLike,
    form: str,
    subset: ArrayLike | None = None,
) -> PrunedNeuron:
    """Return the problem with its arrays in float64, or raise ValueError."""
    W = np.asarray(W, dtype=float)
    alpha, target = np.asarray(alpha, dtype=float), np.asarray(target, dtype=float)
    if W.ndim != 2 or not W.shape[1] or alpha.shape != W.shape[:1] or target.shape != W.shape[1:]:
        shapes = Shown(f"shapes {W.shape}, {alpha.shape} and {target.shape}")
        raise bad_value("W, alpha and target", shapes, "[N, d], [N] and [d]")
    check_finite(W=W, alpha=alpha, target=target)
    if not target.any():
        raise bad_value("target", Shown("zeros only"), "a vector that is not zero")
    check_choice("form", form, ("A", "B"))
    if subset is not None:
        kept = _indices(subset, len(W))
        W, alpha = W[kept], alpha[kept]
    with np.errstate(over="ignore"):
        V = np.abs(alpha)[:, None] * W
        total = float(np.abs(V).sum() + np.abs(target).sum())
    least = float(np.abs(target).max())
    if not (least >= LEAST and total <= MOST):  # also refuses a product that overflowed
        raise bad_value(
            "target and |alpha| W",
            Shown(f"a target of size {least:.3g}, and a sum of all sizes of {total:.3g}"),
            f"at least {LEAST:g} and at most {MOST:g}, because squares must stay inside float64",
            "divide W and target by the same number; the error is divided by it too",
        )
    return PrunedNeuron(V, np.sign(alpha), target, form == "B")


def check_finite(**arrays: Array) -> None:
    """Raise ValueError unless all numbers of every array are finite."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise bad_value(name, Shown("nan or inf"), "finite numbers")


def scaled_rows(W: Array) -> Array:
    """Scale every row by a power of two, so that its largest entry is in [1/2, 1).

    The direction of a row stays the same, to the bit.
    """
    _, exponents = np.frexp(np.abs(W).max(axis=-1, keepdims=True, initial=0.0))
    return np.asarray(np.ldexp(W, -exponents))


def unit_rows(X: Array) -> Array:
    """Return the rows that are not zero, scaled to length 1."""
    size = np.linalg.norm(X, axis=1)
    return np.asarray(X[size > 0] / size[size > 0, None])


def _indices(subset: ArrayLike, n: int) -> NDArray[np.int64]:
    given = np.asarray(subset)
    if given.dtype == bool and given.shape == (n,):
        return np.flatnonzero(given).astype(np.int64)
    if given.ndim == 1 and (given.size == 0 or given.dtype.kind in "iu"):
        found = given.astype(np.int64)
        if len(np.unique(found)) == len(found) and (found >= 0).all() and (found < n).all():
            return found
    raise bad_value(
        "subset",
        Shown(f"shape {given.shape} and dtype {given.dtype}"),
        f"a boolean mask [{n}] or distinct indices from 0 to {n - 1}",
    )
