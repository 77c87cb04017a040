"""Multilayer perceptrons under a weight budget, with scikit-learn's interface."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
)

from secateurs.core.certificate import Certificate
from secateurs.core.generalization import (
    held_out_check,
    held_out_regression_check,
    occam_check,
)
from secateurs.core.group import ALONE, Group
from secateurs.core.solution import ProgressCallback
from secateurs.training import defaults as settings
from secateurs.training.estimator_base import SparseMLP
from secateurs.training.model_file import (
    ClassLabels,
    ModelRecord,
)


class SparseMLPClassifier(ClassifierMixin, SparseMLP):  # type: ignore[misc]
    """Softmax classifier with at most `n_nonzero` weights, sparse from the first step.

    Trained by prune-and-regrow (`secateurs.training.prune_regrow`) in memory that grows with
    ``overshoot * n_nonzero`` and the batch, not with the size of the dense network.

    Parameters
    ----------
    n_nonzero : int
        Budget s: weights of the network, biases included.
    hidden_layer_sizes : tuple of int, or "auto"
        Widths; "auto" compares four widths of one hidden layer on held-out rows.
    max_epochs : int or "auto"
        "auto" is 30 epochs, but at least 2000 and at most 8000 steps.
    batch_size : int or "auto"
        "auto" is a sixth of the rows, between 32 and 500.
    learning_rate : float
    overshoot : float
        Training starts from ``overshoot * n_nonzero`` weights and never holds more.
    validation_fraction : float
        Share of the rows kept out of training, for the certificate and for the widths.
    input_noise : float or "auto"
        Standard deviation of noise added to the scaled inputs; "auto" is up to 0.4 on small
        tables and none beyond 16,000 rows.
    weight_decay : float or "auto"
        Decoupled; "auto" is 0.3 beyond 16,000 rows, otherwise 0.
    device : str
        A torch device; "auto" takes CUDA where there is some.
    random_state : int, RandomState or None
    verbose : int
        1 prints progress.

    Attributes
    ----------
    coefs_ : list of scipy.sparse.csr_array, layer l of shape [n_out, n_in]
        In units of the scaled inputs; `to_torch` has them in units of the data.
    intercepts_ : list of arrays, layer l of shape [n_out]
    n_nonzero_ : int
    classes_ : array, shape [k]
    n_features_in_ : int
    feature_names_in_ : array of str, where `X` was a DataFrame
    table_ : TableSchema or None
        How a DataFrame is encoded.
    loss_curve_ : list of float
        Training loss at each record of `history_` ("step", "loss", "n_nonzero").
    status_ : str
        "budget": all steps were made; "interrupted": stopped by the user, still within budget.
    validation_score_ : float or None
        Accuracy on the held-out rows.
    certificate_ : Certificate
        What is known about the fit: holds, fails or unknown, with the numbers.
    report_ : dict
        Nonzeros per layer, file and peak training bytes, seconds, and their dense equivalents.

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
        """Most likely class of each row, shape [n]; ties go to the first class."""
        scores = self._outputs(X)
        result: NDArray[Any] = self.classes_[scores.argmax(axis=1)]
        return result

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probability of each class, shape [n, k]."""
        probabilities: NDArray[np.float64] = softmax(self._outputs(X), axis=1)
        return probabilities

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Logarithm of `predict_proba`, computed without underflow, shape [n, k]."""
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
        """Train on: one more epoch over the rows given, within the budget.

        Parameters
        ----------
        X, y : as in `fit`
            All rows are trained on; the certificate says nothing about new rows.
        classes : array, optional
            All classes there can be; the first call uses those of `y` where it is not given.
        progress : callable, optional

        Returns
        -------
        self
        """
        if hasattr(self, "fitted_"):
            return self._continue(X, y, progress)
        self._all_classes = None if classes is None else np.unique(classes)
        try:
            return self._fit(X, y, progress=progress)
        finally:
            self._all_classes = None

    def _read_targets(self, y: Any, X: Any, *, reset: bool, group: Group = ALONE) -> NDArray[Any]:
        _require_targets(self, y)
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        if y.dtype.kind == "f":
            y = check_array(y, ensure_2d=False, dtype=None, input_name="y")
        check_classification_targets(y)
        known: Any = getattr(self, "_all_classes", None) if reset else self.classes_
        if known is None:
            known = _all_classes(np.unique(y), group)
        unknown = np.setdiff1d(y, known)
        if len(unknown):
            raise ValueError(f"y holds the class {unknown[0]!r}, which is not among {known!r}")
        if len(known) < 2:
            raise ValueError(f"y holds one class, {known[0]!r}; a classifier needs at least two")
        self.classes_ = known
        numbers: NDArray[np.int64] = np.searchsorted(known, y).astype(np.int64)
        return numbers

    def _n_outputs(self, targets: NDArray[Any]) -> int:  # noqa: ARG002
        return len(self.classes_)

    def _output_scaling(self, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.zeros(k), np.ones(k)

    def _losses(self, outputs: NDArray[np.float64], targets: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(-log_softmax(outputs, axis=1)[np.arange(len(targets)), targets])

    def _certify(
        self,
        X: Any,
        targets: NDArray[Any],
        train: NDArray[np.int64],
        held_out: NDArray[np.int64],
        n_tried: int,
        group: Group = ALONE,
    ) -> None:
        wrong = self.fitted_.outputs(X).argmax(1) != targets
        n_wrong, n_held_out, n_wrong_train, n_train = (
            int(group.total(count))
            for count in (wrong[held_out].sum(), len(held_out), wrong[train].sum(), len(train))
        )
        self.validation_score_ = 1 - n_wrong / n_held_out if n_held_out else None
        checks = self._size_checks()
        if n_train:
            counts = np.bincount(targets[train], minlength=len(self.classes_))
            most = int(group.sum_(torch.from_numpy(counts)).max())
            baseline = 1 - most / n_train
            network = self.fitted_.network
            scales = len(self.fitted_.scale) * (1 if self.fitted_.shift is None else 2)
            checks += [
                held_out_check(n_wrong, n_held_out, baseline, n_tried),
                occam_check(
                    n_wrong_train, n_train, network.widths, network.n_nonzero, scales, baseline
                ),
            ]
        self.certificate_ = Certificate(tuple(checks))

    def _target_record(self) -> dict[str, Any]:
        return {"classes": ClassLabels.from_array(self.classes_), "one_column": False}

    def _restore_targets(self, record: ModelRecord) -> None:
        assert record.classes is not None
        self.classes_ = record.classes.to_array()


class SparseMLPRegressor(RegressorMixin, SparseMLP):  # type: ignore[misc]
    """Least-squares regressor with at most `n_nonzero` weights, for one or several targets.

    Targets are standardised for training; predictions are in the units of `y`.

    Parameters and attributes are those of `SparseMLPClassifier`, but for the classes;
    `validation_score_` is the coefficient of determination on the held-out rows.

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
        """Predictions, shape [n], or [n, k] if `y` had two dimensions."""
        outputs = self._outputs(X)
        return outputs[:, 0] if self._one_column else outputs

    def partial_fit(self, X: Any, y: Any, *, progress: ProgressCallback | None = None) -> Self:
        """Train on: one more epoch over the rows given, within the budget.

        Parameters
        ----------
        X, y : as in `fit`
            All rows are trained on; the certificate says nothing about new rows.
        progress : callable, optional

        Returns
        -------
        self
        """
        if hasattr(self, "fitted_"):
            return self._continue(X, y, progress)
        return self._fit(X, y, progress=progress)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _read_targets(self, y: Any, X: Any, *, reset: bool, group: Group = ALONE) -> NDArray[Any]:
        _require_targets(self, y)
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        check_consistent_length(X, y)
        if y.ndim > 2:
            raise ValueError(f"y has shape {y.shape}; expected [n] or [n, k]")
        one_column = y.ndim == 1
        y = y[:, None] if one_column else y
        if reset:
            self._one_column = one_column
            shapes = group.gather([len(y), y.shape[1], one_column])
            if any(shape[1:] != shapes[0][1:] for shape in shapes):
                raise ValueError("y has another number of targets on other processes")
            n = sum(shape[0] for shape in shapes)
            self._shift = _sum_over_rows(y, group) / n
            deviation = np.sqrt(_sum_over_rows(np.square(y - self._shift), group) / n)
            if not np.isfinite(deviation).all():
                raise ValueError("y has values too large to square; rescale it below 1e150")
            constant = deviation <= settings.CONSTANT * np.abs(self._shift)
            self._scale = np.where(constant, 0.0, deviation)  # a constant target is its mean
        elif one_column != self._one_column or y.shape[1] != len(self._shift):
            raise ValueError(f"y has {y.shape[1]} targets, the fit had {len(self._shift)}")
        return self._standardised(y).astype(np.float32)

    def _standardised(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = (y - self._shift) / np.where(
            self._scale > 0, self._scale, 1.0
        )
        return result

    def _n_outputs(self, targets: NDArray[Any]) -> int:
        return int(targets.shape[1])

    def _output_scaling(self, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # noqa: ARG002
        return self._shift, self._scale

    def _losses(self, outputs: NDArray[np.float64], targets: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(np.square(self._standardised(outputs) - targets))

    def _certify(
        self,
        X: Any,
        targets: NDArray[Any],
        train: NDArray[np.int64],
        held_out: NDArray[np.int64],
        n_tried: int,
        group: Group = ALONE,
    ) -> None:
        checks = self._size_checks()
        self.validation_score_ = None
        n_held_out = sum(group.gather(len(held_out)))
        if n_held_out:
            outputs = self.fitted_.outputs(X[held_out])
            y = targets[held_out].astype(np.float64)
            error = np.square(self._standardised(outputs) - y)
            n_train = sum(group.gather(len(train)))
            mean = _sum_over_rows(targets[train], group) / n_train
            gain = (np.square(y - mean) - error).mean(axis=1)
            centre = _sum_over_rows(y, group) / n_held_out
            total = group.total(np.square(y - centre).sum())
            self.validation_score_ = (
                float(1 - group.total(error.sum()) / total) if total > 0 else None
            )
            # one number for each held-out row
            gain = np.concatenate(group.gather(gain if group.size == 1 else gain.tolist()))
            checks.append(held_out_regression_check(gain, n_tried))
        self.certificate_ = Certificate(tuple(checks))

    def _target_record(self) -> dict[str, Any]:
        return {"classes": None, "one_column": self._one_column}

    def _restore_targets(self, record: ModelRecord) -> None:
        self._one_column = record.one_column
        self._shift = np.array(record.out_shift)
        self._scale = np.array(record.out_scale)


def _require_targets(estimator: SparseMLP, y: Any) -> None:
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, "
            "but the target y is None."
        )


def _all_classes(here: NDArray[Any], group: Group) -> NDArray[Any]:
    """Classes on any process, increasing."""
    if group.size == 1:
        return here
    found = group.gather([str(here.dtype), here.tolist()])
    if len({np.dtype(kind).kind for kind, _ in found}) > 1:
        raise ValueError(f"y is of type {here.dtype} here and of another on other processes")
    return np.unique(np.concatenate([np.array(labels, dtype=kind) for kind, labels in found]))


def _sum_over_rows(y: NDArray[np.floating], group: Group) -> NDArray[np.float64]:
    """Sum of each column of y [n, k] over the rows of all processes."""
    here = y.sum(axis=0, dtype=np.float64)
    return here if group.size == 1 else np.asarray(np.sum(group.gather(here.tolist()), axis=0))
