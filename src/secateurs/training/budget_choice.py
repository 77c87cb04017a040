"""The meaning of ``n_nonzero="auto"``: a budget chosen on a part of the training rows."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from secateurs.training.choice import row_losses, score_of
from secateurs.training.line import n_places
from secateurs.training.model_choice import Comparison
from secateurs.training.staged_progress import Stages
from secateurs.training.training_data import TrainingData

BUDGETS = (20, 50, 100, 200, 500, 1000, 2000)
AUTO_WIDTH = 50  # of the networks that are compared
WORSE = 0.25  # a smaller budget is taken if it is worse by at most so many standard errors


def choose_budget(
    make: Callable[[int], Comparison], rows: TrainingData, hidden: tuple[int, ...], stages: Stages
) -> tuple[int, dict[int, float]]:
    """Return the smallest budget that is about as good as the best, and the score of each.

    Each budget is scored by the better of the line and the network without much noise, on the
    first part of the training rows and with half of the steps.

    Parameters
    ----------
    make : callable
        Gives the comparison of models under a budget.
    rows : TrainingData
    hidden : tuple of int
    stages : Stages
        Told of every run of training.
    """
    dense = sum((a + 1) * b for a, b in pairwise((rows.d, *hidden, rows.n_outputs)))
    budgets = [s for s in BUDGETS if s < dense] or [BUDGETS[0]]
    if dense < BUDGETS[-1]:
        budgets.append(dense)
    places = n_places(rows.d, rows.n_outputs, classifies=rows.is_classification)
    if len(make(budgets[0]).y) < 4 or rows.group.size > 1:
        return min(500, budgets[-1]), {}
    stages.n_left = len(budgets) + 1.0
    scores, losses = {}, {}
    for s in budgets:
        comparison = make(s)
        outputs, y = comparison.predicted_by_best(line=s <= 2 * places)
        losses[s], scores[s] = row_losses(outputs, y), score_of(outputs, y)
    best = min(losses, key=lambda s: float(losses[s].mean()))
    for s in budgets:
        gap = losses[s] - losses[best]
        if gap.mean() <= WORSE * gap.std() / np.sqrt(len(gap)):
            return s, scores
    return best, scores
