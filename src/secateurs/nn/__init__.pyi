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
    "plan_figure",
    "prune",
    "prune_neurons",
    "relu_teacher",
]

from .cut import Cut
from .figures import plan_figure
from .grouping import ChannelGroup
from .planning import Plan, plan
from .pruned_module import PrunedModule
from .pruning import l2_prune_neurons, prune, prune_neurons
from .reload import load_pruned
from .scores import Scores
from .teacher import relu_teacher
from .verify import NotEqualError
