"""Scores of columns with ties, each on the null of its own tie pattern.

The values of a column without ties are known in advance, so one table serves all of them.  A
column with ties has its own distribution on noise.  Only its large statistics are computed on it:
a statistic below 3.5, or well below the threshold, does not make a column pass.  The K degrees of a
column with two values give the same statistic, and it is counted once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri_exp

from secateurs.features.ranks import FloatArray, SingleArray
from secateurs.features.tail_scores import Cell, Values, tail_scores

LARGE = 3.5  # statistics up to this size stay as they are
BELOW = 0.8  # or up to this far below the threshold, if that is smaller
AT_ONCE = 4096  # statistics that are collected before their scores are computed


@dataclass(eq=False)
class TiedColumns:
    """Collects the large statistics of columns with ties, and replaces them by their scores."""

    T: FloatArray  # transforms of y, [n, C]
    threshold: float
    _labels: list[Values] = field(init=False)
    _cells: list[Cell] = field(init=False, default_factory=list)
    _places: list[tuple[NDArray[np.float32], tuple[int, int, int], list[int]]] = field(
        init=False, default_factory=list
    )

    def __post_init__(self) -> None:
        ones = np.ones(len(self.T), dtype=np.int64)
        self._labels = [Values.of(t, ones) for t in self.T.T]

    def collect(
        self,
        Z: SingleArray,
        column: Callable[[int], tuple[NDArray[Any], NDArray[np.int64]]],
        tied: NDArray[np.bool_],
    ) -> None:
        """Note the large statistics Z [B, C, K] of the tied columns; `replace` writes to Z later.

        `column` returns the distinct normal scores of a column of the block, increasing, and how
        often each of them occurs.
        """
        cut = min(LARGE, self.threshold - BELOW)
        large = (np.abs(Z) > cut) & tied[:, None, None]
        for j in np.flatnonzero(large.any(axis=(1, 2))):
            values, counts = column(int(j))
            v = values.astype(np.float64)
            hermite = (v, v**2, (v**2 - 3.0) * v)
            if len(v) == 2:  # all degrees give the same statistic
                large[j, :, 1:] &= ~large[j, :, :1]
            columns = [Values.of(h, counts) for h in hermite[: Z.shape[2]]]
            for c, k in np.argwhere(large[j]):
                self._cells.append(Cell(self._labels[c], columns[k], float(Z[j, c, k])))
                same = range(Z.shape[2]) if len(v) == 2 else [int(k)]
                self._places.append((Z, (int(j), int(c), int(k)), list(same)))
        if len(self._cells) > AT_ONCE:
            self.replace()

    def replace(self) -> None:
        """Write the scores of all statistics that were noted."""
        scores = self._scores()
        for (Z, (j, c, _), degrees), score in zip(self._places, scores, strict=True):
            for k in degrees:
                Z[j, c, k] = np.sign(Z[j, c, k]) * abs(score)
        self._cells, self._places = [], []

    def _scores(self) -> FloatArray:
        """Return the scores; a column with two values has one statistic and the share of all K.

        The probability of its score is divided by K, so that the union bound over K equal
        statistics counts it once.
        """
        shares = np.array([len(degrees) for _, _, degrees in self._places])
        scores = np.empty(len(self._cells))
        for share in np.unique(shares):
            at = np.flatnonzero(shares == share)
            log_share = np.log(float(share))
            threshold = float(-ndtri_exp(log_ndtr(-self.threshold) + log_share))
            raw = np.abs(tail_scores([self._cells[i] for i in at], len(self.T), threshold))
            scores[at] = -ndtri_exp(log_ndtr(-raw) - log_share)
        return scores
