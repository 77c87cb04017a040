"""A uniform sample of all rows that were seen, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from secateurs.training.moments import is_sparse

MOST_ROWS, MOST_ENTRIES = 2000, 1 << 22
GROWTH = 3  # factor by which the rows grow between two fresh fits
SETTLED = 1000  # steps after which the learning rate is divided by the square root of 2


@dataclass
class Reservoir:
    """Rows that were drawn from all rows seen so far, each with the same chance.

    Attributes
    ----------
    inputs : array or CSR, shape [r, d]
    targets : array, shape [r, ...]
        As the caller gave them: class numbers, or targets before they are scaled.
    n_seen : int
    generator : numpy Generator
    """

    inputs: Any
    targets: NDArray[Any]
    n_seen: int
    generator: np.random.Generator


def empty_reservoir(inputs: Any, targets: NDArray[Any], random_state: int) -> Reservoir:
    """Return a reservoir without rows, for rows like these."""
    return Reservoir(inputs[:0], targets[:0], 0, np.random.default_rng(random_state))


def pooled(reservoir: Reservoir, inputs: Any, targets: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
    """Return the rows of the reservoir and new rows, one after the other."""
    return _stacked(reservoir.inputs, inputs), np.concatenate([reservoir.targets, targets])


def add_rows(reservoir: Reservoir, inputs: Any, targets: NDArray[Any]) -> None:
    """Let new rows enter (algorithm R of Vitter 1985).

    Row number t of all rows, from 1, takes the place of a random row with the chance
    ``capacity / t``.  Keeps at most `MOST_ROWS` rows, fewer where they are very wide.
    """
    width = inputs.nnz // max(1, inputs.shape[0]) if is_sparse(inputs) else inputs.shape[1]
    capacity = min(MOST_ROWS, max(1, MOST_ENTRIES // max(1, width)))
    n_kept, n_new = len(reservoir.targets), len(targets)
    place = np.arange(n_new) + n_kept
    late = place >= capacity
    t = reservoir.n_seen + np.flatnonzero(late) + 1
    place[late] = reservoir.generator.integers(0, t)
    source = np.arange(min(capacity, n_kept + n_new))
    stays = np.flatnonzero(place < capacity)
    source[place[stays]] = n_kept + stays  # the last row that takes a place keeps it
    all_inputs, all_targets = pooled(reservoir, inputs, targets)
    reservoir.inputs, reservoir.targets = all_inputs[source], all_targets[source]
    reservoir.n_seen += n_new


def _stacked(first: Any, second: Any) -> Any:
    if is_sparse(first) and is_sparse(second):
        return sparse.csr_array(sparse.vstack([first, second], format="csr"))
    dense = (part.toarray() if is_sparse(part) else part for part in (first, second))
    return np.concatenate(list(dense))


@dataclass
class Stream:
    """What the next chunk continues from, beside the network.

    Attributes
    ----------
    sample : Reservoir
    n_fresh : int
        Rows that had been seen at the last fresh fit.
    n_steps : int
        Steps since then.
    """

    sample: Reservoir
    n_fresh: int
    n_steps: int = 0

    @property
    def is_due(self) -> bool:
        """Whether there are so many more rows since the last fresh fit that another one is due."""
        return self.n_fresh < MOST_ROWS and self.sample.n_seen >= GROWTH * self.n_fresh

    def rate(self, learning_rate: float) -> float:
        """Return the learning rate of the next steps, which falls slowly."""
        return float(learning_rate / np.sqrt(1 + self.n_steps / SETTLED))
