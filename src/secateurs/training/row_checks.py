"""Measure a fitted network on rows: the losses that choose a width, and the certificate."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax

from secateurs.core.certificate import Check
from secateurs.core.generalization import (
    CLIP,
    held_out_check,
    held_out_regression_checks,
    occam_check,
)
from secateurs.core.splits import HeldOutRows, unit_averages
from secateurs.sparse.network import SparseNetwork
from secateurs.training.choice import Model
from secateurs.training.fit_task import FitTask
from secateurs.training.fitted_network import FittedNetwork
from secateurs.training.moments import Scaling
from secateurs.training.reading import standardised, sum_over_rows

UNIT = "variances of the training targets"


def held_out_loss(fitted: FittedNetwork, task: FitTask) -> float:
    """Return the mean loss on the held-out rows of all processes, by which widths are compared."""
    outputs = fitted.outputs(task.inputs[task.held_out])
    y = task.targets[task.held_out]
    if y.ndim == 1:
        losses = -log_softmax(outputs, axis=1)[np.arange(len(y)), y]
    else:
        losses = np.square(standardised(outputs, fitted.out_shift, fitted.out_scale) - y)
    return task.group.total(float(losses.sum())) / task.group.total(losses.size)


def baseline_scores(
    scaling: Scaling, line: SparseNetwork | None, task: FitTask
) -> dict[Model, float]:
    """Return the scores on the held-out rows of the training mean, or of the most frequent class.

    The score of a line, of scaled inputs, is added where there is one.
    """
    y, group = task.targets[task.held_out], task.group
    n = int(group.total(len(y)))
    if not n:
        return {}
    k = len(task.out_shift)
    scores: dict[Model, float] = {}
    if line is not None:
        fitted = FittedNetwork.build(line, scaling, np.zeros(k), np.ones(k))
        outputs = fitted.outputs(task.inputs[task.held_out])
    if y.ndim == 1:
        counts = np.bincount(task.targets[task.train], minlength=k)
        frequent = int(group.sum_(torch.from_numpy(counts)).argmax())
        scores["constant"] = group.total(float((y == frequent).sum())) / n
        if line is not None:
            scores["line"] = group.total(float((outputs.argmax(axis=1) == y).sum())) / n
        return scores
    y = y.astype(np.float64)
    centre = sum_over_rows(y, group) / n
    total = group.total(float(np.square(y - centre).sum()))
    if total > 0:
        scores["constant"] = 1 - group.total(float(np.square(y).sum())) / total
        if line is not None:
            scores["line"] = 1 - group.total(float(np.square(outputs - y).sum())) / total
    return scores


def row_checks(
    fitted: FittedNetwork, task: FitTask, n_tried: int, extra_bits: int
) -> tuple[float | None, list[Check]]:
    """Return the score on the held-out rows (None without them), and checks about new rows.

    `n_tried` is the number of widths that were compared on the held-out rows, and `extra_bits`
    the size of what the file needs beside the weights.
    """
    if task.targets.ndim == 1:
        return _classification_checks(fitted, task, n_tried, extra_bits)
    return _regression_checks(fitted, task, n_tried)


def _classification_checks(
    fitted: FittedNetwork, task: FitTask, n_tried: int, extra_bits: int
) -> tuple[float | None, list[Check]]:
    group, labels = task.group, task.targets
    wrong = fitted.outputs(task.inputs).argmax(1) != labels
    network = fitted.network
    counts = np.bincount(labels[task.train], minlength=network.widths[-1])
    n_train = int(group.total(len(task.train)))
    baseline = 1 - int(group.sum_(torch.from_numpy(counts)).max()) / n_train
    held_wrong, rows = _gathered(wrong[task.held_out], task)
    samples = _samples(held_wrong, rows, task)
    checks = [
        held_out_check(samples, baseline, n_tried, grouped=rows.grouped),
        occam_check(
            *_all_errors(wrong, task),
            network.widths,
            network.n_nonzero,
            extra_bits,
            baseline,
        ),
    ]
    return (1 - float(held_wrong.mean()) if len(held_wrong) else None), checks


def _samples(
    values: NDArray[Any], rows: HeldOutRows, task: FitTask
) -> tuple[NDArray[np.float64], ...]:
    """Average values of the held-out rows; nothing where the first network has seen them."""
    samples = rows.samples(values)
    return samples if task.certified_start else tuple(sample[:0] for sample in samples)


def _all_errors(wrong: NDArray[np.bool_], task: FitTask) -> tuple[float, int]:
    """Share of mistakes in all rows of the fit, and the number of distinct ones, or a lower number.

    Rows of different processes may be copies, and comparing all of them would cost much.  So
    the distinct rows of one process count, with the highest share of mistakes of all.
    """
    rates = unit_averages(wrong, task.split.units)
    share = max(float(rates.mean()), float(wrong.mean())) if len(wrong) else 0.0
    parts = task.group.gather([share, len(rates)])
    return max(share for share, _ in parts), max(n for _, n in parts)


def _gathered(values: NDArray[Any], task: FitTask) -> tuple[NDArray[Any], HeldOutRows]:
    """Values of the held-out rows of all processes, and these rows as samples.

    Copies of a row may be on several processes: units are compared by their keys.  Rows of the
    second sample are never one on two processes.
    """
    rows = task.split.held_out_rows()
    if task.group.size == 1:
        return values, rows
    keys = task.split.keys[task.held_out]
    own = [a.tolist() for a in (values, keys, rows.whole, rows.blocks, rows.drawn)]
    parts = task.group.gather(own)
    kinds: tuple[Any, ...] = (values.dtype, np.uint64, np.bool_, np.int64, np.bool_)
    columns = [[np.array(part[i], dtype=kind) for part in parts] for i, kind in enumerate(kinds)]
    starts = np.cumsum([0, *(1 + int(b.max(initial=0)) for b in columns[3])])
    columns[3] = [b + start for b, start in zip(columns[3], starts, strict=False)]
    found, unit, whole, blocks, drawn = (np.concatenate(c) for c in columns)
    return found, HeldOutRows(unit, whole, blocks, drawn, rows.grouped)


def _regression_checks(
    fitted: FittedNetwork, task: FitTask, n_tried: int
) -> tuple[float | None, list[Check]]:
    group = task.group
    n_held_out = sum(group.gather(len(task.held_out)))
    if not n_held_out:
        return None, []
    outputs = fitted.outputs(task.inputs[task.held_out])
    y: NDArray[np.float64] = task.targets[task.held_out].astype(np.float64)
    error = np.square(standardised(outputs, fitted.out_shift, fitted.out_scale) - y)
    centre = sum_over_rows(y, group) / n_held_out
    total = group.total(np.square(y - centre).sum())
    score = float(1 - group.total(error.sum()) / total) if total > 0 else None
    # targets are in standard deviations from the mean of the training rows: the mean predicts 0
    both = np.stack([error.mean(axis=1), np.square(y).mean(axis=1)], axis=1)
    both, rows = _gathered(both, task)
    clip = CLIP * float((fitted.out_scale > 0).mean())
    samples = _samples(both, rows, task)
    checks = held_out_regression_checks(samples, clip, UNIT, n_tried, grouped=rows.grouped)
    return score, checks
