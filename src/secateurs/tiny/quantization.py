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
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.core.certificate import Certificate, Check
from secateurs.core.parameters import Shown, bad_value, check_integer, check_real
from secateurs.core.solution import ProgressCallback, Solution
from secateurs.core.splits import Words
from secateurs.tiny.certificate import HeldOut, arithmetic_checks, class_checks, number_checks
from secateurs.tiny.conversion import before_stage, integer_inputs, integer_network
from secateurs.tiny.distortion import DistortedImages, distortable, with_distortion
from secateurs.tiny.filters import Filters
from secateurs.tiny.fine_tune import LEAST_STEPS, Rows, fine_tune
from secateurs.tiny.float_network import FloatArray, ScaledNetwork, balanced, scaled_network
from secateurs.tiny.inputs import PixelInputs, Stage, TableInputs
from secateurs.tiny.integer_layer import IntegerLayer
from secateurs.tiny.integer_network import IntegerNetwork
from secateurs.tiny.pooling import pooling_for
from secateurs.tiny.reading import Parts, as_rows, read_targets, take, unseen_rows

LEAST_BITS, MOST_BITS = 2, 8
NOISE, NOISE_ROWS, SMALL_TABLE = 0.4, 1000, 16_000  # those of the estimators
LEARNED = "the filters may have been learned on the rows that the fit held out"


