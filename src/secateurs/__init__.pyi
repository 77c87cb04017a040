__all__ = [
    "BudgetPath",
    "MatrixSensing",
    "QuadraticRegressor",
    "SparseMLPClassifier",
    "SparseMLPRegressor",
    "SparseMultiIndexClassifier",
    "SparseMultiIndexRegressor",
    "SparseReLUNetworkRegressor",
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

from .core.group import distributed
from .core.version import __version__
from .data.datasets import load_dataset
from .features.estimators import SparseMultiIndexClassifier, SparseMultiIndexRegressor
from .loading import load
from .recovery.estimator import SparseReLURegressor
from .recovery.network_estimator import SparseReLUNetworkRegressor
from .recovery.planted import image_function, planted_relu
from .sensing.estimator import MatrixSensing
from .sensing.quadratic_estimator import QuadraticRegressor
from .training.budget_paths import BudgetPath, budget_path
from .training.comparison import compare
from .training.estimators import SparseMLPClassifier, SparseMLPRegressor
