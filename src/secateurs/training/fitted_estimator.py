"""A fitted sparse perceptron: its weights, its exports, its file and its description."""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.validation import check_is_fitted
from torch import nn

from secateurs.core.archive import Archive
from secateurs.core.description import Description
from secateurs.core.group import ALONE, Group
from secateurs.data.table_estimator import TableEstimator
from secateurs.training.choice import Choice, Model
from secateurs.training.description import choice_facts, describe_network
from secateurs.training.export import dense_module, write_onnx
from secateurs.training.fitted_network import FittedNetwork
from secateurs.training.model_file import ChoiceRecord, ModelRecord, archived_fit, model_bytes
from secateurs.training.reading import read_array


class FittedPerceptron(TableEstimator):
    """The part of the perceptron estimators that does not train."""

    device: Any
    fitted_: FittedNetwork
    validation_score_: float | None
    constant_inputs_: list[str]
    baseline_scores_: dict[Model, float]
    choice_: Choice | ChoiceRecord | None
    budget_: int
    budget_scores_: dict[int, float] | None
    n_steps_: int
    peak_support_: int
    peak_bytes_: int
    _copy_bytes: int  # of the shuffled copy of the rows

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _read_inputs(
        self,
        X: Any,
        *,
        reset: bool,
        group: Group = ALONE,
        rows: NDArray[np.int64] | None = None,
    ) -> Any:
        encoded = self._read_table(X, reset=reset, gather=group.gather, rows=rows)
        return read_array(self, X, reset=reset) if encoded is None else encoded

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

        Returns
        -------
        nn.Sequential
            A layer that selects columns, and then Linear and ReLU by turns, in float32.

        Raises
        ------
        RuntimeError
            The module and the sparse network differ by more than rounding.
        """
        check_is_fitted(self)
        return dense_module(self.fitted_)

    def to_onnx(self, path: str | Path) -> None:
        """Write `to_torch` as an ONNX file; this needs ``pip install secateurs[onnx]``.

        Parameters
        ----------
        path : str or Path
            Where to write.  An older file is replaced only if it is an ONNX file.

        Raises
        ------
        ModuleNotFoundError
            The extra is not installed.
        ValueError
            The path cannot be written, or a file is there that is no ONNX file.
        """
        write_onnx(self.to_torch(), self.fitted_.network.widths[0], path)

    def _report(self) -> dict[str, Any]:
        network = self.fitted_.network
        n_dense = sum((n_in + 1) * n_out for n_in, n_out in pairwise(network.widths))
        return {
            "widths": list(network.widths),
            "nonzeros": network.n_nonzero,
            "nonzeros_per_layer": [len(keys) for keys in network.keys],
            "inputs_used": len(self.fitted_.columns),
            "constant_inputs": self.constant_inputs_,
            "far_rows": getattr(self, "n_far_rows_", 0),
            **choice_facts(self),
            "effort": self.effort_,
            "peak_support": self.peak_support_,
            "peak_bytes": self.peak_bytes_,
            "copy_bytes": self._copy_bytes,
            "dense_nonzeros": n_dense,
            "dense_peak_bytes": 16 * n_dense,
            "dense_file_bytes": 4 * n_dense,
        }

    def _description(self) -> Description:
        return describe_network(self, len(self._file_content()))

    def _file_content(self) -> bytes:
        budgets = None
        if self.budget_scores_ is not None:
            budgets = {str(s): score for s, score in self.budget_scores_.items()}
        record = ModelRecord(
            **self._recorded_fit(),
            **self._recorded_table(),
            **self._recorded_targets(),
            n_steps=self.n_steps_,
            out_shift=self.fitted_.out_shift.tolist(),
            out_scale=self.fitted_.out_scale.tolist(),
            validation_score=self.validation_score_,
            baseline_scores=self.baseline_scores_,
            choice=ChoiceRecord.of(self.choice_),
            constant_inputs=self.constant_inputs_,
            budget=self.budget_,
            budget_scores=budgets,
            effort=self.effort_,
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
        model.baseline_scores_ = dict(record.baseline_scores)
        model.choice_, model.constant_inputs_ = record.choice, list(record.constant_inputs)
        model.budget_ = record.budget or int(model.n_nonzero)
        model.effort_ = record.effort
        found = record.budget_scores
        model.budget_scores_ = None if found is None else {int(s): v for s, v in found.items()}
        model.loss_curve_ = model.history_.get("loss", [])
        model._restore_targets(record)
        return model

    @abstractmethod
    def _recorded_targets(self) -> dict[str, Any]:
        """Return the fields "classes" and "one_column" of the record."""

    @abstractmethod
    def _restore_targets(self, record: ModelRecord) -> None:
        """Undo `_recorded_targets`."""
