"""Sparse neural networks with guarantees."""

__version__ = "0.1.0"

from secateurs.estimators.sparse_mlp import SparseMLPClassifier, SparseMLPRegressor, load
from secateurs.experiments.budget_path import BudgetPath, budget_path
from secateurs.experiments.compare import compare
from secateurs.problems.datasets import load_dataset

__all__ = [
    "BudgetPath",
    "SparseMLPClassifier",
    "SparseMLPRegressor",
    "__version__",
    "budget_path",
    "compare",
    "load",
    "load_dataset",
]
