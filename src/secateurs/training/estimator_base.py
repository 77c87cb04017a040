"""Fit a sparse perceptron: the steps that the classifier and the regressor share."""

from __future__ import annotations

import json
from abc import abstractmethod
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from secateurs.core.certificate import Certificate
from secateurs.core.estimator import draw_seed
from secateurs.core.generalization import budget_check, support_check
from secateurs.core.group import ALONE, Group
from secateurs.core.parameters import bad_value
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.core.splits import hold_out
from secateurs.core.threads import threads_for
from secateurs.data.table_estimator import input_names, split_keys
from secateurs.sparse.network import SparseNetwork
from secateurs.training.budget_choice import AUTO_WIDTH, choose_budget
from secateurs.training.choice import Candidate, Choice
from secateurs.training.defaults import (
    auto_device,
    auto_noise,
    auto_weight_decay,
    auto_widths,
    chosen,
    exchange_interval,
    is_auto,
    run_length,
)
from secateurs.training.fit_task import FitTask
from secateurs.training.fitted_estimator import FittedPerceptron
from secateurs.training.fitted_network import FittedNetwork
from secateurs.training.model_choice import Comparison
from secateurs.training.parameter_checks import check_parameters
from secateurs.training.prune_regrow import prune_regrow
from secateurs.training.row_checks import baseline_scores, held_out_loss, row_checks
from secateurs.training.scaling import input_scaling
from secateurs.training.trainers import Trainer
from secateurs.training.training_data import TrainingData, is_sparse

SHORT_RUN = 3  # widths are compared after a third of the steps
N_SEEDS = 2**31 - 1


