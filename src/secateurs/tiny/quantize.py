"""Turn a fitted estimator into a network of small integers.

rows that certify are set aside: nothing below sees them                 (1)
inputs become integers: pixels as they are, columns of a table scaled    (2)
hidden units are balanced, so that one step size suits a layer           (3)
weights are quantised and trained further on their support               (4)
hidden units are put in the order with the shortest stream               (5)
the certificate: arithmetic, and errors on the rows of (1)               (6)
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.core.certificate import Certificate, Check
from secateurs.core.parameters import Shown, bad_value, check_integer, check_real
from secateurs.core.solution import ProgressCallback
from secateurs.data.table_estimator import input_names
from secateurs.tiny.arithmetic import example_rows
from secateurs.tiny.certificate import HeldOut, arithmetic_checks, class_checks, number_checks
from secateurs.tiny.fine_tune import Rows, fine_tune
from secateurs.tiny.float_network import (
    FloatArray,
    ScaledNetwork,
    balanced,
    dense_layers,
    scaled_network,
    used_scaling,
)
from secateurs.tiny.inputs import PixelInputs, TableInputs, encoded_rows
from secateurs.tiny.integer_network import IntegerNetwork
from secateurs.tiny.outputs import ClassOutputs, NumberOutputs, number_outputs
from secateurs.tiny.pooling import Pooling, are_pixels, pooling_for
from secateurs.tiny.reading import Parts, as_rows, given_rows, own_rows, read_targets, take
from secateurs.tiny.table_inputs import fit_table_inputs
from secateurs.tiny.unit_order import shortest_order

LEAST_BITS, MOST_BITS = 2, 8
SAME_SCALE = 4.0  # largest ratio of the scales of pixels
NOISE, NOISE_ROWS, SMALL_TABLE = 0.4, 1000, 16_000  # those of the estimators
EXAMPLES = 3


def quantize(
    model: Any,
    X: Any,
    y: Any,
    bits: int = 4,
    epochs: int = 12,
    *,
    image_shape: tuple[int, ...] | None = None,
    pool: int = 1,
    certify: Any = None,
    groups: Any = None,
    teacher: FloatArray | None = None,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> IntegerNetwork:
    """Quantise a fitted perceptron, and train its values further on their support.

    Parameters
    ----------
    model : fitted SparseMLPClassifier or SparseMLPRegressor
        Any number of hidden layers.
    X : array [n, d], scipy sparse or DataFrame
        The rows that the model was fitted on; images before pooling.
    y : array [n] or [n, k]
    bits : int
        Bits of a weight, 2 to 8.  From 500 weights up 3 or 4 are usually best.
    epochs : int
        Passes over the training rows, but at least 1500 steps; 0 only rounds.
    image_shape : tuple of int, optional
        (height, width) of the images in the rows of `X`; needed for pooling.
    pool : {1, 2, 4}
        The model was fitted on means of squares of pool x pool pixels, and `X` is pooled here.
    certify : pair (X, y), optional
        Rows that neither the fit nor any choice has seen.  By default these are the rows that
        the fit held out, if `X` and `y` are the rows of the fit.
    groups : array [n], optional
        As for the fit.
    teacher : array [n, k], optional
        Outputs of a larger network for the rows of `X`, such as logarithms of probabilities.
    random_state : int
    progress : callable, optional

    Returns
    -------
    IntegerNetwork

    Raises
    ------
    ValueError
        The model, the rows or a parameter cannot be used; the message says which and why.

    Notes
    -----
    Each step of the fine-tuning costs O(batch * entries of the dense layers).
    Source: derived; `secateurs.tiny.fine_tune` names the papers it builds on.
    """
    check_integer("bits", bits, LEAST_BITS, MOST_BITS)
    check_integer("epochs", epochs, 0)
    fitted = scaled_network(model)
    pooling = pooling_for(image_shape, check_integer("pool", pool))
    rows = as_rows(X)
    X = rows if pooling is None else pooling(rows)
    targets = read_targets(model, y, X.shape[0])
    if certify is None:
        parts = own_rows(model, X, targets, groups)
    else:
        if pooling is not None and isinstance(certify, tuple | list) and len(certify) == 2:
            certify = (pooling(as_rows(certify[0])), certify[1])
        parts = given_rows(model, certify, X, targets)
    inputs, layers, unit = _integer_inputs(model, fitted, take(X, parts.train))
    raw = inputs.raw(take(X, parts.train))
    kind = np.uint8 if isinstance(inputs, PixelInputs) else np.int8
    data = Rows(
        inputs.features(raw).astype(kind),
        unit,
        _scaled_targets(model, fitted, targets[parts.train]),
        _noise(model, len(parts.train)),
    )
    found = fine_tune(
        balanced(layers),
        data,
        bits,
        epochs=epochs,
        teacher=None if teacher is None else _checked_teacher(teacher, targets)[parts.train],
        random_state=random_state,
        progress=progress,
    )
    network = _network(model, fitted, found.value, inputs, raw, y)
    network = _certified(model, fitted, network, parts, targets[parts.train])
    report = {**(network.report_ or {}), "status": found.status, "epochs": epochs}
    network = replace(network, report_=report)
    if pooling is None:
        return network
    return _before_pooling(network, pooling, take(rows, parts.train))


def _integer_inputs(
    model: Any, fitted: ScaledNetwork, train: Any
) -> tuple[PixelInputs | TableInputs, list[FloatArray], float]:
    """Return the inputs, the layers that read them, and the unit of a feature: (2)."""
    network = fitted.network
    shift, scale = used_scaling(fitted)
    schema = getattr(model, "table_", None)
    d = network.widths[0]
    alike = len(scale) > 0 and scale.max() <= SAME_SCALE * scale.min()
    if schema is None and alike and are_pixels(_dense(train)):
        return PixelInputs(d), *_pixel_layers(fitted, shift, scale)
    names = input_names(model)
    values = encoded_rows(train, schema, d)
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


def _scaled_targets(model: Any, fitted: ScaledNetwork, targets: NDArray[Any]) -> NDArray[Any]:
    if hasattr(model, "classes_"):
        return targets
    scale = np.where(fitted.out_scale > 0, fitted.out_scale, 1.0)
    columns = targets.reshape(len(targets), -1)
    return ((columns - fitted.out_shift) / scale).astype(np.float32)


def _noise(model: Any, n: int) -> float:
    """Return the input noise with which the estimator was trained."""
    given = getattr(model, "input_noise", "auto")
    if isinstance(given, str):
        return NOISE * min(1.0, math.sqrt(NOISE_ROWS / max(n, 1))) if n <= SMALL_TABLE else 0.0
    return check_real("input_noise", given, least=0.0)


def _checked_teacher(teacher: Any, targets: NDArray[Any]) -> FloatArray:
    values = np.asarray(teacher, dtype=np.float64)
    if values.ndim != 2 or len(values) != len(targets):
        got = Shown(f"shape {values.shape}")
        raise bad_value("teacher", got, f"one row of outputs for each of the {len(targets)} rows")
    return values


def _network(
    model: Any,
    fitted: ScaledNetwork,
    layers: Any,
    inputs: PixelInputs | TableInputs,
    raw: NDArray[np.int64],
    y: Any,
) -> IntegerNetwork:
    """Put the units in order, and say what the scores mean: (5)."""
    classes = ClassOutputs(getattr(model, "classes_", np.empty(0)))
    ordered = tuple(shortest_order(layers))
    network = IntegerNetwork(ordered, inputs, classes, example_rows(raw, EXAMPLES))
    if hasattr(model, "classes_"):
        return network
    outputs: NumberOutputs = number_outputs(
        network.score_unit_,
        fitted.out_shift.tolist(),
        fitted.out_scale.tolist(),
        network.worst_sums_[-1],
        one_column=np.asarray(y).ndim == 1,
    )
    return replace(network, outputs=outputs)


def _certified(
    model: Any,
    fitted: ScaledNetwork,
    network: IntegerNetwork,
    parts: Parts,
    train: NDArray[Any],
) -> IntegerNetwork:
    """Write the certificate and the report: (6)."""
    checks = arithmetic_checks(network)
    held_out, score = parts.held_out, None
    if parts.reason:
        text = f"nothing is said about errors on new rows, because {parts.reason}"
        checks.append(Check("held-out error", text, "unknown", None, None, "not checked"))
    elif hasattr(model, "classes_"):
        score, more = class_checks(network, held_out, train)
        checks += more
    else:
        shift, scale = fitted.out_shift.tolist(), fitted.out_scale.tolist()
        score, more = number_checks(network, _two_dimensional(held_out), shift, scale)
        checks += more
    report = {
        "score": score,
        "float_score": None if parts.reason else _float_score(model, held_out),
        "n_held_out": len(held_out.targets),
        "n_train": len(train),
    }
    return replace(network, certificate_=Certificate(tuple(checks)), report_=report)


def _two_dimensional(rows: HeldOut) -> HeldOut:
    return replace(rows, targets=rows.targets.reshape(len(rows.targets), -1))


def _float_score(model: Any, rows: HeldOut) -> float:
    """Score of the estimator on the same rows."""
    classes = getattr(model, "classes_", None)
    y = rows.targets if classes is None else classes[rows.targets]
    return float(model.score(rows.X, y))


def _before_pooling(network: IntegerNetwork, pooling: Pooling, rows: Any) -> IntegerNetwork:
    """Return the network for images before pooling."""
    inputs = PixelInputs(pooling.n_pixels, pooling)
    if network.inputs.n_features != inputs.n_features or isinstance(network.inputs, TableInputs):
        got = Shown(f"a model of {network.inputs.n_features} inputs")
        raise bad_value("model", got, f"one that was fitted on {inputs.n_features} pooled pixels")
    examples = example_rows(inputs.raw(rows), EXAMPLES)
    return replace(network, inputs=inputs, examples=examples)
