"""The trainers by name: one line for each algorithm that trains under a weight budget."""

from __future__ import annotations

from typing import Protocol

from secateurs.solvers.data import TrainingData
from secateurs.solvers.dense import dense
from secateurs.solvers.gradual import gradual
from secateurs.solvers.imp import imp
from secateurs.solvers.one_shot import one_shot
from secateurs.solvers.prune_regrow import prune_regrow
from secateurs.solvers.rigl import rigl
from secateurs.solvers.solution import ProgressCallback, Solution
from secateurs.sparse.network import SparseNetwork


class Trainer(Protocol):
    """A function that trains a network with at most `n_nonzero` weights."""

    def __call__(
        self,
        data: TrainingData,
        hidden: tuple[int, ...],
        n_nonzero: int,
        *,
        n_steps: int,
        batch_size: int,
        learning_rate: float = ...,
        weight_decay: float = ...,
        random_state: int = 0,
        progress: ProgressCallback | None = None,
    ) -> Solution[SparseNetwork]:
        """Train; see `prune_regrow` for the parameters."""
        ...


TRAINERS: dict[str, Trainer] = {
    "prune_regrow": prune_regrow,
    "gradual": gradual,
    "imp": imp,
    "rigl": rigl,
    "one_shot": one_shot,
    "dense": dense,
}
