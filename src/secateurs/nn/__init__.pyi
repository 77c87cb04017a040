__all__ = [
    "ChannelGroup",
    "Cut",
    "NotEqualError",
    "Plan",
    "PrunedModule",
    "l2_prune_neurons",
    "load_pruned",
    "plan",
    "prune_neurons",
]

from .channels import ChannelGroup
from .cut import Cut
from .l2_norm import l2_prune_neurons
from .planning import Plan, plan
from .prune import prune_neurons
from .pruned_module import PrunedModule
from .reload import load_pruned
from .verify import NotEqualError
