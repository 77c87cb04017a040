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
    unit_error_rates,
)
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
    # copies of a row may be on several processes: held-out rows are compared by their keys
    held_wrong, held_keys = _gathered(wrong[task.held_out], task)
    rates = unit_error_rates(held_wrong, held_keys)
    if not task.certified_start:
        rates = rates[:0]
    row_rate = float(held_wrong.mean()) if len(held_wrong) else 0.0
    checks = [
        held_out_check(rates, row_rate, baseline, n_tried),
        occam_check(
            *_training_errors(wrong, task),
            network.widths,
            network.n_nonzero,
            extra_bits,
            baseline,
        ),
    ]
    return (1 - float(held_wrong.mean()) if len(held_wrong) else None), checks


def _training_errors(wrong: NDArray[np.bool_], task: FitTask) -> tuple[float, int]:
    """Share of mistakes in the training rows, and the number of distinct ones, or a lower number.

    Rows of different processes may be copies, and comparing all of them would cost much.  So
    the distinct rows of one process count, with the highest share of mistakes of all.
    """
    here = wrong[task.train]
    rates = unit_error_rates(here, task.split.units[task.train])
    share = max(float(rates.mean()), float(here.mean())) if len(here) else 0.0
    parts = task.group.gather([share, len(rates)])
    return max(share for share, _ in parts), max(n for _, n in parts)


def _gathered(values: NDArray[Any], task: FitTask) -> tuple[NDArray[Any], NDArray[np.uint64]]:
    """Values of the held-out rows of all processes, and the keys of their units."""
    keys = task.split.keys[task.held_out]
    if task.group.size == 1:
        return values, keys
    parts = task.group.gather([values.tolist(), keys.tolist()])
    kind = values.dtype
    return (
        np.concatenate([np.array(part, dtype=kind) for part, _ in parts]),
        np.concatenate([np.array(part, dtype=np.uint64) for _, part in parts]),
    )


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
    both, keys = _gathered(np.stack([error.mean(axis=1), np.square(y).mean(axis=1)], axis=1), task)
    _, inverse = np.unique(keys, return_inverse=True)
    n_rows = np.bincount(inverse)
    model_error, mean_error = (np.bincount(inverse, weights=e) / n_rows for e in both.T)  # by unit
    if not task.certified_start:
        model_error = mean_error = model_error[:0]
    clip = CLIP * float((fitted.out_scale > 0).mean())
    checks = held_out_regression_checks(model_error, mean_error, clip, UNIT, n_tried)
    return score, checks
