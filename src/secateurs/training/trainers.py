"""The trainers by name: one line for each algorithm that trains under a weight budget."""

from __future__ import annotations

from typing import Protocol

from secateurs.core.solution import ProgressCallback, Solution
from secateurs.sparse.network import SparseNetwork
from secateurs.training.dense import dense
from secateurs.training.gradual import gradual
from secateurs.training.imp import imp
from secateurs.training.one_shot import one_shot
from secateurs.training.prune_regrow import prune_regrow
from secateurs.training.rigl import rigl
from secateurs.training.training_data import TrainingData


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
