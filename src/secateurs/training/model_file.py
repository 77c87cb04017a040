"""The model file: a `FittedNetwork` and what an estimator must know to go on."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from secateurs.core.archive import Archive
from secateurs.core.saved_model import (
    MAX_NAMES,
    CheckRecords,
    Names,
    Number,
    Parameters,
    Status,
    Strict,
)
from secateurs.data.tables import TableSchema
from secateurs.sparse.storage import archived_network, network_bytes
from secateurs.training.fitted_network import FittedNetwork


class ClassLabels(Strict):
    """Class labels and the numpy type they had."""

    dtype: Annotated[str, Field(pattern=r"^(bool|u?int(8|16|32|64)|float(16|32|64)|str|object)$")]
    values: Annotated[list[bool | int | Number | str], Field(min_length=2, max_length=MAX_NAMES)]

    @classmethod
    def from_array(cls, classes: NDArray[Any]) -> ClassLabels:
        """Labels as plain values."""
        kind = "str" if classes.dtype.kind == "U" else str(classes.dtype)
        return cls(dtype=kind, values=classes.tolist())

    def to_array(self) -> NDArray[Any]:
        """Labels as they were at fit."""
        return np.array(self.values, dtype=self.dtype)


class ModelRecord(Strict):
    """Everything in a model file but the weights and the input scaling; no times, no paths."""

    kind: Literal["SparseMLPClassifier", "SparseMLPRegressor"]
    version: str
    parameters: Parameters
    seed: int
    status: Status
    n_train: Annotated[int, Field(ge=1)]
    n_steps: Annotated[int, Field(ge=0)]
    n_features_in: Annotated[int, Field(ge=1)]
    feature_names: Names | None
    table: TableSchema | None
    classes: ClassLabels | None
    out_shift: list[Number]
    out_scale: list[Number]
    one_column: bool
    history: dict[Literal["step", "loss", "n_nonzero"], list[Number]]
    certificate: CheckRecords
    validation_score: Number | None


def model_bytes(fitted: FittedNetwork, record: ModelRecord) -> bytes:
    """Content of a model file; the same fit gives the same bytes."""
    arrays = {"input.scale": fitted.scale}
    if fitted.shift is not None:
        arrays["input.shift"] = fitted.shift
    return network_bytes(fitted.network, record.model_dump(mode="json"), arrays)


def check_model(archive: Archive) -> tuple[FittedNetwork, ModelRecord]:
    """The fitted network in a file and its record, trusting nothing.

    Raises
    ------
    DamagedFileError
        With the path and the first thing that is wrong.
    """
    network, arrays = archived_network(archive)
    record = archive.record(ModelRecord)
    if any(values.dtype != np.float32 for values in network.values):
        raise archive.damaged("weights of the wrong type")
    columns = network.used_inputs()
    k = network.widths[-1]
    archive.require(set(arrays) <= {"input.scale", "input.shift"}, "unknown arrays")
    scale, shift = arrays.get("input.scale"), arrays.get("input.shift")
    for array, sizes in ((scale, {1, len(columns)}), (shift, {len(columns)})):
        if array is not None:
            valid = array.dtype == np.float64 and len(array) in sizes and np.isfinite(array).all()
            archive.require(bool(valid), "the input scaling does not fit the network")
    if scale is None or (shift is not None and len(scale) != len(columns)):
        raise archive.damaged("the input scaling is incomplete")
    n_encoded = record.n_features_in
    if record.table is not None:
        n_encoded = record.table.n_encoded
        archive.require(len(record.table.columns) == record.n_features_in, "table of another width")
    archive.require(network.widths[0] == n_encoded, "inputs and n_features_in differ")
    if record.feature_names is not None:
        archive.require(
            len(record.feature_names) == record.n_features_in, "feature names do not fit"
        )
    archive.require(len(record.out_shift) == k == len(record.out_scale), "output scaling")
    is_classifier = record.kind == "SparseMLPClassifier"
    archive.require((record.classes is not None) == is_classifier, "classes do not fit the kind")
    if record.classes is not None:
        archive.require(_valid_labels(record.classes, k), "class labels")
    fitted = FittedNetwork(
        network, columns, shift, scale, np.array(record.out_shift), np.array(record.out_scale)
    )
    return fitted, record


def _valid_labels(labels: ClassLabels, k: int) -> bool:
    try:
        array = labels.to_array()
    except (ValueError, OverflowError, TypeError):
        return False
    return array.shape == (k,) and len(set(array.tolist())) == k
