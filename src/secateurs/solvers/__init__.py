"""One file per algorithm.  `TRAINERS` lists those that train a network under a budget."""

from __future__ import annotations

from secateurs.solvers.dense import dense
from secateurs.solvers.gradual import gradual
from secateurs.solvers.imp import imp
from secateurs.solvers.one_shot import one_shot
from secateurs.solvers.prune_regrow import prune_regrow
from secateurs.solvers.rigl import rigl

TRAINERS = {
    "prune_regrow": prune_regrow,
    "gradual": gradual,
    "rigl": rigl,
    "imp": imp,
    "one_shot": one_shot,
    "dense": dense,
}

__all__ = ["TRAINERS", "dense", "gradual", "imp", "one_shot", "prune_regrow", "rigl"]
