"""A pruned random neuron by its formulas: one point, one subset and one weight at a time."""

import itertools

import numpy as np

KINDS = ("Gaussian", "duplicates", "opposites", "near-parallel", "near the target", "axes")


def adversarial(d, n, seed):
    """Draw W, alpha and a target; the seed chooses generic or degenerate neurons."""
    rng = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    W, alpha, target = rng.standard_normal((n, d)), rng.standard_normal(n), rng.standard_normal(d)
    half = n // 2
    if kind == "duplicates":
        W[half : 2 * half] = W[:half]
    elif kind == "opposites":
        W[half : 2 * half] = -W[:half]
        alpha[half : 2 * half] = -alpha[:half]
    elif kind == "near-parallel":
        W[half : 2 * half] = W[:half] + 1e-8 * W[half : 2 * half]
    elif kind == "near the target":
        W = target * rng.choice([-1.0, 1.0], (n, 1)) + 10.0 ** rng.uniform(-9, 0, (n, 1)) * W
    elif kind == "axes":
        target = np.eye(d)[0]
        W = np.eye(d)[rng.integers(d, size=n)] * rng.choice([-1.0, 0.0, 1.0], (n, 1))
    return W, alpha, target


def slow_error(W, alpha, target, form, x):
    h = sum(a * max(float(w @ x), 0.0) for w, a in zip(W, alpha, strict=True))
    return abs(max(float(target @ x), 0.0) - (max(h, 0.0) if form == "B" else h))


def dense_circle(W, alpha, target, form, n_points):
    """Return the largest error over a grid of the circle, and half the step of the grid."""
    t = np.arange(n_points) * (2 * np.pi / n_points)
    X = np.stack([np.cos(t), np.sin(t)], axis=1)
    h = np.maximum(X @ W.T, 0) @ alpha
    f = np.maximum(X @ target, 0)
    return float(np.abs(f - (np.maximum(h, 0) if form == "B" else h)).max()), np.pi / n_points


def best_subset(A, f, form):
    """Return the least largest error over the points, found subset by subset, and its mask."""
    best, mask = np.inf, None
    for bits in itertools.product([False, True], repeat=A.shape[1]):
        h = A[:, list(bits)].sum(axis=1)
        error = np.abs(f - (np.maximum(h, 0) if form == "B" else h)).max()
        if error < best:
            best, mask = error, np.array(bits, dtype=bool)
    return best, mask
