"""What the sparse perceptrons share: fitting, answers, export, the file, input checks."""

from __future__ import annotations

import json
import time
import warnings
from abc import abstractmethod
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    check_is_fitted,
    validate_data,
)
from torch import nn

from secateurs.core.archive import Archive
from secateurs.core.certificate import Certificate, Check
from secateurs.core.estimator import hold_out, told_progress
from secateurs.core.generalization import (
    budget_check,
    support_check,
)
from secateurs.core.group import ALONE, Group
from secateurs.core.parameters import check_integer, check_real, is_integer
from secateurs.core.saved_model import (
    SavedModel,
    recorded_checks,
    recorded_names,
    recorded_parameters,
    restored_certificate,
    with_parameters,
)
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.core.threads import threads_for
from secateurs.core.version import __version__
from secateurs.data.table_estimator import read_table
from secateurs.data.tables import TableSchema
from secateurs.sparse.network import MAX_INPUTS, MAX_UNITS, SparseNetwork
from secateurs.training import defaults as settings
from secateurs.training.export import write_onnx
from secateurs.training.fitted_network import FittedNetwork
from secateurs.training.model_file import ModelRecord, check_model, model_bytes
from secateurs.training.prune_regrow import prune_regrow
from secateurs.training.trainers import Trainer
from secateurs.training.training_data import Scaling, TrainingData, is_sparse

_TORCH_READS = {"bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"}
_SHORT_RUN = 3  # candidates of hidden_layer_sizes="auto" get a third of the steps


