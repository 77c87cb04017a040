"""Train a perceptron further on rows that arrive in chunks: `partial_fit`.

    the chunk joins a uniform sample of all earlier rows                          (1)
    until the sample is full, each time that there are three times as many rows:
        fit afresh on them                                                        (2)
    otherwise:
        measure the scaling of the sample; if it drifted, move the weights to it  (3)
        prune and regrow from the present network, some epochs of the chunk       (4)

So a stream of few rows ends like a fit on all of them, and a long one costs a fixed number of steps
for each row.  No step needs more than the sample and the chunk.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.training.fit_task import FitTask
from secateurs.training.fitted_network import FittedNetwork
from secateurs.training.moments import Scaling
from secateurs.training.rescaling import has_drifted, rescaled_inputs, rescaled_outputs
from secateurs.training.reservoir import Stream, add_rows, empty_reservoir
from secateurs.training.scaling import input_scaling

CHUNK_EPOCHS = 20
ENOUGH_ROWS = 100  # fewer rows of a sample do not change the scaling
CHUNK_RATE = 1e-2  # learning rate of the first chunks
CHUNK_EXCHANGES = 3  # changes of the support in a call,
LEAST_INTERVAL = 10  # and the fewest steps between two


def first_stream(inputs: Any, targets: NDArray[Any], random_state: int) -> Stream:
    """Return the stream that begins with the rows of a fit."""
    sample = empty_reservoir(inputs, targets, random_state)
    add_rows(sample, inputs, targets)
    return Stream(sample, len(targets))


def follow(task: FitTask, before: FittedNetwork) -> FitTask:
    """Return the task with the network that it starts from, and with its scalings: (3).

    Parameters
    ----------
    task : FitTask
        Its shift and scale of the targets are those of the sample.
    before : FittedNetwork
        The network so far.
    """
    assert task.stream is not None
    sample = task.stream.sample
    old = before.full_scaling(task.inputs)
    new = _never_off(old, input_scaling(sample.inputs))
    targets = (before.out_shift, before.out_scale), (task.out_shift, task.out_scale)
    drifted = has_drifted(old, new) or has_drifted(*(_scaling(*pair) for pair in targets))
    if len(sample.targets) < ENOUGH_ROWS or not drifted:
        shift, scale = targets[0]
        return replace(task, initial=before.network, scaling=old, out_shift=shift, out_scale=scale)
    network = rescaled_outputs(rescaled_inputs(before.network, old, new), *targets)
    return replace(task, initial=network, scaling=new)


def _never_off(before: Scaling, after: Scaling) -> Scaling:
    """Keep the scaling of columns that vary in earlier rows, but not in the sample."""
    off = (after.scale == 0) & (before.scale > 0)
    if not off.any():
        return after
    shifts = (np.zeros(len(off)) if s.shift is None else s.shift for s in (before, after))
    scale = np.where(off, before.scale, after.scale)
    return Scaling(np.where(off, *shifts), scale, after.variance)


def _scaling(shift: NDArray[np.float64], scale: NDArray[np.float64]) -> Scaling:
    """Return the scaling that brings targets to their deviations."""
    return Scaling(shift, np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0))
