"""How much a smaller module is worse than the wide one, bounded on rows that chose nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from secateurs.core.bounds import error_upper_bound, mean_lower_bound
from secateurs.core.certificate import Check
from secateurs.core.program import Inputs
from secateurs.core.splits import row_keys
from secateurs.nn.data import Loss, PruningData, Selection, placed
from secateurs.nn.evaluation import batch_loss, called, evaluation_mode

CONFIDENCE = 0.95
ROWS = 1024  # rows in one forward pass


def increase_checks(
    before: nn.Module,
    after: nn.Module,
    loss: Loss,
    certify: tuple[Tensor, Tensor],
    data: PruningData,
    *,
    clip: float,
) -> list[Check]:
    """Bound the increase of the loss, and for classes that of the error rate, on new rows.

    Parameters
    ----------
    before, after : nn.Module
        The wide module and the smaller one.
    loss : callable
        Mean over a batch.
    certify : (X, y)
        Rows on which nothing was trained or chosen, `before` included.  Copies of rows in `data`,
        and further copies of a row, are left out.
    data : PruningData
    clip : float
        The most by which the losses of one row may differ; it must not come from `certify`.

    Returns
    -------
    list of Check
        "loss increase", and "error increase" where y are classes.  Each bound holds with
        confidence 95 % for independent draws, whatever their distribution.
    """
    new = _new_rows(certify, data)
    n = len(new)
    losses = [_row_losses(module, loss, new, data.like) for module in (before, after)]
    difference = np.clip(losses[1][0] - losses[0][0], -clip, clip)
    fall = mean_lower_bound((clip - difference) / (2 * clip), CONFIDENCE) if n and clip > 0 else 0.0
    bound = clip - 2 * clip * fall
    checks = [
        Check(
            "loss increase",
            "on new rows from the same source the mean loss is above that of the wide module by "
            f"at most {bound:.4g} with confidence {CONFIDENCE:.0%}, where the losses of one row "
            f"differ by at most {clip:.4g} ({n} distinct rows on which nothing was trained or "
            f"chosen; the mean increase on them was {difference.mean() if n else 0:.4g})",
            "holds" if n and bound < clip else "unknown",
            float(bound),
            float(clip),
            "derived in secateurs.core.bounds: a bet on clipped paired differences",
        )
    ]
    if losses[0][1] is not None and losses[1][1] is not None and len(losses[0][1]) == n:
        checks.append(_error_check(losses[0][1], losses[1][1], n))
    return checks


def _error_check(before: NDArray[np.bool_], after: NDArray[np.bool_], n: int) -> Check:
    level = 1 - (1 - CONFIDENCE) / 2
    worse, better = int((after & ~before).sum()), int((before & ~after).sum())
    most = error_upper_bound(worse, n, level)
    least = 1 - error_upper_bound(n - better, n, level)
    bound = most - least
    return Check(
        "error increase",
        f"on new rows from the same source the error rate is above that of the wide module by at "
        f"most {bound:.4g} with confidence {CONFIDENCE:.0%} ({worse} of {n} distinct rows were "
        f"wrong only after pruning, {better} only before)",
        "holds" if n and bound < 1 else "unknown",
        bound,
        1.0,
        "Clopper & Pearson (1934) on the discordant rows of each kind, with a union bound",
    )


def _new_rows(certify: tuple[Tensor, Tensor], data: PruningData) -> Selection:
    """Leave out copies of rows of the data, and all but the first of equal rows."""
    X, y = certify
    keys = _keys(X, y)
    used = []
    if isinstance(data.training, Selection):
        used.append(_keys(*data.training.rows)[data.training.index.numpy()])
    if isinstance(data.validation, tuple):
        used.append(_keys(*data.validation))
    _, first = np.unique(keys, return_index=True)
    new = ~np.isin(keys[first], np.concatenate(used)) if used else np.ones(len(first), bool)
    return Selection(certify, torch.from_numpy(np.sort(first[new])))


def _keys(X: Any, y: Any) -> NDArray[np.uint64]:
    """Hash every row; in blocks, because a copy in float64 is twice as large as the data."""
    found = [np.zeros(0, dtype=np.uint64)]
    for start in range(0, len(X), ROWS):
        blocks = (t[start : start + ROWS] for t in (X, y))
        rows, targets = (b.detach().cpu().double().reshape(len(b), -1).numpy() for b in blocks)
        found.append(row_keys(rows, targets))
    return np.concatenate(found)


def _row_losses(
    module: nn.Module, loss: Loss, new: Selection, like: Tensor
) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
    """Return the loss of every row, and whether its class is wrong where y are classes."""
    losses: list[float] = []
    wrong: list[NDArray[np.bool_]] = []
    with evaluation_mode(module):
        for start in range(0, len(new), ROWS):
            X, target = placed(new.take(slice(start, start + ROWS)), like)
            out = called(module, Inputs.of(X))
            losses += [
                float(batch_loss(loss, out[i : i + 1], target[i : i + 1]))
                for i in range(len(target))
            ]
            if target.ndim == 1 and out.ndim == 2:
                wrong.append((out.argmax(1) != target).cpu().numpy())
    y = new.rows[1]
    are_classes = y.ndim == 1 and not y.is_floating_point()
    none = np.zeros(0, dtype=bool)
    return np.array(losses), np.concatenate([none, *wrong]) if are_classes else None
