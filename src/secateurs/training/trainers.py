"""The trainers by name: every algorithm that trains under a weight budget."""

from __future__ import annotations

from typing import Protocol, Unpack

from secateurs.core.solution import Solution
from secateurs.sparse.network import SparseNetwork
from secateurs.training.dense import dense
from secateurs.training.dense_training import TrainerSettings
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
        **settings: Unpack[TrainerSettings],
    ) -> Solution[SparseNetwork]:
        """Train; `prune_regrow` describes the arguments."""
        ...


TRAINERS: dict[str, Trainer] = {
    "prune_regrow": prune_regrow,
    "gradual": gradual,
    "imp": imp,
    "rigl": rigl,
    "one_shot": one_shot,
    "dense": dense,
}
