"""Which kept columns are needed, given the others, and which are missing.

    e = y - f(D x),  G = df / du at every row
    A[i, (r, j)] = G_ir x_ij,  theta = vec(D)                    the network, linearised    (1)
    theta_hat = least squares of e + A theta on A over J;
    t_j^2 = theta_hat_j^T Cov_j^-1 theta_hat_j                   one column given the rest  (2)
    drop { |t_j| <= threshold };   add { max |x_j^T (e G)| > threshold }                    (3)

Columns that only copy a needed one have t near 0 however large their score: (2) is what
correlated inputs need.  (3) is accepted on validation rows only.  All of it is ours.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import chi2, norm

from secateurs.features.network import Head, Rows, gradients, responses

FloatArray = NDArray[np.float64]

RIDGE = 1e-3  # of (2), in units of the mean square of a column of A


def tangent(head: Head, rows: Rows) -> tuple[FloatArray, FloatArray]:
    """Residuals e [k, n] and gradients G [k, n, r] on all rows."""
    with torch.no_grad():
        e = (rows.Y - responses(head, rows)).t().double().numpy()
        G = gradients(head, rows).double().numpy()
    return e, G


def design(X: FloatArray, G: FloatArray) -> FloatArray:
    """A (1) of every output on top of each other, [k n, r s]; column (r, j) at r s + j."""
    k, n, r = G.shape
    return (G[:, :, :, None] * X[None, :, None, :]).reshape(k * n, r * X.shape[1])


def conditional_scores(head: Head, rows: Rows) -> tuple[FloatArray, FloatArray]:
    """|t_j| as normal scores [s], and the Gauss-Newton directions [r, s] (2)."""
    e, G = tangent(head, rows)
    n = rows.n_train
    X = rows.X.double().numpy()
    D = head.D.double().numpy()
    r, s = D.shape
    A = design(X[:n], G[:, :n])
    target = e[:, :n].ravel() + A @ D.ravel()
    gram = A.T @ A
    ridge = RIDGE * float(np.mean(np.diag(gram))) + 1e-12
    inverse = np.linalg.inv(gram + ridge * np.eye(len(gram)))
    theta = inverse @ (A.T @ target)
    rest = target - A @ theta
    freedom = max(1.0, len(rest) - r * s)
    variance = max(float(rest @ rest) / freedom, 1e-12)
    scores = np.empty(s)
    for j in range(s):
        at = np.arange(r) * s + j
        cov = variance * inverse[np.ix_(at, at)]
        wald = float(theta[at] @ np.linalg.pinv(cov) @ theta[at])
        scores[j] = _normal(wald, r)
    return scores, theta.reshape(r, s)


def _normal(wald: float, r: int) -> float:
    """A chi-square of r degrees as the size of a normal of the same tail."""
    if r == 1 or wald > 1000.0:
        return float(np.sqrt(max(wald - (r - 1), 0.0) if r > 1 else wald))
    return float(norm.isf(chi2.sf(wald, r) / 2))


def residual_labels(head: Head, rows: Rows) -> FloatArray:
    """E G for every output and index, without what the kept columns explain, [n, k r] (3)."""
    e, G = tangent(head, rows)
    k, n, r = G.shape
    labels = (e[:, :, None] * G).transpose(1, 0, 2).reshape(n, k * r)
    labels = labels - labels.mean(axis=0)
    scale = labels.std(axis=0)
    return np.asarray(labels / np.where(scale > 0, scale, 1.0))
