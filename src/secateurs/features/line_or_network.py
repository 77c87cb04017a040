"""Whether a line on the kept columns does as well as the network: few rows, many overfits.

    compare on the validation rows; the network is better by 3 standard errors: done   (1)
    five folds: f <- network trained anew from D on three of the other four, stopped on
                the fourth;  l <- ridge on the other four                               (2)
    the network stays if its squared errors on the folds are smaller by one standard
    error; else l on all rows.  What is reported is the R^2 on the folds                (3)

(1) spares the trainings where nothing hangs on them.  Columns and D come from all rows, so that
(3) is optimistic still, by what was gained in finding them.  All of it is ours.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from secateurs.features.network import Head, Rows, initial_head, outputs, train

FloatArray = NDArray[np.float64]

FOLDS = 5
CLEAR, BETTER = 3.0, 1.0  # standard errors of (1) and (3)
PENALTIES = np.logspace(-5, 2, 15)  # in units of a column's mean square


def line_or_network(
    rows: Rows, head: Head, hidden: int, steps: int, generator: torch.Generator
) -> Head:
    """`head`, or a line in its place (1) to (3).

    Parameters
    ----------
    rows : Rows
        Of a regression.
    head : Head
    hidden, steps : int
        Of the networks of (2).
    generator : torch.Generator

    Returns
    -------
    Head
        The same one where (1) settles it; else its score is that of (3).
    """
    n, m = len(rows.X), rows.n_train
    errors = [_errors(rows, h)[m:] for h in (head, line(rows, m))]
    if _standard_errors(errors[1] - errors[0]) > CLEAR:
        return head
    total = np.empty((2, n))
    # Row i of `rows` is a random row, so that folds by place are random folds.
    fold = np.arange(n) % FOLDS
    for f in range(FOLDS):
        stop, test = fold == (f + 1) % FOLDS, fold == f
        order = np.concatenate([np.flatnonzero(part) for part in (~stop & ~test, stop, test)])
        part = replace(rows, X=rows.X[order], Y=rows.Y[order])
        n_three, n_four = int((~stop & ~test).sum()), int((~test).sum())
        seen = Rows(part.X[:n_four], part.Y[:n_four], n_three, rows.task)
        network = train(seen, initial_head(seen, head.D, hidden, generator), steps)
        for i, h in enumerate((network, line(part, n_four))):
            total[i, order[n_four:]] = _errors(part, h)[n_four:]
    network_stays = _standard_errors(total[1] - total[0]) > BETTER
    chosen = head if network_stays else line(rows, n)
    spread = float((rows.Y - rows.Y.mean(dim=0)).square().sum())
    rest = float(total[0 if network_stays else 1].sum())
    return replace(chosen, score=1.0 - rest / max(spread, 1e-12))


def line(rows: Rows, n: int) -> Head:
    """Ridge on the first n rows, its penalty by leave-one-out; as a network of two units.

    z = relu(z) - relu(-z).  O(n s min(n, s)) time.
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
    return Head(
        torch.from_numpy(D).float()[None],
        torch.tensor([[1.0], [-1.0]]),
        torch.zeros(2),
        torch.tensor([[size], [-size]]),
        torch.tensor([mean - float(center @ beta)]),
        0.0,
    )


def _errors(rows: Rows, head: Head) -> FloatArray:
    """Squared, [n]."""
    with torch.no_grad():
        e = rows.Y[:, 0] - outputs(head, rows.X)[:, 0]
    return np.asarray(e.double().numpy() ** 2)


def _standard_errors(gain: FloatArray) -> float:
    """The mean in units of its standard error."""
    spread = max(float(gain.std()), 1e-300)
    return float(gain.mean()) * float(np.sqrt(len(gain))) / spread
