"""Estimators of a function of few directions of few columns, out of very many columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets

from secateurs.core.parameters import Shown, bad_value
from secateurs.features.estimator_base import SparseMultiIndexBase


class SparseMultiIndexRegressor(RegressorMixin, SparseMultiIndexBase):  # type: ignore[misc]
    """Regress y on few directions V of few columns: ``y = f(V x)``.

    Columns are pruned before anything is trained.  Each column is scored against y by itself, the
    best columns give directions, the directions give more columns, and a small ReLU network is
    trained on the kept columns.  `secateurs.features.multi_index` describes the steps.

    Parameters
    ----------
    max_features : int, optional
        Most columns kept.  By default 128 and at most an eighth of the rows; more are kept only if
        many small coordinates improve the fit on the validation rows.
    alpha : float
        Under pure noise, the probability that any column passes the screen.
    degrees : int
        Largest Hermite degree of the scores, from 1 to 3.
    hidden : int
        Hidden units of the network.
    interactions : bool
        Also score pairs of columns, and triples if no single column is found.  Each of these is
        skipped if it takes more than 1e11 multiply-adds.
    validation_fraction : float
        Share of the rows that are held out to make choices.
    random_state : int, RandomState or None
        Random seed of the choice of validation rows and of the network.
    verbose : int
        1 prints progress.
    fdr : float, optional
        Keep exactly the columns found at this false discovery rate, the expected share of columns
        among those kept that y does not depend on given the others; `secateurs.features.discover`
        has the method and what it assumes, and the certificate repeats it.  Products are then not
        screened, and `max_features` must be None.  If nothing is found, `signal_detected_` is False
        and one column is kept so that there is a model.

    Attributes
    ----------
    support_ : int array, shape [s]
        Kept columns, increasing.
    support_names_ : list of str
        Names of the kept columns.
    scores_ : array, shape [d]
        Score of every column in the screen, on the scale of a standard normal.
    threshold_ : float
        Under pure noise, any score exceeds it with probability `alpha`.
    directions_ : CSR array, shape [r, d]
        Orthonormal rows, in units of standardised columns.
    channel_ : str
        Transform of y with the strongest scores in the screen.
    information_exponent_ : int
        Degree with the strongest scores; it belongs to the transform of y, not to y.
    val_r2_ : float
        R^2 on the validation rows, which choices were made on, or on five folds where a line on
        the kept columns came near the network.  For classes it is 1 - log-loss over that of the
        class shares.
    signal_detected_ : bool
        False: the fit found no more than noise gives; do not trust the model.
    certificate_ : Certificate
        The checks of `secateurs.features.certificate.features_certificate`.
    feature_importances_ : array, shape [d]
        Share of each column in the directions.
    status_ : str
        "converged" or "interrupted".
    history_ : dict of lists
        Loss and number of columns after each stage.
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
        """Predict y; only the kept columns are read.

        Parameters
        ----------
        X : array, np.memmap, scipy sparse matrix or DataFrame, shape [n, d]
            Rows with the columns of the fit.

        Returns
        -------
        array of float64, shape [n]
            Predicted values.
        """
        kept = self._kept(X)
        return self.network_.predict(kept)

    def _targets(self, y: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(check_array(y, ensure_2d=False, dtype=np.float64, input_name="y"))


class SparseMultiIndexClassifier(ClassifierMixin, SparseMultiIndexBase):  # type: ignore[misc]
    """Classify by few directions V of few columns: probabilities ``softmax(f(V x))``.

    It has the attributes of `SparseMultiIndexRegressor` and one more.

    Parameters
    ----------
    max_features : int, optional
        Most columns kept; `SparseMultiIndexRegressor` says what the default is.
    alpha : float
        Probability that any column passes the screen if y is pure noise.
    degrees, hidden : int
        Largest Hermite degree of the scores, from 1 to 3, and hidden units of the network.
    interactions : bool
        Also score pairs of columns, and triples if no single column is found.
    validation_fraction : float
        Share of the rows that are held out to make choices.
    random_state : int, RandomState or None
        Random seed of the choice of validation rows and of the network.
    verbose : int
        1 prints progress.
    fdr : float, optional
        Keep exactly the columns found at this false discovery rate; `max_features` is then None.

    Attributes
    ----------
    classes_ : array, shape [k]
        The classes, sorted.

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
        """Predict the most probable class; only the kept columns are read.

        Parameters
        ----------
        X : array, np.memmap, scipy sparse matrix or DataFrame, shape [n, d]
            Rows with the columns of the fit.

        Returns
        -------
        array, shape [n]
            Entries of `classes_`; of equally probable classes the first.
        """
        most = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[most])

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Predict class probabilities.

        Parameters
        ----------
        X : array, np.memmap, scipy sparse matrix or DataFrame, shape [n, d]
            Rows, as for `predict`.

        Returns
        -------
        array of float64, shape [n, k]
            Probabilities in the order of `classes_`; each row sums to 1.
        """
        kept = self._kept(X)
        return self.network_.predict(kept)

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Predict the logarithms of the class probabilities.

        Parameters
        ----------
        X : array, np.memmap, scipy sparse matrix or DataFrame, shape [n, d]
            Rows, as for `predict`.

        Returns
        -------
        array of float64, shape [n, k]
            Natural logarithms, finite: a probability of 0 counts as 2.2e-308.
        """
        return np.asarray(np.log(np.maximum(self.predict_proba(X), np.finfo(np.float64).tiny)))

    def _targets(self, y: NDArray[Any]) -> NDArray[Any]:
        check_classification_targets(y)
        self.classes_, targets = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            shown = Shown(f"one class, {self.classes_[0]!r}")
            raise bad_value("y", shown, "at least two classes")
        return np.asarray(targets, dtype=np.int64)
