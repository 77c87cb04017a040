"""Fit a sparse perceptron: the steps that the classifier and the regressor share."""

from __future__ import annotations

import json
from abc import abstractmethod
from copy import copy
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from secateurs.core.certificate import Certificate
from secateurs.core.estimator import draw_seed
from secateurs.core.generalization import budget_check, support_check
from secateurs.core.group import ALONE, Group
from secateurs.core.parameters import Shown, bad_value
from secateurs.core.solution import ProgressCallback
from secateurs.core.splits import hold_out, shared_digest
from secateurs.data.table_estimator import certifying_split, split_keys
from secateurs.training.choice import Choice
from secateurs.training.fit_task import FitTask
from secateurs.training.moments import is_sparse
from secateurs.training.parameter_checks import check_parameters
from secateurs.training.reading import weighted_rows
from secateurs.training.reservoir import MOST_ROWS, Stream, add_rows, empty_reservoir, pooled
from secateurs.training.row_checks import baseline_scores, row_checks
from secateurs.training.streaming import first_stream, follow
from secateurs.training.trainable import TrainablePerceptron
from secateurs.training.trainers import Trainer


class SparseMLP(TrainablePerceptron):
    """Base of the classifier and the regressor, which describe the parameters."""

    _stream: Stream | None = None  # of `partial_fit`; not written to a file

    def __init__(
        self,
        n_nonzero: int | str = 500,
        hidden_layer_sizes: tuple[int, ...] | str = (50,),
        max_epochs: int | str = "auto",
        batch_size: int | str = "auto",
        learning_rate: float | str = "auto",
        overshoot: float = 12,
        validation_fraction: float = 0.1,
        input_noise: float | str = "auto",
        weight_decay: float | str = "auto",
        device: str = "auto",
        random_state: Any = None,
        verbose: int = 0,
        model: str = "auto",
        effort: float = 1.0,
        max_seconds: float | None = None,
        n_jobs: int | None = None,
        warm_start: bool = False,
    ) -> None:
        self.n_nonzero = n_nonzero
        self.hidden_layer_sizes = hidden_layer_sizes
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.overshoot = overshoot
        self.validation_fraction = validation_fraction
        self.input_noise = input_noise
        self.weight_decay = weight_decay
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.model = model
        self.effort = effort
        self.max_seconds = max_seconds
        self.n_jobs = n_jobs
        self.warm_start = warm_start

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        groups: Any = None,
        progress: ProgressCallback | None = None,
        group: Group = ALONE,
    ) -> Self:
        """Train a network with at most `n_nonzero` weights.

        Parameters
        ----------
        X : array, DataFrame or scipy sparse, shape [n, d]
            Numeric arrays may have any real dtype.  A DataFrame may hold categories and missing
            values; `table_` records how they were encoded.
        y : array, shape [n], or [n, k] for several regression targets
            Labels of any kind for a classifier, finite numbers for a regressor.
        sample_weight : array, shape [n], optional
            What each row counts for in the loss of training.  A row with the weight 0 is left
            out; equal weights are the same as none.  Scales, held-out scores and the certificate
            do not use the weights.
        groups : array of numbers or texts, shape [n], optional
            Rows of one group, such as those of one patient, are never split between training
            rows and held-out rows.  By default, equal rows are a group.
        progress : callable, optional
            Called with a `Progress` every 10 to 50 steps.
        group : Group
            The processes that share this fit, from `secateurs.distributed`.  Each passes its own
            rows, and all get the same model, which is fitted on all rows.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            A parameter or the data cannot be used; the message says which and why.
        GroupError
            A ValueError: the processes differ, or another process failed.
        FloatingPointError
            Training diverged.
        """
        options = {"sample_weight": sample_weight, "groups": groups, "group": group}
        fitted = getattr(self, "fitted_", None) if self.warm_start else None
        if fitted is not None and len(fitted.network.widths) > 2:  # a line has one best fit
            options["start"] = copy(self)  # as it was before this fit
        return self._fit(X, y, progress, **options)

    def fit_with(
        self,
        X: Any,
        y: Any,
        trainer: Trainer,
        *,
        initial: SparseMLP | None = None,
        shorten: int = 1,
        sample_weight: Any = None,
        groups: Any = None,
        progress: ProgressCallback | None = None,
    ) -> Self:
        """Fit with any trainer, on the rows, scaling, steps and batches that `fit` uses.

        Parameters
        ----------
        X : array, DataFrame or scipy sparse, shape [n, d]
            As for `fit`.
        y : array, shape [n] or [n, k]
            As for `fit`.
        trainer : Trainer
            One of `secateurs.training.TRAINERS`.  All except `prune_regrow` use their own
            learning rate and ignore `overshoot`.
        initial : fitted estimator, optional
            Start `prune_regrow` from its network; other trainers ignore it.  Unless it held out
            the same rows, its network has seen rows that are held out now, and the certificate
            then says nothing about new rows.
        shorten : int
            Divide the number of steps by this.
        sample_weight, groups : array, shape [n], optional
            As for `fit`.
        progress : callable, optional
            As for `fit`.

        Returns
        -------
        self
            The fitted estimator.
        """
        options = {"sample_weight": sample_weight, "groups": groups, "trainer": trainer}
        return self._fit(X, y, progress, start=initial, shorten=shorten, **options)

    def _prepare(self, X: Any, y: Any, **options: Any) -> FitTask:
        with options.get("group", ALONE).failing_together():
            self._check_parameters()
            return self._read(X, y, **options)

    def _read(
        self,
        X: Any,
        y: Any,
        *,
        classes: Any = None,
        resume: bool = False,
        keep_sample: bool = False,
        sample_weight: Any = None,
        groups: Any = None,
        start: SparseMLP | None = None,
        group: Group = ALONE,
        **options: Any,
    ) -> FitTask:
        X, y, groups, weights = weighted_rows(X, y, groups, sample_weight)
        is_table = isinstance(X, pd.DataFrame)
        inputs = X if is_table else self._read_inputs(X, reset=not resume, group=group)
        numbers = self._read_targets(y, inputs, classes=classes, resume=resume, group=group)
        if resume:
            return self._read_chunk(self._read_inputs(X, reset=False), numbers)
        # without a random_state every process draws another seed
        self.seed_ = group.gather(draw_seed(self.random_state))[0]
        split = certifying_split(
            *(inputs, numbers, groups, self.validation_fraction, self.seed_),
            exact=group.size == 1,
        )
        if is_table:  # its encoding is learnt on the training rows
            inputs = self._read_inputs(X, reset=True, group=group, rows=split.train)
        self._require_same_model(inputs, group, has_weights=weights is not None)
        shift, scale = self._target_scale(numbers[split.train], group)
        targets = self._scaled(numbers, shift, scale)
        if weights is not None and group.size == 1 and (weights == weights[0]).all():
            weights = None
        elif weights is not None:
            mine = float(weights[split.train].sum())
            weights = weights * (group.total(len(split.train)) / group.total(mine))
        options["has_groups"] = groups is not None
        task = FitTask(inputs, targets, shift, scale, split, group, weights, **options)
        self._stream = first_stream(inputs, numbers, self.seed_) if keep_sample else None
        self.split_digest_ = shared_digest(group.gather(split.digest))
        self._n_tried = 1
        if start is None:
            return task
        self._require_continuation(start, inputs, len(shift))
        self._n_tried = getattr(start, "_n_tried", 1)  # its widths may have been chosen
        record = start.held_out_record()  # None if its network has seen the rows it held out
        same = record is not None and record.digest == self.split_digest_
        network = start.fitted_
        return replace(task, initial=network.network, before=network, certified_start=same)

    def _require_continuation(self, start: SparseMLP, inputs: Any, k: int) -> None:
        """Raise ValueError unless the network of `start` fits these inputs and outputs."""
        widths = start.fitted_.network.widths
        same = (widths[0], widths[-1]) == (inputs.shape[1], k)
        known, found = (getattr(model, "classes_", None) for model in (start, self))
        if same and (known is None or found is None or np.array_equal(known, found)):
            return
        raise bad_value(
            "warm_start" if self.warm_start else "initial",
            Shown(f"a network fitted to {widths[0]} inputs and {widths[-1]} outputs"),
            f"the same {inputs.shape[1]} inputs and {k} outputs or classes as in these data",
            "fit a new estimator",
        )

    def _read_chunk(self, inputs: Any, numbers: NDArray[Any]) -> FitTask:
        """Return the rows of a chunk together with a sample of earlier rows."""
        if self._stream is None:  # the rows of the fit are not known
            self._stream = Stream(empty_reservoir(inputs, numbers, self.seed_), MOST_ROWS)
        sample = self._stream.sample
        all_inputs, all_numbers = pooled(sample, inputs, numbers)
        add_rows(sample, inputs, numbers)
        shift, scale = self._target_scale(sample.targets, ALONE)
        split = hold_out(split_keys(all_inputs, all_numbers), 0.0, self.seed_)
        task = FitTask(all_inputs, all_numbers, shift, scale, split)
        task = replace(task, stream=self._stream, n_new=len(numbers))
        if not self._stream.is_due:
            task = follow(task, self.fitted_)
        return replace(task, targets=self._scaled(all_numbers, task.out_shift, task.out_scale))

    @abstractmethod
    def _read_targets(
        self, y: Any, inputs: Any, *, classes: Any, resume: bool, group: Group
    ) -> NDArray[Any]:
        """Return class numbers [n] or float64 targets; keep the classes or the shape of `y`."""

    @abstractmethod
    def _target_scale(
        self, numbers: NDArray[Any], group: Group
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return shift and scale of the targets, [k] each, measured on these rows."""

    @abstractmethod
    def _scaled(
        self, numbers: NDArray[Any], shift: NDArray[np.float64], scale: NDArray[np.float64]
    ) -> NDArray[Any]:
        """Return the targets with which the network is trained."""

    def _require_same_model(self, inputs: Any, group: Group, *, has_weights: bool) -> None:
        """Raise GroupError unless all processes have the same parameters and columns."""
        names, width = self._recorded_names(), inputs.shape[1]
        kind = [type(self).__name__, is_sparse(inputs), has_weights]
        model = [*kind, self._recorded_parameters(), names, width]
        group.require_same("the set of parameters or of columns", json.dumps(model).encode())

    def _certify(self, data: FitTask) -> Certificate:
        checks = [
            budget_check(self.n_nonzero_, self.budget_),
            support_check(self.peak_support_, int(max(1, self.overshoot) * self.budget_)),
        ]
        self.validation_score_, self.baseline_scores_ = None, {}
        if data.stream is None:  # with a stream all rows are used for training
            extra_bits = self._extra_bits()
            self.validation_score_, more = row_checks(self.fitted_, data, self._n_tried, extra_bits)
            checks += more
            line = self.choice_.line if isinstance(self.choice_, Choice) else None
            self.baseline_scores_ = baseline_scores(self._scaling, line, data)
            del self._scaling
        return Certificate(tuple(checks))

    def _extra_bits(self) -> int:
        """Bits of what the file holds beside the weights and needs to predict."""
        texts = [self.table_, self._recorded_targets()["classes"]]
        characters = sum(len(text.model_dump_json()) for text in texts if text is not None)
        n_scales = len(self.fitted_.scale) * (1 if self.fitted_.shift is None else 2)
        return 8 * characters + 64 * n_scales

    def _check_parameters(self) -> None:
        check_parameters(self)
