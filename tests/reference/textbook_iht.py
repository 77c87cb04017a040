"""Accelerated iterative hard thresholding, one neuron at a time: slow, but easy to check.

The algorithm of Fridovich-Keil & Pilanci (2025), after Blumensath (2012): an adaptive step, the
s largest entries, ten descent steps on the support.  All arrays are dense.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
FIRST_STEP = 1e-14  # the first step only selects the support
INNER_STEPS = 10


def textbook_iht(
    X: Array, y: Array, s: int, generators: Array, n_steps: int, *, sequential: bool
) -> list[Array]:
    """Return the weights [m, d] after each of `n_steps` steps; the first gates are 1{X h_j > 0}."""
    m, d = generators.shape
    H = generators.astype(X.dtype)
    w = np.zeros(m * d, dtype=X.dtype)
    support = np.zeros(0, dtype=int)
    iterates = []
    for step in range(n_steps):
        w, support = _step(X, y, s, H, w, support)
        iterates.append(w.reshape(m, d).copy())
        if sequential and step > 0:
            H = iterates[-1]  # h_j <- w_j
    return iterates


def textbook_predict(X: Array, W: Array, generators: Array | None = None) -> Array:
    """Return sum_j D_j X w_j with D_j = 1{X h_j > 0}; h_j = w_j without generators."""
    H = W if generators is None else generators
    return sum(((X @ h > 0) * (X @ w) for h, w in zip(H, W, strict=True)), np.zeros(len(X)))


def _step(
    X: Array, y: Array, s: int, H: Array, w: Array, support: NDArray[np.intp]
) -> tuple[Array, NDArray[np.intp]]:
    m, d = H.shape
    A = _columns(X, H, support)
    r = A @ w[support] - y
    g = A.T @ r
    eta = X.dtype.type(FIRST_STEP)
    if len(support):
        eta = np.sum(g**2) / (np.sum((A @ g) ** 2) + X.dtype.type(1e-8))
    proposal = w.copy()
    for j in range(m):
        gate = X @ H[j] > 0
        proposal[j * d : (j + 1) * d] -= eta * ((gate[:, None] * X).T @ r)
    # the s largest, ties broken by index
    support = np.sort(np.argsort(-np.abs(proposal), kind="stable")[:s])
    support = support[proposal[support] != 0]
    A = _columns(X, H, support)
    x = start = proposal[support]
    f = f_start = np.sum((A @ x - y) ** 2)
    for _ in range(INNER_STEPS):
        g = A.T @ (A @ x - y)
        for trial in range(11):
            candidate = x - eta * g
            f_candidate = np.sum((A @ candidate - y) ** 2)
            if f_candidate <= f - 0.9 * eta * np.sum(g**2):
                x, f = candidate, f_candidate
                break
            eta = eta / 2
            if trial == 10:
                x, f = start, f_start
    w = np.zeros_like(w)
    w[support] = x
    return w, support


def _columns(X: Array, H: Array, support: NDArray[np.intp]) -> Array:
    """Return the columns D_j x_k of the support, [n, s]."""
    A = np.zeros((len(X), len(support)), dtype=X.dtype)
    for j in np.unique(support // X.shape[1]):
        gate = X @ H[j] > 0
        here = support // X.shape[1] == j
        A[:, here] = gate[:, None] * X[:, support[here] % X.shape[1]]
    return A


def textbook_vector_iht(
    X: Array, Y: Array, s: int, m: int, n_steps: int, *, seed: int = 0
) -> tuple[Array, Array]:
    """Fit two layers W1 [m, d], W2 [k, m] under one budget by plain gradient steps.

    This is the authors' version for several outputs.  Its steps are fixed, h_j <- w_j after the
    second step, and the s entries with the largest accumulated updates are kept.  The authors
    accumulate in a count sketch; here the sums are exact.
    """
    rng = np.random.default_rng(seed)
    (n, d), k = X.shape, Y.shape[1]
    W1, W2 = np.zeros((m, d)), np.zeros((m, k))
    H = rng.standard_normal((m, d))
    importance = np.zeros(m * (d + k))
    alpha = 2.0 if s < 6 * m**0.536 else 0.005
    for step in range(n_steps):
        gates = (X @ H.T > 0).astype(float)
        residual = ((gates * (X @ W1.T)) @ W2 - Y) / n
        V1, V2 = W1.copy(), W2.copy()
        if step == 0:  # at zero both gradients vanish
            V1 = rng.uniform(-1, 1, (m, d)) / np.sqrt(d * m)
            V2 = rng.uniform(-1, 1, (m, k)) / np.sqrt(m * k)
        for j in range(m):
            shared = X.T @ (gates[:, j, None] * residual)  # [d, k]
            g1, g2 = shared @ V2[j], shared.T @ V1[j]
            V1[j], V2[j] = V1[j] - alpha * g1, V2[j] - alpha * g2
            importance[j * d : (j + 1) * d] -= alpha * g1
            importance[m * d + j * k : m * d + (j + 1) * k] -= alpha * g2
        x = np.concatenate([V1.ravel(), V2.ravel()])
        kept = np.argsort(-np.abs(importance), kind="stable")[:s]
        w = np.zeros_like(x)
        w[kept] = x[kept]
        W1, W2 = w[: m * d].reshape(m, d), w[m * d :].reshape(m, k)
        if step > 0:
            H = W1
    return W1, W2.T
