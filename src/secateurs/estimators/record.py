"""The model file: a `FittedNetwork` and what an estimator must know to go on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from secateurs.certificates.check import Certificate, Check
from secateurs.estimators.fitted import FittedNetwork, used_columns
from secateurs.problems.tables import TableSchema
from secateurs.sparse.network import SparseNetwork
from secateurs.sparse.storage import DamagedFileError, network_bytes

Number = Annotated[float, Field(allow_inf_nan=False)]
MAX_NAMES = 10_000_000
RecordType = TypeVar("RecordType", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ClassLabels(_Strict):
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


class CheckRecord(_Strict):
    """A `Check` in JSON."""

    name: str
    statement: str
    verdict: Literal["holds", "fails", "unknown"]
    measured: Number | None
    threshold: Number | None
    source: str


class ModelRecord(_Strict):
    """Everything in a model file but the weights and the input scaling; no times, no paths."""

    kind: Literal["SparseMLPClassifier", "SparseMLPRegressor"]
    version: str
    parameters: dict[str, bool | int | Number | str | list[int] | None]
    seed: int
    status: Literal["exact", "converged", "stalled", "budget", "interrupted"]
    n_train: Annotated[int, Field(ge=1)]
    n_steps: Annotated[int, Field(ge=0)]
    n_features_in: Annotated[int, Field(ge=1)]
    feature_names: Annotated[list[str], Field(max_length=MAX_NAMES)] | None
    table: TableSchema | None
    classes: ClassLabels | None
    out_shift: list[Number]
    out_scale: list[Number]
    one_column: bool
    history: dict[Literal["step", "loss", "n_nonzero"], list[Number]]
    certificate: Annotated[list[CheckRecord], Field(max_length=1000)]
    validation_score: Number | None

    def to_certificate(self) -> Certificate:
        """The certificate the fit came with."""
        return Certificate(tuple(Check(**c.model_dump()) for c in self.certificate))


def model_bytes(fitted: FittedNetwork, record: ModelRecord) -> bytes:
    """Content of a model file; the same fit gives the same bytes."""
    arrays = {"input.scale": fitted.scale}
    if fitted.shift is not None:
        arrays["input.shift"] = fitted.shift
    return network_bytes(fitted.network, record.model_dump(mode="json"), arrays)


def checked_record(kind: type[RecordType], raw: dict[str, Any], path: str | Path) -> RecordType:
    """Validate the metadata of a file; DamagedFileError with the first thing that is wrong."""
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DamagedFileError(f"{path}: metadata {where}: {first['msg']}") from error


def check_model(
    network: SparseNetwork, raw: dict[str, Any], arrays: dict[str, NDArray[Any]], path: str | Path
) -> tuple[FittedNetwork, ModelRecord]:
    """Check what `read_network` returned for a multilayer perceptron, trusting nothing.

    Raises
    ------
    DamagedFileError
        With the path and the first thing that is wrong.
    """
    record = checked_record(ModelRecord, raw, path)
    if any(values.dtype != np.float32 for values in network.values):
        raise DamagedFileError(f"{path}: weights of the wrong type")
    columns = used_columns(network)
    k = network.widths[-1]
    _require(set(arrays) <= {"input.scale", "input.shift"}, path, "unknown arrays")
    scale, shift = arrays.get("input.scale"), arrays.get("input.shift")
    for array, sizes in ((scale, {1, len(columns)}), (shift, {len(columns)})):
        if array is not None:
            valid = array.dtype == np.float64 and len(array) in sizes and np.isfinite(array).all()
            _require(bool(valid), path, "the input scaling does not fit the network")
    if scale is None or (shift is not None and len(scale) != len(columns)):
        raise DamagedFileError(f"{path}: the input scaling is incomplete")
    n_encoded = record.n_features_in
    if record.table is not None:
        n_encoded = record.table.n_encoded
        _require(len(record.table.columns) == record.n_features_in, path, "table of another width")
    _require(network.widths[0] == n_encoded, path, "inputs and n_features_in differ")
    if record.feature_names is not None:
        _require(
            len(record.feature_names) == record.n_features_in, path, "feature names do not fit"
        )
    _require(len(record.out_shift) == k == len(record.out_scale), path, "output scaling")
    is_classifier = record.kind == "SparseMLPClassifier"
    _require((record.classes is not None) == is_classifier, path, "classes do not fit the kind")
    if record.classes is not None:
        _require(_valid_labels(record.classes, k), path, "class labels")
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


def _require(condition: bool, path: str | Path, what: str) -> None:
    if not condition:
        raise DamagedFileError(f"{path}: inconsistent metadata ({what})")
