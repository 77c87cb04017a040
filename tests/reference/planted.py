"""Small planted networks for tests and benchmarks: y = sum_j relu(X w_j)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def planted(
    n: int, d: int, m: int, s: int, *, separated: bool = False, seed: int = 0
) -> tuple[Array, Array, Array]:
    """Return Gaussian inputs X [n, d], weights W [m, d] with s nonzeros, and targets y [n].

    The nonzeros are at random places and have values N(0, 1).  If `separated`, they are spread
    evenly over the neurons, on disjoint columns where there are enough, with |w| in [.5, 1.5].
    """
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    W = np.zeros(m * d)
    if separated:
        columns = np.resize(rng.permutation(d), s)
        places = np.arange(s) % m * d + columns
        assert len(np.unique(places)) == s
        W[places] = rng.uniform(0.5, 1.5, s) * rng.choice([-1.0, 1.0], s)
    else:
        W[rng.choice(m * d, s, replace=False)] = rng.standard_normal(s)
    W = W.reshape(m, d)
    return X, W, np.maximum(X @ W.T, 0).sum(1)


def planted_network(
    n: int, widths: tuple[int, ...], s: int, *, seed: int = 0
) -> tuple[Array, list[Array], Array]:
    """Return Gaussian inputs, sparse layers with s weights in all, and outputs [n, widths[-1]]."""
    rng = np.random.default_rng(seed)
    X = H = rng.standard_normal((n, widths[0]))
    layers = []
    share = s // (len(widths) - 1)
    for layer, (n_in, n_out) in enumerate(pairwise(widths)):
        W = np.zeros(n_in * n_out)
        at = rng.choice(W.size, min(share, W.size), replace=False)
        W[at] = rng.standard_normal(len(at))
        layers.append(W.reshape(n_out, n_in))
        H = H @ layers[-1].T
        if layer < len(widths) - 2:
            H = np.maximum(H, 0)
    return X, layers, H


def psnr(y: Array, prediction: Array) -> float:
    """Return the peak signal-to-noise ratio in dB, where the peak is max |y|."""
    error = np.mean((np.asarray(y, float) - np.asarray(prediction, float)) ** 2)
    return float(20 * np.log10(np.abs(y).max()) - 10 * np.log10(error + 1e-300))
