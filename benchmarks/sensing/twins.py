"""Vectors that share all their moduli with another one, and whether the identification knows it.

    python -m benchmarks.sensing.twins    # 600 draws of each kind of rows

y_i = (x_i . u)^2 for up to 12 rows in 2 to 5 dimensions.  Another vector has the same y if some
other signs of x_i . u belong to a vector too; all signs are tried.  For matrices in general
position there is none.  Rows and vectors of small integers often have one.
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from secateurs.sensing.factored import Factors, Sensed
from secateurs.sensing.identification import identify
from secateurs.sensing.operators.rank_one import RankOne

Array = NDArray[np.float64]

ROWS = {
    "signs": lambda rng, n, d: rng.choice([-1.0, 1.0], (n, d)),
    "0/1": lambda rng, n, d: rng.integers(0, 2, (n, d)).astype(float),
    "integers": lambda rng, n, d: rng.integers(-2, 3, (n, d)).astype(float),
    "sparse": lambda rng, n, d: rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.5),
    "gaussian": lambda rng, n, d: rng.standard_normal((n, d)),
}
VECTORS = (
    lambda rng, d: rng.standard_normal(d),
    lambda rng, d: rng.integers(-2, 3, d).astype(float),
    lambda rng, d: rng.standard_normal(d) * (rng.random(d) < 0.7),
)
MOST_ROWS = 12


def draw(kind: str, vector: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Rows [n, d] and a vector [d]."""
    d = int(rng.integers(2, 6))
    n = min(int(rng.integers(d + 1, 4 * d)), MOST_ROWS)
    return ROWS[kind](rng, n, d), VECTORS[vector](rng, d)


def has_a_twin(X: Array, u: Array) -> bool:
    """Whether other signs of x_i . u belong to a vector too, by trying all of them."""
    left, sizes, _ = np.linalg.svd(X)
    free = left[:, int(np.sum(sizes > 1e-9 * sizes[0])) :].T
    z = X @ u
    seen = np.flatnonzero(np.abs(z) > 1e-12)
    if np.linalg.matrix_rank(X) < X.shape[1]:
        return True
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=max(len(seen) - 1, 0))))[1:]
    if not len(signs):
        return False
    signs = np.column_stack([np.ones(len(signs)), signs])
    away = np.linalg.norm(free[:, seen] @ (signs * z[seen]).T, axis=0)
    return bool((away < 1e-9 * np.linalg.norm(z)).any())


def count(kind: str, draws: int, first: int) -> Counter[str]:
    found: Counter[str] = Counter()
    for seed in range(first, first + draws):
        rng = np.random.default_rng(seed)
        X, u = draw(kind, seed % len(VECTORS), rng)
        if not (X @ u).any():
            continue
        operator = RankOne(X)
        sensed = Sensed.of(operator, operator.forward_factors(u[None]))
        verdict = identify(sensed, Factors(u[None], np.ones(1)), random_state=seed).verdict
        twin = has_a_twin(X, u)
        found["twins" if twin else "alone"] += 1
        found[f"{'twin' if twin else 'alone'}, {verdict}"] += 1
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=600)
    parser.add_argument("--first", type=int, default=11_000_000)
    a = parser.parse_args()
    for kind in ROWS:
        found = count(kind, a.draws, a.first)
        print(
            f"{kind}: {found['twins']} with a twin (identification: holds {found['twin, holds']}, "
            f"fails {found['twin, fails']}, unknown {found['twin, unknown']}); {found['alone']} "
            f"alone (holds {found['alone, holds']}, fails {found['alone, fails']}, unknown "
            f"{found['alone, unknown']})",
            flush=True,
        )
