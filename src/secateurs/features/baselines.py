"""What pruned inputs are held against: one large step, spectral, a network, all on all inputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from secateurs.core.solution import Progress, ProgressCallback, Solution
from secateurs.data.columns import columns_of
from secateurs.features.network import (
    IndexNetwork,
    Rows,
    finished,
    initial_head,
    train,
)
from secateurs.features.published_network import checked, one_step
from secateurs.features.screening import standardised

FloatArray = NDArray[np.float64]

POWER_STEPS = 60  # of the spectral method
STEPS = 400  # of the second layer of the spectral method
LOOK = 20  # steps between two looks at the validation rows


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
    """`pruned_network` that does not prune: one gradient step on all inputs, ridge on the second.

    Parameters
    ----------
    X, y, k, hidden, validation, random_state, progress
        As in `pruned_network`.

    Returns
    -------
    Solution of IndexNetwork
        On all d columns.  Measured: "val_r2", "ridge", "rows".

    Notes
    -----
    O(n d hidden).  About d^k rows (derived).
    """
    source = columns_of(X)
    checked(source, y, k, hidden, validation)
    network, measured = one_step(
        source.take(np.arange(source.d)), y, k, hidden, validation, random_state, progress
    )
    history = {"step": [3], "loss": [1 - measured["val_r2"]], "n_nonzero": [source.d]}
    return Solution(network, "converged", history, measured)


def spectral(
    X: Any,
    y: NDArray[Any],
    directions: int = 1,
    *,
    hidden: int = 64,
    validation: float = 0.2,
    random_state: int | None = 0,
) -> Solution[IndexNetwork]:
    """Directions E[y x] and the leading eigenvectors of E[y (x x^T - I)], then a network on them.

    Parameters
    ----------
    X, y, hidden, validation, random_state
        As in `pruned_network`.
    directions : int
        Eigenvectors, of largest modulus.

    Returns
    -------
    Solution of IndexNetwork
        On all d columns.  Measured: "val_r2", "rows".

    Notes
    -----
    O(n d directions) a power step, 60 of them; the matrix is never formed.
    """
    source = columns_of(X)
    target = checked(source, y, 2, hidden, validation)
    if int(directions) != directions or not 1 <= directions < source.d:
        raise ValueError(f"got directions = {directions}; expected an integer from 1 to d - 1")
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
    # the network sees the indices alone: its first layer never moves along other columns
    U = torch.from_numpy(Z[order] @ D.T).float()
    rows = Rows(U, torch.from_numpy(target[order, None]).float(), n_train, "regression")
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    head = initial_head(rows, torch.eye(len(D)), hidden, generator)
    head = train(rows, head, STEPS, fixed=True)
    scale = raw.std(axis=0)
    values = np.asarray(y, dtype=np.float64)
    on_indices = finished(
        head, np.zeros(len(D)), np.ones(len(D)), values.mean(), values.std(), "regression"
    )
    network = IndexNetwork(
        raw.mean(axis=0),
        np.where(scale > 0, scale, 1.0),
        on_indices.W @ D,
        on_indices.bias,
        on_indices.w,
        on_indices.intercept,
    )
    history: dict[str, list[float]] = {
        "step": [STEPS],
        "loss": [1 - head.score],
        "n_nonzero": [source.d],
    }
    return Solution(network, "converged", history, {"val_r2": head.score, "rows": n})


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
    """A ReLU network on all inputs by AdamW with a cosine; the step best on validation rows.

    Parameters
    ----------
    X, y, hidden, validation, random_state
        As in `pruned_network`.
    n_steps : int
        Full-batch steps.
    rate, decay : float
        Of AdamW.
    progress : callable, optional
        Called every 20 steps.

    Returns
    -------
    Solution of IndexNetwork
        On all d columns.  Status "converged" or "interrupted".  Measured: "val_r2", "rows".

    Notes
    -----
    O(n d hidden) a step.
    """
    source = columns_of(X)
    target = checked(source, y, 1, hidden, validation)
    raw = source.take(np.arange(source.d))
    seed = np.random.SeedSequence(random_state)
    order = np.random.default_rng(seed).permutation(source.n)
    generator = torch.Generator().manual_seed(int(seed.generate_state(1)[0]))
    Z = torch.from_numpy(standardised(raw)[order]).float()
    t = torch.from_numpy(target[order]).float()
    m = source.n - round(validation * source.n)
    d = source.d
    parameters = [
        torch.randn(hidden, d, generator=generator) * math.sqrt(2.0 / d),
        torch.zeros(hidden),
        torch.randn(hidden, generator=generator) / math.sqrt(hidden),
        torch.zeros(()),
    ]
    for p in parameters:
        p.requires_grad_(True)
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
    spread = float((t[m:] - t[m:].mean()).square().sum()) + 1e-12
    best, score, status = [p.detach().clone() for p in parameters], -math.inf, "converged"
    history: dict[str, list[float]] = {"step": [], "loss": [], "n_nonzero": []}

    def out(inputs: torch.Tensor) -> torch.Tensor:
        W, b, w, c = parameters
        return functional.relu(inputs @ W.t() + b) @ w + c

    try:
        for step in range(1, n_steps + 1):
            for group in optimiser.param_groups:
                group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * (step - 1) / n_steps))
            optimiser.zero_grad()
            loss = (out(Z[:m]) - t[:m]).square().mean()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            if step % LOOK and step < n_steps:
                continue
            now = float(loss.detach())
            with torch.no_grad():
                r2 = 1.0 - float((out(Z[m:]) - t[m:]).square().sum()) / spread
            for name, value in (("step", step), ("loss", now), ("n_nonzero", hidden * d)):
                history[name].append(value)
            if r2 > score:
                best, score = [p.detach().clone() for p in parameters], r2
            if progress is not None:
                progress(Progress(step, n_steps, now, hidden * d))
    except KeyboardInterrupt:
        if not history["step"]:
            raise
        status = "interrupted"
    W, b, w, c = (p.double().numpy() for p in best)
    values = np.asarray(y, dtype=np.float64)
    scale = raw.std(axis=0)
    network = IndexNetwork(
        raw.mean(axis=0),
        np.where(scale > 0, scale, 1.0),
        W,
        b,
        values.std() * w[:, None],
        np.array([values.std() * float(c) + values.mean()]),
    )
    return Solution(network, status, history, {"val_r2": score, "rows": source.n})
