"""The file of a sparse perceptron: a `FittedNetwork` and the record of its fit."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from secateurs.core.archive import Archive
from secateurs.core.saved_model import MAX_NAMES, Count, Names, Number, Strict
from secateurs.data.table_estimator import TableRecord
from secateurs.sparse.storage import archived_network, network_bytes
from secateurs.training.choice import Choice, Model
from secateurs.training.fitted_network import FittedNetwork


class ClassLabels(Strict):
    """Class labels and their numpy type."""

    dtype: Annotated[str, Field(pattern=r"^(bool|u?int(8|16|32|64)|float(16|32|64)|str|object)$")]
    values: Annotated[list[bool | int | Number | str], Field(min_length=2, max_length=MAX_NAMES)]

    @classmethod
    def from_array(cls, classes: NDArray[Any]) -> ClassLabels:
        """Return the labels as plain values."""
        kind = "str" if classes.dtype.kind == "U" else str(classes.dtype)
        return cls(dtype=kind, values=classes.tolist())

    def to_array(self) -> NDArray[Any]:
        """Return the labels as an array of their type."""
        return np.array(self.values, dtype=self.dtype)


class ChoiceRecord(Strict):
    """The models that were compared on the training rows."""

    model: Model
    scores: dict[Model, Number]
    n_rows: Annotated[int, Field(ge=0)]
    input_noise: Number | None
    weight_decay: Number | None
    from_line: bool | None

    @classmethod
    def of(cls, choice: Choice | ChoiceRecord | None) -> ChoiceRecord | None:
        """Return the record of a choice; that of a model from a file is one already."""
        if not isinstance(choice, Choice):
            return choice
        is_network = choice.model == "network"
        return cls(
            model=choice.model,
            scores=choice.scores,
            n_rows=choice.n_rows,
            input_noise=choice.input_noise,
            weight_decay=choice.candidate.decay if is_network else None,
            from_line=choice.candidate.from_line if is_network else None,
        )


class ModelRecord(TableRecord):
    """Everything in the file except the weights and the input scaling."""

    kind: Literal["SparseMLPClassifier", "SparseMLPRegressor"]
    n_steps: Annotated[int, Field(ge=0)]
    classes: ClassLabels | None
    out_shift: list[Number]
    out_scale: list[Number]
    one_column: bool
    history: dict[Literal["step", "loss", "n_nonzero"], list[Number]]  # type: ignore[assignment]
    validation_score: Number | None
    # files of 0.1.0 do not have the fields below
    baseline_scores: dict[Model, Number] = Field(default_factory=dict)
    choice: ChoiceRecord | None = None
    constant_inputs: Names = Field(default_factory=list)
    budget: Count | None = None
    budget_scores: dict[str, Number] | None = None
    effort: Number | None = None


def model_bytes(fitted: FittedNetwork, record: ModelRecord) -> bytes:
    """Return the content of the file; the same fit gives the same bytes."""
    arrays = {"input.scale": fitted.scale}
    if fitted.shift is not None:
        arrays["input.shift"] = fitted.shift
    return network_bytes(fitted.network, record.model_dump(mode="json"), arrays)


def archived_fit(archive: Archive, record: ModelRecord, n_inputs: int) -> FittedNetwork:
    """Return the fitted network in a file, or raise DamagedFileError with the first fault.

    `n_inputs` is the number of encoded inputs according to the record.
    """
    network, arrays = archived_network(archive)
    if any(values.dtype != np.float32 for values in network.values):
        raise archive.damaged("weights of the wrong type")
    columns = network.used_inputs()
    archive.require(set(arrays) <= {"input.scale", "input.shift"}, "unknown arrays")
    scale, shift = arrays.get("input.scale"), arrays.get("input.shift")
    for array, sizes in ((scale, {1, len(columns)}), (shift, {len(columns)})):
        if array is not None:
            valid = array.dtype == np.float64 and len(array) in sizes and np.isfinite(array).all()
            archive.require(bool(valid), "the input scaling does not fit the network")
    if scale is None or (shift is not None and len(scale) != len(columns)):
        raise archive.damaged("the input scaling is incomplete")
    archive.require(network.widths[0] == n_inputs, "the network has another number of inputs")
    k = network.widths[-1]
    archive.require(len(record.out_shift) == k == len(record.out_scale), "output scaling")
    is_classifier = record.kind == "SparseMLPClassifier"
    archive.require((record.classes is not None) == is_classifier, "classes do not fit the kind")
    if record.classes is not None:
        archive.require(_valid_labels(record.classes, k), "class labels")
    out_shift, out_scale = np.array(record.out_shift), np.array(record.out_scale)
    return FittedNetwork(network, columns, shift, scale, out_shift, out_scale)


def _valid_labels(labels: ClassLabels, k: int) -> bool:
    try:
        array = labels.to_array()
    except (ValueError, OverflowError, TypeError):
        return False
    return array.shape == (k,) and len(set(array.tolist())) == k
