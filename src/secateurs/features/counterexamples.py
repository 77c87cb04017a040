"""Two links on which a simpler Algorithm 1 fails: why it needs its extra column and its split.

    without the extra column the probe is e_1 itself.  For y = he2 + 2 sqrt(3) he4 of x_1
    (normalised) and b = 0 the gradient at e_1 has the mean
        sum_k gamma_k (sqrt k c_{k-1} + sqrt(k+1) c_{k+1}) = phi(0) (1 - 1) / sqrt 2 = 0     (1)
    with c_k the Hermite coefficients of the step 1(u > 0): the informative term, along v, and the
    term along the probe cancel.
    without the split into odd and even parts, y = he1 + he2 of <v, x> with v_i = -1 / sqrt M has
        g(e~_i) = v (c_0 + sqrt 2 c_1 c v_i) + terms of order c^2                              (2)
    and its norm is smaller at the probes of relevant inputs than at all others.

Source: Vural & Erdogdu (COLT 2024), section 6; (1) and (2) are derived.
"""

from __future__ import annotations

import math

import numpy as np

from secateurs.features.planted import normalised_hermite
from secateurs.features.published_pruning import gradients, split_gradients, top
from secateurs.features.ranks import FloatArray

SHRINKAGE = 0.5  # c
NEURONS = 8


def cancelling_link(n: int, d: int, random_state: int) -> dict[str, float]:
    """Measure (1) on n rows of d inputs, of which the first matters; biases are 0.

    Returns
    -------
    dict
        "with" and "without": 1 if the probe of the relevant input has the largest norm of the even
        gradient, with the extra column and without it; else 0.
    """
    rng = np.random.default_rng(random_state)
    X = rng.standard_normal((n, d))
    y = normalised_hermite(X[:, 0], 2) + 2.0 * math.sqrt(3.0) * normalised_hermite(X[:, 0], 4)
    Z = np.c_[X, rng.standard_normal(n)]
    b = np.zeros(1)
    extended = np.array([_even_norm(Z, y, _probe(Z, i), b) for i in range(d)])
    plain = np.array([_even_norm(X, y, X[:, i], b) for i in range(d)])
    return {"with": float(np.argmax(extended) == 0), "without": float(np.argmax(plain) == 0)}


def inverted_ranking(n: int, d: int, M: int, random_state: int) -> dict[str, float]:
    """Measure (2) on n rows of d inputs, of which the first M matter.

    Returns
    -------
    dict
        "with" and "without": the share of the relevant inputs among the M probes of largest norm,
        of the even gradient and of the gradient that is not split.
    """
    rng = np.random.default_rng(random_state)
    X = rng.standard_normal((n, d))
    u = -X[:, :M].sum(axis=1) / math.sqrt(M)
    y = normalised_hermite(u, 1) + normalised_hermite(u, 2)
    Z = np.c_[X, rng.standard_normal(n)]
    b = rng.standard_normal(NEURONS)
    yZ = Z * y[:, None] / n
    split = np.array([_even_norm(Z, y, _probe(Z, i), b) for i in range(d)])
    whole = np.array([np.linalg.norm(gradients(yZ, _probe(Z, i), b)) for i in range(d)])
    return {"with": _recall(split, M), "without": _recall(whole, M)}


def _probe(Z: FloatArray, i: int) -> FloatArray:
    """Return <e~_i, x> for every row; the last column of Z is the extra one."""
    return np.asarray(SHRINKAGE * Z[:, i] + math.sqrt(1.0 - SHRINKAGE**2) * Z[:, -1])


def _even_norm(Z: FloatArray, y: FloatArray, u: FloatArray, b: FloatArray) -> float:
    return float(np.linalg.norm(split_gradients(Z * y[:, None] / len(Z), u, b)[1]))


def _recall(norms: FloatArray, M: int) -> float:
    """Return the share of the first M among the M largest."""
    return float((top(norms, M) < M).mean())
