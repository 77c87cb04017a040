"""Torch modules: fewer neurons in a trained one; the smallest dense one of a sparse network."""

from secateurs.nn.prune import PrunedModule, l2_prune_neurons, prune_neurons

__all__ = ["PrunedModule", "l2_prune_neurons", "prune_neurons"]
