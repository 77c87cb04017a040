__all__ = [
    "Entries",
    "Flattened",
    "MatrixSensing",
    "PackedDense",
    "Pauli",
    "Projected",
    "QuadraticRegressor",
    "RankOne",
    "Seeded",
    "SensingOperator",
    "centred",
    "compare_column_norms",
    "components_figure",
    "fit_quadratic",
    "fit_rank",
    "group_lasso",
    "group_lasso_path",
    "interactions_figure",
    "load_measurements",
    "matrix_completion",
    "norms_figure",
    "pack",
    "pauli_tomography",
    "phase_retrieval",
    "planted_sensing",
    "scaled_gd",
]

from .baselines import compare_column_norms, scaled_gd
from .estimator import MatrixSensing
from .figures import components_figure, interactions_figure, norms_figure
from .fixed_rank import fit_rank
from .measurements import load_measurements
from .operators.base import SensingOperator
from .operators.dense import PackedDense, pack
from .operators.entries import Entries
from .operators.linear import Flattened
from .operators.pauli import Pauli
from .operators.projected import Projected, centred
from .operators.rank_one import RankOne
from .operators.seeded import Seeded
from .planted import matrix_completion, pauli_tomography, phase_retrieval, planted_sensing
from .published_pipeline import group_lasso
from .quadratic_estimator import QuadraticRegressor
from .quadratic_fit import fit_quadratic
from .regularisation_path import group_lasso_path
