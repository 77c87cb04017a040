"""Train a sparse perceptron on rows that have been read: choices, networks, chunks of a stream."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

from secateurs.core.parameters import bad_value
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.core.threads import threads_for
from secateurs.sparse.network import SparseNetwork
from secateurs.training.budget_choice import AUTO_WIDTH, choose_budget
from secateurs.training.choice import Candidate
from secateurs.training.defaults import (
    SMALL_TABLE,
    auto_at_budget,
    auto_device,
    auto_learning_rate,
    auto_noise,
    auto_weight_decay,
    auto_widths,
    chosen,
    exchange_interval,
    is_auto,
    run_length,
    score_batches,
)
from secateurs.training.description import constant_names
from secateurs.training.effort import best_run, effort_for, run_plan
from secateurs.training.fit_task import FitTask
from secateurs.training.fitted_estimator import FittedPerceptron
from secateurs.training.fitted_network import FittedNetwork
from secateurs.training.model_choice import Comparison
from secateurs.training.moments import Scaling
from secateurs.training.processes import number_of_processes
from secateurs.training.prune_regrow import prune_regrow
from secateurs.training.rescaling import continued
from secateurs.training.reservoir import Stream
from secateurs.training.row_checks import held_out_loss
from secateurs.training.scaling import input_scaling, near_rows
from secateurs.training.staged_progress import Stages
from secateurs.training.streaming import CHUNK_EPOCHS, CHUNK_EXCHANGES, CHUNK_RATE, LEAST_INTERVAL
from secateurs.training.training_data import TrainingData

SHORT_RUN = 3  # widths are compared after a third of the steps
N_SEEDS = 2**31 - 1


class TrainablePerceptron(FittedPerceptron):
    """The part of the perceptron estimators that trains."""

    n_nonzero: Any
    hidden_layer_sizes: Any
    max_epochs: Any
    batch_size: Any
    learning_rate: Any
    effort: float
    max_seconds: float | None
    n_jobs: int | None
    warm_start: bool
    effort_: float | None
    _began: float
    overshoot: float
    validation_fraction: float
    input_noise: Any
    weight_decay: Any
    model: str
    _scaling: Scaling
    n_far_rows_: int
    _n_tried: int

    def _solve(self, data: FitTask, progress: ProgressCallback | None) -> None:
        if data.stream is not None and not data.stream.is_due:
            self._solve_chunk(data, data.stream, progress)
            return
        seed, self.effort_, self._began = self.seed_, None, time.monotonic()
        scaling = input_scaling(data.inputs, data.train, data.group)
        self.constant_inputs_ = constant_names(self, scaling)
        self._scaling, self.n_far_rows_ = scaling, 0
        if data.stream is None and data.group.size == 1 and len(data.train) <= SMALL_TABLE:
            near = near_rows(data.inputs, scaling, data.train)
            self.n_far_rows_ = len(data.train) - len(near)
            data = replace(data, split=replace(data.split, train=near))
        if data.before is not None:
            network = continued(data.before, scaling, data.out_shift, data.out_scale)
            data = replace(data, initial=network)
        rows = self._training_data(data, scaling)
        stages = Stages(progress)
        self._choose_budget(data, rows, seed, stages)
        hidden = self._hidden_widths(data, rows, seed, stages)
        solution = self._chosen_solution(data, rows, hidden, seed, stages)
        self._keep(data, rows, solution)
        self.n_train_ += self.n_far_rows_  # they are no held-out rows
        if data.stream is not None:
            data.stream.n_fresh, data.stream.n_steps = data.stream.sample.n_seen, 0

    def _solve_chunk(
        self, data: FitTask, stream: Stream, progress: ProgressCallback | None
    ) -> None:
        """Train the fitted network further, as `secateurs.training.streaming` says: (4)."""
        if not is_auto(self.n_nonzero):  # it may have been changed
            self.budget_ = int(self.n_nonzero)
        network, scaling = data.initial, data.scaling
        assert network is not None
        assert scaling is not None
        rows = self._training_data(data, scaling)
        epochs = CHUNK_EPOCHS if is_auto(self.max_epochs) else min(self.max_epochs, CHUNK_EPOCHS)
        batch, n_steps = run_length(data.n_new, rows.d, self.batch_size, epochs)
        with threads_for(self.budget_ * batch):
            solution = prune_regrow(
                rows,
                network.widths[1:-1],
                self.budget_,
                n_steps=n_steps,
                batch_size=batch,
                learning_rate=stream.rate(chosen(self.learning_rate, CHUNK_RATE)),
                weight_decay=chosen(self.weight_decay, auto_weight_decay(stream.sample.n_seen)),
                overshoot=max(self.overshoot, network.n_nonzero / self.budget_),
                exchange_every=max(LEAST_INTERVAL, n_steps // CHUNK_EXCHANGES),
                initial=network,
                random_state=(self.seed_ + self.n_steps_ + 1) % N_SEEDS,
                progress=progress,
            )
        stream.n_steps += n_steps
        self._keep(data, rows, solution)

    def _training_data(self, data: FitTask, scaling: Scaling) -> TrainingData:
        n = int(data.group.total(len(data.train)))
        seen = n if data.stream is None else data.stream.sample.n_seen
        return TrainingData(
            data.inputs,
            data.targets,
            scaling,
            len(data.out_shift),
            rows=None if len(data.train) == data.inputs.shape[0] else data.train,
            weights=data.weights,
            noise=chosen(self.input_noise, auto_noise(seen)),
            device=auto_device(self.device),
            group=data.group,
        )

    def _keep(self, data: FitTask, rows: TrainingData, solution: Solution[SparseNetwork]) -> None:
        """Set the fitted attributes; after a chunk, they continue those of the calls before."""
        self.fitted_ = FittedNetwork.build(
            solution.value, rows.scaling, data.out_shift, data.out_scale
        )
        n_steps, peak = (int(solution.measured[name]) for name in ("n_steps", "peak_support"))
        history, n_train = solution.history, rows.n_all
        if data.stream is not None:
            earlier, before = self.history_, self.n_steps_
            history["step"] = [before + step for step in history["step"]]
            history = {name: earlier[name] + history[name] for name in history}
            n_steps += before
            n_train = self.n_train_ + data.n_new
            peak = max(peak, int(self.certificate_["support"].measured or 0))
        self._copy_bytes = rows.copy_bytes
        self.status_, self.n_train_ = solution.status, n_train
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
        stages: Stages,
    ) -> Solution[SparseNetwork]:
        """Train the model that is chosen on the training rows, or the network that is asked for."""
        self.choice_ = None
        free = task.trainer is prune_regrow and task.initial is None
        if not free or self.model == "network" or rows.group.size > 1:
            return self._train(task, rows, hidden, seed, stages.run(last=True))
        comparison = self._comparison(task, rows, hidden, seed, stages, self.budget_)
        with threads_for(comparison.work):
            solution, self.choice_ = comparison.solve(
                *(None if is_auto(v) else float(v) for v in (self.input_noise, self.weight_decay)),
                only_line=self.model == "line",
            )
        return solution

    def _comparison(
        self,
        task: FitTask,
        rows: TrainingData,
        hidden: tuple[int, ...],
        seed: int,
        stages: Stages,
        budget: int,
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

        return Comparison(task, rows, hidden, budget, self.overshoot, seed, train, stages)

    def _choose_budget(self, task: FitTask, rows: TrainingData, seed: int, stages: Stages) -> None:
        """Keep the budget as `budget_`; "auto" compares some on the training rows."""
        self.budget_scores_: dict[int, float] | None = None
        if not is_auto(self.n_nonzero):
            self.budget_ = int(self.n_nonzero)
            return
        widths = (AUTO_WIDTH,) if is_auto(self.hidden_layer_sizes) else self.hidden_layer_sizes
        hidden = tuple(int(m) for m in widths)
        make = partial(self._comparison, task, rows, hidden, seed, stages)
        with threads_for(make(1).work):
            self.budget_, self.budget_scores_ = choose_budget(make, rows, hidden, stages)

    def _hidden_widths(
        self, task: FitTask, rows: TrainingData, seed: int, stages: Stages
    ) -> tuple[int, ...]:
        """Return the widths of the hidden layers; "auto" compares some on the held-out rows."""
        is_auto_width = is_auto(self.hidden_layer_sizes)
        if task.initial is not None and (self.warm_start or (is_auto_width and not task.stream)):
            return task.initial.widths[1:-1]
        if not is_auto_width:
            return tuple(int(m) for m in self.hidden_layer_sizes)
        candidates = auto_widths(self.budget_, rows.n_outputs)
        if task.stream is not None:  # a stream has no held-out rows
            return (candidates[len(candidates) // 2],)
        if task.group.total(len(task.held_out)) == 0:
            raise bad_value(
                "validation_fraction",
                self.validation_fraction,
                "a share that gives held-out rows, on which hidden_layer_sizes='auto' compares "
                f"widths, from {task.inputs.shape[0]} rows",
                "raise it or give the widths",
            )
        short = replace(task, trainer=prune_regrow, initial=None, shorten=SHORT_RUN)
        stages.n_left = len(candidates) + SHORT_RUN
        losses = {}
        for m in candidates:
            network = self._train(short, rows, (m,), seed, stages.run()).value
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
        """Run the trainer with the parameters of this estimator, as long as the effort says."""
        budget = self.budget_ if n_nonzero is None else n_nonzero
        sizes = self.batch_size, self.max_epochs
        batch, whole = run_length(rows.n_all, rows.d, *sizes)
        if decay is None:
            decay = chosen(self.weight_decay, auto_weight_decay(rows.n_all))
        options: dict[str, Any] = {"batch_size": batch, "weight_decay": decay}
        places = sum((a + 1) * b for a, b in pairwise((rows.d, *hidden, rows.n_outputs)))
        n_weights = places
        if task.trainer is prune_regrow:  # the dense trainers keep their own tuned settings
            first = 0 if task.initial is None else task.initial.n_nonzero
            overshoot = max(self.overshoot, first / budget)
            n_weights = min(n_weights, int(overshoot * budget))
            share = budget / rows.n_outputs
            rate = chosen(self.learning_rate, auto_learning_rate(rows.n_all, share))
            options |= {"learning_rate": rate, "overshoot": overshoot}
            options["at_budget"] = auto_at_budget(rows.n_all, share)
            options["initial"] = task.initial
        train = partial(task.trainer, rows, hidden, budget, **options)
        with threads_for(n_weights * rows.part(batch)):
            length, n_runs = 1 / task.shorten, 1
            if task.shorten == 1:
                length = self._effort(rows, train, whole)
            if task.trainer is prune_regrow:
                if task.shorten == 1 and task.initial is None:
                    length, n_runs = run_plan(length, budget, rows.n_outputs)
                every, scored = exchange_interval(whole, places, length), score_batches(length)
                train = partial(train, exchange_every=every, score_batches=scored)
            _, n_steps = run_length(rows.n_all, rows.d, *sizes, length)

            def run(own_seed: int, tell: ProgressCallback | None) -> Solution[SparseNetwork]:
                found: Solution[SparseNetwork] = train(
                    n_steps=n_steps, random_state=own_seed, progress=tell
                )
                return found

            n_jobs = number_of_processes(self.n_jobs) if rows.can_be_sent else 1
            return best_run(run, rows, n_runs, seed, progress, n_jobs)

    def _effort(self, rows: TrainingData, train: partial[Any], n_steps: int) -> float:
        """Return the effort of this fit; with `max_seconds` it is what the time left allows."""
        if self.max_seconds is None or train.func is not prune_regrow:
            self.effort_ = float(self.effort)
        elif self.effort_ is None:
            left = self.max_seconds - (time.monotonic() - self._began)
            effort = effort_for(left, n_steps, partial(train, random_state=self.seed_))
            self.effort_ = rows.group.gather(effort)[0]
        return self.effort_
