"""A function of few directions of few columns, of tables with very many columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets

from secateurs.features.estimator_base import SparseMultiIndexBase


class SparseMultiIndexRegressor(RegressorMixin, SparseMultiIndexBase, BaseEstimator):  # type: ignore[misc]
    """``y = f(V x)`` with few directions V of few columns, out of very many columns.

    Columns are pruned before anything is trained: each is scored against y by itself, the hits
    give directions, the directions give more columns, and a small ReLU network is trained on what
    is kept.  See `secateurs.features.solver.multi_index` for the steps.

    Parameters
    ----------
    max_features : int, optional
        Most columns kept.  Without: 128, at most an eighth of the rows, and more only where many
        small coordinates lower the error on validation rows.
    alpha : float
        Chance of any false column in the screen.
    degrees : int
        Largest Hermite degree of the scores, from 1 to 3.
    hidden : int
        Units of the network.
    interactions : bool
        Also score pairs of columns, and triples when nothing else is found, where there are few
        enough columns for it.
    validation_fraction : float
        Share of the rows that choices are made on.
    random_state : int, RandomState or None
    verbose : int
        1 prints progress.

    Attributes
    ----------
    support_ : int array, shape [s]
        Kept columns, increasing.
    support_names_ : list of str
        Their names.
    scores_ : array, shape [d]
        Score of every column in the screen, as the size of a standard normal.
    threshold_ : float
        Of the scores: noise exceeds it anywhere with chance `alpha`.
    directions_ : CSR array, shape [r, d]
        Orthonormal rows, in units of standardised columns.
    channel_ : str
        Transform of y that the screen found most in.
    information_exponent_ : int
        Degree it found most in; it belongs to the transform of y, not to y.
    val_r2_ : float
        R^2 on the validation rows, that choices were made on, or on five folds where a line on
        the kept columns came near the network; for classes 1 - log-loss over that of the class
        shares.
    signal_detected_ : bool
        False: what was found is no more than noise gives; the model is not to be trusted.
    certificate_ : Certificate
    feature_importances_ : array, shape [d]
        Share of each column in the directions.
    status_ : str
        "converged" or "interrupted".
    history_ : dict of lists
    table_ : TableSchema or None
        How a DataFrame was encoded; d then counts encoded columns.

    Examples
    --------
    >>> import numpy as np
    >>> from secateurs import SparseMultiIndexRegressor
    >>> X = np.random.default_rng(0).standard_normal((500, 1000))
    >>> y = X[:, 3] * X[:, 7]
    >>> model = SparseMultiIndexRegressor(random_state=0).fit(X, y)
    >>> model.support_.tolist(), model.transform(X).shape
    ([3, 7], (500, 2))
    """

    _task = "regression"

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Values at rows X [n, d], shape [n]; only the kept columns are read."""
        kept = self._kept(X)
        return self.network_.predict(kept)

    def _targets(self, y: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(check_array(y, ensure_2d=False, dtype=np.float64, input_name="y"))


class SparseMultiIndexClassifier(ClassifierMixin, SparseMultiIndexBase, BaseEstimator):  # type: ignore[misc]
    """Class probabilities ``softmax(f(V x))`` with few directions V of few columns.

    Parameters and attributes are those of `SparseMultiIndexRegressor`, and the following.

    Attributes
    ----------
    classes_ : array, shape [k]

    Examples
    --------
    >>> import numpy as np
    >>> from secateurs import SparseMultiIndexClassifier
    >>> X = np.random.default_rng(0).standard_normal((500, 1000))
    >>> y = np.where(X[:, 3] > X[:, 7], "yes", "no")
    >>> model = SparseMultiIndexClassifier(random_state=0).fit(X, y)
    >>> model.support_.tolist()
    [3, 7]
    """

    _task = "classification"

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable class of rows X [n, d], shape [n]."""
        most = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[most])

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Class probabilities, shape [n, k], in the order of `classes_`."""
        kept = self._kept(X)
        return self.network_.predict(kept)

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Their logarithms."""
        return np.asarray(np.log(np.maximum(self.predict_proba(X), np.finfo(np.float64).tiny)))

    def _targets(self, y: NDArray[Any]) -> NDArray[Any]:
        check_classification_targets(y)
        self.classes_, targets = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"got one class, {self.classes_[0]!r}; a classifier needs rows of at least 2"
            )
        return np.asarray(targets, dtype=np.int64)
