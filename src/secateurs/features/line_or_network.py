"""Decide whether a line on the kept columns does as well as the network.

With few rows a network overfits, and a line may predict better.

    compare on the validation rows; if the network is better by 3 standard errors, keep it  (1)
    five folds: f <- network trained anew from D on three of the other four folds, stopped
                on the fourth;  l <- ridge on the other four                                (2)
    keep the network if its squared errors on the folds are smaller by one standard error;
    otherwise take l on all rows.  The score is R^2 on the folds                            (3)

(1) saves the training runs of (2) where the answer is clear.  The columns and D come from all rows,
so (3) is still optimistic by the amount gained in finding them.

Source: all steps are additions to the paper.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from secateurs.features.network import ScaledNetwork, SplitRows, initial_network, outputs, train
from secateurs.features.ranks import FloatArray

FOLDS = 5
CLEAR, BETTER = 3.0, 1.0  # standard errors of (1) and (3)
PENALTIES = np.logspace(-5, 2, 15)  # of the ridge, in units of a column's mean square


def line_or_network(
    rows: SplitRows, network: ScaledNetwork, hidden: int, n_steps: int, generator: torch.Generator
) -> ScaledNetwork:
    """Return the network of a regression, or a line in its place, by (1) to (3).

    Where (1) decides, it is `network` itself; otherwise its score is that of (3).  The networks of
    (2) have `hidden` units and are trained for `n_steps`.
    """
    n, m = len(rows.X), rows.n_train
    errors = [_squared_errors(rows, h)[m:] for h in (network, line(rows, m))]
    if _in_standard_errors(errors[1] - errors[0]) > CLEAR:
        return network
    total = np.empty((2, n))
    fold = np.arange(n) % FOLDS  # rows are in random order, so these are random folds
    for f in range(FOLDS):
        stop, test = fold == (f + 1) % FOLDS, fold == f
        order = np.concatenate([np.flatnonzero(part) for part in (~stop & ~test, stop, test)])
        part = replace(rows, X=rows.X[order], Y=rows.Y[order])
        n_three, n_four = int((~stop & ~test).sum()), int((~test).sum())
        seen = SplitRows(part.X[:n_four], part.Y[:n_four], n_three, rows.task)
        anew = train(seen, initial_network(seen, network.D, hidden, generator), n_steps)
        for i, h in enumerate((anew, line(part, n_four))):
            total[i, order[n_four:]] = _squared_errors(part, h)[n_four:]
    network_stays = _in_standard_errors(total[1] - total[0]) > BETTER
    chosen = network if network_stays else line(rows, n)
    spread = float((rows.Y - rows.Y.mean(dim=0)).square().sum())
    rest = float(total[0 if network_stays else 1].sum())
    return replace(chosen, score=1.0 - rest / max(spread, 1e-12))


def line(rows: SplitRows, n: int) -> ScaledNetwork:
    """Fit ridge regression to the first n rows, and write it as a network of two units.

    The penalty is chosen by leave-one-out, and z = relu(z) - relu(-z).  O(n s min(n, s)) time.
    """
    X, y = rows.X[:n].double().numpy(), rows.Y[:n, 0].double().numpy()
    center, mean = X.mean(axis=0), float(y.mean())
    U, s, Vt = np.linalg.svd(X - center, full_matrices=False)
    along, t = U.T @ (y - mean), y - mean
    best, beta = np.inf, np.zeros(len(center))
    for penalty in PENALTIES * n:
        shrunk = s**2 / (s**2 + penalty)
        leverage = np.square(U) @ shrunk + 1.0 / n
        out = (t - U @ (shrunk * along)) / np.maximum(1.0 - leverage, 1e-12)
        if float(out @ out) < best:
            best = float(out @ out)
            beta = Vt.T @ (s / (s**2 + penalty) * along)
    size = float(np.linalg.norm(beta))
    D = beta / size if size > 0 else np.eye(1, len(beta))[0]
    return ScaledNetwork(
        torch.from_numpy(D).float()[None],
        torch.tensor([[1.0], [-1.0]]),
        torch.zeros(2),
        torch.tensor([[size], [-size]]),
        torch.tensor([mean - float(center @ beta)]),
    )


def _squared_errors(rows: SplitRows, network: ScaledNetwork) -> FloatArray:
    with torch.no_grad():
        e = rows.Y[:, 0] - outputs(network, rows.X)[:, 0]
    return np.asarray(e.double().numpy() ** 2)


def _in_standard_errors(gain: FloatArray) -> float:
    """Return the mean in units of its standard error."""
    spread = max(float(gain.std()), 1e-300)
    return float(gain.mean()) * float(np.sqrt(len(gain))) / spread
