"""Cut an iterate of hard thresholding that keeps more than s entries down to s.

S <- the s largest entries;  w <- least squares on S, with the gates of w                (1)
where the gates follow the weights: again with the new gates while the residual falls    (2)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from secateurs.recovery.thresholding.gates import Chunks, FixedGates, KeyedWeights, OwnGates
from secateurs.recovery.thresholding.steps import (
    Iterate,
    largest_entries,
    least_squares,
    require_same_support,
    residual_of,
)

SETTLED = 3  # steps with the same s largest entries after which they are tried
REFITS = 5  # most least-squares problems of (2)


@dataclass
class Cut:
    """The best cut so far to `n_nonzero` entries, with fixed gates or with those of the weights."""

    data: Chunks
    n_nonzero: int
    fixed: FixedGates | None
    weights: KeyedWeights
    square: float  # its squared residual
    last: float  # squared residual of the cut that the iteration last continued from
    _keys: Tensor | None = None  # the s largest entries of the last step
    _steps: int = 0  # how often they were the same

    def settled(self, weights: KeyedWeights) -> bool:
        """Whether the s largest entries have just been the same for some steps."""
        keys = weights.keys[largest_entries(weights.keys, weights.values, self.n_nonzero)]
        same = self._keys is not None and torch.equal(self._keys, keys)
        self._keys, self._steps = keys, self._steps + 1 if same else 0
        return self._steps == SETTLED

    def offer(self, weights: KeyedWeights, step: int) -> tuple[Iterate, float]:
        """Return the cut of these weights and its squared residual, and keep it if it is best."""
        data = self.data
        kept = largest_entries(weights.keys, weights.values, self.n_nonzero)
        best = self._with_gates(KeyedWeights(weights.keys[kept], weights.values[kept], data.d))
        require_same_support(data, best.weights.keys, step)
        square = residual_of(data, best)[1]
        for _ in range(1 if self.fixed else REFITS):
            trial = self._with_gates(least_squares(data, best.gates, best.weights))
            trial_square = residual_of(data, trial)[1]
            if not trial_square < square:
                break
            best, square = trial, trial_square
        if square < self.square:
            self.weights, self.square = best.weights, square
        return best, square

    def _with_gates(self, weights: KeyedWeights) -> Iterate:
        return Iterate(weights, self.fixed or OwnGates(self.data, weights))
