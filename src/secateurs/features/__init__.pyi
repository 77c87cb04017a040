__all__ = [
    "Discoveries",
    "MultiIndexFit",
    "SparseMultiIndexClassifier",
    "SparseMultiIndexRegressor",
    "adam_mlp",
    "discover",
    "features_figure",
    "multi_index",
    "one_large_step",
    "planted_multi_index",
    "pruned_network",
    "published_network",
    "published_pruning",
    "screen",
    "spectral",
]

from .baselines import adam_mlp, one_large_step, spectral
from .discovery import Discoveries, discover
from .estimators import SparseMultiIndexClassifier, SparseMultiIndexRegressor
from .figures import features_figure
from .planted import planted_multi_index
from .pruned_network import pruned_network
from .published_network import published_network
from .published_pruning import published_pruning
from .result import MultiIndexFit
from .screening import screen
from .solver import multi_index
