"""From columns to directions, and from directions to more columns.

    D = { mean T x_J ;  top <= 4 eigenvectors of mean T (x x^T - I)_J               (1)
          with |lambda| > 1.3 (2 sqrt(p/n) + p/n) ;  sign(z) |z|^(1/3) if k = 3 }
    R = T_c h_l(D x_J), l <= 2, standardised                                         (2)
    J = { max |X^T R| / sqrt n > threshold } + { hits of the screen }                (3)

Once a direction is known, the gradient over all d columns is linear in v_j.  So (3) needs about
M log d rows where the screen needs M^k (derived, and measured).
"""

from __future__ import annotations

import numpy as np

from secateurs.features.ranks import FloatArray, IntArray, standardised

EIGENVECTORS = 4
ABOVE_NOISE = 1.3  # an eigenvalue must exceed the edge of the noise by this factor


def directions(x: FloatArray, T: FloatArray, k: int, z: FloatArray) -> FloatArray:
    """Return the directions (1) for one transform of y.

    Parameters
    ----------
    x : array [n, p]
        Normal scores of the columns J.
    T : array [n]
    k : int
        Degree of the channel that found J.
    z : array [p]
        Scores of J in that channel.

    Returns
    -------
    array [r, p]
        Unit rows, 1 <= r <= 6.

    Notes
    -----
    O(n p^2) time.
    """
    n, p = x.shape
    found = []
    mean = x.T @ T / n
    if k == 1 or np.linalg.norm(mean) > ABOVE_NOISE * np.sqrt(p / n):
        found.append(mean)
    M = (x * T[:, None]).T @ x / n
    M -= np.diag(np.full(p, T.mean()))
    values, vectors = np.linalg.eigh(M)
    order = np.argsort(-np.abs(values), kind="stable")[:EIGENVECTORS]
    edge = ABOVE_NOISE * (2 * np.sqrt(p / n) + p / n)
    found += [vectors[:, i] for i in order if abs(values[i]) > edge]
    if k == 3:
        found.append(np.sign(z) * np.abs(z) ** (1 / 3))
    if not found:
        found.append(vectors[:, order[0]])
    return np.stack([v / max(float(np.linalg.norm(v)), 1e-300) for v in found])


def anchors(x: FloatArray, T: FloatArray, D: FloatArray) -> FloatArray:
    """Return R (2) for every transform of y, index and l, [n, 2 C r]."""
    U = standardised(x @ D.T)
    columns = [T * h[:, None] for u in U.T for h in (u, u * u - 1.0)]
    return standardised(np.concatenate(columns, axis=1))


def strongest(scores: FloatArray, threshold: float, always: IntArray, cap: int) -> IntArray:
    """Return J (3), increasing: at most `cap` columns, those of `always` before the others."""
    order = np.argsort(-scores, kind="stable")
    hits = [int(j) for j in order[: cap + len(always)] if scores[j] > threshold]
    chosen = list(dict.fromkeys([*(int(j) for j in always), *hits]))[:cap]
    return np.sort(np.asarray(chosen, dtype=np.int64))
