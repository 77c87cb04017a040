"""Multilayer perceptrons under a weight budget, with the interface of scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin, RegressorMixin

from secateurs.core.estimator import require_target
from secateurs.core.group import Group
from secateurs.core.parameters import Shown, bad_value
from secateurs.core.solution import ProgressCallback
from secateurs.training.estimator_base import SparseMLP
from secateurs.training.model_file import ClassLabels, ModelRecord
from secateurs.training.reading import (
    fit_standardisation,
    read_classes,
    read_numbers,
    standardised,
)
from secateurs.training.rescaling import with_outputs


class SparseMLPClassifier(ClassifierMixin, SparseMLP):  # type: ignore[misc]
    """Softmax classifier with at most `n_nonzero` weights, sparse from the first step.

    It is trained by prune-and-regrow (`secateurs.training.prune_regrow`).  Memory grows with
    ``overshoot * n_nonzero`` and the batch, not with the size of the dense network.

    Parameters
    ----------
    n_nonzero : int or "auto"
        The budget: the most weights of the network, biases included.  "auto" compares budgets from
        20 to 2000 on a part of the training rows, and takes the smallest that is about as good as
        the best.
    hidden_layer_sizes : tuple of int, or "auto"
        Widths of the hidden layers; "auto" compares four widths of one layer on held-out rows.
    max_epochs : int or "auto"
        "auto" is 30 epochs, but at least 2000 and at most 8000 steps.
    batch_size : int or "auto"
        "auto" is a sixth of the rows, between 32 and 500.
    learning_rate : float or "auto"
        Maximum of a schedule: a warm-up, then a cosine.  "auto" is 0.03 up to 16,000 rows and 0.02
        beyond.
    overshoot : float
        Training starts from ``overshoot * n_nonzero`` weights and never has more.
    validation_fraction : float
        Share of the rows to keep out of training, for the certificate and the choice of widths.
    input_noise : float or "auto"
        Standard deviation of the noise on the scaled inputs; "auto" is up to 0.4 on small tables
        and 0 beyond 16,000 rows.
    weight_decay : float or "auto"
        Decoupled weight decay; "auto" is 0.3 beyond 16,000 rows, otherwise 0.
    device : str
        The torch device for training; "auto" uses CUDA where it is available.
    random_state : int, RandomState or None
        Random seed of the held-out rows, the first weights, the batches and the input noise.
    verbose : int
        1 prints progress.
    model : {"auto", "network", "line"}
        Compare a line and networks, or fit one kind only.
    effort : float
        Time to spend, in units of the default: 3 and 10 train longer, or more than once and keep
        the run with the lowest training loss where there are few weights.
    max_seconds : float or None
        Choose the effort so that the fit takes about so many seconds of wall time.  The result
        then depends on the machine; `report_["effort"]` has the effort, with which it can be
        repeated.
    n_jobs : int or None
        Processes for the runs of an effort that trains more than once; -1 is all cores, None is 1.
        The result does not depend on it.  Each process gets a copy of the data; a memory-mapped
        array is trained on by one process.
    warm_start : bool
        Let `fit` continue from the network of the fit before, in the present scaling of the data.
        The inputs, the classes and the widths stay as they were, and no line is compared; a fitted
        line is replaced by a new fit.  The certificate is about held-out rows only if no earlier
        fit trained on them.

    Attributes
    ----------
    coefs_ : list of scipy.sparse.csr_array, layer l of shape [n_out, n_in]
        Weights for the scaled inputs; `to_torch` has weights for the data themselves.
    intercepts_ : list of arrays, layer l of shape [n_out]
        Biases for the scaled inputs.
    n_nonzero_ : int
        Weights of the fitted network, biases included.
    classes_ : array, shape [k]
        The classes, sorted.
    n_features_in_ : int
        Columns of `X`.
    feature_names_in_ : array of str
        Only if `X` was a DataFrame.
    table_ : TableSchema or None
        The encoding of a DataFrame.
    constant_inputs_ : list of str
        Names of the inputs without a second value in the training rows; they are not used.
    loss_curve_ : list of float
        Training loss at each record of `history_` ("step", "loss", "n_nonzero"): a mean over every
        fourth batch since the record before.
    status_ : str
        "budget" after all steps; "interrupted" after Ctrl-C, also within the budget.
    validation_score_ : float or None
        Accuracy on the held-out rows.
    certificate_ : Certificate
        Statements about the fit with their verdicts and numbers.
    report_ : dict
        Weights of each layer, bytes of the file and of training, and seconds; "copy_bytes" is the
        size of the shuffled copy of the rows.  "dense_nonzeros",
        "dense_peak_bytes" and "dense_file_bytes" are those of the dense network.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from secateurs import SparseMLPClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = SparseMLPClassifier(n_nonzero=300, random_state=0).fit(X, y)
    >>> model.n_nonzero_ <= 300
    True
    """

    classes_: NDArray[Any]

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the most likely class of each row; of equal ones the first.

        Parameters
        ----------
        X : array, DataFrame or scipy sparse, shape [n, d]
            Rows with the columns of the fit.

        Returns
        -------
        array, shape [n]
            Entries of `classes_`.
        """
        scores = self._outputs(X)
        result: NDArray[Any] = self.classes_[scores.argmax(axis=1)]
        return result

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Predict the probability of each class.

        Parameters
        ----------
        X : array, DataFrame or scipy sparse, shape [n, d]
            Rows with the columns of the fit.

        Returns
        -------
        array, shape [n, k]
            Probabilities in the order of `classes_`; each row sums to 1.
        """
        probabilities: NDArray[np.float64] = softmax(self._outputs(X), axis=1)
        return probabilities

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Predict the logarithms of the probabilities, without underflow.

        Parameters
        ----------
        X : array, DataFrame or scipy sparse, shape [n, d]
            Rows with the columns of the fit.

        Returns
        -------
        array, shape [n, k]
            Logarithms in the order of `classes_`.
        """
        scores: NDArray[np.float64] = log_softmax(self._outputs(X), axis=1)
        return scores

    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: Any = None,
        *,
        progress: ProgressCallback | None = None,
    ) -> Self:
        """Train on the next rows of a stream; the first call is a `fit`.

        Until 2000 rows have been seen, a call that triples the rows since the last fit fits afresh.
        Other calls train for 20 epochs of the rows given, mixed with a sample of earlier rows.
        The scaling follows that sample, inputs that were silent can be grown, and a changed
        `n_nonzero` counts from the next call on.

        Parameters
        ----------
        X, y : as in `fit`
            From the second call on all rows are used for training, so the certificate says
            nothing about new rows.
        classes : array, optional
            All classes that there can be, for the first call; by default those of `y`.  Later
            calls may add classes.
        progress : callable, optional
            As for `fit`.

        Returns
        -------
        self
            The estimator, trained further.

        Notes
        -----
        Memory: the chunk, and up to 2000 rows or 4 million numbers.  The sample is not written to
        a file: a model that was read from a file never fits afresh.
        """
        resume = hasattr(self, "fitted_")
        if resume and classes is not None:
            self._add_classes(np.unique(classes))
        options = {"resume": resume, "classes": classes, "keep_sample": True}
        return self._fit(X, y, progress, **options)

    def _add_classes(self, classes: NDArray[Any]) -> None:
        """Give the network outputs for classes that it does not have; nothing leads to them."""
        known = np.union1d(self.classes_, classes)
        if len(known) == len(self.classes_):
            return
        place, k = np.searchsorted(known, self.classes_), len(known)
        network = with_outputs(self.fitted_.network, place, k)
        self.fitted_ = replace(
            self.fitted_, network=network, out_shift=np.zeros(k), out_scale=np.ones(k)
        )
        if self._stream is not None:
            self._stream.sample.targets = place[self._stream.sample.targets]
        self.classes_ = known

    def _read_targets(
        self, y: Any, inputs: Any, *, classes: Any, resume: bool, group: Group
    ) -> NDArray[np.int64]:
        require_target(self, y)
        known = None if classes is None else np.unique(classes)
        known = self.classes_ if resume else known
        numbers, self.classes_ = read_classes(y, inputs, known, group)
        return numbers

    def _target_scale(
        self, numbers: NDArray[Any], group: Group
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        del numbers, group  # class numbers are not scaled
        return np.zeros(len(self.classes_)), np.ones(len(self.classes_))

    def _scaled(
        self, numbers: NDArray[Any], shift: NDArray[np.float64], scale: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        del shift, scale
        return numbers

    def _recorded_targets(self) -> dict[str, Any]:
        return {"classes": ClassLabels.from_array(self.classes_), "one_column": False}

    def _restore_targets(self, record: ModelRecord) -> None:
        assert record.classes is not None
        self.classes_ = record.classes.to_array()


class SparseMLPRegressor(RegressorMixin, SparseMLP):  # type: ignore[misc]
    """Least-squares regressor with at most `n_nonzero` weights, for one or several targets.

    The targets are standardised for training, and predictions are in the units of `y`.

    Its attributes are those of `SparseMLPClassifier` without `classes_`.  `validation_score_` is
    the coefficient of determination on the held-out rows.

    Parameters
    ----------
    n_nonzero : int or "auto"
        The budget: the most weights of the network, biases included.
    hidden_layer_sizes : tuple of int, or "auto"
        Widths of the hidden layers.
    max_epochs, batch_size : int or "auto"
        Passes over the training rows, and rows of a batch.
    learning_rate : float or "auto"
        Maximum of the schedule of the steps.
    overshoot : float
        Training starts from ``overshoot * n_nonzero`` weights and never has more.
    validation_fraction : float
        Share of the rows to keep out of training.
    input_noise, weight_decay : float or "auto"
        Noise on the scaled inputs, and decoupled weight decay.
    device : str
        The torch device for training.
    random_state : int, RandomState or None
        Random seed of the held-out rows, the first weights, the batches and the input noise.
    verbose : int
        1 prints progress.
    model : {"auto", "network", "line"}
        Compare a line and networks, or fit one kind only.
    effort : float
        Time to spend, in units of the default.
    max_seconds : float or None
        Choose the effort so that the fit takes about so many seconds.
    n_jobs : int or None
        Processes for the runs of an effort that trains more than once.
    warm_start : bool
        Let `fit` continue from the network of the fit before.

    Notes
    -----
    `SparseMLPClassifier` says what "auto" is, and more about each parameter.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from secateurs import SparseMLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = SparseMLPRegressor(n_nonzero=40, random_state=0).fit(X, y)
    >>> model.predict(X).shape
    (442,)
    """

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predict the targets of each row.

        Parameters
        ----------
        X : array, DataFrame or scipy sparse, shape [n, d]
            Rows with the columns of the fit.

        Returns
        -------
        array, shape [n], or [n, k] if `y` had two dimensions
            Predictions in the units of `y`.
        """
        outputs = self._outputs(X)
        return outputs[:, 0] if self._one_column else outputs

    def partial_fit(self, X: Any, y: Any, *, progress: ProgressCallback | None = None) -> Self:
        """Train on the next rows of a stream, as `SparseMLPClassifier.partial_fit` does.

        Parameters
        ----------
        X, y : as in `fit`
            From the second call on all rows are used for training, so the certificate says
            nothing about new rows.
        progress : callable, optional
            As for `fit`.

        Returns
        -------
        self
            The estimator, trained further.
        """
        return self._fit(X, y, progress, resume=hasattr(self, "fitted_"), keep_sample=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _read_targets(
        self, y: Any, inputs: Any, *, classes: Any, resume: bool, group: Group
    ) -> NDArray[np.float64]:
        del classes, group  # there are no classes
        require_target(self, y)
        numbers = read_numbers(y, inputs)
        if not resume:
            self._one_column = numbers.ndim == 1
        elif (numbers.ndim, numbers.size) != (2 - self._one_column, len(numbers) * self._n_targets):
            k = () if self._one_column else (self._n_targets,)
            expected = f"shape {(len(numbers), *k)}, as in the fit"
            raise bad_value("y", Shown(f"shape {numbers.shape}"), expected)
        return numbers

    @property
    def _n_targets(self) -> int:
        return len(self.fitted_.out_shift)

    def _target_scale(
        self, numbers: NDArray[Any], group: Group
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return fit_standardisation(numbers, group)

    def _scaled(
        self, numbers: NDArray[Any], shift: NDArray[np.float64], scale: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        columns = numbers.reshape(len(numbers), -1)
        return standardised(columns, shift, scale).astype(np.float32)

    def _recorded_targets(self) -> dict[str, Any]:
        return {"classes": None, "one_column": self._one_column}

    def _restore_targets(self, record: ModelRecord) -> None:
        self._one_column = record.one_column
