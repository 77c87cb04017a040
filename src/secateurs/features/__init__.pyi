__all__ = [
    "MultiIndexFit",
    "SparseMultiIndexClassifier",
    "SparseMultiIndexRegressor",
    "adam_mlp",
    "multi_index",
    "one_large_step",
    "planted_multi_index",
    "pruned_network",
    "screen",
    "spectral",
]

from .baselines import adam_mlp, one_large_step, spectral
from .estimators import SparseMultiIndexClassifier, SparseMultiIndexRegressor
from .planted import planted_multi_index
from .published_network import pruned_network
from .result import MultiIndexFit
from .screening import screen
from .solver import multi_index
