"""Measure a fitted network on rows: the losses that choose a width, and the certificate."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax

from secateurs.core.certificate import Check
from secateurs.core.generalization import held_out_check, held_out_regression_check, occam_check
from secateurs.training.fit_task import FitTask
from secateurs.training.fitted_network import FittedNetwork
from secateurs.training.reading import standardised, sum_over_rows


def held_out_loss(fitted: FittedNetwork, task: FitTask) -> float:
    """Return the mean loss on the held-out rows of all processes, by which widths are compared."""
    outputs = fitted.outputs(task.inputs[task.held_out])
    y = task.targets[task.held_out]
    if y.ndim == 1:
        losses = -log_softmax(outputs, axis=1)[np.arange(len(y)), y]
    else:
        losses = np.square(standardised(outputs, fitted.out_shift, fitted.out_scale) - y)
    return task.group.total(float(losses.sum())) / task.group.total(losses.size)


def row_checks(
    fitted: FittedNetwork, task: FitTask, n_tried: int
) -> tuple[float | None, list[Check]]:
    """Return the score on the held-out rows (None without them), and checks about new rows.

    `n_tried` is the number of widths that were compared on the held-out rows.
    """
    if task.targets.ndim == 1:
        return _classification_checks(fitted, task, n_tried)
    return _regression_checks(fitted, task, n_tried)


def _classification_checks(
    fitted: FittedNetwork, task: FitTask, n_tried: int
) -> tuple[float | None, list[Check]]:
    group, labels = task.group, task.targets
    wrong = fitted.outputs(task.inputs).argmax(1) != labels
    n_wrong, n_held_out, n_wrong_train, n_train = (
        int(group.total(count))
        for count in (
            wrong[task.held_out].sum(),
            len(task.held_out),
            wrong[task.train].sum(),
            len(task.train),
        )
    )
    network = fitted.network
    counts = np.bincount(labels[task.train], minlength=network.widths[-1])
    baseline = 1 - int(group.sum_(torch.from_numpy(counts)).max()) / n_train
    scales = len(fitted.scale) * (1 if fitted.shift is None else 2)
    checks = [
        held_out_check(n_wrong, n_held_out, baseline, n_tried),
        occam_check(n_wrong_train, n_train, network.widths, network.n_nonzero, scales, baseline),
    ]
    return (1 - n_wrong / n_held_out if n_held_out else None), checks


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
    n_train = sum(group.gather(len(task.train)))
    mean = sum_over_rows(task.targets[task.train], group) / n_train
    gain = (np.square(y - mean) - error).mean(axis=1)
    centre = sum_over_rows(y, group) / n_held_out
    total = group.total(np.square(y - centre).sum())
    score = float(1 - group.total(error.sum()) / total) if total > 0 else None
    # one number for each held-out row
    gain = np.concatenate(group.gather(gain if group.size == 1 else gain.tolist()))
    return score, [held_out_regression_check(gain, n_tried)]
