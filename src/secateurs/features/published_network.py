"""Algorithms 2 and 2+ of the paper, as printed: prune, one gradient step, second layer.

    J <- Algorithm 1                                                  published_pruning.py
    2+ only:  mu_J = (1/n) sum_i y_i x_iJ;   y <- y - <mu_J, x_J>                          (1)
    W ~ uniform on the unit sphere of R^J,   b ~ N(0, 1),   a ~ Unif{-1, 1}
    W <- W - eta_1 (grad + W / eta_1) = -eta_1 grad,
         grad_j = -(a_j / n) sum_i y_i relu'(<W_j, x_iJ> + b_j) x_iJ                       (2)
    b ~ N(0, 1) anew,   a <- 0
    repeat:  a <- a - eta_2 (H^T (H a - y) / n + lambda a),   H = relu(X_J W^T + b)        (3)
    output  <a, relu(W x_J + b)>,   for 2+ plus <mu_J, x_J>

The step (2) is a plain gradient; the split into odd and even parts belongs to the pruning.  All
stages use the same rows.

Source: Vural & Erdogdu (COLT 2024, PMLR 247:4787-4861), Algorithms 2 and 2+; Theorem 4 for one
index, Theorem 5 for several.  Theorem 4 takes eta_1 of order M^((k - 1) / 2), for which one must
know the exponent k.  By default eta_1 is chosen here to give W rows of root mean square norm 1.
The start of (3) at 0, the number of steps, and eta_2 = 1 / (largest eigenvalue of H^T H / n +
lambda) are choices made here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.core.parameters import check_counts, check_real
from secateurs.core.solution import Progress, ProgressCallback, Solution
from secateurs.data.columns import columns_of
from secateurs.features.network import IndexNetwork
from secateurs.features.pruned_network import PrunedFit
from secateurs.features.published_pruning import published_pruning
from secateurs.features.ranks import FloatArray
from secateurs.features.screening import FEWEST_ROWS, check_target

PRUNED, STEPPED, SOLVED = 1, 2, 3  # the stages


def published_network(
    X: Any,
    y: NDArray[Any],
    sparsity: int,
    *,
    several_indices: bool = False,
    width: int = 128,
    pruning_width: int = 8,
    shrinkage: float | None = None,
    step_size: float | None = None,
    weight_decay: float = 1e-3,
    n_steps: int = 3000,
    random_state: int | None = 0,
    progress: ProgressCallback | None = None,
) -> Solution[PrunedFit]:
    """Run Algorithm 2, or with `several_indices` Algorithm 2+; the exponent is not given.

    Parameters
    ----------
    X : anything that `columns_of` reads, [n, d]
        Inputs, which the paper assumes to be standard normal; they are used as they are.
    y : array [n]
        Used as it is.
    sparsity : int
        The number M of Algorithm 1, from 1 to d; at most 3 M inputs are kept.
    several_indices : bool
        Subtract the linear part before the step, and add it to the output (Algorithm 2+).
    width : int
        Half the number of neurons of the network, m.
    pruning_width, shrinkage : int and float
        The numbers m and c of Algorithm 1, whose time grows with m.
    step_size : float, optional
        The step size eta_1; by default the rows of W then have root mean square norm 1.
    weight_decay : float
        The number lambda of (3), above 0.
    n_steps : int
        Steps of (3).
    random_state : int or None
        Random seed of the pruning and of the network; None draws another at each call.
    progress : callable, optional
        Called after pruning, the gradient step and the second layer.

    Returns
    -------
    Solution of PrunedFit
        Status "converged".  The scores of the fit are the larger of the odd and the even norm of
        each probe.  Measured: "train_r2", "step_size", "rows".

    Raises
    ------
    ValueError
        Shapes do not match, values are missing, or a number is out of range.

    Notes
    -----
    O(n d^2 pruning_width + n M width + n_steps width^2) time.
    """
    source = columns_of(X)
    values = check_target(y, source.n, FEWEST_ROWS)
    check_counts(width=width, n_steps=n_steps)
    check_real("weight_decay", weight_decay, above=0)
    if step_size is not None:
        check_real("step_size", step_size, above=0)
    prune_seed, seed = np.random.SeedSequence(random_state).generate_state(2)
    kept = published_pruning(
        source, values, sparsity, width=pruning_width, shrinkage=shrinkage,
        random_state=int(prune_seed),
    )  # fmt: skip
    J = kept.support
    Z = source.take(J)
    _report(progress, PRUNED, math.nan, len(J))
    mu = Z.T @ values / len(Z) if several_indices else np.zeros(len(J))  # (1)
    target = values - Z @ mu
    rng = np.random.default_rng(int(seed))
    a = np.repeat([1.0, -1.0], width) * np.tile(rng.choice([-1.0, 1.0], width), 2)
    W = a[:, None] * np.tile(_first_layer(Z, target, width, rng), (2, 1))
    eta = 1.0 / max(_mean_norm(W), 1e-300) if step_size is None else float(step_size)
    W *= eta
    _report(progress, STEPPED, math.nan, len(J))
    b = np.tile(rng.standard_normal(width), 2)
    a = _second_layer(np.maximum(Z @ W.T + b, 0.0), target, weight_decay, n_steps)
    network = _with_linear_part(W, b, a, mu)
    r2 = 1.0 - float(np.square(network.predict(Z) - values).mean()) / float(values.var())
    _report(progress, SOLVED, 1.0 - r2, len(J))
    fit = PrunedFit(J, np.maximum(kept.odd_norms, kept.even_norms)[:-1], network)
    history: dict[str, list[float]] = {"step": [SOLVED], "loss": [1 - r2], "n_nonzero": [len(J)]}
    measured = {"train_r2": r2, "step_size": eta, "rows": len(Z)}
    return Solution(fit, "converged", history, measured)


def _first_layer(
    Z: FloatArray, target: FloatArray, width: int, rng: np.random.Generator
) -> FloatArray:
    """Return -grad_j / a_j of (2) for random neurons, [m, |J|]."""
    W = rng.standard_normal((width, Z.shape[1]))
    W /= np.linalg.norm(W, axis=1, keepdims=True)
    gate = (Z @ W.T + rng.standard_normal(width) > 0).astype(np.float64)
    return np.asarray((gate * target[:, None]).T @ Z / len(Z))


def _mean_norm(W: FloatArray) -> float:
    """Return the root mean square norm of the rows."""
    return math.sqrt(float(np.square(W).sum(axis=1).mean()))


def _second_layer(
    H: FloatArray, target: FloatArray, weight_decay: float, n_steps: int
) -> FloatArray:
    """Take the steps (3); return a."""
    gram, right = H.T @ H / len(H), H.T @ target / len(H)
    a = np.zeros(H.shape[1])
    rate = 1.0 / (float(np.linalg.eigvalsh(gram)[-1]) + weight_decay)
    for _ in range(n_steps):
        a = a - rate * (gram @ a - right + weight_decay * a)
    return a


def _with_linear_part(W: FloatArray, b: FloatArray, a: FloatArray, mu: FloatArray) -> IndexNetwork:
    """Return the network; <mu, x> = relu(<mu, x>) - relu(-<mu, x>) takes two more units."""
    if mu.any():
        W, b, a = np.vstack([W, mu, -mu]), np.r_[b, 0.0, 0.0], np.r_[a, 1.0, -1.0]
    s = W.shape[1]
    return IndexNetwork(np.zeros(s), np.ones(s), W, b, a[:, None], np.zeros(1))


def _report(progress: ProgressCallback | None, stage: int, loss: float, size: int) -> None:
    if progress is not None:
        progress(Progress(stage, SOLVED, loss, size))
