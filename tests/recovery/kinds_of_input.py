"""Instances that ask whether a fit that is called exact is right on fresh rows of the same source.

A kind of input draws training rows and fresh rows.  Where a relation between columns holds on the
training rows only by the choice of the rows (copies, sums, constants), the fresh rows break it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
Rng = np.random.Generator
FRESH = 100_000
WRONG = 1e-6  # largest error on fresh rows, relative to the largest output


@dataclass(frozen=True, eq=False)
class Instance:
    """A planted network and its rows."""

    kind: str
    X: Array
    y: Array
    X_fresh: Array
    y_fresh: Array
    n_planted: int
    n_neurons: int
    intercept: bool

    def is_wrong(self, predict: Callable[[Array], Array], n_rows: int = FRESH) -> bool:
        """Whether the largest error on fresh rows exceeds 1e-6 of the largest output."""
        error = np.abs(predict(self.X_fresh[:n_rows]) - self.y_fresh[:n_rows]).max()
        return bool(error > WRONG * max(np.abs(self.y_fresh).max(), 1e-300))


def _mask(rng: Rng, Z: Array, share: float) -> Array:
    return Z * (rng.random(Z.shape) < share)


def _correlated(rng: Rng, Z: Array) -> Array:
    return Z + 0.8 * rng.standard_normal((len(Z), 1))


# rows of independent inputs, from standard normal ones
VALUES: dict[str, Callable[[Rng, Array], Array]] = {
    "normal": lambda _, Z: Z,
    "shifted": lambda _, Z: Z + 2.5,
    "shifted far": lambda _, Z: Z + 4.0,
    "shifted, half zero": lambda rng, Z: _mask(rng, Z + 2.5, 0.5),
    "shifted integers": lambda _, Z: np.round(Z + 2.5),
    "sparse": lambda rng, Z: _mask(rng, Z, 0.2),
    "very sparse": lambda rng, Z: _mask(rng, Z, 0.05),
    "sparse non-negative": lambda rng, Z: _mask(rng, np.abs(Z), 0.3),
    "0/1": lambda _, Z: (Z > 0) * 1.0,
    "rare 0/1": lambda _, Z: (Z > 1.3) * 1.0,
    "+-1": lambda _, Z: np.sign(Z),
    "genotypes": lambda _, Z: (Z > 0) + (Z > 1.0) * 1.0,
    "non-negative": lambda _, Z: np.abs(Z),
    "uniform": lambda rng, Z: rng.random(Z.shape),
    "exponential": lambda rng, Z: rng.exponential(size=Z.shape),
    "log-normal": lambda _, Z: np.exp(Z),
    "small integers": lambda rng, Z: rng.integers(-3, 4, Z.shape) * 1.0,
    "counts": lambda rng, Z: rng.poisson(0.7, Z.shape) * 1.0,
    "large counts": lambda rng, Z: rng.poisson(6.0, Z.shape) * 1.0,
    "heavy tails": lambda rng, Z: rng.standard_cauchy(Z.shape),
    "t of 2.5": lambda rng, Z: rng.standard_t(2.5, Z.shape),
    "correlated": _correlated,
    "badly scaled": lambda _, Z: Z * 10.0 ** np.linspace(-3, 3, Z.shape[1]),
}

# relations between the used columns U [n, q] and further ones, on the rows of the fit alone
RELATED: dict[str, Callable[[Rng, Array], Array]] = {
    "copied": lambda _, U: U,
    "negated": lambda _, U: -U,
    "rescaled": lambda _, U: 2.5 * U,
    "nearly equal 1e-3": lambda rng, U: U + 1e-3 * rng.standard_normal(U.shape),
    "nearly equal 1e-6": lambda rng, U: U + 1e-6 * rng.standard_normal(U.shape),
    "nearly equal 1e-9": lambda rng, U: U + 1e-9 * rng.standard_normal(U.shape),
    "nearly equal 1e-12": lambda rng, U: U + 1e-12 * rng.standard_normal(U.shape),
    "nearly equal, any gap": lambda rng, U: (
        U + 10.0 ** rng.uniform(-12.0, -3.0) * rng.standard_normal(U.shape)
    ),
    "sums of two": lambda _, U: U + np.roll(U, 1, axis=1),
    "differences of two": lambda _, U: 3.0 * (U - np.roll(U, 1, axis=1)),
    "positive parts": lambda _, U: np.maximum(U, 0.0),
    "absolute values": lambda _, U: np.abs(U),
}
SPECIAL = (
    "few rows",
    "twins",
    "opposite twins",
    "three twins",
    "repeated rows",
    "bias column",
    "constant column",
    "one-hot groups",
    "mixed values",
    "nearly repeated rows",
)
KINDS = (*VALUES, *RELATED, *SPECIAL)
BUDGETS = ("as planted", "one more", "three more", "doubled")


def budget_of(name: str, n_planted: int) -> int:
    """Return n_nonzero of a budget by its name."""
    more = {"as planted": 0, "one more": 1, "three more": 3, "doubled": n_planted}
    return n_planted + more[name]


def instance(kind: str, seed: int) -> Instance:
    """Draw an instance of a kind: d from 4 to 12, at most 5 neurons and 16 weights."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    d, m = int(rng.integers(4, 13)), int(rng.integers(1, 6))
    s = int(rng.integers(max(m, 3), min(16, m * d) + 1))
    W = _network(rng, m, d, s)
    if kind.endswith("twins"):
        W = _with_twins(rng, W, kind)
    low, high = (0.8, 2.0) if kind == "few rows" else (2.0, 30.0)
    n = int((s + d) * np.exp(rng.uniform(np.log(low), np.log(high)))) + 4
    X, fresh = rng.standard_normal((n, d)), rng.standard_normal((FRESH, d))
    more, more_fresh = X[:, :0], fresh[:, :0]
    if kind in VALUES:
        X, fresh = VALUES[kind](rng, X), VALUES[kind](rng, fresh)
    elif kind in RELATED:
        used = np.flatnonzero(np.abs(W).sum(axis=0))[: int(rng.integers(1, 4)) + 1]
        more = RELATED[kind](rng, X[:, used])
        more_fresh = rng.standard_normal((FRESH, len(used))) * more.std()
    elif kind == "repeated rows":
        X = X[rng.integers(max(4, n // 8), size=n)]
    elif kind == "nearly repeated rows":
        X = X[rng.integers(max(4, n // 8), size=n)]
        X += 10.0 ** rng.uniform(-12.0, -6.0) * rng.standard_normal(X.shape)
    elif kind == "bias column":
        X[:, 0] = fresh[:, 0] = 1.0
    elif kind == "constant column":
        X[:, 0] = 1.0
    elif kind == "one-hot groups":
        X[:, : d // 2] = np.eye(d // 2)[rng.integers(d // 2, size=n)]
        fresh[:, : d // 2] = np.eye(d // 2)[rng.integers(d // 2, size=FRESH)]
    elif kind == "mixed values":
        for k, name in enumerate(rng.choice(list(VALUES), d)):
            column, fresh_column = X[:, k : k + 1], fresh[:, k : k + 1]
            X[:, k : k + 1] = VALUES[name](rng, column)
            fresh[:, k : k + 1] = VALUES[name](rng, fresh_column)
    intercept = bool(rng.random() < 0.3)
    constant = float(rng.choice([0.0, 1.0, -2.0, 0.3])) if intercept else 0.0
    y, y_fresh = (np.maximum(Z @ W.T, 0.0).sum(axis=1) + constant for Z in (X, fresh))
    order = rng.permutation(d + more.shape[1])
    return Instance(
        kind,
        np.ascontiguousarray(np.hstack([X, more])[:, order]),
        y,
        np.hstack([fresh, more_fresh])[:, order],
        y_fresh,
        int((W != 0).sum()),
        len(W),
        intercept,
    )


def _network(rng: Rng, m: int, d: int, s: int) -> Array:
    """Draw s weights for m neurons, each with one at least."""
    W = np.zeros((m, d))
    W[np.arange(m), rng.integers(d, size=m)] = 1.0
    free = np.flatnonzero(W.ravel() == 0.0)
    W.ravel()[rng.choice(free, s - m, replace=False)] = 1.0
    return W * rng.standard_normal(W.shape)


def _with_twins(rng: Rng, W: Array, kind: str) -> Array:
    """Add neurons at a small angle to the first, on its inputs or one more."""
    angle = float(10.0 ** rng.uniform(-3.0, -0.3))
    rows = [W]
    for _ in range(2 if kind == "three twins" else 1):
        support = W[0] != 0.0
        if rng.random() < 0.3 or support.sum() < 2:
            support[rng.integers(W.shape[1])] = True
        v = rng.standard_normal(W.shape[1]) * support
        v -= (v @ W[0]) / (W[0] @ W[0]) * W[0]
        size = np.linalg.norm(v)
        v *= np.linalg.norm(W[0]) / size if size > 0 else 0.0
        twin = (np.cos(angle) * W[0] + np.sin(angle) * v) * rng.uniform(0.3, 2.0)
        rows.append((-twin if kind == "opposite twins" else twin)[None])
    return np.vstack(rows)