class SparseMLP(FittedPerceptron):
    """Base of the classifier and the regressor, which describe the parameters."""

    def __init__(
        self,
        n_nonzero: int | str = 500,
        hidden_layer_sizes: tuple[int, ...] | str = (50,),
        max_epochs: int | str = "auto",
        batch_size: int | str = "auto",
        learning_rate: float = 1e-2,
        overshoot: float = 12,
        validation_fraction: float = 0.1,
        input_noise: float | str = "auto",
        weight_decay: float | str = "auto",
        device: str = "auto",
        random_state: Any = None,
        verbose: int = 0,
        model: str = "auto",
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

    def fit(
        self,
        X: Any,
        y: Any,
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

        Raises
        ------
        ValueError
            A parameter or the data cannot be used; the message says which and why.
        GroupError
            A ValueError: the processes differ, or another process failed.
        FloatingPointError
            Training diverged.
        """
        return self._fit(X, y, progress, groups=groups, group=group)

    def fit_with(
        self,
        X: Any,
        y: Any,
        trainer: Trainer,
        *,
        initial: SparseMLP | None = None,
        shorten: int = 1,
        groups: Any = None,
        progress: ProgressCallback | None = None,
    ) -> Self:
        """Fit with any trainer, on the rows, scaling, steps and batches that `fit` uses.

        Parameters
        ----------
        X, y, groups, progress
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

        Returns
        -------
        self
        """
        options = {"groups": groups, "trainer": trainer, "shorten": shorten}
        return self._fit(X, y, progress, start=initial, **options)

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
        groups: Any = None,
        start: SparseMLP | None = None,
        group: Group = ALONE,
        **options: Any,
    ) -> FitTask:
        is_table = isinstance(X, pd.DataFrame)
        inputs = X if is_table else self._read_inputs(X, reset=not resume, group=group)
        numbers = self._read_targets(y, inputs, classes=classes, resume=resume, group=group)
        if not resume:  # without a random_state every process draws another seed
            self.seed_ = group.gather(draw_seed(self.random_state))[0]
        fraction = 0.0 if resume else self.validation_fraction
        keys = split_keys(inputs, numbers, groups)
        split = hold_out(keys, fraction, self.seed_, exact=group.size == 1)
        if is_table:  # its encoding is learnt on the training rows
            rows = None if resume else split.train
            inputs = self._read_inputs(X, reset=not resume, group=group, rows=rows)
        if not resume:
            self._require_same_model(inputs, group)
        scaled = self._scale_targets(numbers, split.train, resume=resume, group=group)
        task = FitTask(inputs, *scaled, split, group, resume=resume, **options)
        self.split_digest_, self._n_tried = split.digest, 1
        if start is None:
            return task
        self._n_tried = getattr(start, "_n_tried", 1)  # its widths may have been chosen
        same = getattr(start, "split_digest_", None) == split.digest
        return replace(task, initial=start.fitted_.network, certified_start=same)

    @abstractmethod
    def _read_targets(
        self, y: Any, inputs: Any, *, classes: Any, resume: bool, group: Group
    ) -> NDArray[Any]:
        """Return class numbers [n] or float64 targets; keep the classes or the shape of `y`."""

    @abstractmethod
    def _scale_targets(
        self, numbers: NDArray[Any], train: NDArray[np.int64], *, resume: bool, group: Group
    ) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]:
        """Return targets, shift and scale, which are measured on the training rows."""

    def _require_same_model(self, inputs: Any, group: Group) -> None:
        """Raise GroupError unless all processes have the same parameters and columns."""
        names, width = self._recorded_names(), inputs.shape[1]
        model = [type(self).__name__, self._recorded_parameters(), names, width, is_sparse(inputs)]
        group.require_same("the set of parameters or of columns", json.dumps(model).encode())

    def _solve(self, data: FitTask, progress: ProgressCallback | None) -> None:
        if data.resume:
            scaling = self.fitted_.full_scaling(data.inputs)
            seed = (self.seed_ + self.n_steps_ + 1) % N_SEEDS
            data = replace(data, initial=self.fitted_.network)
        else:
            scaling, seed = input_scaling(data.inputs, data.train, data.group), self.seed_
            constant = np.flatnonzero(scaling.variance == 0)
            names = input_names(self) if len(constant) else []
            self.constant_inputs_ = [names[j] for j in constant]
        self._scaling = scaling
        n = int(data.group.total(len(data.train)))
        rows = TrainingData(
            data.inputs,
            data.targets,
            scaling,
            len(data.out_shift),
            rows=None if len(data.train) == data.inputs.shape[0] else data.train,
            noise=chosen(self.input_noise, auto_noise(n)),
            device=auto_device(self.device),
            group=data.group,
        )
        if not data.resume:
            self._choose_budget(data, rows, seed)
        hidden = self._hidden_widths(data, rows, seed)
        solution = self._chosen_solution(data, rows, hidden, seed, progress)
        self.fitted_ = FittedNetwork.build(solution.value, scaling, data.out_shift, data.out_scale)
        self.status_, self.n_train_ = solution.status, n
        self._keep_history(solution, resume=data.resume)

    def _keep_history(self, solution: Solution[SparseNetwork], *, resume: bool) -> None:
        n_steps, peak = (int(solution.measured[name]) for name in ("n_steps", "peak_support"))
        history = solution.history
        if resume:
            earlier, before = self.history_, self.n_steps_
            history["step"] = [before + step for step in history["step"]]
            history = {name: earlier[name] + history[name] for name in history}
            n_steps += before
            peak = max(peak, int(self.certificate_["support"].measured or 0))
        self.history_, self.n_steps_ = history, n_steps
        self.loss_curve_ = history["loss"]
        self.peak_support_ = peak
        self.peak_bytes_ = int(solution.measured["peak_bytes"])

    def _chosen_solution(
        self,
        task: FitTask,
        rows: TrainingData,
        hidden: tuple[int, ...],
        seed: int,
        progress: ProgressCallback | None,
    ) -> Solution[SparseNetwork]:
        """Train the model that is chosen on the training rows, or the network that is asked for."""
        self.choice_ = None
        free = task.trainer is prune_regrow and not task.resume and task.initial is None
        if not free or self.model == "network" or rows.group.size > 1:
            return self._train(task, rows, hidden, seed, progress)
        comparison = self._comparison(task, rows, hidden, seed, self.budget_)
        solution, self.choice_ = comparison.solve(
            *(None if is_auto(v) else float(v) for v in (self.input_noise, self.weight_decay)),
            only_line=self.model == "line",
            progress=progress,
        )
        return solution

    def _comparison(
        self, task: FitTask, rows: TrainingData, hidden: tuple[int, ...], seed: int, budget: int
    ) -> Comparison:
        def train(
            part: TrainingData,
            candidate: Candidate,
            initial: SparseNetwork | None,
            n_nonzero: int,
            shorten: int,
            progress: ProgressCallback | None = None,
        ) -> Solution[SparseNetwork]:
            inner = replace(task, initial=initial, shorten=shorten * task.shorten)
            return self._train(
                *(inner, part, candidate.hidden, seed, progress),
                decay=candidate.decay,
                n_nonzero=n_nonzero,
            )

        return Comparison(task, rows, hidden, budget, self.overshoot, seed, train)

    def _choose_budget(self, task: FitTask, rows: TrainingData, seed: int) -> None:
        """Keep the budget as `budget_`; "auto" compares some on the training rows."""
        self.budget_scores_: dict[int, float] | None = None
        if not is_auto(self.n_nonzero):
            self.budget_ = int(self.n_nonzero)
            return
        widths = (AUTO_WIDTH,) if is_auto(self.hidden_layer_sizes) else self.hidden_layer_sizes
        hidden = tuple(int(m) for m in widths)
        make = partial(self._comparison, task, rows, hidden, seed)
        self.budget_, self.budget_scores_ = choose_budget(make, rows, hidden)

    def _hidden_widths(self, task: FitTask, rows: TrainingData, seed: int) -> tuple[int, ...]:
        """Return the widths of the hidden layers; "auto" compares some on the held-out rows."""
        if task.resume:
            return self.fitted_.network.widths[1:-1]
        if self.hidden_layer_sizes != "auto":
            return tuple(int(m) for m in self.hidden_layer_sizes)
        if task.group.total(len(task.held_out)) == 0:
            raise bad_value(
                "validation_fraction",
                self.validation_fraction,
                "a share that gives held-out rows, on which hidden_layer_sizes='auto' compares "
                f"widths, from {task.inputs.shape[0]} rows",
                "raise it or give the widths",
            )
        short = replace(task, trainer=prune_regrow, initial=None, shorten=SHORT_RUN)
        losses = {}
        for m in auto_widths(self.budget_, rows.n_outputs):
            network = self._train(short, rows, (m,), seed).value
            scales = rows.scaling, task.out_shift, task.out_scale
            losses[m] = held_out_loss(FittedNetwork.build(network, *scales), task)
        self.validation_losses_, self._n_tried = losses, len(losses)
        return (min(losses, key=losses.__getitem__),)

    def _train(
        self,
        task: FitTask,
        rows: TrainingData,
        hidden: tuple[int, ...],
        seed: int,
        progress: ProgressCallback | None = None,
        decay: float | None = None,
        n_nonzero: int | None = None,
    ) -> Solution[SparseNetwork]:
        """Run the trainer with the parameters of this estimator."""
        budget = self.budget_ if n_nonzero is None else n_nonzero
        if decay is None:
            decay = chosen(self.weight_decay, auto_weight_decay(rows.n_all))
        epochs = 1 if task.resume else self.max_epochs
        batch, n_steps = run_length(rows.n_all, rows.d, self.batch_size, epochs, task.shorten)
        trainer = task.trainer
        n_weights = sum(a * b for a, b in pairwise((rows.d, *hidden, rows.n_outputs)))
        if trainer is prune_regrow:  # the dense trainers keep their own tuned settings
            n_weights = min(n_weights, int(self.overshoot * budget))
            trainer = partial(
                prune_regrow,
                learning_rate=self.learning_rate,
                overshoot=self.overshoot,
                exchange_every=exchange_interval(n_steps),
                initial=task.initial,
            )
        with threads_for(n_weights * rows.part(batch)):
            return trainer(
                rows,
                hidden,
                budget,
                n_steps=n_steps,
                batch_size=batch,
                weight_decay=decay,
                random_state=seed,
                progress=progress,
            )

    def _certify(self, data: FitTask) -> Certificate:
        checks = [
            budget_check(self.n_nonzero_, self.budget_),
            support_check(self.peak_support_, int(max(1, self.overshoot) * self.budget_)),
        ]
        self.validation_score_, self.baseline_scores_ = None, {}
        if not data.resume:  # all rows are used for training then
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
