"""Methods to compare pruning with; all of them use all inputs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from secateurs.core.driver import Iterations
from secateurs.core.parameters import check_integer
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.data.columns import columns_of
from secateurs.features.network import (
    LOOK,
    IndexNetwork,
    SplitRows,
    adamw_steps,
    initial_network,
    on_raw_columns,
    train,
)
from secateurs.features.pruned_network import checked_target, one_step
from secateurs.features.ranks import center_and_scale, standardised

POWER_STEPS = 60  # of the spectral method
NETWORK_STEPS = 400  # training steps of the network of the spectral method


def one_large_step(
    X: Any,
    y: NDArray[Any],
    k: int,
    *,
    hidden: int = 1024,
    validation: float = 0.2,
    random_state: int | None = 0,
    progress: ProgressCallback | None = None,
) -> Solution[IndexNetwork]:
    """Run `pruned_network` without pruning: one gradient step on all inputs, ridge on the second.

    Parameters
    ----------
    X, y : matrix [n, d] and array [n]
        Inputs and targets, as in `pruned_network`.
    k : int
        Information exponent, from 1 to 4.
    hidden : int
        Hidden units of the network.
    validation : float
        Share of the rows on which the ridge penalty is chosen.
    random_state : int or None
        Random seed of the split of the rows and of both layers; None draws another at each call.
    progress : callable, optional
        Called after the gradient step and after the second layer.

    Returns
    -------
    Solution of IndexNetwork
        The network on all d columns.  Measured: "val_r2", "ridge", "rows".

    Notes
    -----
    O(n d hidden) time.  It needs about d^k rows (derived).
    """
    source = columns_of(X)
    checked_target(source, y, k, hidden, validation)
    columns = source.take(np.arange(source.d))
    return one_step(columns, y, k, hidden, validation, random_state, progress)


def spectral(
    X: Any,
    y: NDArray[Any],
    directions: int = 1,
    *,
    hidden: int = 64,
    validation: float = 0.2,
    random_state: int | None = 0,
) -> Solution[IndexNetwork]:
    """Train a network on E[y x] and the leading eigenvectors of E[y (x x^T - I)] as directions.

    Parameters
    ----------
    X, y : matrix [n, d] and array [n]
        Inputs and targets, as in `pruned_network`.
    directions : int
        Number of eigenvectors, those with the eigenvalues of largest modulus; from 1 to d - 1.
    hidden : int
        Hidden units of the network.
    validation : float
        Share of the rows on which the best step of the training is chosen.
    random_state : int or None
        Random seed of the split of the rows, of the power steps and of the network.

    Returns
    -------
    Solution of IndexNetwork
        The network on all d columns.  Measured: "val_r2", "rows".

    Notes
    -----
    O(n d directions) time for each of 60 power steps; the matrix is never formed.
    """
    source = columns_of(X)
    target = checked_target(source, y, 2, hidden, validation)
    check_integer("directions", directions, 1, source.d - 1)
    raw = source.take(np.arange(source.d))
    Z = standardised(raw)
    n = len(Z)
    rng = np.random.default_rng(random_state)
    order = rng.permutation(n)
    n_train = n - round(validation * n)
    T, t = Z[order[:n_train]], target[order[:n_train]]
    Q = np.linalg.qr(rng.standard_normal((source.d, directions)))[0]
    for _ in range(POWER_STEPS):
        Q = np.linalg.qr(T.T @ (t[:, None] * (T @ Q)) / n_train - t.mean() * Q)[0]
    mean = T.T @ t / n_train
    D = np.concatenate([mean[None] / max(float(np.linalg.norm(mean)), 1e-300), Q.T])
    # the network is trained on the indices alone, so that its first layer stays in their span
    U = torch.from_numpy(Z[order] @ D.T).float()
    rows = SplitRows(U, torch.from_numpy(target[order, None]).float(), n_train, "regression")
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    start = initial_network(rows, torch.eye(len(D)), hidden, generator)
    trained = train(rows, start, NETWORK_STEPS, fixed_directions=True)
    center, scale = center_and_scale(raw)
    values = np.asarray(y, dtype=np.float64)
    network = on_raw_columns(trained, center, scale, values.mean(), values.std(), "regression")
    network = replace(network, W=network.W @ D)
    history: dict[str, list[float]] = {
        "step": [NETWORK_STEPS],
        "loss": [1 - trained.score],
        "n_nonzero": [source.d],
    }
    return Solution(network, "converged", history, {"val_r2": trained.score, "rows": n})


def adam_mlp(
    X: Any,
    y: NDArray[Any],
    *,
    hidden: int = 64,
    n_steps: int = 400,
    rate: float = 0.005,
    decay: float = 1e-3,
    validation: float = 0.2,
    random_state: int | None = 0,
    progress: ProgressCallback | None = None,
) -> Solution[IndexNetwork]:
    """Train a ReLU network on all inputs by AdamW with a cosine schedule.

    The result is the step that is best on the validation rows.

    Parameters
    ----------
    X, y : matrix [n, d] and array [n]
        Inputs and targets, as in `pruned_network`.
    hidden : int
        Hidden units of the network.
    n_steps : int
        Full-batch steps.
    rate, decay : float
        Learning rate and weight decay of AdamW.
    validation : float
        Share of the rows on which the best step is chosen.
    random_state : int or None
        Random seed of the split of the rows and of the first weights.
    progress : callable, optional
        Called every 20 steps.

    Returns
    -------
    Solution of IndexNetwork
        The network on all d columns.  Status "converged" or "interrupted".  Measured: "val_r2",
        "rows".

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C was pressed in the first 20 steps.

    Notes
    -----
    O(n d hidden) time for each step.
    """
    source = columns_of(X)
    target = checked_target(source, y, 1, hidden, validation)
    raw = source.take(np.arange(source.d))
    seed = np.random.SeedSequence(random_state)
    order = np.random.default_rng(seed).permutation(source.n)
    generator = torch.Generator().manual_seed(int(seed.generate_state(1)[0]))
    Z = torch.from_numpy(standardised(raw)[order]).float()
    t = torch.from_numpy(target[order]).float()
    m = source.n - round(validation * source.n)
    parameters = _initial_layers(source.d, hidden, generator)
    spread = float((t[m:] - t[m:].mean()).square().sum()) + 1e-12
    best, score = parameters, -math.inf

    def error(rows: slice) -> Tensor:
        W, b, w, c = parameters
        return (functional.relu(Z[rows] @ W.t() + b) @ w + c - t[rows]).square()

    def gradient() -> float:
        for parameter in parameters:
            parameter.grad = None
        loss = error(slice(m)).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    steps = adamw_steps(parameters, gradient, n_steps, rate, decay)
    with Iterations(n_steps, progress) as run:
        for step, loss in zip(run, steps, strict=False):
            if step % LOOK and step < n_steps:
                continue
            with torch.no_grad():
                r2 = 1.0 - float(error(slice(m, None)).sum()) / spread
            if r2 > score:
                best, score = [p.detach().clone() for p in parameters], r2
            run.record(loss=loss, n_nonzero=hidden * source.d)
        run.end("converged")
    if not run.history["step"]:
        raise KeyboardInterrupt
    W, b, w, c = (p.detach().double().numpy() for p in best)
    values = np.asarray(y, dtype=np.float64)
    intercept = np.array([values.std() * float(c) + values.mean()])
    network = IndexNetwork(*center_and_scale(raw), W, b, values.std() * w[:, None], intercept)
    return run.solution(network, val_r2=score, rows=source.n)


def _initial_layers(d: int, hidden: int, generator: torch.Generator) -> list[Tensor]:
    """Draw both layers of a network on d inputs, with zero biases."""
    parameters = [
        torch.randn(hidden, d, generator=generator) * math.sqrt(2.0 / d),
        torch.zeros(hidden),
        torch.randn(hidden, generator=generator) / math.sqrt(hidden),
        torch.zeros(()),
    ]
    return [p.requires_grad_(True) for p in parameters]
