"""Sparse neural networks with guarantees.

>>> from secateurs import SparseMLPClassifier, load, load_dataset
"""

__version__ = "0.1.0"

from secateurs.estimators.sparse_mlp import SparseMLPClassifier, SparseMLPRegressor, load
from secateurs.problems.datasets import load_dataset

__all__ = ["SparseMLPClassifier", "SparseMLPRegressor", "__version__", "load", "load_dataset"]
