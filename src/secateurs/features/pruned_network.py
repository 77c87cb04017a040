"""Prune the inputs, take one gradient step, solve for the second layer; k and M must be given.

    s_j = (1/n) sum_i y_i h_k(x_ij);   J = { M inputs of largest |s_j| }               (1)
    several directions, k = 2:  H = (1/n) sum_i y_i (x_i x_i^T - I), entries below the
        noise set to 0, J = { M rows of largest norm }                                 (2)
    g(w) = (1/n) sum_i y_i relu'(<w, x_iJ> + b) x_iJ,  w on the sphere of R^J          (3)
    w <- g(w) + g(-w) for odd k,  g(w) - g(-w) for even k                              (4)
    second layer by ridge regression on relu(<w, x_J> + b'), b' random                 (5)

(4) is a split into even and odd parts: the sum keeps the even part of relu', which responds to odd
k, and the difference keeps the odd part.  Without biases relu' has no even part but its mean, so
k = 3 needs the biases in (3).  In expectation (4) is proportional to c_k <w, v>^(k - 1) v and to
components of higher degree.

Source: derived here from the model of Vural & Erdogdu (COLT 2024).  Their own algorithms are in
`published_pruning` and `published_network`; they know neither k nor the sign of the parity, need
about four times as many rows, and split the pruning where this splits the step.  Step sizes and the
distribution of the biases are choices made here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.core.parameters import Shown, bad_value, check_integer, check_real
from secateurs.core.solution import Progress, ProgressCallback, Solution
from secateurs.data.columns import Columns, columns_of
from secateurs.features.network import LARGEST_BIAS, LEAST_ACTIVE, MOST_ACTIVE, IndexNetwork
from secateurs.features.planted import normalised_hermite
from secateurs.features.ranks import (
    FloatArray,
    IntArray,
    center_and_scale,
    require_finite,
    standardised,
)
from secateurs.features.screening import check_target

MAX_EXPONENT = 4
FEWEST_SPLIT_ROWS, FEWEST_VALIDATION_ROWS = 10, 2
RIDGES = (1e-4, 1e-2, 1.0, 100.0)  # penalties, in units of a hidden unit's variance
BLOCK = 512  # rows of H at once
PRUNED, STEPPED, SOLVED = 1, 2, 3  # the stages


@dataclass(frozen=True, eq=False)
class PrunedFit:
    """A network on the inputs that were kept."""

    support: IntArray  # increasing, [M]
    scores: FloatArray  # |s_j| of (1), or the row norms of (2), for y of variance 1, [d]
    network: IndexNetwork  # on X[:, support]

    def predict(self, X: Any) -> FloatArray:
        """Return values for rows with all d columns."""
        return self.network.predict(columns_of(X).take(self.support))


def pruned_network(
    X: Any,
    y: NDArray[Any],
    k: int,
    n_features: int,
    *,
    directions: int = 1,
    hidden: int = 512,
    validation: float = 0.2,
    random_state: int | None = 0,
    progress: ProgressCallback | None = None,
) -> Solution[PrunedFit]:
    """Prune by the statistic of a known exponent, and take one gradient step on the kept inputs.

    Parameters
    ----------
    X : anything that `columns_of` reads, [n, d]
        Inputs, assumed Gaussian; columns are standardised.
    y : array [n]
        Targets; they are standardised for the fit, and predictions are in their units.
    k : int
        Information exponent, from 1 to 4.
    n_features : int
        The number M of inputs to keep.
    directions : int
        Number of directions that y depends on; with more than 1, k must be 2.
    hidden : int
        Hidden units of the network.
    validation : float
        Share of the rows on which the ridge penalty is chosen.
    random_state : int or None
        Random seed of the split of the rows and of both layers; None draws another at each call.
    progress : callable, optional
        Called after pruning, the gradient step and the second layer.

    Returns
    -------
    Solution of PrunedFit
        Status "converged".  Measured: "val_r2", "ridge", "rows" (n).

    Raises
    ------
    ValueError
        Shapes do not match, values are missing, or a number is out of range.

    Notes
    -----
    O(n d k + n M hidden) time; (2) takes O(n d^2) time and a copy of X in memory instead.
    """
    source = columns_of(X)
    target = checked_target(source, y, k, hidden, validation)
    check_integer("n_features", n_features, 1, source.d)
    if check_integer("directions", directions) > 1 and k != 2:
        raise bad_value("directions", directions, f"1 if k = {k}", "use k = 2 for more")
    scores = row_norms(source, target) if directions > 1 else hermite_scores(source, target, k)
    support = np.sort(np.argsort(-scores, kind="stable")[:n_features])
    _report(progress, PRUNED, math.nan, len(support))
    solution = one_step(source.take(support), y, k, hidden, validation, random_state, progress)
    fit = PrunedFit(support, scores, solution.value)
    return Solution(fit, solution.status, solution.history, solution.measured)


def checked_target(
    source: Columns, y: NDArray[Any], k: int, hidden: int, validation: float
) -> FloatArray:
    """Check the arguments that all networks here have in common; return y standardised."""
    values = check_target(y, source.n, FEWEST_SPLIT_ROWS)
    check_integer("k", k, 1, MAX_EXPONENT)
    check_integer("hidden", hidden)
    check_real("validation", validation, above=0, below=1)
    if round(validation * source.n) < FEWEST_VALIDATION_ROWS:
        shown = Shown(f"{validation} of {source.n} rows")
        raise bad_value("validation", shown, f"a share of at least {FEWEST_VALIDATION_ROWS} rows")
    return standardised(values)


def hermite_scores(source: Columns, target: FloatArray, k: int) -> FloatArray:
    """Return |s_j| (1), [d]; one pass, O(n d k)."""
    out = np.empty(source.d)
    for start, block in source.blocks():
        values = np.asarray(block, dtype=np.float64)
        require_finite(np.asarray(np.isfinite(values).all(axis=0)), source, start)
        Z = standardised(values)
        out[start : start + Z.shape[1]] = np.abs(target @ normalised_hermite(Z, k)) / len(target)
    return out


def row_norms(source: Columns, target: FloatArray) -> FloatArray:
    """Return the row norms of the thresholded H (2), [d]; O(n d^2) time, a copy of X in float64."""
    X = standardised(source.take(np.arange(source.d)))
    n, d = X.shape
    noise = math.sqrt(2.0 * math.log(max(d * d, 2)) / n)
    out = np.empty(d)
    for a in range(0, d, BLOCK):
        H = (X[:, a : a + BLOCK] * target[:, None]).T @ X / n
        out[a : a + BLOCK] = np.sqrt(np.square(np.where(np.abs(H) > noise, H, 0.0)).sum(axis=1))
    return out


def one_step(
    X: FloatArray,
    y: NDArray[Any],
    k: int,
    hidden: int,
    validation: float,
    random_state: int | None,
    progress: ProgressCallback | None = None,
) -> Solution[IndexNetwork]:
    """Apply (3) to (5) to the inputs X [n, s]; `pruned_network` lists what is measured."""
    values = np.asarray(y, dtype=np.float64)
    n, s = X.shape
    rng = np.random.default_rng(random_state)
    center, scale = center_and_scale(X)
    Z = (X - center) / scale
    target = (values - values.mean()) / values.std()
    order = rng.permutation(n)
    n_val = round(validation * n)
    val, train = order[:n_val], order[n_val:]
    W = gradient_step(Z[train], target[train], k, hidden, rng)
    _report(progress, STEPPED, math.nan, s)
    bias = rng.uniform(-LARGEST_BIAS, LARGEST_BIAS, len(W))
    H = np.maximum(Z @ W.T + bias, 0.0)
    active = (H[train] > 0).mean(axis=0)
    good = (active >= LEAST_ACTIVE) & (active <= MOST_ACTIVE)  # other units fit single rows
    good = good if good.any() else np.ones(len(W), dtype=bool)
    W, bias, H = W[good], bias[good], H[:, good]
    w, intercept, ridge, r2 = _second_layer(H, target, train, val)
    _report(progress, SOLVED, 1.0 - r2, s)
    spread, mean = float(values.std()), float(values.mean())
    network = IndexNetwork(
        center, scale, W, bias, spread * w[:, None], np.array([spread * intercept + mean])
    )
    history: dict[str, list[float]] = {"step": [SOLVED], "loss": [1.0 - r2], "n_nonzero": [s]}
    measured = {"val_r2": r2, "ridge": ridge, "rows": n}
    return Solution(network, "converged", history, measured)


def gradient_step(
    X: FloatArray, target: FloatArray, k: int, hidden: int, rng: np.random.Generator
) -> FloatArray:
    """Return the first layer [hidden, s] after (3) and (4), scaled to root mean square norm 1."""
    n, s = X.shape
    W = rng.standard_normal((hidden, s))
    W /= np.linalg.norm(W, axis=1, keepdims=True)
    bias = rng.standard_normal(hidden)
    U = X @ W.T
    sign = 1.0 if k % 2 else -1.0
    gate = (U + bias > 0).astype(np.float64) + sign * (-U + bias > 0)
    step = (gate * target[:, None]).T @ X / n
    return np.asarray(step / max(math.sqrt(float(np.square(step).sum(axis=1).mean())), 1e-300))


def _second_layer(
    H: FloatArray, target: FloatArray, train: IntArray, val: IntArray
) -> tuple[FloatArray, float, float, float]:
    """Solve (5); return weights, intercept, ridge penalty and R^2 on the validation rows."""
    mean, level = H[train].mean(axis=0), float(target[train].mean())
    F = H - mean
    gram = F[train].T @ F[train]
    right = F[train].T @ (target[train] - level)
    unit = float(np.mean(np.diag(gram))) + 1e-12
    spread = float(np.square(target[val] - target[val].mean()).sum()) + 1e-300
    tries = []
    for ridge in RIDGES:
        w = np.linalg.solve(gram + ridge * unit * np.eye(len(gram)), right)
        r2 = 1.0 - float(np.square(target[val] - level - F[val] @ w).sum()) / spread
        tries.append((w, level - float(mean @ w), ridge, r2))
    return max(tries, key=lambda fit: fit[3])


def _report(progress: ProgressCallback | None, stage: int, loss: float, size: int) -> None:
    if progress is not None:
        progress(Progress(stage, SOLVED, loss, size))