class SparseMLP(SavedModel, BaseEstimator):  # type: ignore[misc]
    """What the classifier and the regressor share."""

    fitted_: FittedNetwork
    table_: TableSchema | None
    history_: dict[str, list[float]]
    certificate_: Certificate
    validation_score_: float | None
    status_: str
    seed_: int
    n_steps_: int
    n_train_: int
    peak_support_: int

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
            Numeric arrays are read as they are, in any real dtype.  A DataFrame may hold
            categories and missing values; how it was encoded is remembered in `table_`.
        y : array, shape [n], or [n, k] for several regression targets
        progress : callable, optional
            Called with a `Progress` several times a second or so.
        group : Group
            The processes that share this fit, from `secateurs.distributed`.  Each gives rows
            of its own and gets the same model, that of all rows.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            A parameter or the data cannot be used; the message says which and why.
        GroupError
            A ValueError: the processes do not agree, or another one has failed.
        FloatingPointError
            Training diverged.
        """
        return self._fit(X, y, progress=progress, group=group)

    def _fit(
        self,
        X: Any,
        y: Any,
        *,
        progress: ProgressCallback | None = None,
        trainer: Trainer = prune_regrow,
        initial: SparseNetwork | None = None,
        shorten: int = 1,
        group: Group = ALONE,
    ) -> Self:
        """Fit with any trainer, so that methods are compared on equal terms."""
        began = time.perf_counter()
        with group.failing_together():
            self._check_parameters()
            encoded = self._read_inputs(X, reset=True, group=group)
            targets = self._read_targets(y, encoded, reset=True, group=group)
            self._require_same_model(encoded, group)
            seed = int(check_random_state(self.random_state).randint(2**31 - 1))
            seed = group.gather(seed)[0]  # without a random_state they differ
        classes = targets if targets.ndim == 1 else None
        train, held_out = hold_out(len(targets), self.validation_fraction, seed, classes)
        scaling = settings.input_scaling(encoded, train, group)
        data = self._training_data(encoded, targets, scaling, train, group)
        hidden, n_tried = self._choose_widths(data, encoded, targets, scaling, held_out, seed)
        solution = self._train(
            data,
            hidden,
            seed,
            told_progress(self.verbose, progress),
            trainer=trainer,
            initial=initial,
            shorten=shorten,
        )
        self._finish(solution, scaling, seed, data.n_all)
        self._certify(encoded, targets, train, held_out, n_tried, group)
        self.report_ = self._make_report(solution, time.perf_counter() - began)
        if self.status_ == "interrupted":
            warnings.warn(
                f"training was interrupted after {self.n_steps_} steps; the network is within "
                "its budget but not fully trained",
                ConvergenceWarning,
                stacklevel=3,
            )
        return self

    def _continue(self, X: Any, y: Any, progress: ProgressCallback | None) -> Self:
        """One more epoch from the fitted network, on the rows given."""
        began = time.perf_counter()
        self._check_parameters()
        encoded = self._read_inputs(X, reset=False)
        targets = self._read_targets(y, encoded, reset=False)
        rows = np.arange(encoded.shape[0])
        scaling = self.fitted_.full_scaling(encoded)
        data = self._training_data(encoded, targets, scaling, rows)
        hidden = self.fitted_.network.widths[1:-1]
        seed = (self.seed_ + self.n_steps_ + 1) % (2**31 - 1)
        solution = self._train(
            data,
            hidden,
            seed,
            told_progress(self.verbose, progress),
            initial=self.fitted_.network,
            one_epoch=True,
        )
        earlier, n_steps = self.history_, self.n_steps_
        self._finish(solution, scaling, self.seed_, len(rows))
        now = self.history_
        self.history_ = {name: earlier[name] + now[name] for name in now}
        self.history_["step"] = earlier["step"] + [n_steps + s for s in now["step"]]
        self.loss_curve_ = self.history_["loss"]
        self.n_steps_ += n_steps
        self._certify(encoded, targets, rows[:0], rows[:0], 1)
        self.report_ = self._make_report(solution, time.perf_counter() - began)
        return self

    def _require_same_model(self, X: Any, group: Group) -> None:
        """The same parameters and inputs on every process, or an error."""
        told = {
            "kind": type(self).__name__,
            "parameters": recorded_parameters(self),
            "names": recorded_names(self),
            "d": X.shape[1],
            "sparse": is_sparse(X),
        }
        group.require_same("the set of parameters or of columns", json.dumps(told).encode())

    def _training_data(
        self,
        X: Any,
        targets: NDArray[Any],
        scaling: Scaling,
        rows: NDArray[np.int64],
        group: Group = ALONE,
    ) -> TrainingData:
        n = int(group.total(len(rows)))
        noise = settings.auto_noise(n) if self.input_noise == "auto" else self.input_noise
        return TrainingData(
            X,
            targets,
            scaling,
            self._n_outputs(targets),
            rows=None if len(rows) == X.shape[0] else rows,
            noise=float(noise),
            device=settings.auto_device(self.device),
            group=group,
        )

    def _train(
        self,
        data: TrainingData,
        hidden: tuple[int, ...],
        seed: int,
        progress: ProgressCallback | None = None,
        *,
        trainer: Trainer = prune_regrow,
        initial: SparseNetwork | None = None,
        one_epoch: bool = False,
        shorten: int = 1,
    ) -> Solution[SparseNetwork]:
        batch = settings.auto_batch_size(data.n_all, data.d)
        if self.batch_size != "auto":
            batch = min(int(self.batch_size), data.n_all)
        epoch = -(-data.n_all // batch)
        if one_epoch:
            n_steps = epoch
        elif self.max_epochs == "auto":
            n_steps = settings.auto_steps(data.n_all, batch) // shorten
        else:
            n_steps = max(1, int(self.max_epochs) * epoch // shorten)
        own: dict[str, Any] = {}
        if trainer is prune_regrow:  # the baselines keep their own, tuned, settings
            own = {
                "learning_rate": self.learning_rate,
                "overshoot": self.overshoot,
                "exchange_every": settings.exchange_interval(n_steps),
                "initial": initial,
            }
        decay = self.weight_decay
        n_weights = sum(a * b for a, b in pairwise((data.d, *hidden, data.n_outputs)))
        if trainer is prune_regrow:
            n_weights = min(n_weights, int(self.overshoot * self.n_nonzero))
        with threads_for(n_weights * data.part(batch)):
            return trainer(
                data,
                hidden,
                self.n_nonzero,
                n_steps=n_steps,
                batch_size=batch,
                weight_decay=(
                    settings.auto_weight_decay(data.n_all) if decay == "auto" else float(decay)
                ),
                random_state=seed,
                progress=progress,
                **own,
            )

    def _choose_widths(
        self,
        data: TrainingData,
        X: Any,
        targets: NDArray[Any],
        scaling: Scaling,
        held_out: NDArray[np.int64],
        seed: int,
    ) -> tuple[tuple[int, ...], int]:
        """Hidden widths, and how many candidates were compared on the held-out rows."""
        if self.hidden_layer_sizes != "auto":
            return tuple(int(m) for m in self.hidden_layer_sizes), 1
        if data.group.total(len(held_out)) == 0:
            raise ValueError(
                "hidden_layer_sizes='auto' compares widths on held-out rows, but there are none: "
                f"validation_fraction={self.validation_fraction} of {X.shape[0]} rows; "
                "raise validation_fraction or give the widths"
            )
        losses = {}
        for m in settings.auto_widths(self.n_nonzero, self._n_outputs(targets)):
            network = self._train(data, (m,), seed, shorten=_SHORT_RUN).value
            fitted = self._with_scaling(network, scaling)
            each = self._losses(fitted.outputs(X[held_out]), targets[held_out])
            losses[m] = data.group.total(float(each.sum())) / data.group.total(each.size)
        best = min(losses, key=losses.__getitem__)
        self.validation_losses_ = losses
        return (best,), len(losses)

    def _finish(
        self, solution: Solution[SparseNetwork], scaling: Scaling, seed: int, n_train: int
    ) -> None:
        self.fitted_ = self._with_scaling(solution.value, scaling)
        self.status_ = solution.status
        self.history_ = solution.history
        self.loss_curve_ = solution.history["loss"]
        self.n_steps_ = int(solution.measured["n_steps"])
        self.peak_support_ = int(solution.measured["peak_support"])
        self.seed_ = seed
        self.n_train_ = n_train

    def _with_scaling(self, network: SparseNetwork, scaling: Scaling) -> FittedNetwork:
        return FittedNetwork.build(network, scaling, *self._output_scaling(network.widths[-1]))

    def _make_report(self, solution: Solution[SparseNetwork], seconds: float) -> dict[str, Any]:
        network = self.fitted_.network
        n_dense = sum((n_in + 1) * n_out for n_in, n_out in pairwise(network.widths))
        return {
            "widths": list(network.widths),
            "nonzeros": network.n_nonzero,
            "nonzeros_per_layer": [len(keys) for keys in network.keys],
            "inputs_used": len(self.fitted_.columns),
            "peak_support": self.peak_support_,
            "peak_bytes": int(solution.measured["peak_bytes"]),
            "file_bytes": len(self._file_content()),
            "seconds": seconds,
            "dense_nonzeros": n_dense,
            "dense_peak_bytes": 16 * n_dense,
            "dense_file_bytes": 4 * n_dense,
        }

    # -- answers ---------------------------------------------------------------------------

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        encoded = self._read_inputs(X, reset=False)
        return self.fitted_.outputs(encoded)

    @property
    def n_nonzero_(self) -> int:
        """Weights of the fitted network, biases included."""
        check_is_fitted(self)
        return self.fitted_.network.n_nonzero

    @property
    def coefs_(self) -> list[sparse.csr_array]:
        """Weights of layer l as a CSR array [n_out, n_in], in units of the scaled inputs."""
        check_is_fitted(self)
        return self.fitted_.network.coefs()

    @property
    def intercepts_(self) -> list[NDArray[np.float32]]:
        """Biases of layer l, shape [n_out]; the nonzero ones count as weights."""
        check_is_fitted(self)
        return self.fitted_.network.intercepts()

    def to_torch(self) -> nn.Sequential:
        """The smallest plain dense torch module that computes the same function.

        Unused inputs and dead neurons are gone, the scaling is folded in.  It maps float32
        [n, d] (encoded, for a table) to scores of the classes, or to predictions.

        Raises
        ------
        RuntimeError
            The module does not agree with the sparse network to rounding.
        """
        check_is_fitted(self)
        return self.fitted_.to_module()

    def to_onnx(self, path: str | Path) -> None:
        """Write `to_torch` as an ONNX file; needs ``pip install secateurs[onnx]``."""
        write_onnx(self.to_torch(), self.fitted_.network.widths[0], path)

    # -- the file --------------------------------------------------------------------------

    def _file_content(self) -> bytes:
        record = ModelRecord(
            kind=type(self).__name__,  # type: ignore[arg-type]
            version=__version__,
            parameters=recorded_parameters(self) | {"device": str(self.device)},
            seed=self.seed_,
            status=self.status_,  # type: ignore[arg-type]
            n_train=self.n_train_,
            n_steps=self.n_steps_,
            n_features_in=int(self.n_features_in_),
            feature_names=recorded_names(self),
            table=self.table_,
            out_shift=self.fitted_.out_shift.tolist(),
            out_scale=self.fitted_.out_scale.tolist(),
            **self._target_record(),
            history=self.history_,  # type: ignore[arg-type]
            certificate=recorded_checks(self.certificate_),
            validation_score=self.validation_score_,
        )
        return model_bytes(self.fitted_, record)

    @classmethod
    def _from_archive(cls, archive: Archive) -> Self:
        fitted, record = check_model(archive)
        model = with_parameters(cls, archive, record.parameters)
        model.fitted_ = fitted
        model.table_ = record.table
        model.seed_, model.status_ = record.seed, record.status
        model.n_train_, model.n_steps_ = record.n_train, record.n_steps
        model._restore_names(archive, record.feature_names, record.n_features_in)
        model.history_ = {name: list(column) for name, column in record.history.items()}
        model.loss_curve_ = model.history_.get("loss", [])
        model.certificate_ = restored_certificate(record.certificate)
        model.validation_score_ = record.validation_score
        model._restore_targets(record)
        return model

    # -- input checks ----------------------------------------------------------------------

    def _check_parameters(self) -> None:
        check_integer("n_nonzero", self.n_nonzero, 1)
        hidden = self.hidden_layer_sizes
        if isinstance(hidden, str):
            if hidden != "auto":
                raise ValueError(
                    f"hidden_layer_sizes={hidden!r}; expected widths such as (50,), or 'auto'"
                )
        else:
            widths = hidden if isinstance(hidden, tuple | list) else ()
            if not widths or not all(is_integer(m, 1, MAX_UNITS) for m in widths):
                raise ValueError(
                    f"hidden_layer_sizes={hidden!r}; expected a tuple of widths from 1 to "
                    f"{MAX_UNITS} such as (50,), or 'auto'"
                )
        for name in ("max_epochs", "batch_size"):
            value = getattr(self, name)
            if not (isinstance(value, str) and value == "auto"):
                check_integer(name, value, 1, otherwise="'auto'")
        check_real("learning_rate", self.learning_rate, above=0)
        check_real("overshoot", self.overshoot, least=1)
        check_real("validation_fraction", self.validation_fraction, least=0, below=1)
        for name in ("input_noise", "weight_decay"):
            value = getattr(self, name)
            if not (isinstance(value, str) and value == "auto"):
                check_real(name, value, least=0, otherwise="'auto'")

    def _read_inputs(self, X: Any, *, reset: bool, group: Group = ALONE) -> Any:
        """Numeric array [n, d] or CSR of the inputs; checks against the fit unless `reset`."""
        encoded = read_table(self, X, reset=reset, gather=group.gather)
        if encoded is not None:
            return encoded
        X = validate_data(
            self,
            X,
            reset=reset,
            accept_sparse="csr",
            accept_large_sparse=False,
            order="C",
            dtype="numeric",
        )
        if X.shape[1] > MAX_INPUTS:
            raise ValueError(f"X has {X.shape[1]} columns, at most {MAX_INPUTS} are supported")
        if is_sparse(X):
            X.sum_duplicates()
        if X.dtype.name not in _TORCH_READS or not X.dtype.isnative:
            X = X.astype(np.float64 if X.dtype.kind == "f" else np.float32)
        return X

    # -- what the two kinds do differently ---------------------------------------------------

    @abstractmethod
    def _read_targets(self, y: Any, X: Any, *, reset: bool, group: Group = ALONE) -> NDArray[Any]:
        """Class numbers [n], or standardised targets [n, k] in float32."""

    @abstractmethod
    def _n_outputs(self, targets: NDArray[Any]) -> int:
        """Outputs of the network."""

    @abstractmethod
    def _output_scaling(self, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shift and scale from the network's outputs to predictions."""

    @abstractmethod
    def _losses(self, outputs: NDArray[np.float64], targets: NDArray[Any]) -> NDArray[np.float64]:
        """Losses of which the mean is what widths are compared by."""

    @abstractmethod
    def _certify(
        self,
        X: Any,
        targets: NDArray[Any],
        train: NDArray[np.int64],
        held_out: NDArray[np.int64],
        n_tried: int,
        group: Group = ALONE,
    ) -> None:
        """Set `validation_score_` and `certificate_`."""

    @abstractmethod
    def _target_record(self) -> dict[str, Any]:
        """What a model file keeps of the targets."""

    @abstractmethod
    def _restore_targets(self, record: ModelRecord) -> None:
        """Undo `_target_record`."""

    def _size_checks(self) -> list[Check]:
        return [
            budget_check(self.n_nonzero_, self.n_nonzero),
            support_check(self.peak_support_, int(max(1, self.overshoot) * self.n_nonzero)),
        ]
