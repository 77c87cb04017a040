"""Prune the inputs, take one gradient step, solve for the second layer: k and M are given.

    s_j = (1/n) sum_i y_i h_k(x_ij);   J = { M inputs of largest |s_j| }               (1)
    several directions, k = 2:  H = (1/n) sum_i y_i (x_i x_i^T - I), entries below the
        noise set to 0, J = { M rows of largest norm }                                 (2)
    g(w) = (1/n) sum_i y_i relu'(<w, x_iJ> + b) x_iJ,  w on the sphere of R^J          (3)
    w <- g(w) + g(-w) for odd k,  g(w) - g(-w) for even k                              (4)
    second layer by ridge regression on relu(<w, x_J> + b'), b' random                 (5)

(4) is the even-odd split: the sum keeps the even part of relu', which meets odd k, and the
difference the odd part.  Without biases relu' has no even part but its mean, so that k = 3 needs
them in (3).  In expectation (4) is proportional to c_k <w, v>^(k - 1) v and to components of
higher degree.

Source: Vural & Erdogdu, "Pruning is Optimal for Learning Sparse Features in High-Dimensions"
(COLT 2024).  Its abstract and summary alone were at hand: (1) to (4) are derived, and step sizes,
the law of the biases and whether the stages share their rows are ours and unverified.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.core.solution import Progress, ProgressCallback, Solution
from secateurs.data.columns import Columns, columns_of, not_finite
from secateurs.features.network import IndexNetwork
from secateurs.features.planted import normalised_hermite
from secateurs.features.screening import standardised

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BIAS = 2.5  # largest bias of (5), in standard deviations of a neuron's input
LEAST, MOST = 0.03, 0.97  # share of rows a neuron may be active on: others fit single rows
RIDGES = (1e-4, 1e-2, 1.0, 100.0)  # in units of a neuron's variance
BLOCK = 512  # rows of H at once
N_STAGES = 3


@dataclass(frozen=True, eq=False)
class PrunedFit:
    """A network on the inputs kept.

    Attributes
    ----------
    support : int array [M]
        Ascending.
    scores : float array [d]
        |s_j| of (1), or the row norms of (2), with y of variance 1.
    network : IndexNetwork
        ``network.predict(X[:, support])``.
    """

    support: IntArray
    scores: FloatArray
    network: IndexNetwork

    def predict(self, X: Any) -> FloatArray:
        """Values for rows of all d columns."""
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
    """The paper's algorithm, which is told the information exponent and the sparsity.

    Parameters
    ----------
    X : anything `columns_of` reads, [n, d]
        Inputs taken for Gaussian; columns are standardised.
    y : array [n]
    k : int
        Information exponent, from 1 to 4.
    n_features : int
        M, inputs to keep.
    directions : int
        With more than 1, k must be 2.
    hidden : int
    validation : float
        Share of the rows that the ridge parameter is chosen on.
    random_state : int or None
    progress : callable, optional
        Called after pruning, the gradient step and the second layer.

    Returns
    -------
    Solution of PrunedFit
        Status "converged".  Measured: "val_r2", "ridge", "rows" (n).

    Raises
    ------
    ValueError
        Shapes that do not match, missing values, numbers out of range.

    Notes
    -----
    O(n d k + n M hidden) time; (2) instead takes O(n d^2) and memory of X.
    """
    source = columns_of(X)
    target = checked(source, y, k, hidden, validation)
    d = source.d
    if int(n_features) != n_features or not 1 <= n_features <= d:
        raise ValueError(f"got n_features = {n_features}; expected an integer from 1 to d = {d}")
    if directions < 1 or (directions > 1 and k != 2):
        raise ValueError(f"got directions = {directions}, k = {k}; expected 1, or more with k = 2")
    scores = row_norms(source, target) if directions > 1 else hermite_scores(source, target, k)
    support = np.sort(np.argsort(-scores, kind="stable")[:n_features])
    if progress is not None:
        progress(Progress(1, N_STAGES, math.nan, len(support)))
    network, measured = one_step(
        source.take(support), y, k, hidden, validation, random_state, progress
    )
    value = PrunedFit(support, scores, network)
    history = {"step": [N_STAGES], "loss": [1 - measured["val_r2"]], "n_nonzero": [len(support)]}
    return Solution(value, "converged", history, measured)


def checked(source: Columns, y: NDArray[Any], k: int, hidden: int, validation: float) -> FloatArray:
    """Standardised labels, or why there are none."""
    values = np.asarray(y)
    if values.dtype.kind not in "fiub" or values.shape != (source.n,):
        raise ValueError(
            f"got y of shape {values.shape} and dtype {values.dtype}; expected {source.n} numbers"
        )
    values = values.astype(np.float64)
    if not np.isfinite(values).all() or values.min() == values.max():
        raise ValueError("y is constant, or has infinite or missing values; nothing can be fitted")
    if k not in (1, 2, 3, 4):
        raise ValueError(f"got k = {k!r}; expected 1, 2, 3 or 4")
    if hidden < 1 or int(hidden) != hidden:
        raise ValueError(f"got hidden = {hidden}; expected an integer >= 1")
    if not 0.0 < validation < 1.0 or round(validation * source.n) < 2 or source.n < 10:
        raise ValueError(
            f"got {source.n} rows and validation = {validation}; expected at least 10 rows and a "
            "share that leaves 2 of them for validation"
        )
    return standardised(values)


def hermite_scores(source: Columns, target: FloatArray, k: int) -> FloatArray:
    """|s_j| (1), [d]; one pass, O(n d k)."""
    out = np.empty(source.d)
    for start, block in source.blocks():
        values = np.asarray(block, dtype=np.float64)
        bad = ~np.isfinite(values).all(axis=0)
        if bad.any():
            raise not_finite(source.label(start + int(np.flatnonzero(bad)[0])))
        Z = standardised(values)
        out[start : start + Z.shape[1]] = np.abs(target @ normalised_hermite(Z, k)) / len(target)
    return out


def row_norms(source: Columns, target: FloatArray) -> FloatArray:
    """Row norms of the thresholded H (2), [d]; O(n d^2) time, memory of X in float64."""
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
) -> tuple[IndexNetwork, dict[str, Any]]:
    """(3) to (5) on the given inputs X [n, s]: the network, and what was measured."""
    values = np.asarray(y, dtype=np.float64)
    n, s = X.shape
    rng = np.random.default_rng(random_state)
    center, scale = X.mean(axis=0), X.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    Z = (X - center) / scale
    target = (values - values.mean()) / values.std()
    order = rng.permutation(n)
    n_val = round(validation * n)
    val, train = order[:n_val], order[n_val:]
    W = gradient_step(Z[train], target[train], k, hidden, rng)
    if progress is not None:
        progress(Progress(2, N_STAGES, math.nan, s))
    bias = rng.uniform(-BIAS, BIAS, len(W))
    H = np.maximum(Z @ W.T + bias, 0.0)
    active = (H[train] > 0).mean(axis=0)
    good = (active >= LEAST) & (active <= MOST)
    good = good if good.any() else np.ones(len(W), dtype=bool)
    W, bias, H = W[good], bias[good], H[:, good]
    w, intercept, ridge, r2 = _second_layer(H, target, train, val)
    if progress is not None:
        progress(Progress(N_STAGES, N_STAGES, 1.0 - r2, s))
    spread, mean = float(values.std()), float(values.mean())
    network = IndexNetwork(
        center, scale, W, bias, spread * w[:, None], np.array([spread * intercept + mean])
    )
    return network, {"val_r2": r2, "ridge": ridge, "rows": n}


def gradient_step(
    X: FloatArray, target: FloatArray, k: int, hidden: int, rng: np.random.Generator
) -> FloatArray:
    """(3) and (4): first-layer weights [hidden, s] after the step, of root mean square norm 1."""
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
    """(5): weights, intercept, ridge parameter and R^2 on the validation rows."""
    mean, level = H[train].mean(axis=0), float(target[train].mean())
    F = H - mean
    gram = F[train].T @ F[train]
    right = F[train].T @ (target[train] - level)
    unit = float(np.mean(np.diag(gram))) + 1e-12
    spread = float(np.square(target[val] - target[val].mean()).sum()) + 1e-300
    best: tuple[FloatArray, float, float, float] | None = None
    for ridge in RIDGES:
        w = np.linalg.solve(gram + ridge * unit * np.eye(len(gram)), right)
        r2 = 1.0 - float(np.square(target[val] - level - F[val] @ w).sum()) / spread
        if best is None or r2 > best[3]:
            best = (w, level - float(mean @ w), ridge, r2)
    assert best is not None
    return best
