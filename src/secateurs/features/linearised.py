"""The network linearised at the fit: which kept columns are needed, and which are missing.

    e = y - f(D x),  G = df / du at every row
    A[i, (r, j)] = G_ir x_ij,  theta = vec(D)                    the network, linearised    (1)
    theta_hat = least squares of e + A theta on A over J;
    t_j^2 = theta_hat_j^T Cov_j^-1 theta_hat_j                   one column given the rest  (2)
    scores of e G on the columns outside J                       columns that are missing   (3)

A column that only copies a needed one has t near 0, however large its score in the screen.  This
matters for correlated inputs.

Source: all steps are additions to the paper.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import chi2, norm

from secateurs.features.network import ScaledNetwork, SplitRows, gradients, responses
from secateurs.features.ranks import FloatArray, standardised
from secateurs.features.search import Candidate
from secateurs.features.search_data import SearchData

RIDGE = 1e-3  # of (2), in units of the mean square of a column of A
LARGEST_WALD = 1000.0  # above it the tail of a chi-square is too small to compute


def tangent(network: ScaledNetwork, rows: SplitRows) -> tuple[FloatArray, FloatArray]:
    """Return residuals e [k, n] and gradients G [k, n, r] on all rows."""
    with torch.no_grad():
        e = (rows.Y - responses(network, rows)).t().double().numpy()
        G = gradients(network, rows).double().numpy()
    return e, G


def design(X: FloatArray, G: FloatArray) -> FloatArray:
    """Return A (1) for all outputs, stacked, [k n, r s]; (r, j) is column r s + j."""
    k, n, r = G.shape
    return (G[:, :, :, None] * X[None, :, None, :]).reshape(k * n, r * X.shape[1])


def conditional_scores(network: ScaledNetwork, rows: SplitRows) -> tuple[FloatArray, FloatArray]:
    """Return |t_j| (2) as normal scores [s], and theta_hat as directions [r, s]."""
    e, G = tangent(network, rows)
    n = rows.n_train
    X = rows.X.double().numpy()
    D = network.D.double().numpy()
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
    """Return the size of a normal with the same tail as a chi-square of r degrees of freedom."""
    if r == 1 or wald > LARGEST_WALD:
        return float(np.sqrt(max(wald - (r - 1), 0.0) if r > 1 else wald))
    return float(norm.isf(chi2.sf(wald, r) / 2))


def residual_scores(data: SearchData, now: Candidate) -> FloatArray:
    """Return the scores (3), [d, k r]; the score of a kept column is 0."""
    e, G = tangent(now.network, now.rows)
    k, n, r = G.shape
    labels = standardised((e[:, :, None] * G).transpose(1, 0, 2).reshape(n, k * r))
    z = np.abs(data.ranked.products(data.on_all_rows(labels[: data.n_train])))
    z[now.J] = 0.0
    return z
