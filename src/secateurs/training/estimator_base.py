"""The template of the sparse perceptrons: what the classifier and the regressor share."""

from __future__ import annotations

import json
from abc import abstractmethod
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.validation import check_is_fitted
from torch import nn

from secateurs.core.archive import Archive
from secateurs.core.certificate import Certificate
from secateurs.core.description import Description
from secateurs.core.estimator import draw_seed, hold_out
from secateurs.core.generalization import budget_check, support_check
from secateurs.core.group import ALONE, Group
from secateurs.core.parameters import bad_value, check_integer, check_real, is_integer
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.core.threads import threads_for
from secateurs.data.table_estimator import TableEstimator
from secateurs.sparse.network import MAX_UNITS, SparseNetwork
from secateurs.training import defaults
from secateurs.training.description import describe_network
from secateurs.training.export import write_onnx
from secateurs.training.fit_task import FitOptions, FitTask, Targets
from secateurs.training.fitted_network import FittedNetwork
from secateurs.training.model_file import ModelRecord, archived_fit, model_bytes
from secateurs.training.prune_regrow import prune_regrow
from secateurs.training.reading import read_array
from secateurs.training.row_checks import held_out_loss, row_checks
from secateurs.training.trainers import Trainer
from secateurs.training.training_data import Scaling, TrainingData, is_sparse

SHORT_RUN = 3  # widths are compared after a third of the steps
N_SEEDS = 2**31 - 1


