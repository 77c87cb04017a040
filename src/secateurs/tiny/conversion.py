"""The parts of a fitted estimator as integers: inputs, layers, and what the scores mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.core.parameters import Shown, bad_value
from secateurs.data.table_estimator import input_names
from secateurs.tiny.arithmetic import example_rows
from secateurs.tiny.float_network import FloatArray, ScaledNetwork, dense_layers, used_scaling
from secateurs.tiny.inputs import PixelInputs, Stage, TableInputs, encoded_rows
from secateurs.tiny.integer_layer import IntegerLayer
from secateurs.tiny.integer_network import IntegerNetwork
from secateurs.tiny.outputs import ClassOutputs, number_outputs
from secateurs.tiny.pixels import are_pixels
from secateurs.tiny.table_inputs import fit_table_inputs
from secateurs.tiny.unit_order import shortest_order

SAME_SCALE = 4.0  # largest ratio of the scales of pixels
EXAMPLES = 3


def integer_inputs(
    model: Any, fitted: ScaledNetwork, train: Any, *, are_bytes: bool = False
) -> tuple[PixelInputs | TableInputs, list[FloatArray], float]:
    """Return the inputs, the layers that read them, and the unit of a feature.

    Parameters
    ----------
    model : fitted estimator
    fitted : ScaledNetwork
        Of that estimator.
    train : array, sparse matrix or DataFrame [n, d], or None
        Training rows; without them the inputs are columns of numbers with a range of 4 deviations.
    are_bytes : bool
        Whether the rows come from a first stage, and so are bytes whatever their scales are.
    """
    network = fitted.network
    shift, scale = used_scaling(fitted)
    schema = getattr(model, "table_", None)
    d = network.widths[0]
    alike = len(scale) > 0 and scale.max() <= SAME_SCALE * scale.min()
    if train is not None and schema is None and (alike or are_bytes) and are_pixels(_dense(train)):
        return PixelInputs(d), *_pixel_layers(fitted, shift, scale)
    names = input_names(model)
    values = np.empty((0, d)) if train is None else encoded_rows(train, schema, d)
    inputs, unit = fit_table_inputs(values, fitted.columns.tolist(), shift, scale, names, schema)
    return inputs, dense_layers(network, fitted.columns.tolist()), unit


def _dense(X: Any) -> Any:
    return X.toarray() if hasattr(X, "toarray") else X


def _pixel_layers(
    fitted: ScaledNetwork, shift: FloatArray, scale: FloatArray
) -> tuple[list[FloatArray], float]:
    """Return layers that read all pixels with one scale, and that scale."""
    layers = dense_layers(fitted.network, range(fitted.network.widths[0]))
    unit = float(np.median(scale))
    columns = fitted.columns
    layers[0][:, -1] -= layers[0][:, columns] @ (shift * scale)
    layers[0][:, columns] *= scale / unit
    return layers, unit


def integer_network(
    model: Any,
    fitted: ScaledNetwork,
    layers: Sequence[IntegerLayer],
    inputs: PixelInputs | TableInputs,
    raw: NDArray[np.int64],
    *,
    one_column: bool,
) -> IntegerNetwork:
    """Put the hidden units in order, and say what the scores mean.

    Parameters
    ----------
    model : fitted estimator
    fitted : ScaledNetwork
    layers : sequence of IntegerLayer
    inputs : PixelInputs or TableInputs
    raw : int64 array [n, n_raw]
        Rows from which the examples are taken.
    one_column : bool
        Whether predictions of numbers have the shape [n].
    """
    classes = ClassOutputs(getattr(model, "classes_", np.empty(0)))
    ordered = tuple(shortest_order(layers))
    network = IntegerNetwork(ordered, inputs, classes, example_rows(raw, EXAMPLES))
    if hasattr(model, "classes_"):
        return network
    outputs = number_outputs(
        network.score_unit_,
        fitted.out_shift.tolist(),
        fitted.out_scale.tolist(),
        network.worst_sums_[-1],
        one_column=one_column,
    )
    return replace(network, outputs=outputs)


def before_stage(network: IntegerNetwork, stage: Stage, rows: Any) -> IntegerNetwork:
    """Return the network for images before the first stage."""
    inputs = PixelInputs(stage.n_pixels, stage)
    if isinstance(network.inputs, TableInputs) or network.inputs.n_raw != inputs.n_features:
        kind = "a table" if isinstance(network.inputs, TableInputs) else "pixels"
        got = Shown(f"a model that reads {kind}, {network.inputs.n_raw} numbers in a row")
        wanted = f"one that was fitted on the {inputs.n_features} numbers of its first stage"
        raise bad_value("model", got, wanted)
    examples = example_rows(inputs.raw(rows), EXAMPLES)
    return replace(network, inputs=inputs, examples=examples)
