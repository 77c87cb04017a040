"""Torch modules: fewer neurons in a trained one; the smallest dense one of a sparse network."""

from secateurs.nn.l2_norm import l2_prune_neurons
from secateurs.nn.prune import prune_neurons
from secateurs.nn.run import PrunedModule

__all__ = ["PrunedModule", "l2_prune_neurons", "prune_neurons"]
