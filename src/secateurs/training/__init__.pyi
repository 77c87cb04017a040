__all__ = [
    "TRAINERS",
    "BudgetPath",
    "SparseMLPClassifier",
    "SparseMLPRegressor",
    "budget_path",
    "compare",
]

from .budget_paths import BudgetPath, budget_path
from .comparison import compare
from .estimators import SparseMLPClassifier, SparseMLPRegressor
from .trainers import TRAINERS
