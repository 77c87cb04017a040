__all__ = [
    "TRAINERS",
    "BudgetPath",
    "SparseMLPClassifier",
    "SparseMLPRegressor",
    "budget_path",
    "compare",
    "fit_figure",
    "path_figure",
]

from .budget_paths import BudgetPath, budget_path
from .comparison import compare
from .estimators import SparseMLPClassifier, SparseMLPRegressor
from .figures import fit_figure, path_figure
from .trainers import TRAINERS
