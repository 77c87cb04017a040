"""Directions with many small coordinates: shrunk, over more columns than were selected.

    C <- the columns with the largest |x_j^T (e G)|, and J                              (1)
    repeat <= 6:
      e + A theta = A theta_hat + noise: the network linearised in all coordinates      (2)
      theta | tau ~ N(0, diag tau^2);  tau_j^2 <- E[theta_j^2 | data], 3 times          (3)
      D <- posterior mean;  f <- trained again on the indices D x                       (4)
      stop when validation R^2 gains less than .002

Thresholds lose coordinates below z = 4 one by one; together they matter.  (3) is expectation-
maximisation of the automatic relevance prior (MacKay 1992; Tipping 2001); its use here is ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from secateurs.features.network import Head, Rows, initial_head, outputs, score, train
from secateurs.features.refine import design, tangent

FloatArray = NDArray[np.float64]

ROUNDS = 6
UPDATES = 3  # of the prior in a round
GAIN = 0.002  # of validation R^2 that is worth another round
UNKNOWNS = 2000  # coordinates of all directions together
ELEMENTS = 1 << 25  # numbers of A
STEPS = 200
SHARES = (0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)  # of the squared directions that are kept


@dataclass(frozen=True, eq=False)
class _Posterior:
    theta: FloatArray
    prior: FloatArray  # tau^2
    noise: float


def most_columns(rows: Rows, r: int) -> int:
    """How many columns (1) may hold."""
    return max(1, min(UNKNOWNS // r, ELEMENTS // (r * rows.n_train * rows.Y.shape[1])))


def soft_directions(rows: Rows, head: Head, hidden: int, generator: torch.Generator) -> Head:
    """(2) to (4) from a network whose directions are zero on the columns that were not kept.

    Parameters
    ----------
    rows : Rows
        Of the columns C (1), at most `most_columns`.
    head : Head
        Directions [r, C].
    hidden : int
    generator : torch.Generator

    Returns
    -------
    Head
        The best on the validation rows, `head` itself when nothing gained.  O(n (r C)^2 +
        (r C)^3) time a round.
    """
    X = rows.X.double().numpy()[: rows.n_train]
    best = now = head
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
        now = on_indices(rows, initial_head(rows, shrunk, hidden, generator), STEPS)
        factor = (now.D.norm(dim=1) / shrunk.norm(dim=1).clamp_min(1e-12)).double().numpy()
        prior = posterior.prior.reshape(D.shape) * factor[:, None] ** 2
        posterior = _Posterior(now.D.double().numpy().ravel(), prior.ravel(), posterior.noise)
        gained = now.score - best.score
        if gained > 0:
            best = now
        if gained < GAIN:
            break
    return best


def on_indices(rows: Rows, head: Head, steps: int) -> Head:
    """Train everything but the directions: the columns are read once."""
    small = Rows(rows.X @ head.D.t(), rows.Y, rows.n_train, rows.task)
    eye = replace(head, D=torch.eye(len(head.D)))
    done = train(small, eye, steps, fixed=True)
    return replace(done, D=head.D)


def lightest(rows: Rows, head: Head, loss: float) -> NDArray[np.bool_]:
    """Columns to keep: the fewest whose network scores within `loss`, the others set to 0."""
    size = head.D.square().sum(dim=0)
    order = torch.argsort(size, descending=True, stable=True)
    share = torch.cumsum(size[order], 0) / size.sum()
    kept = torch.ones(len(size), dtype=torch.bool)
    for part in SHARES:
        m = min(len(size), int((share < part).sum()) + 1)
        kept = torch.zeros(len(size), dtype=torch.bool)
        kept[order[:m]] = True
        light = replace(head, D=head.D * kept)
        if score(rows, outputs(light, rows.X)) >= head.score - loss:
            break
    kept &= size > 0
    return kept.numpy()


def _relevance(A: FloatArray, target: FloatArray, start: _Posterior) -> _Posterior:
    """(3): posterior mean, prior variances and noise after a few updates."""
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
