"""The few inputs and directions that matter, and a small network on them.

    screen all columns; J <- hits                                     screening.py         (1)
    repeat 3: D <- directions of J;  J <- anchor re-screen            index_directions.py  (2)
    from J of 4 sizes: train f(D x_J) on raw columns; the best on validation rows stays    (3)
    repeat: drop columns not needed given the others, add missing ones,
            retrain; accept unless validation R^2 falls by .005       index_refine.py      (4)
    many small coordinates: shrunk directions over more columns,
            if validation R^2 gains                                   index_soft.py        (5)

Derived from the idea of Vural & Erdogdu (COLT 2024); the steps beyond (1) are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from secateurs.problems.columns import Columns, columns_of
from secateurs.solvers.index_directions import (
    RankedColumns,
    anchors,
    directions,
    level,
    ranked_columns,
    strongest,
)
from secateurs.solvers.index_network import (
    Head,
    IndexNetwork,
    Rows,
    finished,
    initial_head,
    train,
)
from secateurs.solvers.index_refine import conditional_scores, residual_labels
from secateurs.solvers.screening import Screen, label_transforms, screen, standardised
from secateurs.solvers.solution import Progress, ProgressCallback, Solution

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FEWEST = 4  # columns tried when the screen finds fewer than two
SIZES = (8, 24, 64)  # first supports besides the hits
ROUNDS = 3
STEPS = 400
REFINEMENTS = 4
LOSS = 0.005  # of validation R^2 that a smaller support may cost
MOST = 128  # columns kept, and at most an eighth of the rows


@dataclass(frozen=True, eq=False)
class MultiIndexFit:
    """What was found.

    Attributes
    ----------
    support : int array [s]
        Kept columns, ascending.
    directions : CSR array [r, d]
        Unit rows, in units of standardised columns.
    network : IndexNetwork
        On raw kept columns: ``network.predict(X[:, support])``.
    channel : (str, int)
        Label transform and degree that the screen found most in.
    scores : float array [d]
        max |z| of the screen.
    threshold : float
    val_r2 : float
        On the validation rows, before the last training on all rows.
    signal_detected : bool
        False: the model is not to be trusted.
    """

    support: IntArray
    directions: sparse.csr_array[np.float64]
    network: IndexNetwork
    channel: tuple[str, int]
    scores: FloatArray
    threshold: float
    val_r2: float
    signal_detected: bool

    def predict(self, X: Any) -> FloatArray:
        """Values or class probabilities for rows of all d columns."""
        return self.network.predict(columns_of(X).take(self.support))
