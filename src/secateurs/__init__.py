"""Sparse neural networks with guarantees."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

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

if TYPE_CHECKING:
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
else:
    # a name is imported when it is first asked for: every start would pay for torch otherwise
    _HOMES = {
        "BudgetPath": "experiments.budget_path",
        "MatrixSensing": "estimators.matrix_sensing",
        "QuadraticRegressor": "estimators.quadratic",
        "SparseMLPClassifier": "estimators.sparse_mlp",
        "SparseMLPRegressor": "estimators.sparse_mlp",
        "SparseMultiIndexClassifier": "estimators.multi_index",
        "SparseMultiIndexRegressor": "estimators.multi_index",
        "SparseReLURegressor": "estimators.sparse_relu",
        "budget_path": "experiments.budget_path",
        "compare": "experiments.compare",
        "distributed": "solvers.distributed",
        "image_function": "problems.planted",
        "load": "estimators.files",
        "load_dataset": "problems.datasets",
        "planted_relu": "problems.planted",
    }

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
