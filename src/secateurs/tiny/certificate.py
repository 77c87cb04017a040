"""What is certain about an integer network: its arithmetic, and its errors on new rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.core.certificate import Check
from secateurs.core.generalization import (
    CLIP,
    held_out_check,
    held_out_regression_checks,
)
from secateurs.core.splits import HeldOutRows
from secateurs.tiny.arithmetic import IntegerArithmetic
from secateurs.tiny.bit_stream import decode
from secateurs.tiny.filters import Filters
from secateurs.tiny.inputs import Stage
from secateurs.tiny.integer_layer import IntegerLayer
from secateurs.tiny.worst_case import INT32, INT64


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Rows that chose and trained nothing.

    Attributes
    ----------
    X : array or DataFrame [n, d]
    targets : int64 array [n] of class numbers, or float64 [n, k]
    rows : HeldOutRows
        The same rows as samples.
    n_tried : int
        Models that were compared on these rows.
    """

    X: Any
    targets: NDArray[Any]
    rows: HeldOutRows
    n_tried: int = 1


def arithmetic_checks(network: IntegerArithmetic, stage: Stage | None = None) -> list[Check]:
    """Decide that the program computes the dequantised network, and that no sum overflows.

    `stage` is a first stage that is put before the network.
    """
    decoded = decode(network.stream_, network.stream_orders_, network.layers)
    same = all(_equal(one, other) for one, other in zip(network.layers, decoded, strict=True))
    worst = max(network.worst_sums_)
    if isinstance(stage, Filters):
        worst = max(worst, stage.worst_sum)
    limit = INT32 if worst < INT32 else INT64
    holds = same and worst < limit
    return [
        Check(
            "equality",
            "for every input the scores of the program in C are those of the network with the "
            f"weights code * step, divided by {network.score_unit_:.6g}, in exact arithmetic: the "
            "stream was decoded to the same codes, sums are integers, and nothing is rounded "
            "between the layers",
            "holds" if holds else "fails",
            *(float(same), 1.0),
            "derived; the decoding is counted",
        ),
        Check(
            "no overflow",
            f"no partial sum or product passes {worst:,} for any input that the type of the inputs "
            f"can hold, and the sums have {32 if limit == INT32 else 64} bits",
            "holds" if worst < limit else "fails",
            *(float(worst), float(limit)),
            "counted by interval arithmetic in exact integers",
        ),
    ]


def _equal(one: IntegerLayer, other: IntegerLayer) -> bool:
    return np.array_equal(one.index, other.index) and np.array_equal(one.codes, other.codes)


def class_checks(
    network: IntegerArithmetic, rows: HeldOut, train: NDArray[np.int64]
) -> tuple[float | None, list[Check]]:
    """Bound the error rate on new rows; `train` are the class numbers of the training rows.

    Returns
    -------
    accuracy : float or None
        On the held-out rows; None without any.
    checks : list of Check
    """
    wrong = network.scores(rows.X).argmax(axis=1) != rows.targets
    baseline = 1 - np.bincount(train).max() / len(train)
    samples = rows.rows.samples(wrong)
    check = held_out_check(samples, float(baseline), rows.n_tried, grouped=rows.rows.grouped)
    return (1 - float(wrong.mean()) if len(wrong) else None), [check]


def number_checks(
    network: IntegerArithmetic,
    rows: HeldOut,
    out_shift: Sequence[float],
    out_scale: Sequence[float],
) -> tuple[float | None, list[Check]]:
    """Check that predictions beat the training mean on new rows; returns R² and the checks."""
    n = len(rows.targets)
    if not n:
        return None, []
    shift, scale = np.asarray(out_shift), np.asarray(out_scale)
    divisor = np.where(scale > 0, scale, 1.0)
    targets = (rows.targets - shift) / divisor
    predicted = (network.predict(rows.X).reshape(n, -1) - shift) / divisor
    error = np.square(predicted - targets)
    total = float(np.square(targets - targets.mean(axis=0)).sum())
    both = np.stack([error.mean(axis=1), np.square(targets).mean(axis=1)], axis=1)
    clip = CLIP * float((scale > 0).mean())
    unit, grouped = "variances of the training targets", rows.rows.grouped
    samples = rows.rows.samples(both)
    checks = held_out_regression_checks(samples, clip, unit, rows.n_tried, grouped=grouped)
    return (1 - float(error.sum()) / total if total > 0 else None), checks