def quantize(
    model: Any,
    X: Any,
    y: Any,
    bits: int = 4,
    epochs: int = 12,
    *,
    image_shape: tuple[int, ...] | None = None,
    pool: int = 1,
    filters: Filters | None = None,
    biases: bool | None = None,
    certify: Any = None,
    groups: Any = None,
    distort: float | str = 0.0,
    teacher: FloatArray | None = None,
    least_steps: int = LEAST_STEPS,
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
        The targets that the model was fitted on, one for each row of `X`.
    bits : int
        Bits of a weight, 2 to 8.  From 500 weights up 3 or 4 are usually best.
    epochs : int
        Passes over the training rows, but at least `least_steps` steps; 0 only rounds.
    image_shape : tuple of int, optional
        (height, width) of the images in the rows of `X`; needed for pooling and distortion.
    pool : {1, 2, 4}
        The model was fitted on means of squares of pool x pool pixels, and `X` is pooled here.
    filters : Filters, optional
        The model was fitted on ``filters(X)``; they are from `learn_filters`, and replace pooling.
        Then only rows of `certify` can certify, because the filters may have been learned on
        those that the fit held out.
    biases : bool, optional
        False removes all biases before the fine-tuning, which saves flash: a bias takes about 12
        bits, and reading it about 50 bytes of code.  By default they are removed where the
        inputs are pixels that the fit did not centre, and there is a fine-tuning.
    certify : (X, y) or (X, y, groups), optional
        Rows that neither the fit nor any choice has seen.  By default these are the rows that
        the fit held out, if `X` and `y` are the rows of the fit.
    groups : array [n], optional
        As for the fit.
    distort : float or "auto"
        In each step of the fine-tuning images are shifted by up to so many pixels, before
        pooling, and rotated by up to 8 times as many degrees.  "auto" chooses the strength on a
        fifth of the training rows.  Distorted images take more epochs: 40 are a good start.
    teacher : array [n, k], optional
        Outputs of a larger network for the rows of `X`, such as logarithms of probabilities.
    least_steps : int
        The fewest steps of the fine-tuning, unless `epochs` is 0.
    random_state : int
        Seed of the batches, the input noise and the distortion.
    progress : callable, optional
        Called with a `Progress` after every record of the fine-tuning.

    Returns
    -------
    IntegerNetwork
        With a certificate of its arithmetic, and of its errors on new rows if there are rows that
        certify.

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
    stage = _stage(image_shape, check_integer("pool", pool), filters)
    rows = as_rows(X)
    X = rows if stage is None else stage(rows)
    targets = read_targets(model, y, X.shape[0])
    if stage is not None and isinstance(certify, tuple | list) and certify:
        certify = (stage(as_rows(certify[0])), *certify[1:])
    parts = unseen_rows(model, certify, X, targets, groups)
    if filters is not None and certify is None:
        parts = replace(parts, reason=LEARNED)
    inputs, layers, unit = integer_inputs(
        *(model, fitted, take(X, parts.train)), are_bytes=stage is not None
    )
    dark = isinstance(inputs, PixelInputs) and fitted.shift is None  # 0 is black, not a mean
    if biases is False or (biases is None and epochs and dark):
        for layer in layers:
            layer[:, -1] = 0.0
    raw = inputs.raw(take(X, parts.train))
    data = Rows(
        _features(inputs, raw),
        unit,
        _scaled_targets(model, fitted, targets[parts.train]),
        _noise(model, len(parts.train)),
        None if teacher is None else _checked_teacher(teacher, targets)[parts.train],
    )

    def read(pixels: NDArray[np.uint8]) -> NDArray[np.integer]:
        return _features(inputs, inputs.raw(pixels if stage is None else stage(pixels)))

    images = distortable(take(rows, parts.train), image_shape, distort, read)
    options = {"epochs": epochs, "least_steps": least_steps, "random_state": random_state}
    found, distort = _tuned(layers, data, images, parts.train_keys, bits, options, progress)
    one_column = np.asarray(y).ndim == 1
    network = integer_network(model, fitted, found.value, inputs, raw, one_column=one_column)
    network = _certified(model, fitted, network, stage, parts, targets[parts.train])
    report = {**(network.report_ or {}), "status": found.status, "distort": distort}
    network = replace(network, report_=report)
    return network if stage is None else before_stage(network, stage, take(rows, parts.train))


def round_weights(model: Any, bits: int = 8) -> IntegerNetwork:
    """Round the weights of a fitted perceptron without any rows.

    Every input becomes a column of numbers whose range is 4 standard deviations of the fit on
    either side of its mean, or what the scaling of the fit takes for it.

    Parameters
    ----------
    model : fitted SparseMLPClassifier or SparseMLPRegressor
        Any number of hidden layers.
    bits : int
        Bits of a weight, 2 to 8.

    Returns
    -------
    IntegerNetwork
        Its certificate says nothing about errors on new rows.
    """
    check_integer("bits", bits, LEAST_BITS, MOST_BITS)
    fitted = scaled_network(model)
    inputs, layers, unit = integer_inputs(model, fitted, None)
    k = fitted.network.widths[-1]
    rows = Rows(np.empty((0, inputs.n_features), np.int8), unit, np.empty((0, k), np.float32))
    found = fine_tune(balanced(layers), rows, bits, epochs=0)
    raw = np.empty((0, inputs.n_raw), dtype=np.int64)
    network = integer_network(model, fitted, found.value, inputs, raw, one_column=k == 1)
    checks = (*arithmetic_checks(network), _unknown("no rows were given"))
    return replace(network, certificate_=Certificate(checks), report_={"epochs": 0})


def _stage(image_shape: tuple[int, ...] | None, pool: int, filters: Filters | None) -> Stage | None:
    """Return the pooling or the filters that the model was fitted behind."""
    if filters is None:
        return pooling_for(image_shape, pool)
    if not isinstance(filters, Filters):
        raise bad_value("filters", Shown(type(filters).__name__), "filters from learn_filters")
    if pool != 1:
        raise bad_value("pool", pool, "1 where there are filters")
    if image_shape not in (None, (filters.height, filters.width)):
        raise bad_value("image_shape", image_shape, f"{(filters.height, filters.width)}")
    return filters


def _tuned(
    layers: Sequence[FloatArray],
    data: Rows,
    images: DistortedImages | None,
    keys: Words,
    bits: int,
    options: dict[str, int],
    progress: ProgressCallback | None,
) -> tuple[Solution[list[IntegerLayer]], float]:
    """Return the trained layers, (3) and (4), and the strength of the distortion."""
    start = balanced(layers)

    def tune(rows: Rows) -> Solution[list[IntegerLayer]]:
        return fine_tune(start, rows, bits, progress=progress, **options)

    if images is None:
        return tune(data), 0.0
    data, strength = with_distortion(data, images, keys, tune)
    return tune(data), strength


def _features(inputs: PixelInputs | TableInputs, raw: NDArray[np.int64]) -> NDArray[np.integer]:
    """Return the inputs of the network in one byte each."""
    kind = np.uint8 if isinstance(inputs, PixelInputs) else np.int8
    return inputs.features(raw).astype(kind)


def _unknown(reason: str) -> Check:
    text = f"nothing is said about errors on new rows, because {reason}"
    return Check("held-out error", text, "unknown", None, None, "not checked")


def _scaled_targets(model: Any, fitted: ScaledNetwork, targets: NDArray[Any]) -> NDArray[Any]:
    if hasattr(model, "classes_"):
        return targets
    scale = np.where(fitted.out_scale > 0, fitted.out_scale, 1.0)
    columns = targets.reshape(len(targets), -1)
    return ((columns - fitted.out_shift) / scale).astype(np.float32)


def _noise(model: Any, n: int) -> float:
    """Return the input noise with which the estimator was trained."""
    choice = getattr(model, "choice_", None)
    if choice is not None:
        return choice.input_noise or 0.0  # a line has none
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


def _certified(
    model: Any,
    fitted: ScaledNetwork,
    network: IntegerNetwork,
    stage: Stage | None,
    parts: Parts,
    train: NDArray[Any],
) -> IntegerNetwork:
    """Write the certificate and the report: (6)."""
    checks = arithmetic_checks(network, stage)
    held_out, score = parts.held_out, None
    if parts.reason:
        checks.append(_unknown(parts.reason))
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
        "n_held_out": 0 if parts.reason else len(held_out.targets),
        "n_train": len(train),
    }
    return replace(network, certificate_=Certificate(tuple(checks)), report_=report)


def _two_dimensional(rows: HeldOut) -> HeldOut:
    return replace(rows, targets=rows.targets.reshape(len(rows.targets), -1))


def _float_score(model: Any, rows: HeldOut) -> float:
    """Score of the estimator on the same rows."""
    classes = getattr(model, "classes_", None)
    if classes is None:
        return float(model.score(rows.X, rows.targets))
    number = {label: i for i, label in enumerate(classes.tolist())}
    predicted = np.array([number[label] for label in model.predict(rows.X).tolist()])
    return float((predicted == rows.targets).mean())
