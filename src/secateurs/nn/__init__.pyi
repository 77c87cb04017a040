__all__ = [
    "ChannelGroup",
    "Cut",
    "NotEqualError",
    "Plan",
    "PrunedModule",
    "Scores",
    "l2_prune_neurons",
    "load_pruned",
    "plan",
    "prune",
    "prune_neurons",
]

from .channels import ChannelGroup
from .cut import Cut
from .planning import Plan, plan
from .pruned_module import PrunedModule
from .pruning import l2_prune_neurons, prune, prune_neurons
from .reload import load_pruned
from .scores import Scores
from .verify import NotEqualError
