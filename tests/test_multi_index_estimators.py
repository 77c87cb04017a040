import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from secateurs import SparseMultiIndexClassifier, SparseMultiIndexRegressor


@parametrize_with_checks(
    [SparseMultiIndexRegressor(random_state=0), SparseMultiIndexClassifier(random_state=0)]
)
def test_scikit_learn_contract(estimator, check):
    check(estimator)
