"""Sparse neural networks with guarantees."""

__version__ = "0.1.0"

from secateurs.estimators.files import load
from secateurs.estimators.matrix_sensing import MatrixSensing
from secateurs.estimators.multi_index import (
    SparseMultiIndexClassifier,
    SparseMultiIndexRegressor,
)
from secateurs.estimators.quadratic import QuadraticRegressor
from secateurs.estimators.sparse_mlp import SparseMLPClassifier, SparseMLPRegressor
from secateurs.estimators.sparse_relu import SparseReLURegressor
from secateurs.experiments.budget_path import BudgetPath, budget_path
from secateurs.experiments.compare import compare
from secateurs.problems.datasets import load_dataset
from secateurs.problems.planted import image_function, planted_relu
from secateurs.solvers.distributed import distributed

__all__ = [
    "BudgetPath",
    "MatrixSensing",
    "QuadraticRegressor",
    "SparseMLPClassifier",
    "SparseMLPRegressor",
    "SparseMultiIndexClassifier",
    "SparseMultiIndexRegressor",
    "SparseReLURegressor",
    "__version__",
    "budget_path",
    "compare",
    "distributed",
    "image_function",
    "load",
    "load_dataset",
    "planted_relu",
]
