__all__ = [
    "PrunedModule",
    "l2_prune_neurons",
    "prune_neurons",
]

from .l2_norm import l2_prune_neurons
from .prune import prune_neurons
from .pruned_module import PrunedModule