class SparseMLP(TableEstimator):
    """Base of the classifier and the regressor, which describe the parameters."""

    fitted_: FittedNetwork
    validation_score_: float | None
    n_steps_: int

    def __init__(
        self,
        n_nonzero: int = 500,
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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # -- fitting ---------------------------------------------------------------------------

    def fit(
        self, X: Any, y: Any, *, progress: ProgressCallback | None = None, group: Group = ALONE
    ) -> Self:
        """Train a network with at most `n_nonzero` weights.

        Parameters
        ----------
        X : array, DataFrame or scipy sparse, shape [n, d]
            Numeric arrays may have any real dtype.  A DataFrame may hold categories and missing
            values; `table_` records how they were encoded.
        y : array, shape [n], or [n, k] for several regression targets
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
        return self._fit(X, y, progress, group=group)

    def fit_with(
        self,
        X: Any,
        y: Any,
        trainer: Trainer,
        *,
        initial: SparseNetwork | None = None,
        shorten: int = 1,
        progress: ProgressCallback | None = None,
    ) -> Self:
        """Fit with any trainer, on the rows, scaling, steps and batches that `fit` uses.

        Parameters
        ----------
        X, y, progress
            As for `fit`.
        trainer : Trainer
            One of `secateurs.training.TRAINERS`.  All except `prune_regrow` use their own
            learning rate and ignore `overshoot`.
        initial : SparseNetwork, optional
            Start `prune_regrow` from this network; other trainers ignore it.
        shorten : int
            Divide the number of steps by this.

        Returns
        -------
        self
        """
        return self._fit(X, y, progress, trainer=trainer, initial=initial, shorten=shorten)

    def _prepare(self, X: Any, y: Any, **options: Any) -> FitTask:
        how = FitOptions(**options)
        with how.group.failing_together():
            self._check_parameters()
            inputs, targets = self._read(X, y, how=how)
            if not how.resume:
                self._require_same_model(inputs, how.group)
                # without a random_state every process draws another seed
                self.seed_ = how.group.gather(draw_seed(self.random_state))[0]
        n, classes = len(targets.values), targets.values if targets.values.ndim == 1 else None
        fraction = 0.0 if how.resume else self.validation_fraction
        train, held_out = hold_out(n, fraction, self.seed_, classes)
        return FitTask(inputs, targets, train, held_out, how)

    def _read(self, X: Any, y: Any, **options: Any) -> tuple[Any, Targets]:
        how: FitOptions = options["how"]
        inputs = self._read_inputs(X, reset=not how.resume, group=how.group)
        return inputs, self._read_targets(y, inputs, how)

    def _read_inputs(self, X: Any, *, reset: bool, group: Group = ALONE) -> Any:
        encoded = self._read_table(X, reset=reset, gather=group.gather)
        return read_array(self, X, reset=reset) if encoded is None else encoded

    @abstractmethod
    def _read_targets(self, y: Any, inputs: Any, how: FitOptions) -> Targets:
        """Read `y` and keep what predictions need to know about it."""

    def _require_same_model(self, inputs: Any, group: Group) -> None:
        """Raise GroupError unless all processes have the same parameters and columns."""
        model = {
            "kind": type(self).__name__,
            "parameters": self._recorded_parameters(),
            "names": self._recorded_names(),
            "d": inputs.shape[1],
            "sparse": is_sparse(inputs),
        }
        group.require_same("the set of parameters or of columns", json.dumps(model).encode())

    def _solve(self, data: FitTask, progress: ProgressCallback | None) -> None:
        how = data.options
        if how.resume:
            scaling = self.fitted_.full_scaling(data.inputs)
            seed = (self.seed_ + self.n_steps_ + 1) % N_SEEDS
            how = FitOptions(initial=self.fitted_.network, resume=True)
        else:
            scaling, seed = defaults.input_scaling(data.inputs, data.train, how.group), self.seed_
        rows = self._training_data(data, scaling)
        hidden = self._hidden_widths(data, rows, scaling, seed)
        solution = self._train(rows, hidden, seed, how, progress)
        self.fitted_ = _fitted(solution.value, scaling, data.targets)
        self.status_, self.n_train_ = solution.status, rows.n_all
        n_steps, history = int(solution.measured["n_steps"]), solution.history
        if how.resume:
            earlier, before = self.history_, self.n_steps_
            history["step"] = [before + step for step in history["step"]]
            history = {name: earlier[name] + history[name] for name in history}
            n_steps += before
        self.history_, self.n_steps_ = history, n_steps
        self.loss_curve_ = history["loss"]
        self.peak_support_ = int(solution.measured["peak_support"])
        self.peak_bytes_ = int(solution.measured["peak_bytes"])

    def _training_data(self, task: FitTask, scaling: Scaling) -> TrainingData:
        group, rows = task.options.group, task.train
        n = int(group.total(len(rows)))
        noise = defaults.auto_noise(n) if self.input_noise == "auto" else self.input_noise
        return TrainingData(
            task.inputs,
            task.targets.values,
            scaling,
            len(task.targets.shift),
            rows=None if len(rows) == task.inputs.shape[0] else rows,
            noise=float(noise),
            device=defaults.auto_device(self.device),
            group=group,
        )

    def _hidden_widths(
        self, task: FitTask, rows: TrainingData, scaling: Scaling, seed: int
    ) -> tuple[int, ...]:
        """Return the widths of the hidden layers; "auto" compares some on the held-out rows."""
        self._n_widths_tried = 1
        if task.options.resume:
            return self.fitted_.network.widths[1:-1]
        if self.hidden_layer_sizes != "auto":
            return tuple(int(m) for m in self.hidden_layer_sizes)
        if rows.group.total(len(task.held_out)) == 0:
            raise bad_value(
                "validation_fraction",
                self.validation_fraction,
                "a share that gives held-out rows, on which hidden_layer_sizes='auto' compares "
                f"widths, from {task.inputs.shape[0]} rows",
                "raise it or give the widths",
            )
        losses = {}
        for m in defaults.auto_widths(self.n_nonzero, rows.n_outputs):
            network = self._train(rows, (m,), seed, FitOptions(shorten=SHORT_RUN)).value
            losses[m] = held_out_loss(_fitted(network, scaling, task.targets), task)
        self.validation_losses_, self._n_widths_tried = losses, len(losses)
        return (min(losses, key=losses.__getitem__),)

    def _train(
        self,
        rows: TrainingData,
        hidden: tuple[int, ...],
        seed: int,
        how: FitOptions,
        progress: ProgressCallback | None = None,
    ) -> Solution[SparseNetwork]:
        """Run the trainer with the parameters of this estimator."""
        batch = defaults.auto_batch_size(rows.n_all, rows.d)
        if self.batch_size != "auto":
            batch = min(int(self.batch_size), rows.n_all)
        epoch = -(-rows.n_all // batch)
        if how.resume:
            n_steps = epoch
        elif self.max_epochs == "auto":
            n_steps = defaults.auto_steps(rows.n_all, batch) // how.shorten
        else:
            n_steps = max(1, int(self.max_epochs) * epoch // how.shorten)
        decay = self.weight_decay
        if decay == "auto":
            decay = defaults.auto_weight_decay(rows.n_all)
        trainer = how.trainer
        n_weights = sum(a * b for a, b in pairwise((rows.d, *hidden, rows.n_outputs)))
        if trainer is prune_regrow:  # the dense trainers keep their own tuned settings
            n_weights = min(n_weights, int(self.overshoot * self.n_nonzero))
            trainer = partial(
                prune_regrow,
                learning_rate=self.learning_rate,
                overshoot=self.overshoot,
                exchange_every=defaults.exchange_interval(n_steps),
                initial=how.initial,
            )
        with threads_for(n_weights * rows.part(batch)):
            return trainer(
                rows,
                hidden,
                self.n_nonzero,
                n_steps=n_steps,
                batch_size=batch,
                weight_decay=float(decay),
                random_state=seed,
                progress=progress,
            )

    def _certify(self, data: FitTask) -> Certificate:
        checks = [
            budget_check(self.n_nonzero_, self.n_nonzero),
            support_check(self.peak_support_, int(max(1, self.overshoot) * self.n_nonzero)),
        ]
        self.validation_score_ = None
        if not data.options.resume:  # rows of an earlier call say nothing about this network
            self.validation_score_, more = row_checks(self.fitted_, data, self._n_widths_tried)
            checks += more
        return Certificate(tuple(checks))

    def _report(self) -> dict[str, Any]:
        network = self.fitted_.network
        n_dense = sum((n_in + 1) * n_out for n_in, n_out in pairwise(network.widths))
        return {
            "widths": list(network.widths),
            "nonzeros": network.n_nonzero,
            "nonzeros_per_layer": [len(keys) for keys in network.keys],
            "inputs_used": len(self.fitted_.columns),
            "peak_support": self.peak_support_,
            "peak_bytes": self.peak_bytes_,
            "dense_nonzeros": n_dense,
            "dense_peak_bytes": 16 * n_dense,
            "dense_file_bytes": 4 * n_dense,
        }

    def _description(self) -> Description:
        return describe_network(self, len(self._file_content()))

    # -- the fitted network ----------------------------------------------------------------

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        return self.fitted_.outputs(self._read_inputs(X, reset=False))

    @property
    def n_nonzero_(self) -> int:
        """Weights of the fitted network, biases included."""
        check_is_fitted(self)
        return self.fitted_.network.n_nonzero

    @property
    def coefs_(self) -> list[sparse.csr_array]:
        """Weights of each layer, a CSR array [n_out, n_in], in units of the scaled inputs."""
        check_is_fitted(self)
        return self.fitted_.network.coefs()

    @property
    def intercepts_(self) -> list[NDArray[np.float32]]:
        """Biases of each layer, shape [n_out]; the nonzero ones count as weights."""
        check_is_fitted(self)
        return self.fitted_.network.intercepts()

    def to_torch(self) -> nn.Sequential:
        """Return the smallest plain dense torch module that computes the same function.

        It has no unused inputs and no dead neurons, and the scaling is folded in.  It maps
        float32 [n, d] (encoded, for a table) to scores of the classes, or to predictions.

        Raises
        ------
        RuntimeError
            The module and the sparse network differ by more than rounding.
        """
        check_is_fitted(self)
        return self.fitted_.to_module()

    def to_onnx(self, path: str | Path) -> None:
        """Write `to_torch` as an ONNX file; this needs ``pip install secateurs[onnx]``."""
        write_onnx(self.to_torch(), self.fitted_.network.widths[0], path)

    # -- the file and the parameters ---------------------------------------------------------

    def _file_content(self) -> bytes:
        record = ModelRecord(
            **self._recorded_fit(),
            **self._recorded_table(),
            **self._recorded_targets(),
            n_steps=self.n_steps_,
            out_shift=self.fitted_.out_shift.tolist(),
            out_scale=self.fitted_.out_scale.tolist(),
            validation_score=self.validation_score_,
        )
        return model_bytes(self.fitted_, record)

    def _recorded_parameters(self) -> dict[str, Any]:
        return super()._recorded_parameters() | {"device": str(self.device)}

    @classmethod
    def _from_archive(cls, archive: Archive) -> Self:
        record = archive.record(ModelRecord)
        model = cls._restored_fit(archive, record)
        model.fitted_ = archived_fit(archive, record, model._restore_table(archive, record))
        model.n_steps_, model.validation_score_ = record.n_steps, record.validation_score
        model.loss_curve_ = model.history_.get("loss", [])
        model._restore_targets(record)
        return model

    @abstractmethod
    def _recorded_targets(self) -> dict[str, Any]:
        """Return the fields "classes" and "one_column" of the record."""

    @abstractmethod
    def _restore_targets(self, record: ModelRecord) -> None:
        """Undo `_recorded_targets`."""

    def _check_parameters(self) -> None:
        check_integer("n_nonzero", self.n_nonzero, 1)
        hidden = self.hidden_layer_sizes
        widths = hidden if isinstance(hidden, tuple | list) else ()
        valid = len(widths) > 0 and all(is_integer(m, 1, MAX_UNITS) for m in widths)
        if not valid and not _is_auto(hidden):
            expected = f"a tuple of widths from 1 to {MAX_UNITS} such as (50,), or 'auto'"
            raise bad_value("hidden_layer_sizes", hidden, expected)
        for name in ("max_epochs", "batch_size"):
            if not _is_auto(getattr(self, name)):
                check_integer(name, getattr(self, name), 1, otherwise="'auto'")
        check_real("learning_rate", self.learning_rate, above=0)
        check_real("overshoot", self.overshoot, least=1)
        check_real("validation_fraction", self.validation_fraction, least=0, below=1)
        for name in ("input_noise", "weight_decay"):
            if not _is_auto(getattr(self, name)):
                check_real(name, getattr(self, name), least=0, otherwise="'auto'")


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"


def _fitted(network: SparseNetwork, scaling: Scaling, targets: Targets) -> FittedNetwork:
    return FittedNetwork.build(network, scaling, targets.shift, targets.scale)
