"""Directions with many small coordinates: shrunk, over more columns than were selected.

    C <- J and the columns with the largest |x_j^T (e G)|                               (1)
    repeat <= 6:
      e + A theta = A theta_hat + noise: the network linearised in all coordinates      (2)
      theta | tau ~ N(0, diag tau^2);  tau_j^2 <- E[theta_j^2 | data], 3 times          (3)
      D <- posterior mean;  f <- trained again on the indices D x                       (4)
      stop when R^2 on the validation rows rises by less than .002
    keep the fewest columns whose network loses at most .01 of R^2                      (5)

A threshold loses coordinates with z below 4 one by one, but together they matter.

Source: (3) is expectation maximisation of the automatic relevance prior (MacKay 1992; Tipping
2001); its use here is an addition.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from secateurs.features.linearised import design, residual_scores, tangent
from secateurs.features.network import ScaledNetwork, SplitRows, initial_network, scored, train
from secateurs.features.ranks import FloatArray
from secateurs.features.search import Candidate
from secateurs.features.search_data import SearchData

ROUNDS = 6
UPDATES = 3  # of the prior in one round
ROUND_MUST_GAIN = 0.002  # R^2 on the validation rows that another round must gain
SHRUNK_LOSS = 0.01  # R^2 on the validation rows that shrinkage must gain, and that (5) may lose
EXCESS = 6.0  # standard deviations of sum z^2 above noise that indicate many small coordinates
MOST_UNKNOWNS = 2000  # coordinates of all directions together
MOST_ELEMENTS = 1 << 25  # numbers of A
ROUND_STEPS = 200  # training steps of (4)
SHARES = (0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)  # of the squared directions, tried in (5)


@dataclass(frozen=True, eq=False)
class _Posterior:
    theta: FloatArray
    prior: FloatArray  # tau^2
    noise: float


def with_small_coordinates(data: SearchData, now: Candidate) -> Candidate | None:
    """Return a better candidate by (1) to (5), if many columns have large residual scores."""
    z = residual_scores(data, now)
    excess = (np.square(z).sum() - z.size) / np.sqrt(2.0 * z.size)
    r = len(now.network.D)
    most = min(_most_columns(now.rows, r), data.limit)
    if excess < EXCESS or most <= len(now.J):
        return None
    order = np.argsort(-z.max(axis=1), kind="stable")
    others = order[~np.isin(order, now.J)][: most - len(now.J)]
    C = np.sort(np.concatenate([now.J, others]))
    D = torch.zeros(r, len(C))
    D[:, np.searchsorted(C, now.J)] = now.network.D
    rows = data.rows(C)
    network = shrunk_directions(rows, replace(now.network, D=D), data.hidden, data.generator)
    if network.score <= now.network.score + SHRUNK_LOSS:
        return None
    kept = lightest(rows, network, SHRUNK_LOSS)
    rows = data.rows(C[kept])
    light = scored(replace(network, D=network.D[:, kept]), rows)
    return Candidate(C[kept], light, rows) if light.score > now.network.score else None


def _most_columns(rows: SplitRows, r: int) -> int:
    """Return how many columns C (1) may hold."""
    by_memory = MOST_ELEMENTS // (r * rows.n_train * rows.Y.shape[1])
    return max(1, min(MOST_UNKNOWNS // r, by_memory))


def shrunk_directions(
    rows: SplitRows, network: ScaledNetwork, hidden: int, generator: torch.Generator
) -> ScaledNetwork:
    """Apply (2) to (4) to a network on the columns C; its directions are zero on the added columns.

    Returns the best network on the validation rows, at worst `network` itself.  Each round takes
    O(n (r C)^2 + (r C)^3) time.
    """
    X = rows.X.double().numpy()[: rows.n_train]
    best = now = network
    posterior: _Posterior | None = None
    for _ in range(ROUNDS):
        e, G = tangent(now, rows)
        A = design(X, G[:, : rows.n_train])
        D = now.D.double().numpy()
        target = e[:, : rows.n_train].ravel() + A @ D.ravel()
        if posterior is None:
            size = max(float(np.square(D).sum()), 1e-12) / D.size
            posterior = _Posterior(D.ravel(), np.full(D.size, size), float(e.var()))
        posterior = _relevance(A, target, posterior)
        shrunk = torch.from_numpy(posterior.theta.reshape(D.shape)).float()
        now = _trained_on_indices(rows, initial_network(rows, shrunk, hidden, generator))
        factor = (now.D.norm(dim=1) / shrunk.norm(dim=1).clamp_min(1e-12)).double().numpy()
        prior = posterior.prior.reshape(D.shape) * factor[:, None] ** 2
        posterior = _Posterior(now.D.double().numpy().ravel(), prior.ravel(), posterior.noise)
        gained = now.score - best.score
        if gained > 0:
            best = now
        if gained < ROUND_MUST_GAIN:
            break
    return best


def _trained_on_indices(rows: SplitRows, network: ScaledNetwork) -> ScaledNetwork:
    """Train everything but the directions, so that the columns are read only once."""
    indices = replace(rows, X=rows.X @ network.D.t())
    start = replace(network, D=torch.eye(len(network.D)))
    return replace(train(indices, start, ROUND_STEPS, fixed_directions=True), D=network.D)


def lightest(rows: SplitRows, network: ScaledNetwork, loss: float) -> NDArray[np.bool_]:
    """Return the fewest columns (5) whose network scores at most `loss` below `network`."""
    size = network.D.square().sum(dim=0)
    order = torch.argsort(size, descending=True, stable=True)
    share = torch.cumsum(size[order], 0) / size.sum()
    kept = torch.ones(len(size), dtype=torch.bool)
    for part in SHARES:
        m = min(len(size), int((share < part).sum()) + 1)
        kept = torch.zeros(len(size), dtype=torch.bool)
        kept[order[:m]] = True
        light = scored(replace(network, D=network.D * kept), rows)
        if light.score >= network.score - loss:
            break
    kept &= size > 0
    return kept.numpy()


def _relevance(A: FloatArray, target: FloatArray, start: _Posterior) -> _Posterior:
    """Return posterior mean, prior variances and noise after the updates (3)."""
    gram, right, power = A.T @ A, A.T @ target, float(target @ target)
    tau2, noise, theta = start.prior, start.noise, start.theta
    for update in range(UPDATES):
        tau = np.sqrt(tau2)
        M = gram * tau[:, None] * tau[None, :] / noise
        M[np.diag_indices_from(M)] += 1.0
        inverse = np.linalg.inv(M)
        theta = tau * (inverse @ (tau * right)) / noise
        if update == UPDATES - 1:
            break
        spread = np.diag(inverse)
        rest = power - 2.0 * float(theta @ right) + float(theta @ gram @ theta)
        freedom = max(len(target) - float((1.0 - spread).sum()), 0.1 * len(target))
        noise = max(rest / freedom, 1e-9 * power / len(target))
        tau2 = np.maximum(theta**2 + spread * tau2, 1e-14)
    return _Posterior(theta, tau2, noise)
